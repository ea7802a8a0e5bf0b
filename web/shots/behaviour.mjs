// What the page does in a real browser, against the mock server: deep link, history, keys, threshold, newest search
// wins, tiles that wait to be embedded, a server that goes away, hostile texts.
//
//   node shots/behaviour.mjs --base http://127.0.0.1:8090/ --partial http://127.0.0.1:8091/
//
// --partial is a mock started with --embedded below 1. Exit status 1 when a check fails.
import assert from "node:assert/strict";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: flags } = parseArgs({ options: { base: { type: "string", default: "http://127.0.0.1:8090/" }, partial: { type: "string", default: "http://127.0.0.1:8091/" } } });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
const isSearch = (url) => /\/search\/[^/]+$/.test(url.pathname);
const PROMPT = "#tilescout-prompt";

/** ask types a prompt and waits for its results. */
async function ask(page, text) {
  const answered = page.waitForResponse((r) => isSearch(new URL(r.url())));
  await page.fill(PROMPT, text);
  await page.press(PROMPT, "Enter");
  await answered;
  await page.waitForFunction(() => !document.querySelector("[aria-busy]"));
}

const hash = (page) => page.evaluate(() => location.hash);
const until = (page, test, arg) => page.waitForFunction(test, arg);

const checks = {
  "a link opens the same view and stays as it is": async (page, open) => {
    const link = "#/town/16/52.36/5.001?q=stadium&q=harbor&not=forest&threshold=0.60&style=grid";
    await open(link);
    await page.waitForSelector(".tilescout-result");
    assert.equal(await hash(page), link);
    assert.equal(await page.inputValue(PROMPT), "stadium");
    assert.equal(await page.getAttribute("[role=slider]", "aria-valuenow"), "0.60");
    const chips = await page.locator(".tilescout-terms button").allInnerTexts();
    assert.deepEqual(chips.map((c) => c.replace(/\s+/g, " ").trim()), ["Remove or harbor", "Remove not forest"]);
  },

  "a bad link opens the first layer": async (page, open) => {
    await open("#/no-such-layer/99/x?threshold=7&style=neon&q=%E0%A4%A");
    await page.waitForSelector(".leaflet-tile-loaded");
    assert.match(await hash(page), /^#\/town\//);
  },

  "a layer of deep zooms only does not stop the page": async (page, open) => {
    await page.route("**/layers", async (route) => {
      const answer = await (await route.fetch()).json();
      for (const layer of answer.layers) {
        const [west, south] = layer.bounds;
        Object.assign(layer, { minzoom: 19, maxzoom: 21, bounds: [west, south, west + 0.002, south + 0.0014] });
      }
      await route.fulfill({ json: answer });
    });
    await open();
    await until(page, () => /^#\/town\/1[6-9]|^#\/town\/2/.test(location.hash));
  },

  "a picture finds what looks like it, and is never in an address": async (page, open) => {
    await open();
    const png = await page.evaluate(() => new Promise((done) => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 30 });
      canvas.getContext("2d").fillRect(4, 4, 20, 20);
      canvas.toBlob(async (blob) => done(Array.from(new Uint8Array(await blob.arrayBuffer()))), "image/png");
    }));
    const sent = page.waitForRequest((r) => r.method() === "POST" && /\/similar\/town/.test(r.url()));
    await page.setInputFiles("input[type=file]", { name: "yard.png", mimeType: "image/png", buffer: Buffer.from(png) });
    assert.equal((await sent).headers()["content-type"], "image/png");
    await page.waitForSelector(".tilescout-result");
    assert.equal(await page.locator(".tilescout-terms img[alt='your picture']").count(), 1);
    assert.ok(await page.locator("canvas.leaflet-zoom-animated").count(), "no overlay");
    assert.doesNotMatch(await hash(page), /picture/);
    await page.click(".tilescout-terms button");
    await until(page, () => !document.querySelector(".tilescout-result"));
    // What the server does not take is made into what it takes; what is no picture is said in one sentence.
    const again = page.waitForRequest((r) => r.method() === "POST" && /\/similar\/town/.test(r.url()));
    await page.setInputFiles("input[type=file]", { name: "dot.gif", mimeType: "image/gif", buffer: Buffer.from("R0lGODlhAQABAIAAAP8AAP///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==", "base64") });
    assert.equal((await again).headers()["content-type"], "image/jpeg");
    await page.setInputFiles("input[type=file]", { name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("no picture") });
    await until(page, () => document.querySelector(".tilescout-error")?.textContent.includes("notes.txt is no picture"));
  },

  "back returns to the prompt before": async (page, open) => {
    await open();
    await ask(page, "stadium");
    await ask(page, "harbor");
    await page.goBack();
    await until(page, () => document.title.startsWith("stadium"));
    assert.equal(await page.inputValue(PROMPT), "stadium");
    await page.goBack();
    await page.waitForSelector(".tilescout-examples .tilescout-chip");
    assert.equal(await page.inputValue(PROMPT), "");
  },

  "the keyboard is enough": async (page, open) => {
    await open();
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press("/");
    await page.keyboard.type("sta");
    await page.waitForSelector("[role=option]");
    await page.keyboard.press("ArrowDown");
    assert.equal(await page.getAttribute(PROMPT, "aria-activedescendant"), "tilescout-suggestion-0");
    await page.keyboard.press("Enter");
    await page.waitForSelector(".tilescout-result");
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    await until(page, () => document.activeElement === document.querySelector(".tilescout-result"));
    await page.waitForSelector(".tilescout-outline-hover", { state: "attached" });
    const before = await hash(page);
    await page.keyboard.press("Enter");
    await page.waitForSelector(".tilescout-outline-chosen", { state: "attached" });
    await until(page, (h) => location.hash !== h, before);
    await page.keyboard.press("?");
    await page.waitForSelector("#tilescout-panel-help");
    await page.keyboard.press("Escape");
    await page.waitForSelector("#tilescout-panel-help", { state: "hidden" });
    await page.keyboard.press("Escape");
    await page.waitForSelector(".tilescout-result", { state: "detached" });
  },

  "the threshold filters list and overlay alike": async (page, open) => {
    await open();
    await ask(page, "stadium");
    const before = await page.locator(".tilescout-result").count();
    const drawn = page.waitForRequest((r) => r.url().includes("/overlay/") && r.url().includes("threshold=0.80"));
    await page.focus("[role=slider]");
    for (let i = 0; i < 3; i++) {
      await page.keyboard.press("PageUp");
    }
    await drawn;
    const scores = (await page.locator(".tilescout-result .tilescout-score").allInnerTexts()).map((t) => Number(t.replace(/[^\d.]/g, "")));
    assert.ok(scores.length > 0 && scores.length < before, `${scores.length} of ${before} results`);
    assert.ok(scores.every((s) => s >= 0.8), String(scores));
    assert.match(await hash(page), /threshold=0\.80/);
    assert.match(await page.innerText(".tilescout-verdict"), new RegExp(`^${scores.length} match`));
  },

  "the newest search wins": async (page, open) => {
    await open();
    await page.route(isSearch, async (route) => {
      if (route.request().url().includes("stadium")) {
        await new Promise((done) => setTimeout(done, 1200));
      }
      await route.continue().catch(() => undefined);
    });
    await page.fill(PROMPT, "stadium");
    await page.press(PROMPT, "Enter");
    await ask(page, "harbor");
    await page.waitForTimeout(1500);
    assert.match(await page.title(), /^harbor/);
    assert.equal(await page.inputValue(PROMPT), "harbor");
  },

  "not this leaves the tile out": async (page, open) => {
    await open();
    await ask(page, "stadium");
    await page.click(".tilescout-result");
    await page.waitForTimeout(1400);
    const { x, y } = await page.evaluate(() => {
      const box = document.querySelector(".tilescout-outline-chosen").getBoundingClientRect();
      return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    });
    await page.mouse.click(x, y);
    await page.click("text=Not this");
    await page.waitForSelector(".tilescout-term-not");
    assert.match(await hash(page), /not=tile:17\/\d+\/\d+/);
  },

  "tiles that wait fill in by themselves": async (page) => {
    let pending = 0;
    let searches = 0;
    page.on("response", (r) => {
      pending += Number(r.headers()["tilescout-pending"] ?? 0) > 0 ? 1 : 0;
      searches += isSearch(new URL(r.url())) ? 1 : 0;
    });
    // Asked for before the page opens: the answer may be there before the imagery is.
    const waits = page.waitForResponse((r) => Number(r.headers()["tilescout-pending"] ?? 0) > 0);
    await page.goto(`${flags.partial}#/town/17/52.3735/5.0?q=stadium`);
    await page.waitForSelector(".leaflet-tile-loaded");
    await waits;
    await until(page, () => [...document.querySelectorAll(".tilescout-veil")].some((v) => Number(v.style.opacity) > 0));
    await page.waitForFunction(() => {
      const veils = [...document.querySelectorAll(".tilescout-veil")];
      return veils.length > 0 && veils.every((v) => Number(v.style.opacity) === 0);
    }, null, { timeout: 60_000 });
    assert.ok(pending > 0);
    const before = searches;
    if (before < 2) {
      await page.waitForResponse((r) => isSearch(new URL(r.url())), { timeout: 10_000 });
    }
  },

  "the page takes up its work when the server is back": async (page, open) => {
    await open();
    await page.route((url) => url.protocol.startsWith("http"), (route) => route.abort("connectionrefused"));
    await page.fill(PROMPT, "stadium");
    await page.press(PROMPT, "Enter");
    await page.waitForSelector(".tilescout-banner:not([hidden])");
    await page.unrouteAll();
    await page.waitForSelector(".tilescout-result");
    assert.equal(await page.locator(".tilescout-banner").isVisible(), false);
  },

  "texts from elsewhere stay texts": async (page, open) => {
    await open("#/town2/15/52.36/5.0");
    await page.waitForSelector(".tilescout-attribution:not(:empty)");
    assert.equal(await page.locator(".tilescout-attribution img").count(), 0);
    assert.match(await page.innerText(".tilescout-attribution"), /^Painted by Tilescout/);
    await page.route(isSearch, (route) => route.fulfill({ status: 400, contentType: "application/problem+json", json: { detail: "<img src=x onerror=alert(1)>" } }));
    await ask(page, "<b>stadium</b>");
    assert.match(await page.innerText(".tilescout-error"), /<img src=x/);
    assert.equal(await page.locator(".tilescout-card img, .tilescout-card b").count(), 0);
  },

  "a sheet has three heights": async (page, open) => {
    await page.setViewportSize({ width: 390, height: 844 });
    await open();
    await ask(page, "stadium");
    const height = () => page.evaluate(() => document.querySelector(".tilescout-card").offsetHeight);
    const heights = [await height()];
    for (let i = 0; i < 2; i++) {
      await page.click(".tilescout-sheet-handle");
      heights.push(await height());
    }
    const [three, full, field] = heights;
    assert.ok(field < 90 && field < three && three < full && full <= 844 * 0.55 + 1, String(heights));
  },
};

let failures = 0;
for (const [name, check] of Object.entries(checks)) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const errors = [];
  page.on("pageerror", (err) => errors.push(err.message));
  page.on("dialog", (dialog) => errors.push(`dialog: ${dialog.message()}`));
  try {
    await check(page, async (at = "") => {
      await page.goto(flags.base + at);
      await page.waitForSelector(".leaflet-tile-loaded");
    });
    assert.deepEqual(errors, []);
    console.log(`ok   ${name}`);
  } catch (err) {
    failures++;
    console.error(`FAIL ${name}\n     ${err instanceof Error ? err.message : err}`);
  }
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await context.close();
}
await browser.close();
process.exitCode = failures === 0 ? 0 : 1;
