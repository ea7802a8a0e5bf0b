import { describe, expect, it } from "vitest";
import { rampColor, STOPS } from "../src/ramp";

type Triple = [number, number, number];

const linear = (c: number) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const times = (m: number[][], v: Triple): Triple => m.map((r) => r.reduce((sum, x, i) => sum + x * (v[i] ?? 0), 0)) as Triple;

/** OKLab after B. Ottosson, 2020. */
function oklab(rgb: Triple): Triple {
  const lms = times([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566], [0.0883024619, 0.2817188376, 0.6299787005]], rgb.map(linear) as Triple).map(Math.cbrt) as Triple;
  return times([[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099], [0.0259040371, 0.7827717662, -0.808675766]], lms);
}

/** How dichromats see linear RGB, after Machado, Oliveira and Fernandes 2009, severity 1. */
const BLIND: Record<string, number[][]> = {
  protanopia: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranopia: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanopia: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

const colors = STOPS.map(([r, g, b]): Triple => [r, g, b]);
const luminance = (rgb: Triple) => 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];

describe("ramp", () => {
  it("steps evenly", () => {
    const labs = colors.map(oklab);
    const steps = labs.slice(1).map((lab, i) => Math.hypot(...lab.map((v, k) => v - (labs[i]?.[k] ?? 0))));
    expect(Math.max(...steps) / Math.min(...steps)).toBeLessThan(1.05);
  });

  it.each(Object.entries(BLIND))("darkens all the way for %s", (_, matrix) => {
    const seen = colors.map((c) => luminance(times(matrix, c.map(linear) as Triple)));
    seen.slice(1).forEach((l, i) => expect(l).toBeLessThan(seen[i] ?? 0));
  });

  it("grows more opaque, and never hides what lies below", () => {
    const alphas = STOPS.map((s) => s[3]);
    alphas.slice(1).forEach((a, i) => expect(a).toBeGreaterThan(alphas[i] ?? 1));
    expect(alphas[0]).toBe(0);
    expect(alphas.at(-1)).toBeLessThanOrEqual(0.7);
  });

  it.each([[0, 0], [1, 8], [0.5, 4], [-3, 0], [7, 8], [NaN, 0]])("of %d is stop %d", (score, stop) => {
    expect(rampColor(score)).toEqual([...(STOPS[stop] ?? [])]);
  });

  it("lies between its stops", () => {
    expect(rampColor(0.0625)).toEqual([255, 198, 84, 0.07]);
  });
});
