import { button, copyText, h, icon } from "./dom";
import { Panel } from "./Panel";

/** The addresses that a view can be carried away by; overlay, GeoJSON only while something is searched. */
export interface Addresses {
  link: string;
  geojson: string | null;
  overlay: string | null;
  imagery: string;
  wmts: string;
  qlr: string;
  /** The addresses hold the key with which the page was opened. */
  keyed: boolean;
}

export interface SharePanelOptions {
  addresses: () => Addresses;
  onClose: () => void;
}

/** SharePanel carries the view away: as a link, as data, into QGIS or any map client. */
export class SharePanel extends Panel {
  constructor(private readonly options: SharePanelOptions) {
    super("share", "Share", "share", options.onClose);
  }

  override refresh(): void {
    const { link, geojson, overlay, imagery, wmts, qlr, keyed } = this.options.addresses();
    this.body.replaceChildren(
      ...(keyed ? [h("p", { class: "tilescout-muted" }, "These addresses hold your key: whoever has one can use it.")] : []),
      ...row("Link to this view", link),
      ...(geojson ? row("Matches as GeoJSON", geojson, "matches.geojson") : []),
      h("h3", {}, "In QGIS"),
      h("a", { class: "tilescout-action tilescout-action-wide", href: qlr, download: "" }, icon("download"), h("span", {}, "Layer definition (.qlr)")),
      h("p", { class: "tilescout-muted" }, "Drag the file into QGIS: imagery, overlay and matches in one. Or paste an address:"),
      ...(overlay ? row("Overlay, XYZ", overlay) : []),
      ...row("Imagery, XYZ", imagery),
      ...row("WMTS", wmts),
      h("p", { class: "tilescout-muted" }, "Layer ▸ Add Layer ▸ Add XYZ Layer… (or Add WMS/WMTS Layer…) ▸ New, and paste the address under URL."),
    );
  }
}

function row(title: string, address: string, download?: string): HTMLElement[] {
  const id = `tilescout-share-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  const field = h("input", { type: "text", readonly: true, id, value: address, class: "tilescout-address" });
  field.addEventListener("focus", () => field.select());
  const copy = button({
    icon: "copy", label: `Copy: ${title}`, class: "tilescout-icon-button",
    onClick: () => void copyText(address).then((ok) => {
      copy.replaceChildren(icon(ok ? "check" : "close"));
      window.setTimeout(() => copy.replaceChildren(icon("copy")), 1600);
    }),
  });
  const save = download ? h("a", { class: "tilescout-icon-button", href: address, download, "aria-label": `Download: ${title}`, title: `Download: ${title}` }, icon("download")) : null;
  return [h("label", { for: id }, title), h("div", { class: "tilescout-share-row" }, field, copy, save)];
}
