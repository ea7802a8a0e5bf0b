import * as L from "leaflet";
import type { BBox, Match } from "./types";

const SMALL = 16; // px; a tile that is smaller on the screen gets a ring around it, or nobody sees it

/** Outlines draws the edges of tiles that are pointed at: the hovered result, the chosen tile, the closest tiles. */
export class Outlines {
  private readonly hovered = L.layerGroup();
  private readonly chosen = L.layerGroup();
  private readonly closest = L.layerGroup();

  constructor(private readonly map: L.Map) {
    this.closest.addTo(map);
    this.chosen.addTo(map);
    this.hovered.addTo(map);
  }

  hover(match: Match | null): void {
    this.hovered.clearLayers();
    if (match) {
      this.draw(this.hovered, L.geoJSON(match.geometry).getBounds(), "tilescout-outline-hover");
    }
  }

  choose(bbox: BBox | null): void {
    this.chosen.clearLayers();
    if (bbox) {
      const [west, south, east, north] = bbox;
      this.draw(this.chosen, L.latLngBounds([south, west], [north, east]), "tilescout-outline-chosen");
    }
  }

  /** hint marks tiles that are close to a prompt without being a match. */
  hint(matches: readonly Match[]): void {
    this.closest.clearLayers();
    for (const match of matches) {
      this.line(this.closest, L.geoJSON(match.geometry).getBounds(), "tilescout-outline-hint", 1.5);
    }
  }

  private draw(group: L.LayerGroup, bounds: L.LatLngBounds, name: string): void {
    // A dark casing below a light line shows on any imagery.
    this.line(group, bounds, "tilescout-outline-casing", 6);
    this.line(group, bounds, name, 2.5);
    const size = this.map.latLngToContainerPoint(bounds.getNorthEast()).distanceTo(this.map.latLngToContainerPoint(bounds.getSouthWest()));
    if (size < SMALL) {
      L.circleMarker(bounds.getCenter(), { radius: 12, weight: 2.5, fill: false, interactive: false, className: name }).addTo(group);
    }
  }

  private line(group: L.LayerGroup, bounds: L.LatLngBounds, className: string, weight: number): void {
    L.rectangle(bounds, { className, weight, fill: false, interactive: false }).addTo(group);
  }
}
