import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

// The contrast of text on glass, computed from the style sheet: the imagery below may be anything from black to white.
const css = readFileSync(new URL("../src/css/tokens.css", import.meta.url), "utf8");

type Color = [number, number, number, number];

function block(selector: string): Record<string, Color> {
  const start = css.indexOf(`${selector} {`);
  const body = css.slice(start, css.indexOf("}", start));
  const colors: Record<string, Color> = {};
  for (const m of body.matchAll(/--([a-z-]+): rgb\((\d+) (\d+) (\d+)(?: \/ ([\d.]+))?\)/g)) {
    colors[m[1] ?? ""] = [Number(m[2]), Number(m[3]), Number(m[4]), m[5] === undefined ? 1 : Number(m[5])];
  }
  return colors;
}

const over = (top: Color, below: Color): Color => [0, 1, 2].map((i) => (top[i] ?? 0) * top[3] + (below[i] ?? 0) * (1 - top[3])).concat(1) as Color;
const linear = (c: number) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const luminance = (c: Color) => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
/** WCAG 2.2 contrast ratio. */
const contrast = (a: Color, b: Color) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);

const IMAGERY: Record<string, Color> = { black: [0, 0, 0, 1], white: [255, 255, 255, 1] };
const dark = block(":root");
const light = block(':root[data-theme="light"]');

describe.each([["dark", dark], ["light", light]])("%s theme", (_, theme) => {
  const at = (name: string): Color => {
    const color = theme[name];
    if (!color) {
      throw new Error(`tokens.css has no --${name}`);
    }
    return color;
  };
  it.each(Object.keys(IMAGERY))("text and muted text read on glass over %s imagery", (name) => {
    const glass = over(at("glass"), IMAGERY[name] ?? [0, 0, 0, 1]);
    expect(contrast(at("text"), glass)).toBeGreaterThanOrEqual(7);
    expect(contrast(at("muted"), glass)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(at("muted"), over(at("raise"), glass))).toBeGreaterThanOrEqual(4.5);
    expect(contrast(at("text"), over(at("raise-more"), glass))).toBeGreaterThanOrEqual(4.5);
    expect(contrast(at("accent"), glass)).toBeGreaterThanOrEqual(4.5);
  });
  it("text reads on buttons", () => {
    expect(contrast(at("on-accent"), at("accent"))).toBeGreaterThanOrEqual(4.5);
  });
});

it("the light theme is the same by choice and by the system", () => {
  expect(block(':root:not([data-theme="dark"])')).toEqual(light);
});
