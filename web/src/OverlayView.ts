import type { Api } from "./api";
import { debounced } from "./dom";
import type { View } from "./hash";
import { toBounds, type MapView } from "./MapView";
import { MatchLayer } from "./MatchLayer";
import type { Layer, Matches } from "./types";

export interface OverlayViewOptions {
  api: Api;
  map: () => MapView;
  view: () => View;
  onProgress: () => void;
  onSettled: () => void;
  onOffline: () => void;
}

const UNSURE = 0.3; // overlay floor, where the server names none

/** OverlayView keeps the overlay of the current query on the map: there or not, dimmed or not, how opaque. */
export class OverlayView {
  private layer: MatchLayer | null = null;
  private rev = "";
  /** Score down to which an unsure answer is drawn, faintly: it is not hidden. */
  private unsureFrom = 1;
  private opaque = 0.9;
  /** redraw draws the same query with another threshold, once the handle rests. */
  readonly redraw = debounced(120, () => this.layer?.refresh(false));

  constructor(private readonly options: OverlayViewOptions) {}

  get opacity(): number {
    return this.opaque;
  }

  set opacity(opacity: number) {
    this.opaque = opacity;
    this.layer?.setOpacity(opacity);
  }

  /** pending returns how many tiles in view wait to be embedded. */
  get pending(): number {
    return this.layer?.pending ?? 0;
  }

  /** show paints what an answer stands for. `fresh`: it answers a new question; else only a new revision counts. */
  show(layer: Layer, indexZoom: number, matches: Matches, fresh: boolean): void {
    const same = !fresh && this.rev === matches.rev;
    this.rev = matches.rev;
    this.unsureFrom = matches.verdict === "match" ? 1 : (matches.threshold ?? UNSURE);
    if (!this.layer) {
      this.layer = this.create(layer, indexZoom);
    } else if (!same) {
      this.layer.refresh(fresh);
    }
    this.layer.getContainer()?.classList.toggle("tilescout-match-faint", matches.verdict !== "match");
  }

  /** dim fades what is painted while its successor is awaited. */
  dim(on: boolean): void {
    this.layer?.setDim(on);
  }

  refresh(): void {
    this.layer?.refresh(false);
  }

  clear(): void {
    this.layer?.remove();
    this.layer = null;
  }

  private create(layer: Layer, indexZoom: number): MatchLayer {
    const { api, map, view, onProgress, onSettled, onOffline } = this.options;
    const created = new MatchLayer({
      url: ({ x, y, z }) => {
        const { style, detail, threshold } = view();
        return api.overlayUrl(layer.id, view(), { x, y, z }, { style, detail, threshold: Math.min(threshold, this.unsureFrom), rev: this.rev });
      },
      indexZoom, opacity: this.opaque, maxZoom: map().map.getMaxZoom(), bounds: toBounds(layer.bounds),
    });
    created.on("progress", debounced(700, onProgress));
    created.on("settled", onSettled);
    created.on("offline", onOffline);
    return created.addTo(map().map);
  }
}
