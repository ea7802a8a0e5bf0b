// A made-up town by the sea, painted from coordinates: enough to look at a map of it, nothing to train on.
// Positions are in tiles of zoom 17 relative to the scene's north-west corner; one is about 187 m on the ground.

export const ZOOM = 17;
export const ORIGIN = { x: 67344, y: 43072 }; // near 52.37° N, 4.95° E
export const SIZE = { x: 26, y: 18 };

const mix = (a, b, t) => a + (b - a) * t;
const smooth = (a, b, v) => {
  const t = Math.min(1, Math.max(0, (v - a) / (b - a)));
  return t * t * (3 - 2 * t);
};

function hash(x, y, seed) {
  let h = Math.imul(x, 374761393) + Math.imul(y, 668265263) + Math.imul(seed, 974634777);
  h = Math.imul(h ^ (h >>> 13), 1274126177);
  return ((h ^ (h >>> 16)) >>> 0) / 4294967296;
}

function noise(x, y, seed) {
  const ix = Math.floor(x);
  const iy = Math.floor(y);
  const u = smooth(0, 1, x - ix);
  const v = smooth(0, 1, y - iy);
  return mix(mix(hash(ix, iy, seed), hash(ix + 1, iy, seed), u), mix(hash(ix, iy + 1, seed), hash(ix + 1, iy + 1, seed), u), v);
}

function fbm(x, y, seed) {
  return 0.5 * noise(x, y, seed) + 0.3 * noise(x * 2.1, y * 2.1, seed + 1) + 0.2 * noise(x * 4.7, y * 4.7, seed + 2);
}

const shore = (y) => 5 + 1.4 * Math.sin(y * 0.42) + 0.8 * noise(y * 0.9, 0, 7);
const river = (x) => 9 + 2.2 * Math.sin(x * 0.31) + 0.5 * Math.sin(x * 1.1);

/** Things with a place and an extent: [x, y, half width, half height], in tiles. */
export const THINGS = {
  stadium: [[12.5, 4.5, 0.42, 0.34], [19.4, 13.6, 0.4, 0.32], [22.6, 4.7, 0.34, 0.28]],
  airport: [[16.5, 16.1, 3.6, 0.5], [14.2, 15.4, 0.8, 0.3]],
  harbor: [[5.6, 7.4, 0.6, 0.9], [5.9, 9.1, 0.5, 0.6], [5.2, 12.3, 0.6, 0.5]],
  "storage tanks": [[7.6, 12.6, 0.5, 0.5], [8.6, 13.4, 0.45, 0.45]],
  "parking lot": [[13.7, 4.4, 0.3, 0.3], [20.5, 13.4, 0.3, 0.35], [12.6, 15.0, 0.4, 0.25], [9.6, 5.6, 0.25, 0.25]],
  "baseball field": [[21.5, 6.6, 0.3, 0.3], [15.4, 2.3, 0.3, 0.3]],
};

const inside = ([cx, cy, hw, hh], x, y) => Math.abs(x - cx) <= hw && Math.abs(y - cy) <= hh;
const ellipse = ([cx, cy, hw, hh], x, y) => Math.hypot((x - cx) / hw, (y - cy) / hh);

