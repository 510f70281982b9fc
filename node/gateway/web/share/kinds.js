// What a file is for people, by its name, and whether the page shows it.
//
// Invariant: only types that cannot hold code are ever given to the browser to show: raster images, sound,
// film, plain text. HTML, SVG, PDF and everything unknown is downloaded (attack 23). The owner's word for a
// type is not asked for: a name says enough, and cannot turn a page into an image.

const IMAGES = { png: 'image/png', apng: 'image/apng', jpg: 'image/jpeg', jpeg: 'image/jpeg', jfif: 'image/jpeg', gif: 'image/gif', webp: 'image/webp', avif: 'image/avif', bmp: 'image/bmp', ico: 'image/x-icon' };
const VIDEOS = { mp4: 'video/mp4', m4v: 'video/mp4', webm: 'video/webm', ogv: 'video/ogg', mov: 'video/quicktime', mkv: 'video/x-matroska' };
const AUDIOS = { mp3: 'audio/mpeg', m4a: 'audio/mp4', aac: 'audio/aac', ogg: 'audio/ogg', oga: 'audio/ogg', opus: 'audio/ogg', flac: 'audio/flac', wav: 'audio/wav', weba: 'audio/webm' };
const TEXTS = 'txt text md markdown rst csv tsv log json jsonl yaml yml toml ini conf cfg env properties diff patch tex bib srt vtt sql sh bash zsh fish ps1 bat py rb pl php lua r jl go rs c h cc cpp hpp cs java kt swift scala hs ml ex erl clj js mjs ts jsx tsx css scss less vue proto graphql tf nix cmake gradle gitignore lock asc pem sha256'.split(' ');
const TEXT_NAMES = ['readme', 'license', 'licence', 'copying', 'changelog', 'authors', 'makefile', 'dockerfile', 'notice', 'todo'];
const ACTIVE = ['html', 'htm', 'xhtml', 'svg', 'svgz', 'xml', 'xsl', 'mhtml', 'hta'];
const ARCHIVES = ['zip', 'gz', 'tgz', 'bz2', 'xz', 'zst', '7z', 'rar', 'tar', 'iso', 'dmg'];
const DOCUMENTS = ['pdf', 'doc', 'docx', 'odt', 'rtf', 'xls', 'xlsx', 'ods', 'ppt', 'pptx', 'odp', 'epub'];

/** `{ kind, type }`: kind is image, video, audio, text, active, archive, document or other. */
export function kindOf(name) {
  const lower = name.toLowerCase();
  const extension = lower.includes('.') ? lower.slice(lower.lastIndexOf('.') + 1) : '';
  const of = (table) => (Object.hasOwn(table, extension) ? table[extension] : undefined);
  if (of(IMAGES)) return { kind: 'image', type: of(IMAGES) };
  if (of(VIDEOS)) return { kind: 'video', type: of(VIDEOS) };
  if (of(AUDIOS)) return { kind: 'audio', type: of(AUDIOS) };
  if (TEXTS.includes(extension) || TEXT_NAMES.includes(lower)) return { kind: 'text', type: 'text/plain' };
  const kind = ACTIVE.includes(extension) ? 'active' : ARCHIVES.includes(extension) ? 'archive' : DOCUMENTS.includes(extension) ? 'document' : 'other';
  return { kind, type: 'application/octet-stream' };
}

/** Words for people. */
export const KIND_WORDS = { image: 'Image', video: 'Film', audio: 'Sound', text: 'Text', active: 'Web page or drawing', archive: 'Archive', document: 'Document', other: 'File' };
