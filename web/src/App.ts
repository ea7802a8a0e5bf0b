import * as L from "leaflet";
import { Announcer } from "./Announcer";
import { ApiError, isAbort, type Api } from "./api";
import { Attribution } from "./Attribution";
import { Banner } from "./Banner";
import { debounced, h } from "./dom";
import { DEFAULT_THRESHOLD, formatHash, parseHash, type View } from "./hash";
import { HelpPanel } from "./HelpPanel";
import { LayersPanel } from "./LayersPanel";
import { Legend } from "./Legend";
import { MapView } from "./MapView";
import { MatchLayer } from "./MatchLayer";
import { Outlines } from "./Outlines";
import { OverlayPanel } from "./OverlayPanel";
import { placeInWords } from "./place";
import { Recents } from "./Recents";
import { SearchCard } from "./SearchCard";
import { SharePanel, type Addresses } from "./SharePanel";
import { addTerm, applyInput, inWords, removeTerm, sameQuery, termTile, tileTerm } from "./terms";
import { Theme } from "./Theme";
import { TileCard } from "./TileCard";
import { bboxOf, parseTile, tileAt, tileBounds, tileCenter, tileName, type Tile } from "./tiles";
import { Toolbar } from "./Toolbar";
import type { BBox, Layer, Match, Matches, Query } from "./types";

const NARROW = matchMedia("(max-width: 640px)");
const LIMIT = 200; // results asked for
const CLOSEST = 12; // tiles shown when nothing is a confident match
const WHOLE = 0.5; // share of the layer in view from which the whole layer is searched
const POLL = 1500; // ms between two looks at an index that is being filled

/** App is the page: it holds the view, asks the server, and tells each part what to show. */
export class App {
  private layers: Layer[] = [];
  private view: View = { layer: "", center: [0, 0], zoom: 1, q: [], not: [], threshold: DEFAULT_THRESHOLD, style: "heat", scope: "view" };
  private opacity = 0.9;
  private matches: Matches | null = null;
  /** bbox of the last search; null: the whole layer. */
  private searched: BBox | null = null;
  private overlay: MatchLayer | null = null;
  private searching: AbortController | null = null;
  private looking: AbortController | null = null;
  private covering: AbortController | null = null;
  private poll = 0;
  private embedded = -1;
  /** The map is moving because we said so: the results stay as they are. */
  private selected: Tile | null = null;
  private modelTitle = "";

  private readonly announcer = new Announcer();
  private readonly attribution = new Attribution();
  private readonly recents = new Recents();
  private readonly theme = new Theme(document.documentElement);
  private readonly banner: Banner;
  private readonly card: SearchCard;
  private readonly legend: Legend;
  private readonly legendHome = h("div", { class: "tilescout-corner" });
  private readonly toolbar: Toolbar;
  private readonly tileCard: TileCard;
  private readonly tileDock = h("div", { class: "tilescout-dock", hidden: true });
  private readonly popup = L.popup({ className: "tilescout-popup", closeButton: false, autoClose: false, closeOnClick: false, maxWidth: 320, minWidth: 320, offset: [0, 4] });
  private readonly map: MapView;
  private readonly outlines: Outlines;
  private readonly moved = debounced(350, () => void this.lookAtIndex());
  private readonly redraw = debounced(120, () => this.overlay?.refresh(false));

