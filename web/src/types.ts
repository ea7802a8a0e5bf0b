/** What the server says, as JSON. Names and meanings are those of openapi.yaml. */

/** A tile's name, `z/x/y` in WebMercatorQuad, y southwards. */
export type TileName = string;

/** west, south, east, north in degrees (EPSG:4326); west > east crosses 180°. */
export type BBox = [number, number, number, number];

export type OverlayStyle = "heat" | "grid" | "outline";
/** Whole tiles, or the parts of them in which the thing is seen. */
export type OverlayDetail = "tile" | "patch";

export interface IndexState {
  state: "ready" | "building" | "empty" | "unavailable";
  zooms: number[];
  embedded: number;
  total: number;
}

export interface Layer {
  id: string;
  title: string;
  /** Plain text or links; absent where the source names none. */
  attribution?: string;
  bounds: BBox;
  minzoom: number;
  maxzoom: number;
  tiles: string;
  tileSize?: number;
  rev: string;
  index: IndexState;
  links?: Record<string, string>;
  /** Of a saved search: the layer that it lies over. The page offers it as a suggestion, not as imagery. */
  over?: string;
}

export interface IndexStatus extends IndexState {
  rate?: number;
  bytes?: number;
  model?: string;
  view?: { embedded: number; total: number };
  /** The model that is to follow, while it embeds what this one has. */
  next?: { model: string; embedded: number; total: number; failed: number; rate: number };
}

export interface MatchProperties {
  score: number;
  rank: number;
  similarity: number;
  tile: TileName;
  thumbnail: string;
  imagery?: string;
  center: [number, number];
}

export interface Match {
  type: "Feature";
  id: string;
  geometry: GeoJSON.Polygon | GeoJSON.MultiPolygon | GeoJSON.Point;
  properties: MatchProperties;
}

export type Verdict = "match" | "weak" | "none";

export interface Matches {
  type: "FeatureCollection";
  features: Match[];
  verdict: Verdict;
  max: number;
  model: string;
  rev: string;
  embedded: number;
  total: number;
  unknown?: string[];
  /** Phrases that the model never saw as a label and read as other words. */
  described?: { phrase: string; as: string }[];
  query?: { q: string[]; not: string[] };
  related?: string[];
  overlay?: string;
  /** Least score that the answer goes down to. */
  threshold?: number;
}

export interface Probability {
  label: string;
  probability: number;
}

export interface TileScore {
  tile: TileName;
  score?: number;
  similarity?: number;
  embedded: boolean;
  top?: Probability[];
}

export interface Suggestion {
  phrase: string;
  kind: "concept" | "saved";
  known: boolean;
}

export interface Model {
  id: string;
  title: string;
  digest: string;
  dimension: number;
  inputSize: number;
  concepts?: string[];
  words?: number;
}

/** What is asked: tiles that answer any of `q` and none of `not`. A term is a prompt or `tile:z/x/y`. */
export interface Query {
  q: string[];
  not: string[];
}
