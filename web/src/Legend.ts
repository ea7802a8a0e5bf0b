import { h } from "./dom";
import { STOPS } from "./ramp";

export interface LegendOptions {
  onChange: (threshold: number) => void;
}

const STEP = 0.01;

/** Legend is the colour ramp of the overlay with the threshold as a handle on it. */
export class Legend {
  readonly element: HTMLElement;
  private readonly track: HTMLElement;
  private readonly handle: HTMLElement;
  private readonly value = h("output", { class: "tilescout-score" });
  private threshold = 0;

  constructor(private readonly options: LegendOptions) {
    this.handle = h("div", { class: "tilescout-handle", role: "slider", tabindex: 0, "aria-label": "Least score shown", "aria-valuemin": 0, "aria-valuemax": 1, "aria-orientation": "horizontal" });
    const ramp = h("div", { class: "tilescout-ramp" });
    const colors = STOPS.map(([r, g, b, a], i) => `rgb(${r} ${g} ${b} / ${Math.min(1, a * 1.35 + 0.14).toFixed(2)}) ${(100 * i) / (STOPS.length - 1)}%`);
    ramp.style.setProperty("--ramp", `linear-gradient(to right, ${colors.join(", ")})`);
    this.track = h("div", { class: "tilescout-track" }, ramp, this.handle);
    this.element = h("section", { class: "tilescout-legend", "aria-label": "Legend" },
      h("div", { class: "tilescout-legend-head" }, h("span", {}, "Shown from score"), this.value),
      this.track,
      h("div", { class: "tilescout-legend-ends tilescout-muted", "aria-hidden": "true" }, h("span", {}, "unlikely"), h("span", {}, "sure")));
    this.track.addEventListener("pointerdown", (event) => this.grab(event));
    this.handle.addEventListener("keydown", (event) => this.key(event));
  }

  show(threshold: number): void {
    this.threshold = Math.round(Math.min(1, Math.max(0, threshold)) / STEP) * STEP;
    const text = this.threshold.toFixed(2);
    this.value.textContent = text;
    this.handle.setAttribute("aria-valuenow", text);
    this.handle.setAttribute("aria-valuetext", `score ${text}`);
    this.track.style.setProperty("--threshold", text);
  }

  private set(threshold: number): void {
    const before = this.threshold;
    this.show(threshold);
    if (this.threshold !== before) {
      this.options.onChange(Number(this.threshold.toFixed(2)));
    }
  }

  private grab(event: PointerEvent): void {
    if (event.button !== 0) {
      return;
    }
    event.preventDefault();
    this.handle.focus({ preventScroll: true });
    const at = (e: PointerEvent) => {
      const box = this.track.getBoundingClientRect();
      this.set((e.clientX - box.left) / box.width);
    };
    at(event);
    this.track.setPointerCapture(event.pointerId);
    this.track.addEventListener("pointermove", at);
    const stop = () => this.track.removeEventListener("pointermove", at);
    this.track.addEventListener("pointerup", stop, { once: true });
    this.track.addEventListener("pointercancel", stop, { once: true });
  }

  private key(event: KeyboardEvent): void {
    const steps: Record<string, number> = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };
    const by = steps[event.key];
    if (by !== undefined) {
      event.preventDefault();
      event.stopPropagation();
      this.set(this.threshold + by);
    }
  }
}
