// What lies above a view: dialogs, menus, short messages.
//
// Invariant: a dialog or menu gives the focus back to where it was; one message is read out at a
// time, politely unless something failed.

import { button, h, icon } from "./dom.js";

const messages = h("div", { class: "toasts" });
const polite = h("div", { class: "sr-only", "aria-live": "polite", role: "status" });
const urgent = h("div", { class: "sr-only", "aria-live": "assertive", role: "alert" });

// The places for messages, once, at the end of the page.
export function mountMessages() {
  document.body.append(messages, polite, urgent);
}

// Above an open dialog, everything outside of which can be neither seen nor clicked nor heard.
function raiseMessages() {
  const host = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document.body;
  if (messages.parentElement !== host) host.append(messages, polite, urgent);
}

// Has a screen reader say something that is not shown.
export function announce(words) {
  raiseMessages();
  polite.textContent = "";
  setTimeout(() => {
    polite.textContent = words;
  }, 50);
}

// Shows a short message, with at most one thing to do about it ({label, run}).
export function toast(words, { failed = false, action } = {}) {
  const close = () => element.remove();
  const element = h(
    "div",
    { class: failed ? "toast failed" : "toast" },
    icon(failed ? "warn" : "check"),
    h("span", { class: "toast-words" }, words),
    action &&
      button(action.label, { kind: "quiet" }, () => {
        close();
        action.run();
      }),
    button("Close", { icon: "close", iconOnly: true, kind: "quiet" }, close),
  );
  raiseMessages();
  messages.append(element);
  while (messages.children.length > 4) messages.firstChild.remove();
  (failed ? urgent : polite).textContent = "";
  setTimeout(() => {
    (failed ? urgent : polite).textContent = words;
  }, 50);
  // A message stays while somebody points at it or has the focus in it.
  const leave = () => {
    if (element.matches(":hover, :focus-within")) setTimeout(leave, 2000);
    else close();
  };
  setTimeout(leave, failed ? 15_000 : 7_000);
}

// Runs something that may fail, and says so if it does. Answers whether it did not.
export async function attempt(action, retry) {
  try {
    await action();
    return true;
  } catch (error) {
    if (error.code === "cancelled") return false;
    toast(error.message, { failed: true, action: retry && { label: "Try again", run: retry } });
    return false;
  }
}

let dialogs = 0;

// Opens a dialog. `build(close)` answers {title, body, actions, wide}; `close(value)` ends it, and the
// answer is `value`, or undefined when it was dismissed.
export function dialog(build) {
  return new Promise((resolve) => {
    const before = document.activeElement;
    let value;
    const close = (result) => {
      value = result;
      element.close();
    };
    const { title, body, actions = [], wide = false, kind = "", header } = build(close);
    dialogs += 1;
    const id = `dialog-title-${dialogs}`;
    const heading = h("h2", { id }, title);
    const element = h(
      "dialog",
      { class: `dialog ${wide ? "wide" : ""} ${kind}`.trim(), "aria-labelledby": id },
      h(
        "div",
        { class: "dialog-head" },
        heading,
        header,
        button("Close", { icon: "close", iconOnly: true, kind: "quiet" }, () => close()),
      ),
      h("div", { class: "dialog-body" }, body),
      actions.length > 0 && h("div", { class: "dialog-actions" }, actions),
    );
    // A click beside the dialog dismisses it.
    element.addEventListener("pointerdown", (event) => {
      if (event.target !== element) return;
      const box = element.getBoundingClientRect();
      const inside =
        event.clientX >= box.left &&
        event.clientX <= box.right &&
        event.clientY >= box.top &&
        event.clientY <= box.bottom;
      if (!inside) close();
    });
    element.addEventListener("close", () => {
      document.body.append(...element.querySelectorAll(":scope > .toasts, :scope > [aria-live]"));
      element.remove();
      if (before?.isConnected) before.focus({ preventScroll: true });
      else document.querySelector("[data-home]")?.focus({ preventScroll: true });
      resolve(value);
    });
    document.body.append(element);
    element.showModal();
    element.querySelector("[data-first]")?.focus();
  });
}

// Asks whether to do something that has consequences. Answers true or undefined.
export function confirm({ title, text, action, danger = false }) {
  return dialog((close) => ({
    title,
    body: h("p", {}, text),
    actions: [
      button("Cancel", {}, () => close()),
      button(action, { kind: danger ? "danger" : "primary", "data-first": true }, () => close(true)),
    ],
  }));
}

