// Opens the page in a browser against a running server and waits for its answer: node leaflet/check.mjs URL
import { check } from "../check.mjs";

await check("leaflet", process.argv[2], async (page) => {
  await page.waitForFunction(() => /^(match|weak|none): \d+ tiles$/.test(document.querySelector("output").textContent));
  await page.waitForFunction(() => document.querySelectorAll(".leaflet-tile-loaded").length > 4);
});
