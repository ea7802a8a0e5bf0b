import { h } from "./dom";
import { Panel } from "./Panel";

export interface HelpPanelOptions {
  /** One line about the model, "" if none is loaded. */
  model: () => string;
  onClose: () => void;
}

const KEYS: ReadonlyArray<readonly [string[], string]> = [
  [["/"], "to the search field"],
  [["j", "k"], "next, previous result"],
  [["Enter"], "fly to the result"],
  [["Esc"], "close, then clear"],
  [["+", "−"], "zoom"],
  [["?"], "this list"],
];

/** HelpPanel lists the keys and the few signs that the field understands. */
export class HelpPanel extends Panel {
  constructor(private readonly options: HelpPanelOptions) {
    super("help", "Keys", "help", options.onClose);
  }

  override refresh(): void {
    const model = this.options.model();
    this.body.replaceChildren(
      h("dl", { class: "tilescout-keys" }, ...KEYS.flatMap(([keys, text]) => [h("dt", {}, ...keys.map((k) => h("kbd", {}, k))), h("dd", {}, text)])),
      h("p", { class: "tilescout-muted" }, "In the field, “or airport” looks for one more thing, “not car park” leaves one out."),
      h("p", { class: "tilescout-muted" }, "A picture dropped on the map, or pasted, finds the tiles that look like it."),
      ...(model ? [h("p", { class: "tilescout-muted" }, `Model: ${model}`)] : []),
      h("p", { class: "tilescout-muted" }, "Drawn with ", h("a", { href: "https://leafletjs.com", rel: "noopener", target: "_blank" }, "Leaflet"), "."),
    );
  }
}
