import type { Api } from "./api";
import { Coverage } from "./Coverage";
import { button, h, icon } from "./dom";
import { isPicture } from "./Pictures";
import { PromptField } from "./PromptField";
import type { Recents } from "./Recents";
import { ResultList } from "./ResultList";
import { Sheet } from "./Sheet";
import { termTile } from "./terms";
import type { Match, Query } from "./types";
import { Verdict } from "./Verdict";

export interface SearchCardOptions {
  api: Api;
  recents: Recents;
  layer: () => string;
  query: () => Query;
  center: () => [number, number];
  picture: (tile: string) => string;
  onSubmit: (text: string) => void;
  onClear: () => void;
  onRemove: (term: string) => void;
  onWiden: () => void;
  onHere: () => void;
  onThreshold: (threshold: number) => void;
  onRetry: () => void;
  onFill: () => void;
  onPicture: () => void;
  onHover: (match: Match | null) => void;
  onChoose: (match: Match) => void;
}

/** SearchCard holds the field, what was found and how much was looked at; on a phone it is the bottom sheet. */
export class SearchCard {
  readonly element: HTMLElement;
  readonly field: PromptField;
  readonly verdict: Verdict;
  readonly results: ResultList;
  readonly coverage: Coverage;
  readonly sheet: Sheet;
  /** Where the legend lives on a phone. */
  readonly legendSlot = h("div", { class: "tilescout-legend-slot" });
  private readonly examples = h("div", { class: "tilescout-examples", hidden: true });
  private readonly terms = h("div", { class: "tilescout-chips tilescout-terms", hidden: true });

  constructor(private readonly options: SearchCardOptions) {
    this.element = h("section", { class: "tilescout-card", role: "search", "aria-label": "Search the map", tabindex: -1 });
    this.sheet = new Sheet(this.element);
    this.field = new PromptField({
      api: options.api, recents: options.recents, layer: options.layer, refinable: () => options.query().q.length > 0 && !options.query().q.some(isPicture),
      onSubmit: options.onSubmit, onClear: options.onClear, onPicture: options.onPicture, onFocus: () => this.sheet.height === "field" && this.sheet.set("three"),
    });
    this.verdict = new Verdict({ onWiden: options.onWiden, onHere: options.onHere, onSearch: options.onSubmit, onThreshold: options.onThreshold, onRetry: options.onRetry });
    this.results = new ResultList({ resolve: (path) => options.api.resolve(path), center: options.center, onHover: options.onHover, onChoose: options.onChoose });
    this.coverage = new Coverage({ onFill: options.onFill });
    this.results.element.hidden = true;
    this.element.append(this.sheet.handle, this.field.element, h("div", { class: "tilescout-card-body" },
      this.terms, this.examples, this.verdict.element, this.legendSlot, this.results.element), this.coverage.element);
  }

  /** offer shows example prompts while nothing is searched. */
  offer(phrases: readonly string[]): void {
    this.examples.replaceChildren(...(phrases.length ? [h("p", { class: "tilescout-muted" }, "Try")] : []),
      h("div", { class: "tilescout-chips" }, ...phrases.map((p) => button({ text: p, class: "tilescout-chip", onClick: () => this.options.onSubmit(p) }))));
    this.examples.hidden = phrases.length === 0;
  }

  /** show puts a query into the field and its further terms into chips. */
  show(query: Query): void {
    const [first = ""] = query.q;
    const tile = termTile(first);
    const picture = isPicture(first);
    this.field.show(tile || picture ? "" : first, tile ? "Like the tile below" : picture ? "Like the picture below" : undefined);
    this.field.offerClear(query.q.length > 0);
    const chips = [
      ...(tile || picture ? [this.chip(first, "like")] : []),
      ...query.q.slice(1).map((term) => this.chip(term, "or")),
      ...query.not.map((term) => this.chip(term, "not")),
    ];
    this.terms.replaceChildren(...chips);
    this.terms.hidden = chips.length === 0;
    if (query.q.length > 0) {
      this.examples.hidden = true;
    }
  }

  private chip(term: string, role: "like" | "or" | "not"): HTMLElement {
    const [tile, picture] = [termTile(term), isPicture(term)];
    const chip = button({ class: `tilescout-chip tilescout-term-${role}`, onClick: () => this.options.onRemove(term) });
    chip.append(h("span", { class: "tilescout-hidden" }, "Remove "), h("span", { class: "tilescout-muted" }, role),
      tile || picture ? h("img", { src: this.options.picture(tile ?? term), alt: tile ? `tile ${tile}` : "your picture", width: picture ? 44 : 24, height: picture ? 44 : 24 }) : h("span", {}, term), icon("close"));
    return chip;
  }
}
