import { ApiError, isAbort, type Api } from "./api";
import { button, h, icon, setAttributes } from "./dom";
import type { Recents } from "./Recents";
import { cleanPrompt, markUnknown } from "./terms";

export interface PromptFieldOptions {
  api: Api;
  recents: Recents;
  /** Layer whose suggestions are wanted. */
  layer: () => string;
  /** Is a search on screen, so that "or" and "not" make sense? */
  refinable: () => boolean;
  onSubmit: (text: string) => void;
  onClear: () => void;
  onFocus: () => void;
  /** A picture is to be picked, to search by it. */
  onPicture: () => void;
}

interface Option {
  kind: "concept" | "saved" | "recent" | "or" | "not";
  phrase: string;
}

const KINDS: Record<Option["kind"], string> = { concept: "", saved: "saved", recent: "recent", or: "also show", not: "leave out" };
const ICONS: Record<Option["kind"], string> = { concept: "search", saved: "star", recent: "clock", or: "plus", not: "not" };
const MOST = 7;

/**
 * PromptField is where one types: a combobox after the ARIA pattern. Suggestions are concepts that the model knows,
 * saved searches and what was asked before; the newest answer wins.
 */
export class PromptField {
  readonly element: HTMLElement;
  readonly input: HTMLInputElement;
  private readonly mirror = h("div", { class: "tilescout-field-mirror", "aria-hidden": "true" });
  private readonly list = h("ul", { class: "tilescout-suggestions", id: "tilescout-suggestions", role: "listbox", "aria-label": "Suggestions", hidden: true });
  private readonly progress = h("div", { class: "tilescout-progress", hidden: true });
  private readonly clearButton: HTMLButtonElement;
  private shown: Option[] = [];
  private active = -1;
  private abort: AbortController | null = null;
  private timer = 0;

  constructor(private readonly options: PromptFieldOptions) {
    this.input = h("input", {
      class: "tilescout-input", type: "text", id: "tilescout-prompt", role: "combobox", placeholder: "What are you looking for?",
      "aria-label": "What are you looking for?", "aria-autocomplete": "list", "aria-expanded": "false",
      "aria-controls": "tilescout-suggestions", autocomplete: "off", autocapitalize: "none", spellcheck: "false", enterkeyhint: "search", maxlength: 512,
    });
    this.clearButton = button({ icon: "close", label: "Clear", class: "tilescout-icon-button tilescout-clear", onClick: () => this.clear() });
    this.clearButton.hidden = true;
    const line = h("div", { class: "tilescout-field" }, icon("search"), h("div", { class: "tilescout-field-text" }, this.mirror, this.input), this.clearButton,
      button({ icon: "picture", label: "Search by a picture", class: "tilescout-icon-button", onClick: () => options.onPicture() }));
    this.element = h("div", { class: "tilescout-prompt" }, line, this.progress, this.list);
    this.input.addEventListener("input", () => this.typed());
    this.input.addEventListener("scroll", () => (this.mirror.scrollLeft = this.input.scrollLeft));
    this.input.addEventListener("keydown", (event) => this.key(event));
    this.input.addEventListener("focus", () => options.onFocus());
    this.input.addEventListener("blur", () => this.close());
  }

  get text(): string {
    return this.input.value;
  }

  /** show sets the text without searching. */
  show(text: string, placeholder = "What are you looking for?"): void {
    this.input.value = text;
    this.input.placeholder = placeholder;
    this.clearButton.hidden = text === "";
    this.mirror.replaceChildren();
    this.close();
  }

  /** underline marks the words that the model has not learned. */
  underline(unknown: readonly string[]): void {
    const pieces = unknown.length ? markUnknown(this.input.value, unknown) : [];
    this.mirror.replaceChildren(...pieces.map((p) => h("span", { class: p.unknown ? "tilescout-unknown" : null }, p.text)));
    this.mirror.scrollLeft = this.input.scrollLeft;
  }

  /** offerClear keeps the clear button though the field is empty, as when only tiles are asked for. */
  offerClear(offer: boolean): void {
    this.clearButton.hidden = !offer && this.input.value === "";
  }

  searching(on: boolean): void {
    this.progress.hidden = !on;
    setAttributes(this.input, { "aria-busy": on ? "true" : null });
  }

  focus(): void {
    this.input.focus();
    this.input.select();
  }

