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
import { IndexWatch } from "./IndexWatch";
import { listenForKeys } from "./keys";
import { MapView } from "./MapView";
import { Outlines } from "./Outlines";
import { OverlayPanel } from "./OverlayPanel";
import { OverlayView } from "./OverlayView";
import { PictureSearch } from "./PictureSearch";
import { Recents } from "./Recents";
import { SearchCard } from "./SearchCard";
import { SharePanel, type Addresses } from "./SharePanel";
import { addTerm, applyInput, inWords, removeTerm, sameQuery, termTile, tileTerm } from "./terms";
import { Theme } from "./Theme";
import { TileLook } from "./TileLook";
import { bboxOf, overlap, parseTile, tileAt, tileBounds } from "./tiles";
import { Toolbar } from "./Toolbar";
import type { BBox, Layer, Match, Matches, Query } from "./types";

const NARROW = matchMedia("(max-width: 640px)");
const LIMIT = 200; // results asked for
const LIKE = 2000; // asked for where the page itself paints them
const CLOSEST = 12; // tiles shown when nothing is a confident match
const WHOLE = 0.35; // share of the layer in view from which the whole layer is searched

/** App is the page: it holds the view, asks the server, and tells each part what to show. */
export class App {
  private layers: Layer[] = [];
  private view: View = { layer: "", center: [0, 0], zoom: 1, q: [], not: [], threshold: DEFAULT_THRESHOLD, style: "heat", detail: "patch", scope: "view" };
  private matches: Matches | null = null;
  /** bbox of the last search; null: the whole layer. */
  private searched: BBox | null = null;
  private searching: AbortController | null = null;
  private modelTitle = "";

  private readonly announcer = new Announcer();
  private readonly attribution = new Attribution();
  private readonly recents = new Recents();
  private readonly pictures: PictureSearch;
  private readonly theme = new Theme(document.documentElement);
  private readonly banner: Banner;
  private readonly card: SearchCard;
  private readonly legend: Legend;
  private readonly legendHome = h("div", { class: "tilescout-corner" });
  private readonly toolbar: Toolbar;
  private readonly tile: TileLook;
  private readonly index: IndexWatch;
  private readonly overlay: OverlayView;
  private readonly map: MapView;
  private readonly outlines: Outlines;
  private readonly moved = debounced(350, () => void this.index.look());

  constructor(private readonly root: HTMLElement, private readonly api: Api) {
    const container = root.querySelector<HTMLElement>("#tilescout-map") ?? root.appendChild(h("div", { id: "tilescout-map" }));
    this.pictures = new PictureSearch(root, { view: () => this.view, onAsk: (query) => this.ask(query), onFail: (text) => this.say(text) });
    this.banner = new Banner({ alive: () => api.alive(), onBack: () => void this.back() });
    this.card = new SearchCard({
      api, recents: this.recents, layer: () => this.view.layer, query: () => this.view, center: () => this.map.center,
      picture: (term) => this.pictures.url(term) ?? this.picture(term), onPicture: () => this.pictures.pick(),
      onSubmit: (text) => this.submit(text), onClear: () => this.ask({ q: [], not: [] }), onRemove: (term) => this.ask(removeTerm(this.view, term)),
      onWiden: () => void this.search({ scope: "layer", show: true }), onHere: () => void this.search({ scope: "view" }),
      onThreshold: (t) => this.setThreshold(t), onRetry: () => void this.search({}), onFill: () => void this.fill(),
      onHover: (match) => this.outlines.hover(match), onChoose: (match) => this.choose(match),
    });
    this.legend = new Legend({ onChange: (t) => this.setThreshold(t) });
    this.legend.element.hidden = true;
    this.overlay = new OverlayView({
      api, map: () => this.map, view: () => this.view, onProgress: () => void this.index.look(),
      onSettled: () => void this.search({ quiet: true }), onOffline: () => this.banner.show(),
    });
    this.index = new IndexWatch({
      api, layer: () => this.view.layer, bbox: () => bboxOf(...this.map.view), onOffline: () => this.banner.show(),
      onStatus: (status) => this.card.coverage.show(status),
      onGrown: () => this.matches && !this.overlay.pending && void this.search({ quiet: true }),
      onModel: () => void this.newModel(),
    });
    this.tile = new TileLook({
      api, map: () => this.map, view: () => this.view, layer: () => this.layer, narrow: () => NARROW.matches, covered: () => this.covered(),
      onSelect: (tile, bbox) => this.select(tile, bbox),
      onSimilar: (tile) => this.ask({ q: [tileTerm(tile)], not: [] }),
      onNot: (tile) => this.ask(addTerm(this.view, "not", tileTerm(tile))),
    });
    this.toolbar = new Toolbar({ onZoom: (by) => this.map.zoomBy(by), onToggle: (open) => root.classList.toggle("tilescout-panel-open", open) });
    const onClose = () => void this.toolbar.close();
    this.toolbar.mount([
      new LayersPanel({ layers: () => this.layers, current: () => this.view.layer, theme: this.theme, onLayer: (id) => void this.openLayer(id, true), onClose }),
      new OverlayPanel({
        style: () => this.view.style, detail: () => this.view.detail, opacity: () => this.overlay.opacity, onClose,
        onStyle: (style) => { this.view.style = style; this.remember(); this.overlay.refresh(); },
        onDetail: (detail) => { this.view.detail = detail; this.remember(); this.overlay.refresh(); },
        onOpacity: (opacity) => { this.overlay.opacity = opacity; this.pictures.paint(this.matches, opacity); },
      }),
      new SharePanel({ addresses: () => this.addresses(), onClose }),
      new HelpPanel({ model: () => this.modelTitle, onClose }),
    ]);
    this.map = new MapView(container, {
      onMove: () => this.onMove(), onClick: (lon, lat) => { this.toolbar.close(); this.tile.look(tileAt(lon, lat, this.indexZoom)); }, covered: () => this.covered(),
    });
    this.pictures.mount(this.map.map);
    this.outlines = new Outlines(this.map.map);
    root.append(this.card.element, this.toolbar.element, this.legendHome, this.attribution.element, this.tile.dock, this.banner.element, this.announcer.element);
    const place = () => (NARROW.matches ? this.card.legendSlot : this.legendHome).append(this.legend.element);
    place();
    NARROW.addEventListener("change", () => { place(); this.tile.close(); });
    listenForKeys(document, {
      field: () => this.card.field.focus(), step: (by) => this.card.results.step(by), help: () => this.toolbar.toggle("help"), escape: () => this.escape(),
    });
    window.addEventListener("popstate", () => void this.follow());
    // The attribution sits on the sheet's upper edge, wherever that is.
    new ResizeObserver(() => root.style.setProperty("--sheet", `${this.card.element.offsetHeight}px`)).observe(this.card.element);
  }

