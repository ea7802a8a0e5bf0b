"""The model card of an exported checkpoint, from the figures and the run that made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..evaluate import interval


def training(checkpoint: Path) -> list[str]:
    """How an epoch folder of a fine-tuning run came about; another checkpoint says nothing."""
    run = checkpoint.resolve().parent / "run.json"
    number = checkpoint.resolve().name.removeprefix("epoch-")
    if not run.is_file() or not number.isdecimal():
        return ["The checkpoint was taken as it was; how it was trained is for its author to say."]
    try:
        return _told(json.loads(run.read_text(encoding="utf-8")), int(number))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{run}: not the description of a fine-tuning run: {error!r}") from error


def _told(table: dict[str, Any], number: int) -> list[str]:
    config, log = table["config"], table["log"]
    entry = next((e for e in log if e["epoch"] == number), {})
    first = next((e for e in log if e["epoch"] == 0), {})
    start = f" Before the first step: top-1 {first['top1']:.3f}." if first else ""
    return [
        f"Fine-tuned from `{Path(config['checkpoint']).name}` for {number} of {config['epochs']} "
        f"passes over {table['pictures']} captioned pictures ({', '.join(config['sets'])}): "
        f"{config['optimiser']}, rate {config['lr']:g}, batch {config['batch']}, augmentation "
        f"{config['augmentation']}, seed {config['seed']}; {entry.get('seconds', 0) / 60:.0f} "
        f"minutes on {config['device']}, commit {table['commit'][:12] or 'unknown'}.{start}", "",
        "SHA-256 of the data: "
        + ", ".join(f"`{name}` {digest[:12]}…" for name, digest in table["data"].items()) + ".",
    ]


def write(
    folder: Path, checkpoint: Path, valid: Path, template: str, figures: dict[str, Any]
) -> None:
    """Write README.md into the model folder; model.json must be there."""
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    n, found = figures["n"], figures["calibration"]
    lines = [
        f"# Model card: {model['title']}", "",
        f"CLIP, {model['image']['size']} px, embeddings of {model['dimension']} numbers, prompts "
        f"of up to {model['text']['context']} tokens. Terms: {model['licence']}.", "",
        "## Training", "", *training(checkpoint), "", "## Figures", "",
        f"`{valid.name}`, {n} pictures with a class; brackets are 95 % intervals (Wilson). The "
        "calibration was fitted on the same pictures, and an epoch may have been chosen on them, "
        "so the figures flatter.", "",
        "| prompts | top-1 | top-3 | top-5 | top-10 |", "|---|---|---|---|---|",
    ]
    for name, key in ((f"“{template}”", "topk"), ("mean of the search templates",
                                                  "topk_search_templates")):
        cells = []
        for k in (1, 3, 5, 10):
            low, high = interval(figures[key][k], n)
            cells.append(f"{figures[key][k]:.3f} [{low:.3f}, {high:.3f}]")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "", f"Expected calibration error over the background vocabulary {found['ece']:.3f}; "
        f"AUROC of “is it here at all” {found['auroc_top3']:.2f}. Lowest cosine between these "
        f"graphs and the checkpoint: {figures['least_cosine']:.6f}.", "",
        "## Limits", "",
        "CLIP matches what a view looks like. It does not know names of places, what a building "
        "is used for, or things of a few pixels. To take another model, name its folder with "
        "`--model`; its embeddings start a new index.",
    ]
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
