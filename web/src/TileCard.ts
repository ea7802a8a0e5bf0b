import { bar, button, copyText, h, icon } from "./dom";
import { cssColor } from "./ramp";
import type { TileName, TileScore } from "./types";

export interface TileCardOptions {
  onSimilar: (tile: TileName) => void;
  onNot: (tile: TileName) => void;
  onClose: () => void;
}

/** What is known of a tile before the server is asked. */
export interface TileFacts {
  tile: TileName;
  picture: string;
  place: string;
  /** Address of the view with this tile in its middle. */
  link: string;
  /** Address of the QGIS layer definition. */
  qlr: string;
  /** Is a search on screen, so that "not this" makes sense? */
  searching: boolean;
}

const BARS = 5;

/** TileCard is the small card about one tile: how well it answers, what the model sees, and what to do with it. */
export class TileCard {
  readonly element = h("section", { class: "tilescout-tile-card", "aria-label": "Tile" });
  private readonly score = h("div", { class: "tilescout-tile-score" });
  private readonly bars = h("ol", { class: "tilescout-concepts", "aria-label": "What the model sees here" });

  constructor(private readonly options: TileCardOptions) {}

  /** open shows what is known at once; the bars keep their place, so that nothing moves when they come. */
  open(facts: TileFacts): void {
    const { tile } = facts;
    const copy = button({ icon: "link", text: "Copy link", class: "tilescout-action", onClick: () => void copyText(facts.link).then((ok) => say(copy, ok ? "Copied" : "Not allowed")) });
    // Its line is kept from the start, so that the card does not grow under the pointer.
    this.score.replaceChildren(...(facts.searching ? [h("span", {}, "Score"), bar(0), h("span", { class: "tilescout-score" }, "–")] : []));
    this.bars.replaceChildren(...Array.from({ length: BARS }, () => h("li", { class: "tilescout-concept tilescout-concept-empty" }, "\u00a0")));
    this.element.replaceChildren(
      h("header", { class: "tilescout-tile-head" },
        h("img", { class: "tilescout-thumbnail", src: facts.picture, alt: "", width: 56, height: 56 }),
        h("div", {}, h("h2", {}, facts.place), h("p", { class: "tilescout-muted" }, `tile ${tile}`)),
        button({ icon: "close", label: "Close", class: "tilescout-icon-button", onClick: () => this.options.onClose() })),
      this.score,
      this.bars,
      h("div", { class: "tilescout-actions" },
        button({ icon: "similar", text: "More like this", class: "tilescout-action", onClick: () => this.options.onSimilar(tile) }),
        facts.searching && button({ icon: "not", text: "Not this", class: "tilescout-action", onClick: () => this.options.onNot(tile) }),
        copy,
        h("a", { class: "tilescout-action", href: facts.qlr, download: "" }, icon("download"), h("span", {}, "Open in QGIS"))),
    );
  }

  fill(answer: TileScore): void {
    if (answer.score !== undefined) {
      this.score.replaceChildren(h("span", {}, "Score"), bar(answer.score, cssColor(answer.score)), h("span", { class: "tilescout-score" }, answer.score.toFixed(2)));
    }
    const top = (answer.top ?? []).slice(0, BARS);
    if (top.length === 0) {
      this.fail(answer.embedded ? "The model has nothing to say about this tile." : "The model has not looked at this tile yet.");
      return;
    }
    this.bars.replaceChildren(
      ...top.map(({ label, probability }) =>
        h("li", { class: "tilescout-concept" }, h("span", { class: "tilescout-concept-label" }, label), bar(probability), h("span", { class: "tilescout-score" }, share(probability)))),
    );
  }

  fail(sentence: string): void {
    this.bars.replaceChildren(h("li", { class: "tilescout-concept-note" }, sentence));
  }
}

/** share writes a probability as whole per cent. */
function share(probability: number): string {
  return probability < 0.005 ? "<1 %" : `${Math.round(probability * 100)} %`;
}

/** say changes a button's text for a moment. */
function say(element: HTMLElement, text: string): void {
  const label = element.querySelector("span");
  const before = label?.textContent ?? "";
  if (label && before !== text) {
    label.textContent = text;
    window.setTimeout(() => (label.textContent = before), 1600);
  }
}
