// Opens the page in a browser against a running server and waits until the map is drawn: node maplibre/check.mjs URL
import { check } from "../check.mjs";

await check("maplibre", process.argv[2], async (page) => {
  await page.waitForFunction(() => globalThis.map?.loaded?.() && globalThis.map.areTilesLoaded());
  const features = await page.evaluate(() => globalThis.map.querySourceFeatures("matches", { sourceLayer: "matches" }).length);
  if (features === 0) {
    throw new Error("no vector features were loaded");
  }
});