  constructor(private readonly root: HTMLElement, private readonly api: Api) {
    const container = root.querySelector<HTMLElement>("#tilescout-map") ?? root.appendChild(h("div", { id: "tilescout-map" }));
    this.banner = new Banner({ alive: () => api.alive(), onBack: () => void this.back() });
    this.card = new SearchCard({
      api, recents: this.recents, layer: () => this.view.layer, query: () => this.view, center: () => this.map.center,
      picture: (tile) => this.picture(tile),
      onSubmit: (text) => this.submit(text), onClear: () => this.ask({ q: [], not: [] }), onRemove: (term) => this.ask(removeTerm(this.view, term)),
      onWiden: () => void this.search({ scope: "layer", show: true }), onHere: () => void this.search({ scope: "view" }),
      onThreshold: (t) => this.setThreshold(t), onRetry: () => void this.search({}), onFill: () => void this.fill(),
      onHover: (match) => this.outlines.hover(match), onChoose: (match) => this.choose(match),
    });
    this.legend = new Legend({ onChange: (t) => this.setThreshold(t) });
    this.legend.element.hidden = true;
    this.tileCard = new TileCard({
      onSimilar: (tile) => this.ask({ q: [tileTerm(tile)], not: [] }),
      onNot: (tile) => this.ask(addTerm(this.view, "not", tileTerm(tile))),
      onClose: () => this.closeTile(),
    });
    this.toolbar = new Toolbar({ onZoom: (by) => this.map.zoomBy(by), onToggle: (open) => root.classList.toggle("tilescout-panel-open", open) });
    const onClose = () => void this.toolbar.close();
    this.toolbar.mount([
      new LayersPanel({ layers: () => this.layers, current: () => this.view.layer, theme: this.theme, onLayer: (id) => void this.openLayer(id, true), onClose }),
      new OverlayPanel({
        style: () => this.view.style, opacity: () => this.opacity, onClose,
        onStyle: (style) => { this.view.style = style; this.remember(); this.overlay?.refresh(false); },
        onOpacity: (opacity) => { this.opacity = opacity; this.overlay?.setOpacity(opacity); },
      }),
      new SharePanel({ addresses: () => this.addresses(), onClose }),
      new HelpPanel({ model: () => this.modelTitle, onClose }),
    ]);
    this.map = new MapView(container, {
      onMove: () => this.onMove(), onClick: (lon, lat) => this.openTile(tileAt(lon, lat, this.indexZoom), null), covered: () => this.covered(),
    });
    this.outlines = new Outlines(this.map.map);
    root.append(this.card.element, this.toolbar.element, this.legendHome, this.attribution.element, this.tileDock, this.banner.element, this.announcer.element);
    const place = () => (NARROW.matches ? this.card.legendSlot : this.legendHome).append(this.legend.element);
    place();
    NARROW.addEventListener("change", () => { place(); this.closeTile(); });
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("popstate", () => void this.follow());
    // The attribution sits on the sheet's upper edge, wherever that is.
    new ResizeObserver(() => root.style.setProperty("--sheet", `${this.card.element.offsetHeight}px`)).observe(this.card.element);
  }

  /** start opens the view of the address bar, or the first layer. */
  async start(): Promise<void> {
    this.legend.show(this.view.threshold);
    try {
      this.layers = await this.api.layers();
    } catch (err) {
      this.fail(err);
      return;
    }
    if (this.layers.length === 0) {
      this.card.verdict.fail("No layer is served yet. Start tilescout with a picture or an address of tiles.");
      return;
    }
    await this.follow();
    if (this.view.q.length === 0 && !NARROW.matches && document.activeElement === document.body) {
      this.card.field.focus();
    }
    this.api.model().then((m) => (this.modelTitle = m.title || m.id), () => undefined);
  }

  /** follow takes over what the address bar says. */
  private async follow(): Promise<void> {
    const wanted = parseHash(location.hash);
    const before = this.view;
    this.view = {
      ...before, q: wanted.q ?? [], not: wanted.not ?? [], threshold: wanted.threshold ?? DEFAULT_THRESHOLD, style: wanted.style ?? "heat", scope: wanted.scope ?? "view",
    };
    this.legend.show(this.view.threshold);
    const id = this.layers.find((l) => l.id === wanted.layer)?.id ?? this.layers[0]?.id ?? "";
    const place = wanted.center && wanted.zoom !== undefined ? { center: wanted.center, zoom: wanted.zoom } : null;
    if (id !== before.layer) {
      await this.openLayer(id, false, place);
    } else if (place) {
      this.map.set(place.center, place.zoom);
    }
    if (id !== before.layer || !sameQuery(before, this.view)) {
      this.card.show(this.view);
      await this.search({});
    } else {
      this.overlay?.refresh(false);
      this.showMatches();
    }
  }

  private async openLayer(id: string, search: boolean, place: { center: [number, number]; zoom: number } | null = null): Promise<void> {
    const layer = this.layers.find((l) => l.id === id);
    if (!layer) {
      return;
    }
    this.closeTile();
    this.view.layer = id;
    this.overlay?.remove();
    this.overlay = null;
    this.embedded = -1;
    this.map.setLayer(layer, this.api.resolve(layer.tiles));
    this.attribution.show(layer.attribution);
    if (place) {
      this.map.set(place.center, place.zoom);
    } else {
      this.map.fit(layer);
    }
    if (search) {
      await this.search({ scope: "view" });
    }
  }

  private get layer(): Layer | undefined {
    return this.layers.find((l) => l.id === this.view.layer);
  }

  private get indexZoom(): number {
    return this.layer?.index.zooms[0] ?? this.layer?.maxzoom ?? 17;
  }

  private submit(text: string): void {
    const query = applyInput(text, this.view);
    const phrase = query.q[query.q.length - 1];
    if (phrase && !termTile(phrase)) {
      this.recents.add(phrase);
    }
    this.ask(query);
  }

