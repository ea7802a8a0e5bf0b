import { describe, expect, it } from "vitest";
import { formatHash, parseHash, type View } from "../src/hash";

const view: View = { layer: "city", center: [4.95, 52.37], zoom: 16, q: ["stadium"], not: [], threshold: 0.5, style: "heat", detail: "patch", scope: "view" };

describe("formatHash", () => {
  const cases: [string, Partial<View>, string][] = [
    ["defaults are left out", {}, "#/city/16/52.37/4.95?q=stadium"],
    ["no prompt", { q: [] }, "#/city/16/52.37/4.95"],
    ["everything", { q: ["stadium", "parking lot"], not: ["tile:17/67350/43080"], threshold: 0.6, style: "grid", detail: "tile", scope: "layer" },
      "#/city/16/52.37/4.95?q=stadium&q=parking+lot&not=tile:17/67350/43080&threshold=0.60&style=grid&detail=tile&scope=layer"],
    ["signs of addresses", { q: ["a&b=c #d?%/é"] }, "#/city/16/52.37/4.95?q=a%26b%3Dc+%23d%3F%25/%C3%A9"],
    ["no more digits than the zoom can show", { center: [4.123456789, -52.987654321], zoom: 2 }, "#/city/2/-52.988/4.123?q=stadium"],
  ];
  it.each(cases)("%s", (_, change, want) => {
    expect(formatHash({ ...view, ...change })).toBe(want);
  });

  it.each(cases)("is read back: %s", (_, change) => {
    const whole = { ...view, ...change };
    const { center, ...back } = parseHash(formatHash(whole));
    const { center: want, ...rest } = whole;
    expect({ ...view, ...back }).toEqual({ ...rest, center: view.center });
    expect(center?.[0]).toBeCloseTo(want[0], 3);
    expect(center?.[1]).toBeCloseTo(want[1], 3);
  });
});

describe("parseHash", () => {
  it.each([
    ["nothing", ""],
    ["a bare sign", "#"],
    ["another page's anchor", "#imprint of us"],
    ["a layer that cannot be", "#/<script>/1/2/3"],
    ["half an escape", "#/%E0%A4%A/1/2/3"],
  ])("%s gives no layer", (_, hash) => {
    expect(parseHash(hash).layer).toBeUndefined();
  });

  it.each(["#/city/16/52.37", "#/city/x/52/4", "#/city/16/95/4", "#/city/99/52/4", "#/city/16//4", "#/city/16/NaN/4", "#/city/16/1e3/4"])("%s gives no place", (hash) => {
    expect(parseHash(hash).center).toBeUndefined();
    expect(parseHash(hash).zoom).toBeUndefined();
  });

  it("leaves out what is no style, threshold or scope", () => {
    const got = parseHash("#/city/16/52/4?style=neon&threshold=2&scope=world");
    expect(got).toEqual({ layer: "city", zoom: 16, center: [4, 52], q: [], not: [] });
  });

  it("cleans prompts and bounds their number", () => {
    const got = parseHash(`#/city?q=${encodeURIComponent("a\u0000b\n c ")}&q=&${"q=x&".repeat(100)}`);
    expect(got.q?.[0]).toBe("a b c");
    expect(got.q?.length).toBe(16);
  });
});
