import type * as L from "leaflet";
import type { View } from "./hash";
import { LikeLayer } from "./LikeLayer";
import { PictureDrop } from "./PictureDrop";
import { isPicture, Pictures, type Given } from "./Pictures";
import type { Matches, Query } from "./types";

export interface PictureSearchOptions {
  view: () => View;
  /** A picture was given: search for what looks like it. */
  onAsk: (query: Query) => void;
  onFail: (sentence: string) => void;
}

/** PictureSearch takes pictures from a person and paints on the map what looks like them. */
export class PictureSearch {
  private readonly pictures = new Pictures();
  private readonly drop: PictureDrop;
  private like: LikeLayer | null = null;

  constructor(root: HTMLElement, private readonly options: PictureSearchOptions) {
    this.drop = new PictureDrop(root, { onPicture: (file) => void this.take(file) });
    root.append(this.drop.element);
  }

  /** given returns the picture that is searched for; null if words are. */
  get given(): Given | null {
    return this.pictures.get(this.options.view().q[0] ?? "");
  }

  get active(): boolean {
    return this.options.view().q.some(isPicture);
  }

  mount(map: L.Map): void {
    this.like = new LikeLayer(map);
  }

  pick(): void {
    this.drop.pick();
  }

  /** url returns the address of a picture's term within the page. */
  url(term: string): string | undefined {
    return this.pictures.get(term)?.url;
  }

  /** paint shows the matches of a search by a picture; of any other, nothing. */
  paint(matches: Matches | null, opacity: number): void {
    const { threshold } = this.options.view();
    this.like?.show(this.active ? (matches?.features ?? []).filter((f) => f.properties.score >= threshold) : [], opacity);
  }

  private async take(file: File): Promise<void> {
    try {
      this.options.onAsk({ q: [await this.pictures.add(file)], not: [] });
    } catch {
      this.options.onFail(`${file.name || "The file"} is no picture that this browser can read. Try a JPEG or a PNG.`);
    }
  }
}
