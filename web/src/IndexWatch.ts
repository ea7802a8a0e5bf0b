import { ApiError, isAbort, type Api } from "./api";
import type { BBox, IndexStatus } from "./types";

export interface IndexWatchOptions {
  api: Api;
  layer: () => string;
  /** Part of the layer in view; null: all of it. */
  bbox: () => BBox | null;
  onStatus: (status: IndexStatus) => void;
  /** More is embedded than before: results may have changed. */
  onGrown: () => void;
  /** Another model answers than before. */
  onModel: () => void;
  onOffline: () => void;
}

const POLL = 1500; // ms between two looks while the index is being filled
const CALM = 4000; // ms at least between two calls of onGrown, so that results do not hop

/** IndexWatch follows how much of the view is embedded; the newest question wins. */
export class IndexWatch {
  private abort: AbortController | null = null;
  private timer = 0;
  private embedded = -1;
  private model = "";
  private grownAt = 0;

  constructor(private readonly options: IndexWatchOptions) {}

  /** reset forgets what was counted, as for another layer. */
  reset(): void {
    this.embedded = -1;
  }

  async look(): Promise<void> {
    const { api, layer, bbox, onStatus } = this.options;
    window.clearTimeout(this.timer);
    this.abort?.abort();
    const abort = new AbortController();
    this.abort = abort;
    try {
      const status = await api.index(layer(), bbox(), abort.signal);
      if (abort.signal.aborted) {
        return;
      }
      onStatus(status);
      const building = status.state === "building";
      if (building || status.next) {
        this.timer = window.setTimeout(() => void this.look(), POLL);
      }
      this.count(status.embedded, building);
      if (status.model && this.model && status.model !== this.model) {
        this.options.onModel();
      }
      this.model = status.model ?? this.model;
    } catch (err) {
      if (!isAbort(err) && err instanceof ApiError && err.offline) {
        this.options.onOffline();
      }
    }
  }

  /** fill has the rest of the view embedded and follows it. Throws what the server says against it. */
  async fill(): Promise<void> {
    await this.options.api.fill(this.options.layer(), this.options.bbox());
    await this.look();
    // The work may only be queued: look once more, even if it does not say "building" yet.
    this.timer = window.setTimeout(() => void this.look(), POLL);
  }

  private count(embedded: number, building: boolean): void {
    if (this.embedded < 0) {
      this.embedded = embedded;
      return;
    }
    const now = performance.now();
    if (embedded > this.embedded && (!building || now - this.grownAt > CALM)) {
      this.embedded = embedded;
      this.grownAt = now;
      this.options.onGrown();
    }
  }
}
