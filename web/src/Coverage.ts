import { button, h, percent } from "./dom";
import type { IndexStatus } from "./types";

export interface CoverageOptions {
  onFill: () => void;
}

/** Coverage says how much of the view the model has looked at, and offers to fill the rest. */
export class Coverage {
  readonly element: HTMLElement;
  private readonly text = h("span", {});
  private readonly fill: HTMLButtonElement;
  private readonly meter = h("span", { class: "tilescout-bar-fill" });

  constructor(options: CoverageOptions) {
    this.fill = button({ text: "Fill", label: "Fill the rest of this view", class: "tilescout-button tilescout-button-small", onClick: () => options.onFill() });
    this.element = h("div", { class: "tilescout-coverage", hidden: true },
      h("div", { class: "tilescout-coverage-line" }, this.text, this.fill),
      h("span", { class: "tilescout-bar", "aria-hidden": "true" }, this.meter));
  }

  show(status: IndexStatus | null): void {
    const { embedded, total } = status?.view ?? status ?? { embedded: 0, total: 0 };
    if (!status || total === 0 || embedded >= total || status.state === "unavailable") {
      this.element.hidden = true;
      return;
    }
    const building = status.state === "building";
    const part = `${percent(embedded, total)} of this view embedded`;
    this.text.textContent = building ? `${part}${timeLeft(status, total - embedded)}` : part;
    this.fill.hidden = building;
    this.meter.style.setProperty("--value", String(embedded / total));
    this.element.hidden = false;
  }
}

function timeLeft(status: IndexStatus, missing: number): string {
  if (!status.rate || status.rate <= 0) {
    return ", filling";
  }
  const seconds = missing / status.rate;
  return seconds < 90 ? `, ${Math.max(1, Math.round(seconds))} s left` : `, ${Math.round(seconds / 60)} min left`;
}
