import { bar, h } from "./dom";
import { placeInWords } from "./place";
import { cssColor } from "./ramp";
import type { Match } from "./types";

export interface ResultListOptions {
  /** Absolute address of a thumbnail. */
  resolve: (path: string) => string;
  /** [lon, lat] that distances are told from. */
  center: () => [number, number];
  onHover: (match: Match | null) => void;
  onChoose: (match: Match) => void;
}

const STEP = 40; // rows that are built at first, and with each further look down

/** ResultList shows ranked matches; a row lights up its tile on the map, a click flies there. */
export class ResultList {
  readonly element = h("ol", { class: "tilescout-results", "aria-label": "Results, best first" });
  private matches: Match[] = [];
  /** Rows on the page by tile and score: an answer that brings them again keeps them, focus and picture included. */
  private kept = new Map<string, HTMLLIElement>();
  private built = 0;
  private readonly more: IntersectionObserver;

  constructor(private readonly options: ResultListOptions) {
    this.more = new IntersectionObserver((entries) => {
      if (entries.some((e) => e.isIntersecting)) {
        this.build();
      }
    });
    this.element.addEventListener("pointerleave", () => options.onHover(null));
  }

  /** show replaces the list in one go. `faint`: none of these is a confident match. */
  show(matches: Match[], faint: boolean): void {
    const had = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["tile"] : undefined;
    const before = this.kept;
    const atLeast = Math.max(STEP, this.built);
    this.matches = matches;
    this.kept = new Map();
    this.built = 0;
    this.element.classList.toggle("tilescout-results-faint", faint);
    this.element.hidden = matches.length === 0;
    this.element.replaceChildren();
    this.build(before, atLeast);
    if (had && document.activeElement === document.body) {
      this.rows().find((row) => row.dataset["tile"] === had)?.focus({ preventScroll: true });
    }
  }

  /** step moves the focus to the next (+1) or previous (-1) row. */
  step(by: number): void {
    const rows = this.rows();
    const at = rows.indexOf(document.activeElement as HTMLButtonElement);
    const next = rows[at < 0 ? (by > 0 ? 0 : -1) : Math.min(rows.length - 1, Math.max(0, at + by))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }

  /** mark says which tile is the one looked at; null for none. */
  mark(tile: string | null): void {
    for (const row of this.rows()) {
      if (row.dataset["tile"] === tile) {
        row.setAttribute("aria-current", "true");
      } else {
        row.removeAttribute("aria-current");
      }
    }
  }

  /** relocate tells all distances anew, from where the view is now. */
  relocate(): void {
    const center = this.options.center();
    this.rows().forEach((row, i) => {
      const match = this.matches[i];
      const place = row.querySelector(".tilescout-result-place");
      if (match && place) {
        place.textContent = placeInWords(center, match.properties.center);
      }
    });
  }

  private rows(): HTMLButtonElement[] {
    return Array.from(this.element.querySelectorAll("button"));
  }

  private build(before: ReadonlyMap<string, HTMLLIElement> = this.kept, count = STEP): void {
    const center = this.options.center();
    const next = this.matches.slice(this.built, this.built + count);
    this.built += next.length;
    for (const match of next) {
      const key = `${match.properties.tile} ${match.properties.score} ${match.properties.thumbnail}`;
      const row = before.get(key) ?? this.row(match, center);
      this.kept.set(key, row);
      this.element.append(row);
    }
    this.more.disconnect();
    const last = this.element.lastElementChild;
    if (last && this.built < this.matches.length) {
      this.more.observe(last);
    }
  }

  private row(match: Match, center: [number, number]): HTMLLIElement {
    const { score, tile, thumbnail } = match.properties;
    const picture = h("img", { class: "tilescout-thumbnail", src: this.options.resolve(thumbnail), alt: "", width: 48, height: 48, loading: "lazy", decoding: "async" });
    const row = h("button", { type: "button", class: "tilescout-result", "data-tile": tile },
      picture,
      h("span", { class: "tilescout-result-text" },
        h("span", { class: "tilescout-result-place" }, placeInWords(center, match.properties.center)),
        bar(score, cssColor(score))),
      h("span", { class: "tilescout-score" }, h("span", { class: "tilescout-hidden" }, "score "), score.toFixed(2)));
    row.addEventListener("pointerenter", () => this.options.onHover(match));
    row.addEventListener("focus", () => this.options.onHover(match));
    row.addEventListener("blur", () => this.options.onHover(null));
    row.addEventListener("click", () => this.options.onChoose(match));
    return h("li", {}, row);
  }
}
