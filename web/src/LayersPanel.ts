import { percent } from "./dom";
import { choice, Panel } from "./Panel";
import type { Theme, ThemeChoice } from "./Theme";
import type { Layer } from "./types";

export interface LayersPanelOptions {
  layers: () => Layer[];
  current: () => string;
  theme: Theme;
  onLayer: (id: string) => void;
  onClose: () => void;
}

/** LayersPanel switches the imagery and the look of the page. */
export class LayersPanel extends Panel {
  constructor(private readonly options: LayersPanelOptions) {
    super("layers", "Layers", "layers", options.onClose);
  }

  override refresh(): void {
    const { layers, current, theme, onLayer } = this.options;
    this.body.replaceChildren(
      choice({ name: "layer", title: "Imagery", class: "tilescout-list-choice", values: layers().map((l) => [l.id, describe(l)] as const), value: current(), onChange: onLayer }),
      choice<ThemeChoice>({ name: "theme", title: "Look", values: [["auto", "Auto"], ["dark", "Dark"], ["light", "Light"]], value: theme.choice, onChange: (c) => theme.choose(c) }),
    );
  }
}

function describe({ title, id, index }: Layer): string {
  const name = title || id;
  if (index.state === "unavailable") {
    return `${name} (not searchable)`;
  }
  return index.total > 0 && index.embedded < index.total ? `${name} (${percent(index.embedded, index.total)} embedded)` : name;
}
