import { isPicture } from "./Pictures";
import { cleanPrompt } from "./terms";
import type { OverlayDetail, OverlayStyle, Query } from "./types";

/** Everything that the address bar holds: enough to see the same on another screen. */
export interface View extends Query {
  layer: string;
  /** [lon, lat] of the middle of the map, degrees. */
  center: [number, number];
  zoom: number;
  /** Least calibrated score that counts, 0–1. */
  threshold: number;
  style: OverlayStyle;
  /** How far the overlay looks: at whole tiles, or into them. */
  detail: OverlayDetail;
  /** Where is searched: what one sees, or the whole layer. */
  scope: "view" | "layer";
}

export const DEFAULT_THRESHOLD = 0.5;
export const STYLES: readonly OverlayStyle[] = ["heat", "grid", "outline"];
const MOST_TERMS = 16; // as many as a person can mean; keeps a forged link harmless

/** formatHash returns `#/layer/zoom/lat/lon?q=…`; what is at its default is left out. */
export function formatHash(view: View): string {
  const precision = Math.max(3, Math.ceil((view.zoom * Math.LN2) / Math.LN10) + 1);
  const [lon, lat] = view.center;
  const params = new URLSearchParams();
  view.q.filter((term) => !isPicture(term)).forEach((term) => params.append("q", term));
  view.not.forEach((term) => params.append("not", term));
  if (view.threshold !== DEFAULT_THRESHOLD) {
    params.set("threshold", view.threshold.toFixed(2));
  }
  if (view.style !== "heat") {
    params.set("style", view.style);
  }
  if (view.detail !== "patch") {
    params.set("detail", view.detail);
  }
  if (view.scope !== "view") {
    params.set("scope", view.scope);
  }
  const place = `#/${encodeURIComponent(view.layer)}/${trim(view.zoom, 2)}/${trim(lat, precision)}/${trim(lon, precision)}`;
  const query = params.toString().replaceAll("%3A", ":").replaceAll("%2F", "/");
  return query ? `${place}?${query}` : place;
}

/** parseHash returns the parts of a hash that make sense; the rest is left out, never an error. */
export function parseHash(hash: string): Partial<View> {
  const [path = "", query = ""] = split(hash.replace(/^#\/?/, ""), "?");
  const [layer = "", zoom, lat, lon] = path.split("/");
  const view: Partial<View> = {};
  const id = decode(layer);
  if (/^[a-z0-9][a-z0-9_-]{0,62}$/.test(id)) {
    view.layer = id;
  }
  const z = number(zoom, 0, 30);
  const y = number(lat, -90, 90);
  const x = number(lon, -540, 540);
  if (z !== null && y !== null && x !== null) {
    view.zoom = z;
    view.center = [x, y];
  }
  const params = new URLSearchParams(query);
  const terms = (name: string) => params.getAll(name).map(cleanPrompt).filter((term) => term && !isPicture(term)).slice(0, MOST_TERMS);
  view.q = terms("q");
  view.not = terms("not");
  const threshold = number(params.get("threshold"), 0, 1);
  if (threshold !== null) {
    view.threshold = threshold;
  }
  const style = STYLES.find((s) => s === params.get("style"));
  if (style) {
    view.style = style;
  }
  if (params.get("detail") === "tile") {
    view.detail = "tile";
  }
  if (params.get("scope") === "layer") {
    view.scope = "layer";
  }
  return view;
}

function split(text: string, at: string): [string, string] {
  const i = text.indexOf(at);
  return i < 0 ? [text, ""] : [text.slice(0, i), text.slice(i + 1)];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

function number(text: string | null | undefined, min: number, max: number): number | null {
  if (text === null || text === undefined || text.trim() === "") {
    return null;
  }
  const value = Number(text);
  return Number.isFinite(value) && value >= min && value <= max ? value : null;
}

function trim(value: number, digits: number): string {
  return String(Number(value.toFixed(digits)));
}
