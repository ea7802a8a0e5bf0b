import { h } from "./dom";
import { choice, Panel } from "./Panel";
import type { OverlayDetail, OverlayStyle } from "./types";

export interface OverlayPanelOptions {
  style: () => OverlayStyle;
  detail: () => OverlayDetail;
  opacity: () => number;
  onDetail: (detail: OverlayDetail) => void;
  onStyle: (style: OverlayStyle) => void;
  onOpacity: (opacity: number) => void;
  onClose: () => void;
}

/** OverlayPanel sets how matches are drawn: style, detail and opacity. */
export class OverlayPanel extends Panel {
  constructor(private readonly options: OverlayPanelOptions) {
    super("overlay", "Overlay", "opacity", options.onClose);
  }

  override refresh(): void {
    const { style, detail, opacity, onStyle, onDetail, onOpacity } = this.options;
    const slider = h("input", { type: "range", class: "tilescout-range", id: "tilescout-opacity", min: 0, max: 100, step: 5, value: Math.round(opacity() * 100) });
    const value = h("output", { for: "tilescout-opacity", class: "tilescout-score" }, `${slider.value} %`);
    slider.addEventListener("input", () => {
      value.textContent = `${slider.value} %`;
      onOpacity(Number(slider.value) / 100);
    });
    this.body.replaceChildren(
      h("div", { class: "tilescout-slider" }, h("label", { for: "tilescout-opacity" }, "Opacity"), value, slider),
      choice<OverlayStyle>({ name: "style", title: "Style", values: [["heat", "Heat"], ["grid", "Grid"], ["outline", "Outline"]], value: style(), onChange: onStyle }),
      choice<OverlayDetail>({ name: "detail", title: "Follows", values: [["patch", "What is seen"], ["tile", "Whole tiles"]], value: detail(), onChange: onDetail }),
    );
  }
}
