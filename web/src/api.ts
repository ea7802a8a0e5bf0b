import { isPicture } from "./Pictures";
import { termTile } from "./terms";
import type { Tile } from "./tiles";
import type { BBox, IndexStatus, Layer, Matches, Model, OverlayDetail, OverlayStyle, Query, Suggestion, TileName, TileScore } from "./types";

/** A request that did not end well. `offline`: no answer at all; else the server's own words, from problem+json. */
export class ApiError extends Error {
  constructor(
    /** HTTP status; 0 if the server did not answer. */
    readonly status: number,
    message: string,
    /** Seconds after which the server asks to come back; 0 if it did not say. */
    readonly retryAfter = 0,
  ) {
    super(message);
    this.name = "ApiError";
  }

  get offline(): boolean {
    return this.status === 0;
  }

  /** The server's words as a sentence: with a capital and a full stop. */
  get sentence(): string {
    const text = this.message.trim();
    const capital = text.charAt(0).toUpperCase() + text.slice(1);
    return /[.!?]$/.test(capital) ? capital : `${capital}.`;
  }
}

export interface SearchOptions {
  bbox?: BBox | null;
  limit?: number;
}

export interface OverlayOptions {
  style: OverlayStyle;
  detail: OverlayDetail;
  threshold: number;
  rev?: string;
}

/** Api speaks with a Tilescout server below one base address. Every call ends with its signal. */
export class Api {
  /**
   * base: absolute address of the folder that the server answers under, with a slash at the end.
   * key: the key of an operator's layers, where the page's own address had one. It goes to addresses below base only;
   * the server writes it into those that its answers hold.
   */
  constructor(readonly base: string, readonly key = "") {}

  async layers(signal?: AbortSignal): Promise<Layer[]> {
    return (await this.json<{ layers?: Layer[] }>("layers", {}, signal)).layers ?? [];
  }

  model(signal?: AbortSignal): Promise<Model> {
    return this.json("model", {}, signal);
  }

  /** search returns the tiles that answer a query, best first, below any threshold too. */
  search(layer: string, query: Query, options: SearchOptions = {}, signal?: AbortSignal): Promise<Matches> {
    const [only] = query.q;
    const tile = query.q.length === 1 && only !== undefined ? termTile(only) : null;
    const common = { not: query.not, threshold: "0", bbox: options.bbox?.map(degrees).join(","), limit: options.limit };
    return tile
      ? this.json(`similar/${layer}`, { tile, ...common }, signal)
      : this.json(`search/${layer}`, { q: query.q, ...common }, signal);
  }

  /** similar returns the tiles that look like a picture, best first. */
  similar(layer: string, picture: Blob, options: SearchOptions = {}, signal?: AbortSignal): Promise<Matches> {
    const init = { method: "POST", body: picture, ...(signal ? { signal } : {}) };
    return this.json(`similar/${layer}`, { threshold: "0", bbox: options.bbox?.map(degrees).join(","), limit: options.limit }, signal, init);
  }

  tile(layer: string, { z, x, y }: Tile, query: Query, signal?: AbortSignal): Promise<TileScore> {
    return this.json(`search/${layer}/tile/${z}/${x}/${y}`, terms(query), signal);
  }

  /** suggest completes what is typed; nothing typed: prompts that the layer is likely to hold. */
  async suggest(text: string, layer: string, signal?: AbortSignal): Promise<Suggestion[]> {
    return (await this.json<{ suggestions?: Suggestion[] }>("suggest", { q: text, layer }, signal)).suggestions ?? [];
  }

  index(layer: string, bbox: BBox | null, signal?: AbortSignal): Promise<IndexStatus> {
    return this.json(`index/${layer}`, { bbox: bbox?.map(degrees).join(",") }, signal);
  }

  /** fill asks the server to embed what lies in the bbox; it answers at once and works on. */
  async fill(layer: string, bbox: BBox | null): Promise<void> {
    await this.fetch(this.url(`index/${layer}`, { bbox: bbox?.map(degrees).join(",") }), { method: "POST" });
  }

  /** alive says whether the server answers. */
  async alive(): Promise<boolean> {
    try {
      return (await fetch(this.url("healthz"), { cache: "no-store" })).ok;
    } catch {
      return false;
    }
  }

