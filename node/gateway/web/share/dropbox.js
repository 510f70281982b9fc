// A drop box: files go in, sealed here so that only the owner can open them, and nothing comes out.

import { allowedName, canSeal } from './drop.js';
import { showError } from './errors.js';
import { call } from './session.js';
import { Transfer } from './transfers.js';
import { announce, button, el, icon, show } from './ui.js';

/** Shows the box. `link` is its id, `name` the folder's, which may be missing. */
export async function showDropBox(link, name) {
  if (!(await canSeal())) {
    showError({ code: 'old' });
    return;
  }
  call('tidy').catch(() => {});
  const heading = el('h1', { text: name ? `Send files to “${name}”` : 'Send files', tabindex: '-1' });
  const input = el('input', { type: 'file', multiple: true, id: 'files', class: 'sr-only', tabindex: '-1', 'aria-hidden': 'true' });
  const list = el('div', { class: 'sent', role: 'list', 'aria-label': 'Files that you send', hidden: true });
  const zone = el('div', { class: 'drop-zone' },
    el('div', { class: 'medallion' }, icon('inbox')),
    el('p', { class: 'strong', text: 'Drop files here' }),
    el('p', { class: 'hint', text: 'or choose them from your device' }),
    button('Choose files', { icon: 'upload', kind: 'primary', on: () => input.click() }),
    input,
  );
  show(el('section', { class: 'box' },
    el('div', { class: 'box-about' }, heading, el('p', { class: 'muted', text: 'They are encrypted in your browser before they leave it. Only the owner of this folder can open them, and nobody can see what others have sent.' })),
    zone,
    list,
  ));
  heading.focus();

  let queue = Promise.resolve();
  const take = (files) => {
    for (const file of files) {
      const allowed = allowedName(file.name);
      const transfer = new Transfer({ name: file.name, total: file.size, picture: 'file', verb: 'Sending', list });
      transfer.element.setAttribute('role', 'listitem');
      if (!allowed) {
        transfer.report({ state: 'failed', error: { code: 'name' } });
        continue;
      }
      // One after the other: each is whole as early as possible.
      queue = queue.then(() => transfer.state === 'running' && call('deposit', { file, name: allowed, transfer: transfer.id, link }).catch((error) => transfer.report({ state: 'failed', error })));
    }
    if (files.length > 0) announce(`Sending ${files.length === 1 ? files[0].name : `${files.length} files`}.`);
  };
  input.addEventListener('change', () => {
    take([...input.files]);
    input.value = '';
  });
  const over = (on) => zone.classList.toggle('over', on);
  for (const type of ['dragenter', 'dragover']) {
    zone.addEventListener(type, (event) => {
      event.preventDefault();
      event.dataTransfer.dropEffect = 'copy';
      over(true);
    });
  }
  zone.addEventListener('dragleave', (event) => zone.contains(event.relatedTarget) || over(false));
  zone.addEventListener('drop', (event) => {
    event.preventDefault();
    over(false);
    // Folders come as files that cannot be read; they are left out.
    const items = [...event.dataTransfer.items].filter((item) => item.kind === 'file' && !item.webkitGetAsEntry?.()?.isDirectory);
    take(items.map((item) => item.getAsFile()).filter(Boolean));
  });
  // A file that misses the zone must not take the place of the page.
  for (const type of ['dragover', 'drop']) addEventListener(type, (event) => event.preventDefault());
}
