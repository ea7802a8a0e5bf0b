import { describe, expect, it } from "vitest";
import { nextModel } from "../src/Coverage";
import type { IndexStatus } from "../src/types";

const status = (next?: IndexStatus["next"]): IndexStatus => ({ state: "ready", zooms: [17], embedded: 900, total: 900, model: "old", ...(next ? { next } : {}) });

describe("nextModel", () => {
  it("says nothing where no model is to follow", () => {
    expect(nextModel(status())).toBe("");
    expect(nextModel(null)).toBe("");
  });
  it.each([
    [{ model: "clip-rsicd", embedded: 0, total: 900, failed: 0, rate: 0 }, "clip-rsicd prepares itself: 0 %. Until then old answers."],
    [{ model: "clip-rsicd", embedded: 450, total: 900, failed: 0, rate: 10 }, "clip-rsicd prepares itself: 50 %, 45 s left. Until then old answers."],
    [{ model: "clip-rsicd", embedded: 899, total: 900, failed: 0, rate: 0.001 }, "clip-rsicd prepares itself: 99 %, 17 min left. Until then old answers."],
    [{ model: "clip-rsicd", embedded: 880, total: 900, failed: 20, rate: 0 }, "clip-rsicd prepares itself: 97 %; 20 tiles cannot be fetched, it tries again. Until then old answers."],
  ])("%j", (next, want) => expect(nextModel(status(next))).toBe(want));
});