  /** ask starts a new search and a new entry in the browser's history. */
  private ask(query: Query): void {
    this.closeTile();
    this.view = { ...this.view, ...query };
    if (query.q.length === 0) {
      this.view.scope = "view";
      this.view.not = [];
    }
    this.card.show(this.view);
    this.card.sheet.set("three");
    history.pushState(null, "", formatHash(this.view));
    void this.search({});
  }

  private async search({ scope, show, quiet }: { scope?: "view" | "layer"; show?: boolean; quiet?: boolean }): Promise<void> {
    this.searching?.abort();
    if (scope) {
      this.view.scope = scope;
    }
    if (this.view.q.length === 0) {
      this.clear();
      return;
    }
    const abort = new AbortController();
    this.searching = abort;
    const bbox = this.view.scope === "layer" || this.seesWhole() ? null : bboxOf(...this.map.view);
    if (!quiet) {
      this.card.field.searching(true);
      this.overlay?.setDim(true);
    }
    try {
      const matches = await this.api.search(this.view.layer, this.view, { bbox, limit: LIMIT }, abort.signal);
      if (abort.signal.aborted) {
        return;
      }
      const rev = this.matches?.rev;
      this.matches = matches;
      this.searched = bbox;
      this.card.field.underline(matches.unknown ?? []);
      this.paint(!quiet, quiet === true && rev === matches.rev);
      this.showMatches(!quiet);
      if (show) {
        this.showBest();
      }
      this.remember();
      void this.lookAtIndex();
    } catch (err) {
      if (!isAbort(err) && !abort.signal.aborted) {
        this.overlay?.setDim(false);
        this.fail(err);
      }
    } finally {
      if (this.searching === abort) {
        this.card.field.searching(false);
      }
    }
  }

  /** paint draws the overlay of the current query; `same`: nothing can have changed in it. */
  private paint(dim: boolean, same: boolean): void {
    if (!this.overlay) {
      this.overlay = new MatchLayer({
        url: ({ x, y, z }) => this.api.overlayUrl(this.view.layer, this.view, { x, y, z }, { style: this.view.style, threshold: this.overlayThreshold, ...(this.matches ? { rev: this.matches.rev } : {}) }),
        indexZoom: this.indexZoom, opacity: this.opacity, maxZoom: this.map.map.getMaxZoom(),
        ...(this.layer ? { bounds: L.latLngBounds([this.layer.bounds[1], this.layer.bounds[0]], [this.layer.bounds[3], this.layer.bounds[2]]) } : {}),
      });
      const progress = debounced(700, () => void this.lookAtIndex());
      this.overlay.on("progress", progress);
      this.overlay.on("settled", () => void this.search({ quiet: true }));
      this.overlay.on("offline", () => this.banner.show());
      this.overlay.addTo(this.map.map);
    } else if (!same) {
      this.overlay.refresh(dim);
    }
    this.overlay.getContainer()?.classList.toggle("tilescout-match-faint", this.matches?.verdict !== "match");
  }

  private get overlayThreshold(): number {
    return this.view.threshold;
  }

  /** showMatches fills the list from the last answer, as the threshold wants it. */
  private showMatches(announce = false): void {
    const matches = this.matches;
    if (!matches) {
      return;
    }
    const confident = matches.verdict === "match";
    const above = matches.features.filter((f) => f.properties.score >= this.view.threshold);
    const shown = confident ? above : matches.features.slice(0, CLOSEST);
    const text = this.card.verdict.show({
      matches, count: above.length, more: matches.features.length >= LIMIT && above.length === matches.features.length,
      threshold: this.view.threshold, inView: this.searched !== null, prompt: termTile(this.view.q[0] ?? "") ? "" : (this.view.q[0] ?? ""),
    });
    this.card.results.show(shown, !confident);
    this.outlines.hint(confident ? [] : shown);
    this.outlines.hover(null);
    this.legend.element.hidden = false;
    this.root.classList.add("tilescout-has-query");
    document.title = `${inWords(this.view)} – Tilescout`;
    this.toolbar.refresh();
    if (announce) {
      this.announcer.say(text);
    }
  }

  private showBest(): void {
    const best = (this.matches?.features ?? []).slice(0, CLOSEST);
    if (best.length === 0) {
      return;
    }
    const bounds = L.latLngBounds([]);
    best.forEach((m) => bounds.extend(L.geoJSON(m.geometry).getBounds()));
    this.map.show([bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()], this.indexZoom);
  }

