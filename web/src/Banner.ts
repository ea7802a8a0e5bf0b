import { h } from "./dom";

export interface BannerOptions {
  /** Does the server answer again? */
  alive: () => Promise<boolean>;
  onBack: () => void;
}

const FIRST = 1000; // ms
const LONGEST = 15_000; // ms

/** Banner says that the server does not answer, tries again by itself, and goes when it is back. */
export class Banner {
  readonly element = h("div", { class: "tilescout-banner", role: "status", hidden: true });
  private wait = FIRST;
  private timer = 0;

  constructor(private readonly options: BannerOptions) {
    window.addEventListener("online", () => {
      if (!this.element.hidden) {
        void this.attempt();
      }
    });
  }

  show(): void {
    if (!this.element.hidden) {
      return;
    }
    this.wait = FIRST;
    this.element.replaceChildren(h("span", { class: "tilescout-pulse", "aria-hidden": "true" }), "The server does not answer. Trying again by itself; the map keeps what it has.");
    this.element.hidden = false;
    this.plan();
  }

  private plan(): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.attempt(), this.wait);
    this.wait = Math.min(LONGEST, this.wait * 1.7);
  }

  private async attempt(): Promise<void> {
    if (await this.options.alive()) {
      window.clearTimeout(this.timer);
      this.element.hidden = true;
      this.options.onBack();
    } else {
      this.plan();
    }
  }
}
