import { describe, expect, it } from "vitest";
import { distance, formatCoordinates, formatDistance, placeInWords, wind } from "../src/place";

describe("distance", () => {
  it("is a sixtieth of a degree for a nautical mile", () => {
    expect(distance([0, 0], [0, 1 / 60])).toBeCloseTo(1853.25, 0);
  });
  it("does not go round the earth at 180°", () => {
    expect(distance([179.999, 0], [-179.999, 0])).toBeLessThan(250);
  });
  it("is half the earth at most", () => {
    expect(distance([0, 0], [180, 0])).toBeCloseTo(Math.PI * 6371008.8, 0);
  });
});

describe("wind", () => {
  it.each<[string, [number, number]]>([
    ["north", [0, 1]], ["north-east", [1, 1]], ["east", [1, 0]], ["south-east", [1, -1]],
    ["south", [0, -1]], ["south-west", [-1, -1]], ["west", [-1, 0]], ["north-west", [-1, 1]],
  ])("%s", (want, to) => {
    expect(wind([0, 0], to)).toBe(want);
  });
  it("goes the short way over 180°", () => {
    expect(wind([179, 0], [-179, 0])).toBe("east");
  });
});

describe("words", () => {
  it.each([[3, "10 m"], [42, "40 m"], [424, "420 m"], [994, "990 m"], [996, "1.0 km"], [1234, "1.2 km"], [9949, "9.9 km"], [9951, "10 km"], [12345, "12 km"]])("%d m is %s", (metres, want) => {
    expect(formatDistance(metres)).toBe(want);
  });
  it("says where", () => {
    expect(placeInWords([4.9, 52.37], [4.9, 52.3701])).toBe("At the centre");
    expect(placeInWords([4.9, 52.37], [4.9, 52.38])).toBe("1.1 km north");
    expect(placeInWords([4.9, 52.37], [-74, -40.7])).toBe("40.7000° S, 74.0000° W");
  });
  it("writes coordinates", () => {
    expect(formatCoordinates([4.8952, 52.3702])).toBe("52.3702° N, 4.8952° E");
  });
});
