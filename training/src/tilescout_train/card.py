"""Writes the figures of a run into its model card: `python -m tilescout_train.card --config ...`.

Everything between the two marks of encoder/bundled/README.md comes from `figures.json` (written by
export) and from painted tiles that the run never saw; the rest of the card is written by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import data, evaluate, export, text
from .config import load
from .errors import DataError, TrainError

BEGIN, END = "<!-- figures: written by tilescout_train.card -->", "<!-- end of figures -->"
PAINTED = (
    "stadium", "airport", "harbor", "storage tanks", "parking lot", "forest", "bridge",
    "baseball field", "runway", "river", "sea", "beach", "playground", "viaduct",
    "railway station", "tennis court", "pond", "farmland", "dense residential area",
    "industrial area",
)


def share(value: float, n: int) -> str:
    """A share with its 95 % interval."""
    low, high = evaluate.interval(value, n)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def painted_precision(folder: Path, painted: Path) -> list[tuple[str, int, float]]:
    """(phrase, true tiles, average precision) of a model folder on painted tiles, scored as in
    search: against the background vocabulary without the phrase's own synonyms.
    """
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    entries = json.loads((folder / "concepts.json").read_text(encoding="utf-8"))["concepts"]
    tokenizer = text.Tokenizer(
        vocabulary["words"], vocabulary["aliases"] | vocabulary.get("descriptions", {}),
        model["text"]["context"],
    )
    images, texts = export.ort_encoders(folder / "image.onnx", folder / "text.onnx", tokenizer)
    rows = data.read_list(painted / "tiles.jsonl")
    pixels = torch.from_numpy(np.stack([
        data.decode((painted / r["file"]).read_bytes(), 256).transpose(2, 0, 1) for r in rows
    ]))
    vectors = evaluate.embed_images(images, pixels, model["image"]["size"])
    background = evaluate.embed_phrases(texts, [e["phrase"] for e in entries])
    scale, synonym = model["calibration"]["scale"], model["calibration"]["synonym"]
    out = []
    for phrase in PAINTED:
        query = evaluate.embed_phrases(texts, [phrase])[0]
        others = background @ query < synonym
        for i, entry in enumerate(entries):
            if phrase == entry["phrase"] or phrase in entry["synonyms"]:
                others[i] = False
        rivals = (scale * vectors @ background[others].T).logsumexp(1)
        score: Tensor = scale * vectors @ query - rivals
        use = torch.tensor([phrase not in r.get("partly", []) for r in rows])
        truth = torch.tensor([phrase in r["labels"] for r in rows])[use]
        out.append((phrase, int(truth.sum()), evaluate.average_precision(score[use], truth)))
    return out


def figures_block(
    figures: dict[str, Any], names: dict[str, str], painted: list[tuple[str, int, float]],
    seeds: str,
) -> str:
    """Markdown of all figures."""
    n, top, whole = figures["n"], figures["topk"], figures["float_topk"]
    found, scores = figures["retrieval"], figures["calibration"]
    lines = [
        f"RSICD valid, the {n} pictures of its 30 named classes (`playfields` left out), as "
        "shipped; brackets are 95 % intervals (Wilson). One training run: differences below "
        "2 points mean nothing.", "",
        "| zero-shot, 8 templates | top-1 | top-3 | top-5 | top-10 |", "|---|---|---|---|---|",
        "| int8 | " + " | ".join(share(top[k], n) for k in ("1", "3", "5", "10")) + " |",
        "| float | " + " | ".join(f"{whole[k]:.3f}" for k in ("1", "3", "5", "10")) + " |",
        "| for comparison: CLIP ViT-B/32 and clip-rsicd-v2 (both 605 MB) on RSICD *test* "
        "| .572 / .883 | .745 / .968 | .837 / .982 | .939 / .998 |", "",
        f"Mean cosine of int8 to float embeddings: {figures['int8_cosine']:.4f}.", "",
        "Captions of RSICD valid (1,083 pictures, 2,870 sentences): image to text R@1/5/10 "
        + " / ".join(f"{found[f'i2t@{k}']:.3f}" for k in (1, 5, 10)) + ", text to image "
        + " / ".join(f"{found[f't2i@{k}']:.3f}" for k in (1, 5, 10))
        + f", mR {100 * found['mR']:.1f}.", "",
        "Scores (fitted on the same pictures, so flattering): expected calibration error "
        f"{scores['ece']:.3f} over the background vocabulary; \"is it here at all\" with 3 true "
        f"tiles in 200: AUROC {scores['auroc_max']:.2f} by the best tile, "
        f"{scores['auroc_top3']:.2f} by the best three; verdict \"match\" "
        f"{100 * scores['match_rate_present']:.0f} % with, "
        f"{100 * scores['match_rate_absent']:.0f} % without; best macro-F1 with one threshold "
        f"{scores['macro_f1']:.2f} (at {scores['f1_threshold']:.2f}).", "",
        "| class | n | top-1 | AP | most often taken for |", "|---|---|---|---|---|",
    ]
    for name, row in sorted(figures["classes"].items(), key=lambda item: item[1]["top1"]):
        lines.append(
            f"| {names[name]} | {row['n']} | {share(row['top1'], row['n'])} | {row['ap']:.2f} "
            f"| {names.get(row['confused'], '')} |"
        )
    if painted:
        lines += ["", f"| painted tiles of seeds {seeds} (never trained on), zooms 15–18 "
                  "| true tiles | average precision |", "|---|---|---|"]
        lines += [f"| {p} | {count} | {value:.3f} |" for p, count, value in painted]
    return "\n".join(lines)


def write(card: Path, block: str) -> None:
    """Replace what stands between the marks of the card."""
    old = card.read_text(encoding="utf-8")
    if old.count(BEGIN) != 1 or old.count(END) != 1 or old.index(BEGIN) > old.index(END):
        raise DataError(f"{card}: needs one line {BEGIN!r} and, below it, one {END!r}")
    head, rest = old.split(BEGIN)
    tail = rest.split(END)[1]
    card.write_text(f"{head}{BEGIN}\n\n{block}\n\n{END}{tail}", encoding="utf-8")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write a run's figures into its model card.")
    parser.add_argument("--config", required=True, help="experiment file (TOML)")
    parser.add_argument("--model", required=True, help="model folder that export wrote")
    parser.add_argument("--card", required=True, help="Markdown file with the two marks")
    parser.add_argument("--painted", help="folder of painted tiles that the run did not see")
    parser.add_argument("--seeds", default="2001–2002", help="their seeds, for the text")
    args = parser.parse_args()
    try:
        base = Path(args.config).resolve().parents[1]
        config = load(args.config)
        path = base / "runs" / config.name / "figures.json"
        if not path.exists():
            raise DataError(f"{path.name}: not there; run tilescout_train.export first")
        figures = json.loads(path.read_text(encoding="utf-8"))
        painted = painted_precision(Path(args.model), Path(args.painted)) if args.painted else []
        names = evaluate.class_phrases(base / config.scenes)
        write(Path(args.card), figures_block(figures, names, painted, args.seeds))
    except TrainError as error:
        print(f"card: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