  /** start opens the view of the address bar, or the first layer. */
  async start(): Promise<void> {
    this.legend.show(this.view.threshold);
    try {
      this.layers = (await this.api.layers()).filter((l) => !l.over);
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
    void this.nameModel();
  }

  private async nameModel(): Promise<void> {
    await this.api.model().then((m) => (this.modelTitle = m.title || m.id), () => undefined);
  }

  /** newModel asks again: another model answers from now on, and every address has another revision. */
  private async newModel(): Promise<void> {
    this.layers = await this.api.layers().then((all) => all.filter((l) => !l.over), () => this.layers);
    await this.nameModel();
    this.announcer.say(`Another model answers: ${this.modelTitle}.`);
    await this.search({ quiet: this.matches !== null });
  }

  /** follow takes over what the address bar says. */
  private async follow(): Promise<void> {
    const wanted = parseHash(location.hash);
    const before = this.view;
    this.view = {
      ...before, q: wanted.q ?? [], not: wanted.not ?? [], threshold: wanted.threshold ?? DEFAULT_THRESHOLD, style: wanted.style ?? "heat", detail: wanted.detail ?? "patch", scope: wanted.scope ?? "view",
    };
    this.legend.show(this.view.threshold);
    const id = this.layers.find((l) => l.id === wanted.layer)?.id ?? this.layers[0]?.id ?? "";
    const place = wanted.center && wanted.zoom !== undefined ? { center: wanted.center, zoom: wanted.zoom } : null;
    if (id !== before.layer) {
      await this.openLayer(id, false, place);
    } else if (place) {
      this.map.set(place.center, place.zoom);
    }
    if (id !== before.layer || before.scope !== this.view.scope || !sameQuery(before, this.view)) {
      this.card.show(this.view);
      await this.search({});
    } else {
      this.overlay.refresh();
      this.showMatches();
    }
  }

  private async openLayer(id: string, search: boolean, place: { center: [number, number]; zoom: number } | null = null): Promise<void> {
    const layer = this.layers.find((l) => l.id === id);
    if (!layer) {
      return;
    }
    this.tile.close();
    this.view.layer = id;
    this.overlay.clear();
    this.index.reset();
    this.map.setLayer(layer, this.api.resolve(layer.tiles));
    this.attribution.show(layer.attribution ?? "");
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
    const { index, maxzoom = 17 } = this.layer ?? {};
    return index?.zooms.length ? Math.max(...index.zooms) : maxzoom;
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
    this.tile.close();
    this.select(null, null);
    const again = sameQuery(this.view, query);
    this.view = { ...this.view, ...query };
    if (query.q.length === 0) {
      this.view.scope = "view";
      this.view.not = [];
    }
    this.card.show(this.view);
    this.card.sheet.set("three");
    if (!again) {
      history.pushState(null, "", formatHash(this.view));
    }
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
    const given = this.pictures.given;
    const bbox = this.view.scope === "layer" || this.seesWhole() ? null : bboxOf(...this.map.view);
    if (!quiet) {
      this.card.field.searching(true);
      this.overlay.dim(true);
    }
    try {
      const matches = given
        ? await this.api.similar(this.view.layer, given.body, { bbox, limit: LIKE }, abort.signal)
        : await this.api.search(this.view.layer, this.view, { bbox, limit: LIMIT }, abort.signal);
      if (abort.signal.aborted) {
        return;
      }
      this.matches = matches;
      this.searched = bbox;
      this.card.field.underline(matches.unknown ?? []);
      if (given) {
        this.overlay.clear();
      } else if (this.layer) {
        this.overlay.show(this.layer, this.indexZoom, matches, !quiet);
      }
      this.showMatches(!quiet);
      if (show) {
        this.showBest();
      }
      this.remember();
      void this.index.look();
    } catch (err) {
      if (!isAbort(err) && !abort.signal.aborted) {
        this.overlay.dim(false);
        this.fail(err);
      }
    } finally {
      if (this.searching === abort) {
        this.card.field.searching(false);
      }
    }
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
      matches, count: above.length, more: matches.features.length >= (this.pictures.active ? LIKE : LIMIT) && above.length === matches.features.length,
      threshold: this.view.threshold, inView: this.searched !== null, prompt: this.pictures.active || termTile(this.view.q[0] ?? "") ? "" : (this.view.q[0] ?? ""),
    });
    this.card.results.show(shown, !confident);
    this.pictures.paint(matches, this.overlay.opacity);
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
    this.overlay.clear();
    this.pictures.paint(null, 0);
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
    void this.index.look();
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
    this.overlay.redraw();
  }

  private choose(match: Match): void {
    const tile = parseTile(match.properties.tile);
    if (tile) {
      this.outlines.hover(null);
      this.map.flyTo(tileBounds(tile));
      this.tile.close();
      this.select(match.properties.tile, tileBounds(tile));
    }
  }

  /** select outlines a tile on the map and in the list; null: none. */
  private select(tile: string | null, bbox: BBox | null): void {
    this.outlines.choose(bbox);
    this.card.results.mark(tile);
    this.root.classList.toggle("tilescout-tile-open", this.tile.open);
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
    const view = bboxOf(...this.map.view);
    return view === null || overlap(view, searched) < 0.7;
  }

  /** seesWhole says whether the window shows so much of the layer that "here" means all of it. */
  private seesWhole(): boolean {
    const view = bboxOf(...this.map.view);
    return !this.layer || view === null || overlap(this.layer.bounds, view) >= WHOLE;
  }

  private async fill(): Promise<void> {
    try {
      await this.index.fill();
    } catch (err) {
      this.fail(err);
    }
  }

  private fail(err: unknown): void {
    if (err instanceof ApiError && err.offline) {
      this.banner.show();
      return;
    }
    this.say(err instanceof ApiError ? err.sentence : "Something went wrong on this page.");
  }

  /** say shows one sentence about what went wrong. */
  private say(text: string): void {
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
    this.overlay.refresh();
    await this.search({ quiet: this.matches !== null });
  }

  private addresses(): Addresses {
    const { layer, view } = this;
    const asked = view.q.length > 0 && !this.pictures.active;
    const rev = this.matches?.rev;
    return {
      link: new URL(formatHash(view), location.href).href,
      geojson: asked ? this.api.searchUrl(view.layer, view, { threshold: view.threshold, bbox: this.searched, limit: 10000 }) : null,
      overlay: asked ? this.api.overlayUrl(view.layer, view, null, { style: view.style, detail: view.detail, threshold: view.threshold, ...(rev ? { rev } : {}) }) : null,
      imagery: layer ? this.api.resolve(layer.tiles) : "",
      wmts: this.api.wmtsUrl(view),
      qlr: this.api.qlrUrl(view.layer, view),
      keyed: this.api.key !== "",
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
      const dock = this.tile.open ? this.tile.dock.offsetHeight : this.card.element.offsetHeight;
      return { left: 0, top: 0, right: 0, bottom: dock };
    }
    const legend = this.legendHome.getBoundingClientRect();
    const bottom = legend.height > 0 ? this.map.height - legend.top : 0;
    return { left: this.card.element.getBoundingClientRect().right, top: 0, right: 64, bottom };
  }

  private escape(): void {
    if (!this.toolbar.close() && !this.tile.close() && this.view.q.length > 0) {
      this.ask({ q: [], not: [] });
    }
  }
}
