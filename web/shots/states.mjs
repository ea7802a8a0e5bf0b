// Each state of the page, and how to bring a page into it against any server. `q` is a prompt that has matches.
// Answers that a good server would not give at will (errors, silence, a half-filled index) are put in on the way.

const open = new WeakMap();

/** watch counts the requests of a page that are under way. */
export function watch(page) {
  open.set(page, new Set());
  page.on("request", (r) => open.get(page).add(r));
  for (const end of ["requestfinished", "requestfailed"]) {
    page.on(end, (r) => open.get(page).delete(r));
  }
}

/** quiet waits until nothing has been asked of the server for a moment, at most 15 s. */
export async function quiet(page) {
  for (let still = 0, waited = 0; still < 3 && waited < 150; waited++) {
    await page.waitForTimeout(100);
    still = open.get(page).size === 0 ? still + 1 : 0;
  }
}

const settled = async (page) => {
  await page.waitForFunction(() => !document.querySelector("[aria-busy]"), null, { timeout: 15_000 });
  await quiet(page);
  await page.waitForFunction(() => !document.querySelector(".tilescout-match-dim"), null, { timeout: 15_000 });
  await page.waitForTimeout(400);
};

const ask = async (page, text) => {
  await page.fill("#tilescout-prompt", text);
  await page.press("#tilescout-prompt", "Enter");
  await settled(page);
};

const patch = (page, pattern, change) =>
  page.route(pattern, async (route) => {
    const response = await route.fetch().catch(() => null);
    if (!response) {
      return; // the page is gone
    }
    await route.fulfill({ response, json: change(await response.json(), route.request()) });
  });

const isSearch = (url) => /\/search\/[^/]+$/.test(url.pathname);
const isOverlay = (url) => url.pathname.includes("/overlay/");
const isIndex = (url) => /\/index\/[^/]+$/.test(url.pathname);

