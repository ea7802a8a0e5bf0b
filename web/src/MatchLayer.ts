import * as L from "leaflet";

export interface MatchLayerOptions extends L.GridLayerOptions {
  /** Address of one overlay tile for the query shown. */
  url: (coords: L.Coords) => string;
  /** Zoom of the tiles that are embedded; says how many lie beneath an overlay tile. */
  indexZoom: number;
}

/** One overlay tile on the screen. */
interface Cell {
  coords: L.Coords;
  element: HTMLElement;
  canvas: HTMLCanvasElement;
  veil: HTMLElement;
  abort: AbortController | null;
  timer: number;
  /** Tiles beneath that wait to be embedded, as the server said last. */
  pending: number;
  attempt: number;
  /** Drawn but held back until the whole view can change at once. */
  staged: { bitmap: ImageBitmap | null; pending: number } | null;
  /** Generation of the query that the cell has drawn or staged. */
  generation: number;
  done: (() => void) | null;
}

const FIRST_RETRY = 600; // ms; each further one 1.6 times later
const LAST_RETRY = 8000; // ms
const HOLD = 1500; // ms that a new query may keep the old picture

/**
 * MatchLayer draws the overlay of one query. It fetches its tiles itself, for three reasons: the header
 * Tilescout-Pending says how much is still to be embedded beneath a tile, such tiles are asked for again until nothing
 * is pending, and a new query changes the whole view at once instead of tile by tile. Old pixels stay until new ones
 * are there, so nothing flickers.
 *
 * Fires `progress` (any tile changed its pending count), `settled` (nothing is pending after something was), and
 * `offline` (the server did not answer).
 */
export class MatchLayer extends L.GridLayer {
  declare options: MatchLayerOptions;
  private cells!: Map<HTMLElement, Cell>;
  private generation!: number;
  private holding!: number;
  private waited!: boolean;

  constructor(options: MatchLayerOptions) {
    super({ keepBuffer: 1, updateWhenZooming: false, className: "tilescout-match", zIndex: 5, ...options } as MatchLayerOptions);
    this.cells = new Map();
    this.generation = 0;
    this.holding = 0;
    this.waited = false;
    this.on("tileunload", (event) => this.drop((event as L.TileEvent).tile));
  }

  /** pending returns how many tiles in view wait to be embedded. */
  get pending(): number {
    let sum = 0;
    for (const cell of this.cells.values()) {
      sum += cell.pending;
    }
    return sum;
  }

  /** refresh draws everything anew. `dim` says that the old picture answers another question: it fades till then. */
  refresh(dim: boolean): void {
    this.generation++;
    if (this.cells.size === 0) {
      return;
    }
    if (dim) {
      this.setDim(true);
    }
    window.clearTimeout(this.holding);
    this.holding = window.setTimeout(() => this.release(), HOLD);
    for (const cell of this.cells.values()) {
      cell.attempt = 0;
      void this.load(cell);
    }
  }

  setDim(dim: boolean): void {
    this.getContainer()?.classList.toggle("tilescout-match-dim", dim);
  }

  override onRemove(map: L.Map): this {
    window.clearTimeout(this.holding);
    for (const element of [...this.cells.keys()]) {
      this.drop(element);
    }
    return super.onRemove(map);
  }

  override createTile(coords: L.Coords, done: L.DoneCallback): HTMLElement {
    const size = this.getTileSize();
    const element = L.DomUtil.create("div", "tilescout-match-tile");
    const veil = L.DomUtil.create("div", "tilescout-veil", element);
    const canvas = L.DomUtil.create("canvas", "", element);
    canvas.width = size.x;
    canvas.height = size.y;
    const cell: Cell = {
      coords, element, canvas, veil, abort: null, timer: 0, pending: 0, attempt: 0, staged: null, generation: -1,
      done: () => done(undefined, element),
    };
    this.cells.set(element, cell);
    void this.load(cell);
    return element;
  }

  private drop(element: HTMLElement): void {
    const cell = this.cells.get(element);
    if (!cell) {
      return;
    }
    cell.abort?.abort();
    cell.staged?.bitmap?.close();
    window.clearTimeout(cell.timer);
    this.cells.delete(element);
    this.maybeRelease();
  }

  private async load(cell: Cell): Promise<void> {
    cell.abort?.abort();
    window.clearTimeout(cell.timer);
    const abort = new AbortController();
    const generation = this.generation;
    cell.abort = abort;
    let bitmap: ImageBitmap | null = null;
    let pending = 0;
    let again = 0;
    try {
      const response = await fetch(this.options.url(cell.coords), { signal: abort.signal });
      if (response.ok) {
        pending = Math.max(0, Number(response.headers.get("Tilescout-Pending")) || 0);
        bitmap = await createImageBitmap(await response.blob());
      } else if (response.status === 429 || response.status >= 500) {
        // Busy: what is drawn stays, the tile comes later.
        again = Math.max(1, Number(response.headers.get("Retry-After")) || 1) * 1000;
        pending = cell.pending;
      }
    } catch (err) {
      if (abort.signal.aborted) {
        return;
      }
      if (err instanceof TypeError) {
        this.fire("offline");
      }
      again = LAST_RETRY;
    }
    if (abort.signal.aborted || !this.cells.has(cell.element)) {
      bitmap?.close();
      return;
    }
    if (again > 0) {
      cell.timer = window.setTimeout(() => void this.load(cell), again);
      cell.generation = generation;
      this.finish(cell);
      this.maybeRelease();
      return;
    }
    cell.generation = generation;
    cell.staged?.bitmap?.close();
    cell.staged = { bitmap, pending };
    if (this.holding === 0) {
      this.paint(cell);
    } else {
      this.maybeRelease();
    }
    if (pending > 0) {
      const wait = Math.min(LAST_RETRY, FIRST_RETRY * 1.6 ** cell.attempt++);
      cell.timer = window.setTimeout(() => void this.load(cell), wait);
    }
  }

  /** maybeRelease lets the whole view change as soon as every cell has its new picture. */
  private maybeRelease(): void {
    if (this.holding !== 0 && [...this.cells.values()].every((c) => c.generation === this.generation)) {
      this.release();
    }
  }

  private release(): void {
    window.clearTimeout(this.holding);
    this.holding = 0;
    this.setDim(false);
    for (const cell of this.cells.values()) {
      this.paint(cell);
    }
    this.fire("painted");
  }

  private paint(cell: Cell): void {
    if (!cell.staged) {
      return;
    }
    const { bitmap, pending } = cell.staged;
    cell.staged = null;
    const context = cell.canvas.getContext("2d");
    if (context) {
      // Clearing and drawing in one task: the screen never sees the empty canvas.
      context.clearRect(0, 0, cell.canvas.width, cell.canvas.height);
      if (bitmap) {
        context.drawImage(bitmap, 0, 0, cell.canvas.width, cell.canvas.height);
      }
    }
    bitmap?.close();
    const changed = pending !== cell.pending;
    cell.pending = pending;
    const beneath = 4 ** Math.max(0, this.options.indexZoom - cell.coords.z);
    cell.veil.style.opacity = pending > 0 ? String(0.35 + 0.65 * Math.min(1, pending / beneath)) : "0";
    this.finish(cell);
    if (changed) {
      this.fire("progress");
    }
    if (pending > 0) {
      this.waited = true;
    } else if (this.waited && this.pending === 0) {
      this.waited = false;
      this.fire("settled");
    }
  }

  private finish(cell: Cell): void {
    cell.done?.();
    cell.done = null;
  }
}
