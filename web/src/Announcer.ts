import { h } from "./dom";

/** Announcer speaks to screen readers through one polite live region. */
export class Announcer {
  readonly element = h("div", { class: "tilescout-hidden", role: "status", "aria-live": "polite", "aria-atomic": "true" });

  say(text: string): void {
    this.element.textContent = text;
  }
}
