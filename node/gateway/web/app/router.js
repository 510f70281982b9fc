// Where the page is: `#/view/…`, so that links, the back button and reloads work.

// The hash of a folder, with `name` to put the focus on.
export function fileHash(path) {
  const names = path.split("/").filter(Boolean).map(encodeURIComponent);
  return `#/files${names.length > 0 ? `/${names.join("/")}` : ""}`;
}

export function searchHash(text, folder = "/") {
  return `#/search?${new URLSearchParams({ q: text, in: folder })}`;
}

// What a hash names: {view, path, query}.
export function read(hash) {
  const [place, query = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [view, ...rest] = place.split("/");
  const names = [];
  for (const part of rest) {
    try {
      if (part) names.push(decodeURIComponent(part));
    } catch {
      // Not ours: the folder above is shown.
      break;
    }
  }
  return { view: view || "files", path: `/${names.join("/")}`, query: new URLSearchParams(query) };
}

export function go(hash) {
  location.hash = hash;
}