  private clear(): void {
    this.matches = null;
    this.searched = null;
    this.overlay?.remove();
    this.overlay = null;
    this.card.field.searching(false);
    this.card.verdict.clear();
    this.card.results.show([], false);
    this.outlines.hint([]);
    this.outlines.hover(null);
    this.legend.element.hidden = true;
    this.root.classList.remove("tilescout-has-query");
    document.title = "Tilescout";
    this.toolbar.refresh();
    this.remember();
    void this.lookAtIndex();
    const layer = this.view.layer;
    this.api.suggest("", layer).then((list) => {
      if (this.view.q.length === 0 && this.view.layer === layer) {
        this.card.offer(list.slice(0, 6).map((s) => s.phrase));
      }
    }, () => undefined);
  }

  private setThreshold(threshold: number): void {
    this.view.threshold = threshold;
    this.legend.show(threshold);
    this.showMatches();
    this.remember();
    this.redraw();
  }

  private choose(match: Match): void {
    const tile = parseTile(match.properties.tile);
    if (tile) {
      this.outlines.hover(null);
      this.map.flyTo(tileBounds(tile));
      this.outlines.choose(tileBounds(tile));
      this.card.results.mark(match.properties.tile);
    }
  }

  /** openTile shows the card of a tile, and asks the server about it. */
  private openTile(tile: Tile, score: number | null): void {
    const layer = this.layer;
    const [west, south, east, north] = tileBounds(tile);
    if (!layer || !L.latLngBounds([south, west], [north, east]).intersects(L.latLngBounds([layer.bounds[1], layer.bounds[0]], [layer.bounds[3], layer.bounds[2]]))) {
      this.closeTile();
      return;
    }
    this.toolbar.close();
    const name = tileName(tile);
    const center = tileCenter(tile);
    this.selected = tile;
    this.outlines.choose([west, south, east, north]);
    this.card.results.mark(name);
    this.tileCard.open({
      tile: name, picture: this.picture(name), place: placeInWords(this.map.center, center),
      link: new URL(formatHash({ ...this.view, center, zoom: Math.max(this.map.zoom, tile.z) }), location.href).href,
      qlr: this.api.qlrUrl(layer.id, this.view), searching: this.view.q.length > 0,
    });
    if (score !== null) {
      this.tileCard.fill({ tile: name, score, embedded: true });
    }
    if (NARROW.matches) {
      this.tileDock.replaceChildren(this.tileCard.element);
      this.tileDock.hidden = false;
      this.root.classList.add("tilescout-tile-open");
    } else {
      const { left, top, right, bottom } = this.covered();
      Object.assign(this.popup.options, { autoPanPaddingTopLeft: [left + 12, top + 12], autoPanPaddingBottomRight: [right + 12, bottom + 12] });
      this.popup.setLatLng([north, center[0]]).setContent(this.tileCard.element).openOn(this.map.map);
    }
    this.looking?.abort();
    const abort = new AbortController();
    this.looking = abort;
    this.api.tile(layer.id, tile, this.view, abort.signal).then((answer) => {
      this.tileCard.fill(answer);
      this.popup.update();
    }, (err: unknown) => {
      if (!isAbort(err)) {
        this.tileCard.fail(err instanceof ApiError ? sentence(err) : "The tile could not be looked at.");
      }
    });
  }

  /** closeTile closes the card of a tile and says whether there was one. */
  private closeTile(): boolean {
    const open = this.selected !== null;
    this.looking?.abort();
    this.selected = null;
    this.popup.remove();
    this.tileDock.hidden = true;
    this.root.classList.remove("tilescout-tile-open");
    this.outlines.choose(null);
    this.card.results.mark(null);
    return open;
  }

  private onMove(): void {
    this.view.center = this.map.center;
    this.view.zoom = this.map.zoom;
    this.remember();
    this.card.results.relocate();
    this.card.verdict.offerHere(this.matches !== null && this.searched !== null && this.movedAway(this.searched));
    this.moved();
  }

  /** movedAway says whether a good part of the view lies outside what was searched. */
  private movedAway(searched: BBox): boolean {
    const view = this.map.map.getBounds();
    const [west, south, east, north] = searched;
    const overlap = (a: number, b: number, c: number, d: number) => Math.max(0, Math.min(b, d) - Math.max(a, c)) / Math.max(1e-12, b - a);
    return overlap(view.getWest(), view.getEast(), west, east < west ? east + 360 : east) * overlap(view.getSouth(), view.getNorth(), south, north) < 0.7;
  }

