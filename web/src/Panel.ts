import { button, h } from "./dom";

/** Panel is a small window that a toolbar button opens; not modal, the map stays usable. */
export class Panel {
  readonly element: HTMLElement;
  protected readonly body = h("div", { class: "tilescout-panel-body" });

  constructor(
    readonly name: string,
    readonly title: string,
    readonly iconName: string,
    onClose: () => void,
  ) {
    this.element = h("section", { class: "tilescout-panel", id: `tilescout-panel-${name}`, "aria-label": title, hidden: true },
      h("header", { class: "tilescout-panel-head" }, h("h2", {}, title), button({ icon: "close", label: `Close ${title.toLowerCase()}`, class: "tilescout-icon-button", onClick: onClose })),
      this.body);
  }

  /** refresh draws the panel anew; called each time it opens. */
  refresh(): void {}
}

/** choice returns a row of radio buttons drawn as one control. */
export function choice<T extends string>(options: {
  name: string;
  title: string;
  values: ReadonlyArray<readonly [T, string]>;
  value: T;
  onChange: (value: T) => void;
  class?: string;
}): HTMLFieldSetElement {
  return h("fieldset", { class: options.class ?? "tilescout-choice" },
    h("legend", {}, options.title),
    ...options.values.map(([value, text]) => {
      const input = h("input", { type: "radio", name: `tilescout-${options.name}`, value, checked: value === options.value });
      input.addEventListener("change", () => options.onChange(value));
      return h("label", {}, input, h("span", {}, text));
    }));
}
