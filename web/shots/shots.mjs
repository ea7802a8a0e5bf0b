// Takes a screenshot of every state of the page at both widths, and holds each against axe-core.
//
//   node shots/shots.mjs [--base http://127.0.0.1:8090/] [--out shots/out] [--only match,tile] [--q stadium] [--light]
//
// Exit status 1 when axe-core finds a violation, the console has an error that the state did not ask for, or the page
// breaks a promise of the design (map share, touch sizes, first paint). Needs a Chromium: CHROMIUM, or /usr/bin/chromium.
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";
import { quiet, states, watch } from "./states.mjs";

const { values: flags } = parseArgs({
  options: {
    base: { type: "string", default: "http://127.0.0.1:8090/" },
    out: { type: "string", default: fileURLToPath(new URL("out", import.meta.url)) },
    only: { type: "string", default: "" },
    q: { type: "string", default: "stadium" },
    other: { type: "string", default: "harbor" },
    light: { type: "boolean", default: false },
    hash: { type: "string", default: "" },
  },
});
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SCREENS = {
  desktop: { viewport: { width: 1440, height: 900 } },
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 },
};
const NOISY = new Set(["error", "offline"]); // states whose failed requests the browser logs, rightly
const FIRST_PAINT = 1000; // ms, target E4
const only = new Set(flags.only.split(",").filter(Boolean));
const paints = [];
let failures = 0;
const fail = (where, text) => {
  failures++;
  console.error(`${where}: ${text}`);
};

await mkdir(flags.out, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--force-color-profile=srgb"] });
for (const [screen, device] of Object.entries(SCREENS)) {
  for (const [name, enter] of Object.entries(states)) {
    if (only.size > 0 && !only.has(name)) {
      continue;
    }
    const where = `${name}-${screen}${flags.light ? "-light" : ""}`;
    const context = await browser.newContext({ ...device, colorScheme: flags.light ? "light" : "dark" });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    watch(page);
    page.on("pageerror", (err) => fail(where, `page error: ${err.stack ?? err.message}`));
    page.on("console", (message) => {
      const { url } = message.location();
      // A tile outside the imagery is a 404 by contract; the browser logs it as an error all the same.
      if (message.type() === "error" && !NOISY.has(name) && !/\/tiles\//.test(url)) {
        fail(where, `console: ${message.text()} ${url}`);
      }
    });
    try {
      await page.goto(flags.base + flags.hash, { waitUntil: "load" });
      await page.waitForSelector(".leaflet-tile-loaded", { timeout: 30_000 });
      await quiet(page);
      await enter(page, { q: flags.q, other: flags.other });
      await page.screenshot({ path: join(flags.out, `${where}.png`) });
      await check(page, where, screen);
    } catch (err) {
      fail(where, err instanceof Error ? err.message : String(err));
      await page.screenshot({ path: join(flags.out, `${where}-failed.png`) }).catch(() => undefined);
    }
    await page.unrouteAll({ behavior: "ignoreErrors" });
    await context.close();
  }
}
await browser.close();
// The median: one page may have shared its processor with a build.
const paint = paints.sort((a, b) => a - b)[Math.floor(paints.length / 2)] ?? 0;
console.log(`first paint: median ${Math.round(paint)} ms of ${paints.length} pages`);
if (paint > FIRST_PAINT) {
  fail("all", `first paint after ${Math.round(paint)} ms, want at most ${FIRST_PAINT}`);
}
console.log(failures === 0 ? "every state is as it should be" : `${failures} failures`);
process.exitCode = failures === 0 ? 0 : 1;

async function check(page, where, screen) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const v of violations) {
    fail(where, `axe ${v.id} (${v.impact}): ${v.help}: ${v.nodes.map((n) => n.target.join(" ")).slice(0, 3).join("; ")}`);
  }
  const paint = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0);
  paints.push(paint);
  if (screen !== "phone") {
    return;
  }
  const free = await page.evaluate(() => {
    const tops = [...document.querySelectorAll(".tilescout-card, .tilescout-dock, .tilescout-panel")]
      .filter((e) => e.checkVisibility({ visibilityProperty: true }))
      .map((e) => e.getBoundingClientRect().top);
    return Math.min(...tops, innerHeight) / innerHeight;
  });
  if (free < 0.449) {
    fail(where, `the map keeps only ${(free * 100).toFixed(0)} % of the height`);
  }
  const small = await page.evaluate(() =>
    [...document.querySelectorAll("button, a[href], input:not([type=radio]), [role=slider], [role=option], label:has(input)")]
      .filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest("p, .tilescout-attribution"))
      .map((e) => ({ name: e.className || e.tagName, height: Math.round(e.getBoundingClientRect().height), width: Math.round(e.getBoundingClientRect().width) }))
      .filter((e) => e.height > 0 && (e.height < 44 || e.width < 44)));
  for (const s of small.slice(0, 4)) {
    fail(where, `${s.name} is ${s.width} × ${s.height} px, too small to touch`);
  }
}
