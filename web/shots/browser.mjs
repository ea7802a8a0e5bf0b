// Runs the browser checks against mock servers of its own: behaviour first, then every state with axe-core.
// `npm run browser`; arguments go to shots.mjs. Without a Chromium it says so and passes.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const chromium = process.env.CHROMIUM ?? "/usr/bin/chromium";
if (!existsSync(chromium)) {
  console.log(`no browser at ${chromium}: skipped (set CHROMIUM)`);
  process.exit(0);
}
if (!existsSync(here("../dist/index.html"))) {
  console.error("the page is not built: npm run build");
  process.exit(1);
}

function mock(...flags) {
  const child = spawn(process.execPath, [here("../mock/server.mjs"), "--port", "0", ...flags], { stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((resolve, reject) => {
    child.stdout.once("data", (data) => resolve({ child, base: String(data).trim() }));
    child.once("exit", (code) => reject(new Error(`the mock server ended with ${code}`)));
  });
}

const servers = [await mock(), await mock("--embedded", "0.35")];
let status = 0;
for (const args of [
  [here("behaviour.mjs"), "--base", servers[0].base, "--partial", servers[1].base],
  [here("shots.mjs"), "--base", servers[0].base, ...process.argv.slice(2)],
]) {
  status ||= spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
}
servers.forEach(({ child }) => child.kill());
process.exit(status);
