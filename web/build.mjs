// Builds dist/: index.html, one script, one style sheet, the licences of what is bundled. `npm run build`.
// Fails when script and style together weigh more than the budget of the project's targets (E4).
import { build } from "esbuild";
import { cp, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const BUDGET = 120_000; // bytes of gzip, script and style together
const here = dirname(fileURLToPath(import.meta.url));
const src = join(here, "src");
const dist = join(here, "dist");
const fresh = join(here, "dist.new"); // built beside, then swapped in: a failed build leaves the old one

await rm(fresh, { recursive: true, force: true });
await mkdir(fresh, { recursive: true });
const result = await build({
  absWorkingDir: here,
  entryPoints: [join(src, "main.ts")],
  outdir: join(fresh, "assets"),
  entryNames: "tilescout-[hash]",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome105", "firefox110", "safari16"],
  legalComments: "none",
  // Leaflet's style sheet names pictures of controls that this page does not have.
  loader: { ".png": "empty" },
  metafile: true,
  logLevel: "warning",
});

let total = 0;
const assets = {};
for (const path of Object.keys(result.metafile.outputs)) {
  const data = await readFile(join(here, path));
  const size = gzipSync(data, { level: 9 }).length;
  total += size;
  assets[path.split(".").pop()] = `assets/${basename(path)}`;
  console.log(`${basename(path).padEnd(24)} ${String(data.length).padStart(7)} bytes ${String(size).padStart(7)} gzip`);
}
const page = await readFile(join(src, "index.html"), "utf8");
await writeFile(join(fresh, "index.html"), page.replace("{{style}}", assets.css).replace("{{script}}", assets.js));
await cp(join(src, "icon.svg"), join(fresh, "icon.svg"));
const licence = await readFile(join(here, "node_modules", "leaflet", "LICENSE"), "utf8");
await writeFile(join(fresh, "assets", "licences.txt"), `This page contains Leaflet, https://leafletjs.com, under this licence:\n\n${licence}`);

console.log(`together ${total} bytes gzip of ${BUDGET}`);
if (total > BUDGET) {
  await rm(fresh, { recursive: true, force: true });
  throw new Error(`the bundle weighs ${total} bytes in gzip, ${total - BUDGET} too many`);
}
await rm(dist, { recursive: true, force: true });
await rename(fresh, dist);
