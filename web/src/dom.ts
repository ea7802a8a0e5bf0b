/** Small helpers to build the page. Text goes in as text nodes, never as HTML. */

type Attributes = Record<string, string | number | boolean | null | undefined>;
type Child = Node | string | null | undefined | false;

/** h returns a new element. A boolean attribute is there or not; null and undefined leave it out. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  append(element, children);
  return element;
}

export function append(element: Element, children: Child[]): void {
  element.append(...children.filter((c): c is Node | string => c !== null && c !== undefined && c !== false));
}

export function setAttributes(element: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) {
      element.removeAttribute(name);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

/** icon returns one of the drawings in icons.svg part of index.html; it is decoration, its button has the name. */
export function icon(name: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  setAttributes(svg, { class: "tilescout-icon", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" });
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#tilescout-icon-${name}`);
  svg.append(use);
  return svg;
}

/** button returns a button with an icon, a text, or both. */
export function button(options: { icon?: string; text?: string; label?: string; class?: string; onClick: (event: MouseEvent) => void }): HTMLButtonElement {
  const element = h("button", { type: "button", class: options.class ?? "tilescout-button", "aria-label": options.label, title: options.label });
  append(element, [options.icon ? icon(options.icon) : null, options.text ? h("span", {}, options.text) : null]);
  element.addEventListener("click", options.onClick);
  return element;
}

/** bar returns a horizontal bar filled to a value of 0–1. */
export function bar(value: number, color?: string): HTMLElement {
  const fill = h("span", { class: "tilescout-bar-fill" });
  fill.style.setProperty("--value", String(Math.min(1, Math.max(0, value))));
  if (color) {
    fill.style.setProperty("--color", color);
  }
  return h("span", { class: "tilescout-bar", "aria-hidden": "true" }, fill);
}

/** percent returns a share as whole per cent that is 100 only if nothing is missing, and 0 only if nothing is there. */
export function percent(part: number, whole: number): string {
  if (whole <= 0 || part <= 0) {
    return "0 %";
  }
  const value = part >= whole ? 100 : Math.min(99, Math.max(1, Math.floor((100 * part) / whole)));
  return `${value} %`;
}

/** debounced returns a function that runs once, `wait` milliseconds after its last call. */
export function debounced<A extends unknown[]>(wait: number, run: (...args: A) => void): (...args: A) => void {
  let timer = 0;
  return (...args) => {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => run(...args), wait);
  };
}

/** copyText puts text on the clipboard; false if the browser does not let us. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Outside a secure context (plain http on another host) only the old way works.
    const field = h("textarea", { class: "tilescout-hidden", readonly: true });
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

/** reducedMotion says whether the person asked for less movement. */
export function reducedMotion(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
