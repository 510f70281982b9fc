// Numbers, times and names for people. Pure.

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

// 1536 → "1.5 KiB", in steps of 1,024, as the command line writes them.
export function bytes(count) {
  if (count === 1) return "1 byte";
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 ? 0 : 1;
  return `${value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${UNITS[unit]}`;
}

// 1234 → "1,234".
export function number(count) {
  return count.toLocaleString("en");
}

// "1 file", "2 files".
export function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

// Seconds as "40 s", "3 min", "2 h 5 min", "3 days".
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  const min = Math.round(s / 60);
  if (min < 60) return `${min} min`;
  const hours = Math.floor(min / 60);
  if (hours < 48) return min % 60 ? `${hours} h ${min % 60} min` : `${hours} h`;
  return `${Math.round(hours / 24)} days`;
}

export function rate(bytesPerSecond) {
  return `${bytes(Math.round(bytesPerSecond))}/s`;
}

// Milliseconds since 1970 as a short date: the time alone for today.
export function when(ms, now = Date.now()) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return "";
  const today = new Date(now);
  const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === today.toDateString()) return `Today, ${time}`;
  const yesterday = new Date(now - 86_400_000);
  if (date.toDateString() === yesterday.toDateString()) return `Yesterday, ${time}`;
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

// The whole date and time.
export function exactly(ms) {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return "";
  return date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

// "in 3 days", "2 h ago".
export function relative(ms, now = Date.now()) {
  const seconds = (ms - now) / 1000;
  const text = duration(Math.abs(seconds));
  return seconds >= 0 ? `in ${text}` : `${text} ago`;
}

// Microcredits, a number or a decimal text of any length, as credits: "1.25", or with all six digits.
export function credits(micro, exact = false) {
  let value = BigInt(micro);
  const sign = value < 0n ? "−" : "";
  if (value < 0n) value = -value;
  const whole = (value / 1_000_000n).toLocaleString("en");
  const digits = String(value % 1_000_000n).padStart(6, "0");
  const rest = exact ? digits : digits.replace(/0+$/, "");
  return sign + whole + (rest ? `.${rest}` : "");
}

// A long id, shortened in the middle.
export function short(id, head = 8, tail = 4) {
  return id.length > head + tail + 1 ? `${id.slice(0, head)}…${id.slice(-tail)}` : id;
}

// Control characters and those that turn the direction of text are shown as replacement
// characters, so that a name reads as what it is.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

export function shown(name) {
  return name.replace(HIDDEN, "\u{fffd}");
}

const KINDS = {
  image: "jpg jpeg png gif webp avif bmp",
  video: "mp4 m4v webm mov ogv mkv",
  audio: "mp3 m4a ogg oga opus flac wav aac",
  pdf: "pdf",
  text: "txt md log csv tsv json toml yaml yml ini conf rs js mjs ts py sh go c h cpp hpp java rb sql css diff patch tex srt",
  archive: "zip tar gz tgz xz zst bz2 7z rar iso",
};
const BY_EXTENSION = new Map(
  Object.entries(KINDS).flatMap(([kind, list]) => list.split(" ").map((extension) => [extension, kind])),
);

// What a file is by its name: "image", "video", "audio", "pdf", "text", "archive" or "file". HTML and SVG
// are plain files: nothing that a browser could run is ever shown.
export function kindOf(name) {
  const dot = name.lastIndexOf(".");
  if (dot <= 0) return "file";
  return BY_EXTENSION.get(name.slice(dot + 1).toLowerCase()) ?? "file";
}

// What a kind is called.
export function kindWords(entry) {
  if (entry.kind === "folder") return "Folder";
  const dot = entry.name.lastIndexOf(".");
  const words = {
    image: "Picture",
    video: "Video",
    audio: "Sound",
    pdf: "PDF document",
    text: "Text",
    archive: "Archive",
  };
  const kind = words[kindOf(entry.name)];
  if (kind) return kind;
  return dot > 0 && entry.name.length - dot <= 9
    ? `${shown(entry.name.slice(dot + 1)).toUpperCase()} file`
    : "File";
}

// Paths of the drive: absolute, with "/" between names.
export function parent(path) {
  const at = path.lastIndexOf("/");
  return at <= 0 ? "/" : path.slice(0, at);
}

export function base(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

export function join(folder, name) {
  return folder === "/" ? `/${name}` : `${folder}/${name}`;
}

// What a folder is called where its whole path is shown.
export function placeName(path) {
  return path === "/" ? "My drive" : shown(path);
}

// A sentence of the node: those of the API and of problems begin in lower case.
export function sentence(text) {
  const first = /^[a-z]+\b/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(first) ? first : `${first}.`;
}

// Is `path` the folder `above`, or does it lie below it?
export function within(path, above) {
  return above === "/" || path === above || path.startsWith(`${above}/`);
}

// Why a text cannot be a name in the drive; empty when it can.
export function nameProblem(name) {
  if (name === "") return "A name is needed.";
  if (name === "." || name === "..") return "“.” and “..” are not names.";
  if (name.includes("/")) return "A name cannot contain “/”.";
  if (name.includes("\0")) return "A name cannot contain a NUL character.";
  if (new TextEncoder().encode(name).length > 255) return "A name can have at most 255 bytes.";
  return "";
}