  /** seesWhole says whether the window shows so much of the layer that "here" means all of it. */
  private seesWhole(): boolean {
    const layer = this.layer;
    if (!layer) {
      return true;
    }
    const view = this.map.map.getBounds();
    const [west, south, east, north] = layer.bounds;
    const share = (a: number, b: number, c: number, d: number) => Math.max(0, Math.min(b, d) - Math.max(a, c)) / Math.max(1e-12, d - c);
    return share(view.getWest(), view.getEast(), west, east) * share(view.getSouth(), view.getNorth(), south, north) >= WHOLE;
  }

  private async lookAtIndex(): Promise<void> {
    window.clearTimeout(this.poll);
    this.covering?.abort();
    const abort = new AbortController();
    this.covering = abort;
    try {
      const status = await this.api.index(this.view.layer, bboxOf(...this.map.view), abort.signal);
      if (abort.signal.aborted) {
        return;
      }
      this.card.coverage.show(status);
      const grown = this.embedded >= 0 && status.embedded > this.embedded;
      this.embedded = status.embedded;
      if (grown && this.matches && !this.searching?.signal.aborted && (this.overlay?.pending ?? 0) === 0) {
        void this.search({ quiet: true });
      }
      if (status.state === "building") {
        this.poll = window.setTimeout(() => void this.lookAtIndex(), POLL);
      }
    } catch (err) {
      if (!isAbort(err) && err instanceof ApiError && err.offline) {
        this.banner.show();
      }
    }
  }

  private async fill(): Promise<void> {
    try {
      await this.api.fill(this.view.layer, bboxOf(...this.map.view));
      await this.lookAtIndex();
      this.poll = window.setTimeout(() => void this.lookAtIndex(), POLL);
    } catch (err) {
      this.fail(err);
    }
  }

  private fail(err: unknown): void {
    if (err instanceof ApiError && err.offline) {
      this.banner.show();
      return;
    }
    const text = err instanceof ApiError ? sentence(err) : "Something went wrong on this page.";
    this.card.verdict.fail(text);
    this.announcer.say(text);
  }

  /** back takes up the work when the server answers again. */
  private async back(): Promise<void> {
    this.announcer.say("The server answers again.");
    if (this.layers.length === 0) {
      await this.start();
      return;
    }
    this.map.reload();
    this.overlay?.refresh(false);
    await this.search({ quiet: this.matches !== null });
  }

  private addresses(): Addresses {
    const { layer, view } = this;
    const asked = view.q.length > 0;
    const rev = this.matches?.rev;
    return {
      link: new URL(formatHash(view), location.href).href,
      geojson: asked ? this.api.searchUrl(view.layer, view, { threshold: view.threshold, bbox: this.searched, limit: 10000 }) : null,
      overlay: asked ? this.api.overlayUrl(view.layer, view, null, { style: view.style, threshold: view.threshold, ...(rev ? { rev } : {}) }) : null,
      imagery: layer ? this.api.resolve(layer.tiles) : "",
      wmts: this.api.wmtsUrl(view),
      qlr: this.api.qlrUrl(view.layer, view),
    };
  }

  private picture(tile: string): string {
    return this.layer ? this.api.tilePicture(this.layer, tile) : "";
  }

  /** remember writes the view to the address bar without a new entry in the history. */
  private remember(): void {
    if (this.view.layer) {
      history.replaceState(null, "", formatHash(this.view));
    }
  }

  /** covered returns how much of each edge of the map lies under something. */
  private covered(): { left: number; top: number; right: number; bottom: number } {
    if (NARROW.matches) {
      const dock = this.tileDock.hidden ? this.card.element.offsetHeight : this.tileDock.offsetHeight;
      return { left: 0, top: 0, right: 0, bottom: dock };
    }
    return { left: this.card.element.getBoundingClientRect().right, top: 0, right: 64, bottom: 0 };
  }

  private key(event: KeyboardEvent): void {
    const typing = event.target instanceof HTMLInputElement && event.target.type === "text" && !event.target.readOnly;
    if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) {
      return;
    }
    switch (event.key) {
      case "/":
        event.preventDefault();
        this.card.field.focus();
        break;
      case "j":
      case "k":
        this.card.results.step(event.key === "j" ? 1 : -1);
        break;
      case "?":
        this.toolbar.toggle("help");
        break;
      case "Escape":
        if (!this.toolbar.close() && !this.closeTile() && this.view.q.length > 0) {
          this.ask({ q: [], not: [] });
        }
        break;
    }
  }
}

/** sentence makes an error the server's words: one sentence with a capital and a full stop. */
function sentence(err: ApiError): string {
  const text = err.message.trim();
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
