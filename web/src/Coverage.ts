import { button, h, percent } from "./dom";
import type { IndexStatus } from "./types";

export interface CoverageOptions {
  onFill: () => void;
}

/** Coverage says how much of the view the model has looked at, offers to fill the rest, and tells of a model to come. */
export class Coverage {
  readonly element: HTMLElement;
  private readonly text = h("span", {});
  private readonly fill: HTMLButtonElement;
  private readonly meter = h("span", { class: "tilescout-bar-fill" });
  private readonly view: HTMLElement;
  private readonly next = h("p", { class: "tilescout-next", hidden: true });

  constructor(options: CoverageOptions) {
    this.fill = button({ text: "Fill", label: "Fill the rest of this view", class: "tilescout-button tilescout-button-small", onClick: () => options.onFill() });
    this.view = h("div", { hidden: true },
      h("div", { class: "tilescout-coverage-line" }, this.text, this.fill),
      h("span", { class: "tilescout-bar", "aria-hidden": "true" }, this.meter));
    this.element = h("div", { class: "tilescout-coverage", hidden: true }, this.view, this.next);
  }

  show(status: IndexStatus | null): void {
    const text = nextModel(status);
    this.next.textContent = text;
    this.next.hidden = text === "";
    this.showView(status);
    this.element.hidden = this.view.hidden && this.next.hidden;
  }

  private showView(status: IndexStatus | null): void {
    const { embedded, total } = status?.view ?? status ?? { embedded: 0, total: 0 };
    if (!status || total === 0 || embedded >= total || status.state === "unavailable") {
      this.view.hidden = true;
      return;
    }
    const building = status.state === "building";
    const part = `${percent(embedded, total)} of this view embedded`;
    this.text.textContent = building ? `${part}${status.rate && status.rate > 0 ? timeLeft(status.rate, total - embedded) : ", filling"}` : part;
    this.fill.hidden = building;
    this.meter.style.setProperty("--value", String(embedded / total));
    this.view.hidden = false;
  }
}

/** nextModel says how far the model is that is to follow; "" if none is. */
export function nextModel(status: IndexStatus | null): string {
  const next = status?.next;
  if (!next) {
    return "";
  }
  const left = next.rate > 0 ? timeLeft(next.rate, next.total - next.embedded) : "";
  const waits = next.failed > 0 && next.embedded + next.failed >= next.total ? `; ${next.failed} tiles cannot be fetched, it tries again` : "";
  return `${next.model} prepares itself: ${percent(next.embedded, next.total)}${left}${waits}. Until then ${status.model ?? "the old model"} answers.`;
}

function timeLeft(rate: number, missing: number): string {
  const seconds = missing / rate;
  return seconds < 90 ? `, ${Math.max(1, Math.round(seconds))} s left` : `, ${Math.round(seconds / 60)} min left`;
}
