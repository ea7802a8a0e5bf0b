import { button, h } from "./dom";
import { knownPart, markUnknown } from "./terms";
import type { Matches } from "./types";

export interface VerdictOptions {
  onWiden: () => void;
  onHere: () => void;
  onSearch: (phrase: string) => void;
  onThreshold: (threshold: number) => void;
  onRetry: () => void;
}

/** What the verdict line says of one search. */
export interface Outcome {
  matches: Matches;
  /** How many score at least the threshold, and whether the answer was cut off there. */
  count: number;
  more: boolean;
  threshold: number;
  /** Is less than the whole layer searched? */
  inView: boolean;
  /** First prompt of the query, if it is a text. */
  prompt: string;
}

/** Verdict is the line below the field: what was found, what was not, what to do. */
export class Verdict {
  readonly element = h("div", { class: "tilescout-verdict", hidden: true });
  private readonly here: HTMLButtonElement;

  constructor(private readonly options: VerdictOptions) {
    this.here = button({ text: "Search this view", class: "tilescout-link", onClick: () => options.onHere() });
  }

  clear(): void {
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  /** show draws the outcome and returns it in words for the live region. */
  show(outcome: Outcome): string {
    const { matches, count, more, threshold, inView } = outcome;
    const confident = matches.verdict === "match";
    const best = matches.max.toFixed(2);
    const offers: HTMLElement[] = [];
    let line: HTMLElement;
    if (matches.total > 0 && matches.embedded === 0) {
      line = h("p", {}, "Nothing here has been looked at yet. Matches appear as the map fills in.");
    } else if (!confident) {
      line = h("p", {}, matches.features.length ? "No confident match here. Closest tiles shown." : "No confident match here.");
    } else if (count === 0) {
      line = h("p", {}, `Nothing scores ${threshold.toFixed(2)} or more. The best here has ${best}.`);
      const lower = Math.max(0, Math.floor(matches.max * 20) / 20);
      offers.push(button({ text: `Show from ${lower.toFixed(2)}`, class: "tilescout-chip", onClick: () => this.options.onThreshold(lower) }));
    } else {
      line = h("p", {}, h("strong", {}, `${count}${more ? "+" : ""} ${count === 1 && !more ? "match" : "matches"}`), `, best ${best}`);
    }
    if (inView && (!confident || count === 0)) {
      offers.push(button({ icon: "widen", text: "Search the whole layer", class: "tilescout-chip", onClick: () => this.options.onWiden() }));
    }
    if (!confident) {
      for (const phrase of (matches.related ?? []).slice(0, 3)) {
        offers.push(button({ text: phrase, class: "tilescout-chip", onClick: () => this.options.onSearch(phrase) }));
      }
    }
    this.here.hidden = true;
    const note = this.unknown(outcome) ?? described(outcome);
    this.element.replaceChildren(
      h("div", { class: "tilescout-verdict-line" }, line, this.here),
      ...(note ? [note] : []),
      ...(offers.length ? [h("div", { class: "tilescout-chips" }, ...offers)] : []),
    );
    this.element.classList.toggle("tilescout-verdict-faint", !confident);
    this.element.hidden = false;
    return [line.textContent, note?.textContent].filter(Boolean).join(" ");
  }

  /** offerHere shows that the results belong to another view than the one on screen. */
  offerHere(offer: boolean): void {
    this.here.hidden = !offer;
  }

  /** fail says in one sentence what went wrong and what to do. */
  fail(sentence: string): void {
    this.element.classList.remove("tilescout-verdict-faint");
    this.element.replaceChildren(
      h("div", { class: "tilescout-error" }, h("p", {}, sentence),
        button({ text: "Try again", class: "tilescout-button tilescout-button-small", onClick: () => this.options.onRetry() })),
    );
    this.element.hidden = false;
  }

  private unknown({ matches, prompt }: Outcome): HTMLElement | null {
    const unknown = matches.unknown ?? [];
    if (unknown.length === 0) {
      return null;
    }
    const words = unknown.length === 1 ? "this word" : "these words";
    const searched = prompt ? knownPart(prompt, unknown) : "";
    const quoted = prompt ? markUnknown(prompt, unknown).filter((p) => p.unknown) : [];
    const named = (quoted.length ? quoted.map((p) => p.text) : unknown).flatMap((text, i) => [i ? ", " : "", h("span", { class: "tilescout-unknown" }, text)]);
    return h("p", { class: "tilescout-note" }, ...named, `: the model has not learned ${words}; `,
      searched ? "it searched for “" : "what it found is a guess.", searched, searched ? "”." : "");
  }
}

/** described says what was looked for in place of a thing that the model does not know by name. */
function described({ matches }: Outcome): HTMLElement | null {
  const [first] = matches.described ?? [];
  return first ? h("p", { class: "tilescout-note" }, `The model was never shown “${first.phrase}” by that name; it looked for “${first.as}”.`) : null;
}
