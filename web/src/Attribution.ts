import { h } from "./dom";

/**
 * Attribution shows the credit of a layer, always. Such texts are HTML by convention and come from foreign servers:
 * only links to http(s) and text survive.
 */
export class Attribution {
  readonly element = h("footer", { class: "tilescout-attribution", "aria-label": "Attribution" });

  show(html: string): void {
    this.element.replaceChildren(...safeNodes(html));
    this.element.hidden = this.element.textContent === "";
  }
}

/** safeNodes returns the text and the web links of a piece of HTML as nodes; nothing of it is ever run or loaded. */
export function safeNodes(html: string): Node[] {
  const nodes: Node[] = [];
  const walk = (node: Node) => {
    if (node.nodeType === Node.TEXT_NODE) {
      nodes.push(document.createTextNode(node.textContent ?? ""));
    } else if (node instanceof HTMLAnchorElement && /^https?:\/\//i.test(node.getAttribute("href") ?? "")) {
      nodes.push(h("a", { href: node.getAttribute("href"), rel: "noopener nofollow", target: "_blank" }, node.textContent ?? ""));
    } else if (!(node instanceof Element) || !/^(script|style|template|noscript)$/i.test(node.tagName)) {
      node.childNodes.forEach(walk);
    }
  };
  // A parsed document is inert: its scripts do not run, its pictures do not load.
  new DOMParser().parseFromString(html.slice(0, 4096), "text/html").body.childNodes.forEach(walk);
  return nodes;
}
