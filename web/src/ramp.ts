/**
 * The overlay's colours. One hue path from amber to deep magenta, lightness falling all the way, steps of equal
 * length in OKLab (0.0742 to 0.0758), so that equal steps of score look equal and colour-blind eyes can order them.
 * The mapping is fixed: a score has one colour on every map. The server draws the heat overlay from the same stops.
 */

/** Stops at score 0, 1/8, … 1: red, green, blue (0–255) and opacity (0–1); linear in between. */
export const STOPS: ReadonlyArray<readonly [number, number, number, number]> = [
  [255, 214, 102, 0],
  [255, 182, 66, 0.14],
  [253, 150, 59, 0.28],
  [248, 119, 70, 0.4],
  [237, 88, 85, 0.48],
  [220, 58, 101, 0.54],
  [197, 32, 118, 0.58],
  [166, 10, 123, 0.62],
  [132, 0, 120, 0.66],
];

/** rampColor returns red, green, blue (0–255) and opacity (0–1) of a score; scores outside 0–1 are clamped. */
export function rampColor(score: number): [number, number, number, number] {
  const last = STOPS.length - 1;
  const at = Math.min(1, Math.max(0, Number.isFinite(score) ? score : 0)) * last;
  const k = Math.min(last - 1, Math.floor(at));
  const u = at - k;
  const a = STOPS[k] ?? [0, 0, 0, 0];
  const b = STOPS[k + 1] ?? a;
  const mix = (i: 0 | 1 | 2 | 3) => a[i] + (b[i] - a[i]) * u;
  return [Math.round(mix(0)), Math.round(mix(1)), Math.round(mix(2)), mix(3)];
}

/** cssColor returns the opaque CSS colour of a score. */
export function cssColor(score: number): string {
  const [r, g, b] = rampColor(score);
  return `rgb(${r} ${g} ${b})`;
}
