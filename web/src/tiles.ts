import type { BBox, TileName } from "./types";

/** A tile of WebMercatorQuad: column x, row y southwards, zoom z. */
export interface Tile {
  z: number;
  x: number;
  y: number;
}

const LATITUDE_LIMIT = 85.0511287798066; // degrees, where WebMercatorQuad ends

/** tileAt returns the tile that holds a longitude and latitude in degrees; columns and rows are clamped to the grid. */
export function tileAt(lon: number, lat: number, z: number): Tile {
  const n = 2 ** z;
  const wrapped = wrapLongitude(lon);
  const phi = (Math.min(LATITUDE_LIMIT, Math.max(-LATITUDE_LIMIT, lat)) * Math.PI) / 180;
  const clamp = (v: number) => Math.min(n - 1, Math.max(0, Math.floor(v)));
  return {
    z,
    x: clamp(((wrapped + 180) / 360) * n),
    y: clamp(((1 - Math.asinh(Math.tan(phi)) / Math.PI) / 2) * n),
  };
}

/** tileBounds returns west, south, east, north of a tile in degrees. */
export function tileBounds({ z, x, y }: Tile): BBox {
  const n = 2 ** z;
  const lat = (row: number) => (Math.atan(Math.sinh(Math.PI * (1 - (2 * row) / n))) * 180) / Math.PI;
  return [(x / n) * 360 - 180, lat(y + 1), ((x + 1) / n) * 360 - 180, lat(y)];
}

/** tileCenter returns the middle of a tile as [lon, lat]. */
export function tileCenter(tile: Tile): [number, number] {
  const [west, south, east, north] = tileBounds(tile);
  return [(west + east) / 2, (south + north) / 2];
}

export function tileName({ z, x, y }: Tile): TileName {
  return `${z}/${x}/${y}`;
}

/** parseTile returns the tile of a name `z/x/y`, or null if it is none. */
export function parseTile(name: string): Tile | null {
  const m = /^(\d{1,2})\/(\d{1,10})\/(\d{1,10})$/.exec(name);
  if (!m) {
    return null;
  }
  const [z, x, y] = [Number(m[1]), Number(m[2]), Number(m[3])];
  return z <= 30 && x < 2 ** z && y < 2 ** z ? { z, x, y } : null;
}

/** wrapLongitude brings a longitude into -180 (included) to 180 (excluded). */
export function wrapLongitude(lon: number): number {
  return lon >= -180 && lon < 180 ? lon : ((((lon + 180) % 360) + 360) % 360) - 180;
}

/** bboxOf wraps the edges of a map view into a bbox; null if it goes round the whole earth. */
export function bboxOf(west: number, south: number, east: number, north: number): BBox | null {
  if (east - west >= 360) {
    return null;
  }
  const clampLat = (v: number) => Math.min(90, Math.max(-90, v));
  const e = wrapLongitude(east);
  return [wrapLongitude(west), clampLat(south), e === -180 ? 180 : e, clampLat(north)];
}

/** span returns the east of a bbox as a longitude above its west, beyond 180 where it crosses. */
function span([west, , east]: BBox): [number, number] {
  return [west, east < west ? east + 360 : east];
}

/** overlap returns which share of bbox a lies in bbox b, 0–1; both may cross 180°. */
export function overlap(a: BBox, b: BBox): number {
  const [west, east] = span(a);
  const [from, to] = span(b);
  const part = (lo: number, hi: number, min: number, max: number) => Math.max(0, Math.min(hi, max) - Math.max(lo, min)) / Math.max(1e-12, hi - lo);
  // The same place may be named a turn further east or west.
  const across = Math.max(...[-360, 0, 360].map((turn) => part(west, east, from + turn, to + turn)));
  return across * part(a[1], a[3], b[1], b[3]);
}

/** intersects says whether two bboxes share more than an edge. */
export function intersects(a: BBox, b: BBox): boolean {
  return overlap(a, b) > 0;
}
