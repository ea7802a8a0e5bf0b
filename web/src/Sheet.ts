import { h, icon } from "./dom";

export type SheetHeight = "field" | "three" | "full";

const HEIGHTS: SheetHeight[] = ["field", "three", "full"];
const DRAG = 24; // px of movement that is meant

/**
 * Sheet gives the search card its three heights on a phone: the field alone, three results, all. The style sheet makes
 * something of them only on narrow screens. A drag moves one height up or down, a tap goes up, and from full to field.
 */
export class Sheet {
  readonly handle: HTMLButtonElement;
  private current: SheetHeight = "three";

  constructor(private readonly card: HTMLElement) {
    this.handle = h("button", { type: "button", class: "tilescout-sheet-handle", "aria-label": "Change the height of the results" }, icon("handle"));
    let from = 0;
    let dragged = false;
    this.handle.addEventListener("pointerdown", (event) => {
      from = event.clientY;
      dragged = false;
      this.handle.setPointerCapture(event.pointerId);
    });
    this.handle.addEventListener("pointerup", (event) => {
      const moved = event.clientY - from;
      if (Math.abs(moved) >= DRAG) {
        dragged = true;
        this.step(moved < 0 ? 1 : -1);
      }
    });
    this.handle.addEventListener("click", () => {
      if (!dragged) {
        this.set(this.current === "full" ? "field" : (HEIGHTS[HEIGHTS.indexOf(this.current) + 1] ?? "full"));
      }
      dragged = false;
    });
    this.set("three");
  }

  get height(): SheetHeight {
    return this.current;
  }

  set(height: SheetHeight): void {
    this.current = height;
    this.card.setAttribute("data-height", height);
    this.handle.setAttribute("aria-expanded", String(height !== "field"));
  }

  private step(by: number): void {
    this.set(HEIGHTS[Math.min(2, Math.max(0, HEIGHTS.indexOf(this.current) + by))] ?? "three");
  }
}