export const states = {
  first: async (page) => {
    await page.waitForSelector(".tilescout-examples .tilescout-chip");
  },
  typing: async (page, { q }) => {
    await page.click("#tilescout-prompt");
    await page.keyboard.type(q.slice(0, 2), { delay: 30 });
    await page.waitForSelector(".tilescout-suggestion");
    await page.press("#tilescout-prompt", "ArrowDown");
  },
  searching: async (page, { q, other }) => {
    await ask(page, q);
    await page.route(isSearch, async (route) => {
      await new Promise((done) => setTimeout(done, 4000));
      await route.continue().catch(() => undefined);
    });
    await page.fill("#tilescout-prompt", other);
    await page.press("#tilescout-prompt", "Enter");
    await page.waitForTimeout(500);
  },
  match: async (page, { q }) => {
    await ask(page, q);
    await page.waitForSelector(".tilescout-result");
  },
  result: async (page, { q }) => {
    await ask(page, q);
    await page.keyboard.press("Tab");
    await page.evaluate(() => document.activeElement?.blur());
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("Enter");
    await page.waitForTimeout(1600);
    await settled(page);
  },
  tile: async (page, { q }) => {
    await ask(page, q);
    await page.click(".tilescout-results li:first-child button");
    await page.waitForTimeout(1600);
    const box = await page.evaluate(() => {
      const path = document.querySelector(".tilescout-outline-chosen");
      const { x, y, width, height } = path.getBoundingClientRect();
      return { x: x + width / 2, y: y + height / 2 };
    });
    await page.mouse.click(box.x, box.y);
    await page.waitForSelector(".tilescout-concept .tilescout-score");
    await settled(page);
  },
  refined: async (page, { q, other }) => {
    await ask(page, q);
    await ask(page, `or ${other}`);
    await ask(page, "not forest");
  },
  similar: async (page, { q }) => {
    await states.tile(page, { q });
    await page.click("text=More like this");
    await settled(page);
  },
  partial: async (page, { q }) => {
    await patch(page, isIndex, (body) => ({ ...body, state: "empty", view: { embedded: 12, total: 100 } }));
    await page.route(isOverlay, async (route) => {
      const response = await route.fetch().catch(() => null);
      if (!response) {
        return; // the page is gone
      }
      const [, x, y] = /(\d+)\/(\d+)\.png/.exec(route.request().url());
      const pending = (Number(x) + Number(y)) % 3 === 0 ? "0" : "999";
      await route.fulfill({ response, headers: { ...response.headers(), "tilescout-pending": pending } });
    });
    await page.fill("#tilescout-prompt", q);
    await page.press("#tilescout-prompt", "Enter");
    await page.waitForSelector(".tilescout-coverage:not([hidden])");
    await page.waitForTimeout(2500);
  },
  weak: async (page, { q }) => {
    await patch(page, isSearch, (body) => ({
      ...body, verdict: "weak", max: 0.41, related: ["park", "sports field", "farmland"],
      features: body.features.map((f, i) => ({ ...f, properties: { ...f.properties, score: 0.41 / (1 + i * 0.06) } })),
    }));
    await page.evaluate(() => (document.querySelector(".leaflet-container").dataset.zoomed = "1"));
    await page.keyboard.press("Escape");
    await zoomIn(page);
    await ask(page, q);
  },
  none: async (page, { q }) => {
    await patch(page, isSearch, (body) => ({ ...body, verdict: "none", max: 0.12, related: [], features: [] }));
    await ask(page, q);
  },
  unknown: async (page, { q }) => {
    await patch(page, isSearch, (body) => ({ ...body, unknown: ["flurbled"] }));
    await ask(page, `flurbled ${q}`);
  },
  error: async (page, { q }) => {
    await page.route(isSearch, (route) =>
      route.fulfill({ status: 503, contentType: "application/problem+json", json: { title: "Unavailable", status: 503, detail: "no model is loaded: run `tilescout runtime install`, then start again" } }));
    await ask(page, q);
  },
  offline: async (page, { q }) => {
    await ask(page, q);
    await page.route((url) => url.protocol.startsWith("http"), (route) => route.abort("connectionrefused"));
    await page.fill("#tilescout-prompt", "bridge");
    await page.press("#tilescout-prompt", "Enter");
    await page.waitForSelector(".tilescout-banner:not([hidden])");
    await page.waitForTimeout(300);
  },
  layers: async (page, { q }) => {
    await ask(page, q);
    await page.click("[aria-controls=tilescout-panel-layers]");
  },
  overlay: async (page, { q }) => {
    await ask(page, q);
    await page.click("[aria-controls=tilescout-panel-overlay]");
    await page.check("input[value=grid]");
    await settled(page);
  },
  outline: async (page, { q }) => {
    await ask(page, q);
    await page.click("[aria-controls=tilescout-panel-overlay]");
    await page.check("input[value=outline]");
    await page.keyboard.press("Escape");
    await settled(page);
  },
  share: async (page, { q }) => {
    await ask(page, q);
    await page.click("[aria-controls=tilescout-panel-share]");
  },
  help: async (page) => {
    await page.evaluate(() => document.activeElement?.blur());
    await page.keyboard.press("?");
    await page.waitForSelector("#tilescout-panel-help:not([hidden])");
  },
  full: async (page, { q }) => {
    await ask(page, q);
    const handle = page.locator(".tilescout-sheet-handle");
    if (await handle.isVisible()) {
      await handle.click();
      await page.waitForTimeout(300);
    }
  },
  field: async (page, { q }) => {
    await ask(page, q);
    const handle = page.locator(".tilescout-sheet-handle");
    if (await handle.isVisible()) {
      await handle.click();
      await handle.click();
      await page.waitForTimeout(300);
    }
  },
};

async function zoomIn(page) {
  const box = await page.locator("#tilescout-map").boundingBox();
  await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.35);
  await page.mouse.wheel(0, -240);
  await page.waitForTimeout(900);
}