  private clear(): void {
    this.show("");
    this.options.onClear();
    this.input.focus();
  }

  private typed(): void {
    this.mirror.replaceChildren();
    this.clearButton.hidden = this.input.value === "";
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.suggest(), 60);
  }

  private async suggest(): Promise<void> {
    const text = cleanPrompt(this.input.value);
    this.abort?.abort();
    const abort = new AbortController();
    this.abort = abort;
    const recent: Option[] = this.options.recents.matching(text).map((phrase) => ({ kind: "recent", phrase }));
    let known: Option[] = [];
    if (text !== "") {
      try {
        known = await this.options.api.suggest(text, this.options.layer(), abort.signal);
      } catch (err) {
        if (isAbort(err) || !(err instanceof ApiError)) {
          return;
        }
        // No suggestions is no trouble worth a message: Enter still searches.
      }
    }
    if (abort.signal.aborted || document.activeElement !== this.input) {
      return;
    }
    const seen = new Set<string>();
    const options = [...recent.slice(0, text === "" ? MOST : 2), ...known].filter((o) => !seen.has(o.phrase) && seen.add(o.phrase)).slice(0, MOST);
    if (text !== "" && this.options.refinable() && !/^(?:[+-]|(?:or|not)\s)/i.test(text)) {
      options.push({ kind: "or", phrase: text }, { kind: "not", phrase: text });
    }
    this.open(options);
  }

  private open(options: Option[]): void {
    this.shown = options;
    this.active = -1;
    this.list.replaceChildren(
      ...options.map((option, i) => {
        const item = h("li", { class: "tilescout-suggestion", role: "option", id: `tilescout-suggestion-${i}`, "aria-selected": "false" },
          icon(ICONS[option.kind]), h("span", { class: "tilescout-suggestion-phrase" }, option.phrase), h("span", { class: "tilescout-muted" }, KINDS[option.kind]));
        // Before blur, so that the field keeps the focus.
        item.addEventListener("pointerdown", (event) => event.preventDefault());
        item.addEventListener("click", () => this.choose(option));
        return item;
      }),
    );
    this.list.hidden = options.length === 0;
    setAttributes(this.input, { "aria-expanded": String(options.length > 0), "aria-activedescendant": null });
  }

  private close(): void {
    window.clearTimeout(this.timer);
    this.abort?.abort();
    this.list.hidden = true;
    this.shown = [];
    this.active = -1;
    setAttributes(this.input, { "aria-expanded": "false", "aria-activedescendant": null });
  }

  private choose(option: Option): void {
    const sign = option.kind === "or" ? "+" : option.kind === "not" ? "-" : "";
    this.submit(sign + option.phrase);
  }

  private submit(text: string): void {
    this.close();
    // Leaves the field for the results: j and k walk them, and a phone puts its keyboard away.
    this.element.closest<HTMLElement>("[tabindex]")?.focus({ preventScroll: true });
    this.options.onSubmit(text);
  }

  private key(event: KeyboardEvent): void {
    const open = !this.list.hidden;
    switch (event.key) {
      case "ArrowDown":
      case "ArrowUp":
        event.preventDefault();
        if (open) {
          this.move(event.key === "ArrowDown" ? 1 : -1);
        } else {
          void this.suggest();
        }
        break;
      case "Enter": {
        if (event.isComposing) {
          return;
        }
        event.preventDefault();
        const option = this.shown[this.active];
        if (option) {
          this.choose(option);
        } else {
          this.submit(this.input.value);
        }
        break;
      }
      case "Escape":
        event.stopPropagation();
        if (open) {
          this.close();
        } else if (this.input.value !== "" || !this.clearButton.hidden) {
          this.clear();
        } else {
          this.input.blur();
        }
        break;
    }
  }

  private move(by: number): void {
    const n = this.shown.length;
    // Positions go round: the field itself (-1), then the options.
    this.active = ((this.active + 1 + by + n + 1) % (n + 1)) - 1;
    Array.from(this.list.children).forEach((item, i) => {
      item.setAttribute("aria-selected", String(i === this.active));
      if (i === this.active) {
        item.scrollIntoView({ block: "nearest" });
      }
    });
    setAttributes(this.input, { "aria-activedescendant": this.active < 0 ? null : `tilescout-suggestion-${this.active}` });
  }
}
