import * as L from "leaflet";
import { ApiError, isAbort, type Api } from "./api";
import { h } from "./dom";
import { formatHash, type View } from "./hash";
import type { MapView } from "./MapView";
import { isPicture } from "./Pictures";
import { placeInWords } from "./place";
import { TileCard, type TileCardOptions } from "./TileCard";
import { intersects, tileBounds, tileCenter, tileName, type Tile } from "./tiles";
import type { BBox, Layer } from "./types";

export interface TileLookOptions extends Omit<TileCardOptions, "onClose"> {
  api: Api;
  map: () => MapView;
  view: () => View;
  layer: () => Layer | undefined;
  /** Is the window so narrow that the card takes the place of the sheet? */
  narrow: () => boolean;
  covered: () => { left: number; top: number; right: number; bottom: number };
  /** Another tile is looked at, or none. */
  onSelect: (tile: string | null, bbox: BBox | null) => void;
}

/** TileLook opens the card of a tile beside the tile, or at the bottom of a phone, and asks the server about it. */
export class TileLook {
  /** Where the card lies on a narrow screen. */
  readonly dock = h("div", { class: "tilescout-dock", hidden: true });
  private readonly card: TileCard;
  private readonly popup = L.popup({ className: "tilescout-popup", closeButton: false, autoClose: false, closeOnClick: false, maxWidth: 320, minWidth: 320, offset: [0, 4] });
  private abort: AbortController | null = null;
  private isOpen = false;

  constructor(private readonly options: TileLookOptions) {
    this.card = new TileCard({ ...options, onClose: () => this.close() });
  }

  get open(): boolean {
    return this.isOpen;
  }

  /** look shows a tile; one outside the layer closes the card. */
  look(tile: Tile): void {
    const { api, options } = { api: this.options.api, options: this.options };
    const layer = options.layer();
    const bbox = tileBounds(tile);
    if (!layer || !intersects(layer.bounds, bbox)) {
      this.close();
      return;
    }
    const [view, map, name, center] = [options.view(), options.map(), tileName(tile), tileCenter(tile)];
    this.isOpen = true;
    options.onSelect(name, bbox);
    this.card.open({
      tile: name, picture: api.tilePicture(layer, name), place: placeInWords(map.center, center),
      link: new URL(formatHash({ ...view, center, zoom: Math.max(map.zoom, tile.z) }), location.href).href,
      qlr: api.qlrUrl(layer.id, view), searching: view.q.length > 0 && !view.q.some(isPicture),
    });
    this.place(map, bbox, center);
    this.abort?.abort();
    const abort = new AbortController();
    this.abort = abort;
    api.tile(layer.id, tile, view, abort.signal).then(
      (answer) => {
        this.card.fill(answer);
        this.popup.update();
      },
      (err: unknown) => {
        if (!isAbort(err)) {
          this.card.fail(err instanceof ApiError ? err.sentence : "The tile could not be looked at.");
        }
      },
    );
  }

  /** close says whether there was a card to close. */
  close(): boolean {
    if (!this.isOpen) {
      return false;
    }
    this.isOpen = false;
    this.abort?.abort();
    this.popup.remove();
    this.dock.hidden = true;
    this.options.onSelect(null, null);
    return true;
  }

  private place(map: MapView, [, , , north]: BBox, center: [number, number]): void {
    if (this.options.narrow()) {
      this.dock.replaceChildren(this.card.element);
      this.dock.hidden = false;
      return;
    }
    const { left, top, right, bottom } = this.options.covered();
    Object.assign(this.popup.options, { autoPanPaddingTopLeft: [left + 12, top + 12], autoPanPaddingBottomRight: [right + 12, bottom + 12] });
    this.popup.setLatLng([north, center[0]]).setContent(this.card.element).openOn(map.map);
  }
}
