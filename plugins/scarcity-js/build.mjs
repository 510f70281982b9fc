// Makes scarcity-js's component, without its manifest, which `commonhold plugin build --from` adds.
// Usage: node build.mjs; writes target/scarcity-js.component.wasm.
import { componentize } from "@bytecodealliance/componentize-js";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "target");
const wit = join(target, "wit");
const out = join(target, "scarcity-js.component.wasm");

await mkdir(wit, { recursive: true });
await cp(join(here, "world.wit"), join(wit, "world.wit"));
await cp(join(here, "..", "..", "spec", "wit", "v0.1"), join(wit, "deps", "policy"), { recursive: true });

const { component } = await componentize(await readFile(join(here, "scarcity.js"), "utf8"), {
  witPath: wit,
  worldName: "scarcity",
  // All that a policy does not have.
  disableFeatures: ["stdio", "random", "clocks", "http", "fetch-event"],
});
await writeFile(out, component);
console.log(`${out}: ${component.length} bytes`);
