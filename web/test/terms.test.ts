import { describe, expect, it } from "vitest";
import { addTerm, applyInput, cleanPrompt, inWords, knownPart, markUnknown, removeTerm, sameQuery, termTile, tileTerm } from "../src/terms";

const asked = { q: ["stadium"], not: ["forest"] };

describe("applyInput", () => {
  it.each([
    ["a new prompt replaces all", "airport", asked, { q: ["airport"], not: [] }],
    ["or", "or airport", asked, { q: ["stadium", "airport"], not: ["forest"] }],
    ["plus", "+airport", asked, { q: ["stadium", "airport"], not: ["forest"] }],
    ["not", "not car park", asked, { q: ["stadium"], not: ["forest", "car park"] }],
    ["minus", "- car park", asked, { q: ["stadium"], not: ["forest", "car park"] }],
    ["or what was left out", "or forest", asked, { q: ["stadium", "forest"], not: [] }],
    ["words that only start so", "orchard", asked, { q: ["orchard"], not: [] }],
    ["nothing asked yet: all of it is the prompt", "not a forest", { q: [], not: [] }, { q: ["not a forest"], not: [] }],
    ["blank", "  ", asked, { q: [], not: [] }],
  ])("%s", (_, text, before, want) => {
    expect(applyInput(text, before)).toEqual(want);
  });
});

describe("cleanPrompt", () => {
  it("makes one line of it", () => {
    expect(cleanPrompt(" a\tb\n\u0007c\u200bd ")).toBe("a b c d");
  });
  it.each(["é".repeat(100) + "x".repeat(600), "é".repeat(400), "🏟".repeat(200)])("keeps within 512 bytes and whole letters", (text) => {
    const got = cleanPrompt(text);
    expect(new TextEncoder().encode(got).length).toBeLessThanOrEqual(512);
    expect(new TextEncoder().encode(got).length).toBeGreaterThan(507);
    expect(text.startsWith(got)).toBe(true);
    expect(encodeURIComponent(got)).toContain("%"); // throws on half a letter
  });
});

describe("terms", () => {
  it("knows tiles from prompts", () => {
    expect(termTile(tileTerm("17/67350/43080"))).toBe("17/67350/43080");
    for (const term of ["stadium", "tile:", "tile:17/1", "tile:1/5/0", "tile:17/-1/0"]) {
      expect(termTile(term)).toBeNull();
    }
  });
  it("adds once and removes from both lists", () => {
    expect(addTerm(asked, "q", "stadium")).toEqual(asked);
    expect(addTerm(asked, "not", "stadium")).toEqual({ q: [], not: ["forest", "stadium"] });
    expect(removeTerm(asked, "forest")).toEqual({ q: ["stadium"], not: [] });
  });
  it("compares in order", () => {
    expect(sameQuery(asked, { q: ["stadium"], not: ["forest"] })).toBe(true);
    expect(sameQuery(asked, { q: ["stadium"], not: [] })).toBe(false);
  });
  it("speaks", () => {
    expect(inWords({ q: ["stadium", "tile:17/1/2"], not: ["forest"] })).toBe("stadium or tile 17/1/2, not forest");
  });
});

describe("unknown words", () => {
  it("are marked whole, whatever their case", () => {
    expect(markUnknown("Flurbled stadium's flurbledness", ["flurbled"]).filter((p) => p.unknown)).toEqual([{ text: "Flurbled", unknown: true }]);
  });
  it("lose no letter", () => {
    const prompt = "  a, b—c's d  ";
    expect(markUnknown(prompt, ["b"]).map((p) => p.text).join("")).toBe(prompt);
  });
  it("leave the rest to be searched", () => {
    expect(knownPart("a flurbled stadium", ["flurbled"])).toBe("a stadium");
    expect(knownPart("flurbled", ["flurbled"])).toBe("");
  });
});
