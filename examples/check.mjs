// Serves an example's folder with the libraries that web/ has installed, opens it in a headless browser over a running
// Tilescout, and fails on page errors. Used by the check.mjs of each page.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const { chromium } = createRequire(here("../web/package.json"))("playwright-core");
const types = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".png": "image/png" };

export async function check(example, server, test) {
  const web = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://x").pathname).replaceAll("..", "");
    const file = path.startsWith("/node_modules/") ? join(here("../web"), path) : join(here(example), path);
    try {
      const body = await readFile(file);
      response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((done) => web.listen(0, "127.0.0.1", done));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1000, height: 700 } });
    page.setDefaultTimeout(60_000);
    const errors = [];
    page.on("pageerror", (e) => errors.push(e.message));
    page.on("console", (m) => m.type() === "error" && console.error(m.text()));
    await page.goto(`http://127.0.0.1:${web.address().port}/index.html?server=${encodeURIComponent(server)}`);
    await test(page);
    if (process.env.SHOT) {
      await page.screenshot({ path: process.env.SHOT });
    }
    if (errors.length > 0) {
      throw new Error(errors.join("\n"));
    }
    console.log(`examples/${example}: opened over ${server}`);
  } finally {
    await browser.close();
    web.close();
  }
}