/** color returns [r, g, b] at a place of the scene. */
export function color(x, y) {
  const grain = fbm(x * 24, y * 24, 3) - 0.5;
  const tint = (r, g, b, k = 34) => [r + grain * k, g + grain * k, b + grain * k];
  const coast = x - shore(y);
  for (const dock of THINGS.harbor) {
    if (inside(dock, x, y)) {
      const lane = ((y - dock[1] + 9) * 6) % 1;
      const ship = hash(Math.floor(x * 5), Math.floor(y * 12), 5) > 0.62;
      return lane < 0.24 ? tint(158, 154, 148) : ship && lane > 0.4 && lane < 0.75 ? tint(206, 203, 198) : tint(38, 66, 84, 12);
    }
  }
  if (coast < 0) {
    const depth = smooth(-3.5, 0, coast);
    return tint(mix(18, 62, depth), mix(48, 104, depth), mix(72, 116, depth), 14);
  }
  if (coast < 0.16) {
    return tint(208, 192, 156, 20);
  }
  const bank = Math.abs(y - river(x));
  const bridge = [11.2, 17.4, 22.3].some((b) => Math.abs(x - b) < 0.06);
  if (bank < 0.24) {
    return bridge ? tint(176, 172, 166) : tint(46, 78, 84, 12);
  }
  for (const [cx, cy, hw, hh] of [THINGS.airport[0]]) {
    if (Math.abs(x - cx) < hw && Math.abs(y - cy) < hh) {
      const runway = Math.abs(y - cy) < 0.09;
      const dash = runway && Math.abs(y - cy) < 0.008 && (x * 9) % 1 < 0.6;
      return dash ? [235, 235, 232] : runway ? tint(84, 86, 90, 16) : Math.abs(y - cy + 0.26) < 0.04 ? tint(112, 112, 112, 16) : tint(112, 128, 78);
    }
  }
  if (inside(THINGS.airport[1], x, y)) {
    return (x * 3) % 1 < 0.7 && y < 15.35 ? tint(212, 214, 216, 12) : tint(140, 140, 140, 14);
  }
  for (const s of THINGS.stadium) {
    const d = ellipse(s, x, y);
    if (d < 0.58) {
      return (x * 22) % 1 < 0.5 ? tint(86, 142, 70, 10) : tint(96, 152, 78, 10);
    }
    if (d < 0.66) {
      return tint(176, 84, 64, 12);
    }
    if (d < 1) {
      return tint(mix(150, 224, (Math.sin(d * 70) + 1) / 2), 208, 206, 14);
    }
  }
  for (const s of THINGS["baseball field"]) {
    const [u, v] = [x - s[0] + 0.2, y - s[1] + 0.2];
    if (u > 0 && v > 0 && Math.hypot(u, v) < 0.5) {
      return Math.hypot(u - 0.1, v - 0.1) < 0.12 && u + v > 0.06 ? tint(186, 140, 98, 14) : tint(98, 144, 74, 14);
    }
  }
  for (const s of THINGS["storage tanks"]) {
    if (inside(s, x, y)) {
      const [u, v] = [((x * 5) % 1) - 0.5, ((y * 5) % 1) - 0.5];
      const d = Math.hypot(u, v);
      return d < 0.36 ? tint(mix(246, 208, d / 0.36), mix(246, 210, d / 0.36), mix(242, 212, d / 0.36), 8) : u > 0 && v > 0 && d < 0.48 ? tint(92, 90, 84) : tint(150, 146, 134);
    }
  }
  for (const s of THINGS["parking lot"]) {
    if (inside(s, x, y)) {
      const car = (y * 22) % 1 < 0.5 && (x * 40) % 1 < 0.6 && hash(Math.floor(x * 40), Math.floor(y * 22), 9) > 0.35;
      const c = hash(Math.floor(x * 40), Math.floor(y * 22), 11);
      return car ? [mix(60, 230, c), mix(62, 228, c), mix(70, 226, c)] : tint(104, 104, 106, 12);
    }
  }
  const wild = fbm(x * 0.33, y * 0.33, 21);
  const town = smooth(9.5, 4.5, Math.hypot(x - 12, (y - 6.5) * 1.3)) + 0.35 * smooth(5, 2, Math.hypot(x - 19, y - 13));
  if (town > 0.25 && wild < 0.62 + town * 0.2) {
    const turn = [x * 0.96 + y * 0.28, y * 0.96 - x * 0.28];
    const [bu, bv] = [(turn[0] * 2.2) % 1, (turn[1] * 3.1) % 1].map((v) => (v + 1) % 1);
    if (bu < 0.07 || bv < 0.09) {
      return tint(126, 124, 122, 16);
    }
    const lot = [Math.floor(turn[0] * 11), Math.floor(turn[1] * 12.4)];
    const [u, v] = [((turn[0] * 11) % 1 + 1) % 1, ((turn[1] * 12.4) % 1 + 1) % 1];
    const h = hash(lot[0], lot[1], 31);
    if (h > 0.22 && u > 0.2 && u < 0.8 && v > 0.2 && v < 0.78) {
      const light = v < 0.5 ? 1.1 : 0.86;
      const roof = h > 0.7 ? [150, 84, 66] : h > 0.45 ? [128, 122, 120] : [176, 168, 156];
      return roof.map((c) => c * light + grain * 16);
    }
    return u > 0.8 && u < 0.9 && h > 0.22 ? tint(58, 62, 52, 12) : tint(98, 112, 78, 40);
  }
  if (wild > 0.56) {
    const crowns = noise(x * 60, y * 60, 41);
    return [mix(24, 62, crowns), mix(44, 86, crowns), mix(28, 48, crowns)];
  }
  const [fx, fy] = [Math.floor(x * 1.6 + Math.sin(y * 1.2) * 0.2), Math.floor(y * 2.3)];
  const crop = hash(fx, fy, 51);
  const furrow = Math.sin((crop > 0.5 ? x : y) * 190) * 5;
  const field = crop > 0.72 ? [186, 170, 116] : crop > 0.45 ? [112, 134, 74] : crop > 0.2 ? [136, 150, 88] : [142, 116, 86];
  return field.map((c) => c + furrow + grain * 26);
}

/** score returns how well the tile x, y of ZOOM (absolute) answers one prompt, 0–1. */
export function score(prompt, tx, ty) {
  const [x, y] = [tx - ORIGIN.x + 0.5, ty - ORIGIN.y + 0.5];
  const luck = hash(tx, ty, prompt.length * 7 + prompt.charCodeAt(0)) ** 3;
  const like = /^tile:\d+\/(\d+)\/(\d+)$/.exec(prompt);
  if (like) {
    const best = Object.keys(THINGS).reduce((a, b) => (score(b, +like[1], +like[2]) > score(a, +like[1], +like[2]) ? b : a));
    return +like[1] === tx && +like[2] === ty ? 1 : 0.95 * score(best, tx, ty);
  }
  const coast = x - shore(y);
  if (prompt.includes("forest")) {
    return coast > 0.4 ? smooth(0.5, 0.68, fbm(x * 0.33, y * 0.33, 21)) * 0.9 + 0.05 * luck : 0.02;
  }
  if (prompt.includes("bridge")) {
    const d = Math.min(...[11.2, 17.4, 22.3].map((b) => Math.hypot(x - b, y - river(b))));
    return 0.94 * smooth(0.9, 0.25, d) + 0.2 * luck;
  }
  if (prompt.includes("beach")) {
    return 0.85 * smooth(0.9, 0.1, Math.abs(coast)) + 0.1 * luck;
  }
  const name = Object.keys(THINGS).find((n) => prompt.includes(n) || n.includes(prompt));
  if (!name) {
    return 0.12 + 0.26 * luck;
  }
  const near = Math.max(...THINGS[name].map(([cx, cy, hw, hh], i) => {
    const d = Math.max(Math.abs(x - cx) - hw - 0.5, Math.abs(y - cy) - hh - 0.5);
    return (0.97 - 0.06 * i) * smooth(0.6, -0.45, d);
  }));
  return Math.min(1, near + 0.24 * luck);
}
