import * as L from "leaflet";
import { cssColor, rampColor } from "./ramp";
import type { Match } from "./types";

/**
 * LikeLayer paints the tiles that look like a picture, from the list of results: the server draws overlays for what fits
 * into an address, and a picture does not.
 */
export class LikeLayer {
  private readonly group = L.layerGroup();
  private readonly renderer = L.canvas({ padding: 0.5 });

  constructor(map: L.Map) {
    this.group.addTo(map);
  }

  show(matches: readonly Match[], opacity: number): void {
    this.group.clearLayers();
    for (const match of matches) {
      const { score } = match.properties;
      L.rectangle(L.geoJSON(match.geometry).getBounds(), {
        renderer: this.renderer, stroke: false, fillColor: cssColor(score), fillOpacity: Math.max(0.12, rampColor(score)[3]) * opacity, interactive: false,
      }).addTo(this.group);
    }
  }

  clear(): void {
    this.group.clearLayers();
  }
}