  /** overlayUrl returns the address of one overlay tile; with "{z}", "{x}", "{y}" the template for other clients. */
  overlayUrl(layer: string, query: Query, at: Tile | null, options: OverlayOptions): string {
    const place = at ? `${at.z}/${at.x}/${at.y}` : "{z}/{x}/{y}";
    const url = this.url("", { ...terms(query), style: options.style, detail: options.style === "grid" || options.detail === "tile" ? undefined : options.detail, threshold: options.threshold.toFixed(2), rev: options.rev });
    return url.replace(this.base, `${this.base}overlay/${layer}/${place}.png`);
  }

  tilesUrl(layer: Layer): string {
    const path = layer.tiles.replace(/[?&]rev=[^&]*$/, "");
    return this.resolve(path);
  }

  searchUrl(layer: string, query: Query, options: { threshold: number; bbox?: BBox | null; limit?: number }): string {
    return this.url(`search/${layer}`, {
      ...terms(query),
      threshold: options.threshold.toFixed(2),
      bbox: options.bbox?.map(degrees).join(","),
      limit: options.limit,
    });
  }

  wmtsUrl(query: Query): string {
    return this.url("wmts", { SERVICE: "WMTS", REQUEST: "GetCapabilities", ...terms(query) });
  }

  qlrUrl(layer: string, query: Query): string {
    return this.url(`qgis/${layer}.qlr`, terms(query));
  }

  /** resolve returns an address from an answer as an absolute one; {z} and its like stay readable. */
  resolve(path: string): string {
    return new URL(path, this.base).href.replaceAll("%7B", "{").replaceAll("%7D", "}");
  }

  tilePicture(layer: Layer, name: TileName): string {
    const [z = "", x = "", y = ""] = name.split("/");
    return this.resolve(layer.tiles).replace("{z}", z).replace("{x}", x).replace("{y}", y).replace("{r}", "");
  }

  private url(path: string, params: Record<string, string | number | readonly string[] | undefined> = {}): string {
    const pairs: string[] = [];
    for (const [name, value] of Object.entries(params)) {
      for (const v of Array.isArray(value) ? value : [value]) {
        if (v !== undefined && v !== "") {
          pairs.push(`${name}=${encodeURIComponent(String(v)).replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%2C", ",")}`);
        }
      }
    }
    if (this.key) {
      pairs.push(`key=${encodeURIComponent(this.key)}`);
    }
    return this.base + path + (pairs.length ? `?${pairs.join("&")}` : "");
  }

  private async json<T>(path: string, params: Parameters<Api["url"]>[1], signal?: AbortSignal, init: RequestInit = signal ? { signal } : {}): Promise<T> {
    const response = await this.fetch(this.url(path, params), init);
    try {
      return (await response.json()) as T;
    } catch (err) {
      if (signal?.aborted) {
        throw err;
      }
      throw new ApiError(response.status, "The server answered with something that is not JSON.");
    }
  }

  private async fetch(url: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(url, { ...init, headers: { Accept: "application/json" } });
    } catch (err) {
      if (init.signal?.aborted) {
        throw err;
      }
      throw new ApiError(0, "The server does not answer.");
    }
    if (!response.ok) {
      throw await problem(response);
    }
    return response;
  }
}

/** isAbort says whether an error only means that a newer request took over. */
export function isAbort(err: unknown): boolean {
  return err instanceof DOMException && err.name === "AbortError";
}

async function problem(response: Response): Promise<ApiError> {
  let text = "";
  try {
    const body = (await response.json()) as { title?: unknown; detail?: unknown };
    text = [body.detail, body.title].find((t): t is string => typeof t === "string" && t !== "") ?? "";
  } catch {
    // Not JSON: a proxy's page, most likely. The status has to do.
  }
  const after = Number(response.headers.get("Retry-After"));
  return new ApiError(response.status, text || `The server answered ${response.status}.`, Number.isFinite(after) ? after : 0);
}

/** terms takes the parameters out of what may be more than a query. A picture does not fit into an address. */
function terms({ q, not }: Query): { q: string[]; not: string[] } {
  return { q: q.filter((t) => !isPicture(t)), not };
}

function degrees(value: number): string {
  return String(Number(value.toFixed(6)));
}
