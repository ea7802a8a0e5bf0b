import * as L from "leaflet";
import { reducedMotion } from "./dom";
import type { BBox, Layer } from "./types";

export interface MapViewOptions {
  onMove: () => void;
  onClick: (lon: number, lat: number) => void;
  /** Pixels at the edges of the map that something floats on. */
  covered: () => { left: number; top: number; right: number; bottom: number };
}

const MARGIN = 24; // px between a tile that is flown to and what floats beside it
const LEGIBLE = 96; // px that a tile needs on the screen to be seen
const CLOSE = 180; // px that a tile gets if the map has to zoom for it
const SHRUNK = 2; // zooms below its first at which a layer is still shown, of tiles a quarter as wide
const FAR = 2.5; // screens; panning further is a flight

/** MapView is the imagery and the ways to move over it. */
export class MapView {
  readonly map: L.Map;
  private base: L.TileLayer | null = null;

  constructor(container: HTMLElement, private readonly options: MapViewOptions) {
    const still = reducedMotion();
    this.map = L.map(container, {
      zoomControl: false, attributionControl: false, worldCopyJump: true, zoomAnimation: !still, fadeAnimation: !still,
      markerZoomAnimation: !still, inertia: !still, maxBoundsViscosity: 0.4, center: [0, 0], zoom: 1,
    });
    L.control.scale({ position: "bottomleft", imperial: false, maxWidth: 120 }).addTo(this.map);
    this.map.on("moveend", () => options.onMove());
    this.map.on("click", (event) => options.onClick(event.latlng.lng, event.latlng.lat));
  }

  /** setLayer shows the imagery of a layer; the view stays unless it lies outside. */
  setLayer(layer: Layer, url: string): void {
    this.base?.remove();
    const bounds = toBounds(layer.bounds);
    this.map.setMinZoom(0);
    this.base = L.tileLayer(url, {
      // Far below its first zoom a layer would be millions of tiles of less than a pixel: the page would stand still.
      minZoom: Math.max(0, layer.minzoom - SHRUNK), minNativeZoom: layer.minzoom, maxNativeZoom: layer.maxzoom, maxZoom: layer.maxzoom + 2, tileSize: 256, bounds, zIndex: 1,
    }).addTo(this.map);
    this.map.setMaxZoom(layer.maxzoom + 2);
    this.map.setMinZoom(Math.max(0, this.map.getBoundsZoom(bounds) - 2));
    this.map.setMaxBounds(bounds.pad(1));
  }

  reload(): void {
    this.base?.redraw();
  }

  /** fit shows all of a layer, and fills the window where that costs little of it. */
  fit(layer: Layer): void {
    const bounds = toBounds(layer.bounds);
    const { top, bottom } = this.options.covered();
    const edges = L.point(0, top + bottom);
    const whole = this.map.getBoundsZoom(bounds, false, edges);
    const zoom = Math.min(this.map.getBoundsZoom(bounds, true, edges), whole + (this.map.getSize().x < this.map.getSize().y ? 2 : 1));
    // The card at the side lies on imagery, a sheet at the bottom takes its part of the window.
    const center = this.map.project(bounds.getCenter(), zoom).add(L.point(0, (bottom - top) / 2));
    this.map.setView(this.map.unproject(center, zoom), zoom, { animate: false });
  }

  set(center: readonly [number, number], zoom: number): void {
    this.map.setView([center[1], center[0]], zoom, { animate: false });
  }

  /** height of the map, pixels. */
  get height(): number {
    return this.map.getSize().y;
  }

  get center(): [number, number] {
    const { lng, lat } = this.map.getCenter().wrap();
    return [lng, lat];
  }

  get zoom(): number {
    return this.map.getZoom();
  }

  /** view returns west, south, east, north of the window; longitudes are not wrapped. */
  get view(): BBox {
    const b = this.map.getBounds();
    return [b.getWest(), b.getSouth(), b.getEast(), b.getNorth()];
  }

  zoomBy(by: number): void {
    this.map.setZoom(this.map.getZoom() + by, { animate: !reducedMotion() });
  }

  /** flyTo brings a bbox into the free part of the window, and never moves or zooms further than that needs. */
  flyTo(bbox: BBox): void {
    const bounds = this.nearest(toBounds(bbox));
    const { left, top, right, bottom } = this.options.covered();
    const size = this.map.getSize();
    const free = L.bounds(L.point(left + MARGIN, top + MARGIN), L.point(size.x - right - MARGIN, size.y - bottom - MARGIN));
    const corner = (at: L.LatLng, zoom = this.map.getZoom()) => this.map.project(at, zoom);
    const width = corner(bounds.getNorthEast()).x - corner(bounds.getSouthWest()).x;
    const room = Math.min(free.getSize().x, free.getSize().y);
    const animate = !reducedMotion();
    if (width >= LEGIBLE && width <= room) {
      const a = this.map.latLngToContainerPoint(bounds.getNorthWest());
      const b = this.map.latLngToContainerPoint(bounds.getSouthEast());
      const by = L.point(shift(a.x, b.x, free.min!.x, free.max!.x), shift(a.y, b.y, free.min!.y, free.max!.y));
      if (Math.abs(by.x) < size.x * FAR && Math.abs(by.y) < size.y * FAR) {
        this.map.panBy(by, { animate, duration: 0.4 });
        return;
      }
    }
    const wanted = Math.min(CLOSE, room);
    const zoom = Math.min(this.map.getMaxZoom(), Math.ceil(this.map.getZoom() + Math.log2(wanted / Math.max(width, 1e-6)) - 1e-6));
    const target = width >= LEGIBLE && width <= room ? this.map.getZoom() : zoom;
    const offset = free.getCenter().subtract(size.divideBy(2));
    const center = this.map.unproject(corner(bounds.getCenter(), target).subtract(offset), target);
    if (animate) {
      this.map.flyTo(center, target, { duration: 0.9 });
    } else {
      this.map.setView(center, target, { animate: false });
    }
  }

  /** show brings all of a bbox into the free part of the window, as after a search of the whole layer. */
  show(bbox: BBox, maxZoom: number): void {
    const { left, top, right, bottom } = this.options.covered();
    this.map.flyToBounds(this.nearest(toBounds(bbox)), {
      paddingTopLeft: [left + MARGIN, top + MARGIN], paddingBottomRight: [right + MARGIN, bottom + MARGIN], maxZoom,
      duration: 0.9, animate: !reducedMotion(),
    });
  }

  /** nearest moves bounds by whole turns of the earth to where they are closest to the view. */
  private nearest(bounds: L.LatLngBounds): L.LatLngBounds {
    const turns = Math.round((this.map.getCenter().lng - bounds.getCenter().lng) / 360) * 360;
    return L.latLngBounds([bounds.getSouth(), bounds.getWest() + turns], [bounds.getNorth(), bounds.getEast() + turns]);
  }
}

/** shift returns how far the map has to move so that a–b lies within min–max. */
function shift(a: number, b: number, min: number, max: number): number {
  if (a < min) {
    return a - min;
  }
  return b > max ? b - max : 0;
}

/** toBounds makes Leaflet bounds; a bbox across 180° keeps its east beyond 180. */
export function toBounds([west, south, east, north]: BBox): L.LatLngBounds {
  return L.latLngBounds([south, west], [north, east < west ? east + 360 : east]);
}
