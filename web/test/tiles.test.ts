import { describe, expect, it } from "vitest";
import { bboxOf, intersects, overlap, parseTile, tileAt, tileBounds, tileCenter, tileName, wrapLongitude } from "../src/tiles";
import type { BBox } from "../src/types";

describe("tileAt", () => {
  it.each([
    ["null island", 0, 0, 1, "1/1/1"],
    ["the whole earth", 77, -33, 0, "0/0/0"],
    ["Amsterdam", 4.9, 52.37, 17, "17/67320/43075"],
    ["beyond the north end", 0, 89.9, 4, "4/8/0"],
    ["beyond the south end", 0, -90, 4, "4/8/15"],
    ["180 is -180", 180, 0, 4, "4/0/8"],
    ["just west of 180", 179.9999999999, 0, 4, "4/15/8"],
    ["a turn further", 364.9, 52.37, 17, "17/67320/43075"],
  ])("%s", (_, lon, lat, z, want) => {
    expect(tileName(tileAt(lon, lat, z))).toBe(want);
  });

  it("finds the tile of every tile's centre", () => {
    for (const tile of [{ z: 0, x: 0, y: 0 }, { z: 5, x: 31, y: 0 }, { z: 17, x: 67319, y: 43084 }, { z: 24, x: 1, y: 16777215 }]) {
      const [lon, lat] = tileCenter(tile);
      expect(tileAt(lon, lat, tile.z)).toEqual(tile);
    }
  });
});

describe("tileBounds", () => {
  it("meets the neighbours exactly", () => {
    const [, south, east] = tileBounds({ z: 17, x: 67319, y: 43084 });
    expect(tileBounds({ z: 17, x: 67320, y: 43084 })[0]).toBe(east);
    expect(tileBounds({ z: 17, x: 67319, y: 43085 })[3]).toBe(south);
  });
  it("ends where the grid ends", () => {
    const [west, south, east, north] = tileBounds({ z: 0, x: 0, y: 0 });
    expect([west, east]).toEqual([-180, 180]);
    expect(north).toBeCloseTo(85.0511287798, 9);
    expect(south).toBeCloseTo(-85.0511287798, 9);
  });
});

describe("parseTile", () => {
  it.each(["", "1/2", "1/2/0", "1/0/2", "31/0/0", "-1/0/0", "1.0/0/0", "1/0/0/", " 1/0/0", "a/b/c"])("%j is none", (name) => {
    expect(parseTile(name)).toBeNull();
  });
  it("reads what tileName writes", () => {
    expect(parseTile("17/67319/43084")).toEqual({ z: 17, x: 67319, y: 43084 });
  });
});

describe("bboxes", () => {
  it.each<[string, [number, number, number, number], BBox | null]>([
    ["plain", [4, 52, 5, 53], [4, 52, 5, 53]],
    ["across 180", [170, -10, 190, 10], [170, -10, -170, 10]],
    ["up to 180", [170, -10, 180, 10], [170, -10, 180, 10]],
    ["a turn to the east", [364, 52, 365, 53], [4, 52, 5, 53]],
    ["round the earth", [-200, -90, 200, 90], null],
    ["beyond the poles", [0, -100, 1, 100], [0, -90, 1, 90]],
  ])("%s", (_, [w, s, e, n], want) => {
    expect(bboxOf(w, s, e, n)).toEqual(want);
  });

  it.each<[string, BBox, BBox, number]>([
    ["itself", [4, 52, 5, 53], [4, 52, 5, 53], 1],
    ["a quarter", [0, 0, 2, 2], [1, 1, 3, 3], 0.25],
    ["apart", [0, 0, 1, 1], [2, 2, 3, 3], 0],
    ["an edge only", [0, 0, 1, 1], [1, 0, 2, 1], 0],
    ["across 180, seen from the west", [175, 0, 180, 1], [170, 0, -170, 1], 1],
    ["across 180, seen from the east", [-180, 0, -175, 1], [170, 0, -170, 1], 1],
    ["half of what crosses", [170, 0, -170, 1], [170, 0, 180, 1], 0.5],
  ])("overlap: %s", (_, a, b, want) => {
    expect(overlap(a, b)).toBeCloseTo(want, 12);
    expect(intersects(a, b)).toBe(want > 0);
  });

  it.each([[0, 0], [180, -180], [-180, -180], [540, -180], [190, -170], [-190, 170], [365, 5]])("wraps %d to %d", (lon, want) => {
    expect(wrapLongitude(lon)).toBeCloseTo(want, 12);
  });
});
