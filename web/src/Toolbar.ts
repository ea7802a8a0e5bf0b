import { button, h } from "./dom";
import type { Panel } from "./Panel";

export interface ToolbarOptions {
  onZoom: (by: number) => void;
  /** A panel opened or the last one closed. */
  onToggle: (open: boolean) => void;
}

/** Toolbar is the column of buttons top right; at most one of its panels is open. */
export class Toolbar {
  readonly element: HTMLElement;
  private readonly buttons = new Map<string, HTMLButtonElement>();
  private panels: Panel[] = [];
  private current: Panel | null = null;

  constructor(private readonly options: ToolbarOptions) {
    this.element = h("div", { class: "tilescout-toolbar" });
  }

  mount(panels: Panel[]): void {
    this.panels = panels;
    const tools = h("div", { class: "tilescout-tools", role: "toolbar", "aria-label": "Map tools", "aria-orientation": "vertical" });
    for (const panel of panels) {
      const opener = button({ icon: panel.iconName, label: panel.title, class: "tilescout-icon-button", onClick: () => this.toggle(panel.name) });
      opener.setAttribute("aria-expanded", "false");
      opener.setAttribute("aria-controls", panel.element.id);
      this.buttons.set(panel.name, opener);
      tools.append(opener);
    }
    const zoom = h("div", { class: "tilescout-tools tilescout-zoom", role: "group", "aria-label": "Zoom" },
      button({ icon: "plus", label: "Zoom in", class: "tilescout-icon-button", onClick: () => this.options.onZoom(1) }),
      button({ icon: "minus", label: "Zoom out", class: "tilescout-icon-button", onClick: () => this.options.onZoom(-1) }));
    this.element.append(h("div", { class: "tilescout-columns" }, tools, zoom), ...panels.map((p) => p.element));
  }

  toggle(name: string): void {
    if (this.current?.name === name) {
      this.close();
      return;
    }
    const panel = this.panels.find((p) => p.name === name);
    if (panel) {
      this.hide();
      panel.refresh();
      panel.element.hidden = false;
      this.buttons.get(name)?.setAttribute("aria-expanded", "true");
      this.current = panel;
      this.options.onToggle(true);
    }
  }

  /** close hides the open panel and says whether there was one. */
  close(): boolean {
    const open = this.current;
    if (!open) {
      return false;
    }
    const inside = open.element.contains(document.activeElement);
    this.hide();
    this.options.onToggle(false);
    if (inside) {
      this.buttons.get(open.name)?.focus();
    }
    return true;
  }

  /** refresh draws the open panel anew, as after a new search. */
  refresh(): void {
    if (this.current && !this.current.element.contains(document.activeElement)) {
      this.current.refresh();
    }
  }

  private hide(): void {
    if (this.current) {
      this.current.element.hidden = true;
      this.buttons.get(this.current.name)?.setAttribute("aria-expanded", "false");
      this.current = null;
    }
  }
}