// Asks for a text, and does something with it before the dialog goes: what fails is said in it.
export function ask({ title, label, value = "", action, problem, run, select }) {
  return dialog((close) => {
    let touched = false;
    const why = h("p", { class: "field-problem", id: "ask-why", role: "alert" });
    const input = h("input", {
      class: "input",
      id: "ask-input",
      value,
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": "ask-why",
      "data-first": true,
      on: {
        input: () => say(""),
        focus: () => {
          if (!touched) input.setSelectionRange(0, select ?? input.value.length);
          touched = true;
        },
      },
    });
    const say = (words) => {
      why.textContent = words;
      input.setAttribute("aria-invalid", words === "" ? "false" : "true");
    };
    const submit = button(action, { kind: "primary", type: "submit" });
    const form = h(
      "form",
      {
        id: "ask-form",
        novalidate: true,
        on: {
          submit: async (event) => {
            event.preventDefault();
            const words = problem?.(input.value) ?? "";
            if (words !== "") return say(words);
            submit.disabled = true;
            try {
              await run(input.value);
              close(input.value);
            } catch (error) {
              submit.disabled = false;
              say(error.message);
              input.focus();
            }
          },
        },
      },
      h("div", { class: "field" }, h("label", { class: "label", for: "ask-input" }, label), input, why),
    );
    submit.setAttribute("form", "ask-form");
    return { title, body: form, actions: [button("Cancel", {}, () => close()), submit] };
  });
}

let openMenu = null;

// Opens a menu at a point or below an element. Items: {label, icon, run, danger, keys} or null for a line.
export function menu(items, { x, y, from }) {
  openMenu?.();
  const before = document.activeElement;
  const close = () => {
    if (openMenu !== close) return;
    openMenu = null;
    element.remove();
    document.removeEventListener("pointerdown", outside, true);
    window.removeEventListener("resize", close);
    window.removeEventListener("hashchange", close);
  };
  const back = () => {
    close();
    if (before?.isConnected) before.focus({ preventScroll: true });
  };
  const outside = (event) => {
    if (!element.contains(event.target)) close();
  };
  const entries = items.map((item) => {
    if (item === null) return h("div", { class: "menu-line", role: "separator" });
    const run = () => {
      back();
      item.run();
    };
    return h(
      "button",
      {
        type: "button",
        role: "menuitem",
        tabindex: "-1",
        class: item.danger ? "menu-item danger" : "menu-item",
        on: { click: run },
      },
      icon(item.icon),
      h("span", {}, item.label),
      item.keys && h("kbd", { "aria-hidden": "true" }, item.keys),
    );
  });
  const element = h("div", { class: "menu", role: "menu" }, entries);
  element.addEventListener("keydown", (event) => {
    const buttons = [...element.querySelectorAll("[role=menuitem]")];
    const at = buttons.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      buttons[(to + buttons.length) % buttons.length].focus();
    } else if (event.key === "Escape" || event.key === "Tab") {
      event.preventDefault();
      event.stopPropagation();
      back();
    }
  });
  document.body.append(element);
  const box = element.getBoundingClientRect();
  const start = from?.getBoundingClientRect();
  const left = x ?? (start.right - box.width > 8 ? start.right - box.width : start.left);
  const top = y ?? start.bottom + 4;
  element.style.left = `${Math.max(8, Math.min(left, innerWidth - box.width - 8))}px`;
  element.style.top = `${Math.max(8, Math.min(top, innerHeight - box.height - 8))}px`;
  openMenu = close;
  document.addEventListener("pointerdown", outside, true);
  window.addEventListener("resize", close);
  window.addEventListener("hashchange", close);
  element.querySelector("[role=menuitem]")?.focus();
}

// Copies a text and says so.
export async function copyText(text, words = "Copied.") {
  try {
    await navigator.clipboard.writeText(text);
    toast(words);
  } catch {
    toast("The browser did not allow copying. Select the text and copy it by hand.", { failed: true });
  }
}

// A text with a button that copies it.
export function copyField(text, label) {
  const input = h("input", {
    class: "input mono",
    readonly: true,
    value: text,
    "aria-label": label,
    on: { focus: ({ target }) => (target.select(), (target.scrollLeft = 0)) },
  });
  return h(
    "div",
    { class: "copy-field" },
    input,
    button("Copy", { icon: "copy" }, () => copyText(text)),
  );
}
