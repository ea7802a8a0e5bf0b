"""Zero-shot classification by the protocol of clip-rsicd, and retrieval, of a CLIP checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from .. import evaluate
from ..errors import DataError
from .captions import Captions
from .pictures import Pictures
from .towers import Towers

KEPT = 10  # classes of a row in the result table


def classes(pictures: list[Pictures]) -> list[str]:
    """Sorted classes over all lists of the corpus, not only the evaluated one."""
    found = sorted({name for p in pictures for name in p.label if name})
    if len(found) < 2:
        raise DataError(f"zero-shot evaluation needs at least two classes, found {found}")
    return found


def phrases(names: list[str], readable: bool, scenes: Path, corpus: str) -> list[str]:
    """Words for the classes: as in the file names, or the readable ones of classes.json."""
    if not readable:
        return names
    path = scenes / "classes.json"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))[corpus]
        return [str(table[name]) for name in names]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no readable label for {error}") from error


def embed(towers: Towers, pictures: Pictures, batch: int) -> Tensor:
    """Vectors of all pictures, not augmented: [N, D] on the CPU."""
    parts = []
    rows = torch.arange(len(pictures)).split(batch)
    with torch.no_grad():
        for part in tqdm(rows, desc="evaluate", unit="batch", disable=None, leave=False):
            parts.append(towers.images(pictures.batch(part)).cpu())
    return torch.cat(parts)


def embed_texts(towers: Towers, captions: Captions, texts: list[str], batch: int) -> Tensor:
    """Vectors of the texts: [N, D] on the CPU."""
    with torch.no_grad():
        return torch.cat([
            towers.texts(captions.ids(texts[i : i + batch])).cpu()
            for i in range(0, len(texts), batch)
        ])


def zero_shot(
    vectors: Tensor, texts: Tensor, pictures: Pictures, names: list[str], scale: float
) -> tuple[dict[str, Any], list[list[str]]]:
    """Top-k hits and the rows file, label, then class and probability of the best ten.

    vectors [N, D], texts [C, D] in the order of names, scale is the factor itself.
    """
    rows = [i for i, label in enumerate(pictures.label) if label]
    if not rows:
        raise DataError("no picture of the valid list has a class")
    probability = (scale * vectors[rows] @ texts.T).softmax(1)  # [N, C]
    best = probability.argsort(dim=1, descending=True, stable=True)[:, :KEPT]
    table, hits = [], dict.fromkeys((1, 3, 5, 10), 0)
    per_class: dict[str, list[int]] = {name: [0, 0] for name in names}
    for row, p, order in zip(rows, probability, best.tolist(), strict=True):
        label = pictures.label[row]
        found = [names[c] for c in order]
        for k in hits:
            hits[k] += label in found[:k]
        per_class[label][0] += found[0] == label
        per_class[label][1] += 1
        scored = [v for c in order for v in (names[c], f"{float(p[c]):.5f}")]
        table.append([pictures.files[row], label, *scored])
    n = len(rows)
    figures = {
        "n": n, "topk": {k: v / n for k, v in hits.items()},
        "interval_top1": evaluate.interval(hits[1] / n, n),
        "classes": {k: {"n": n, "top1": hit / n} for k, (hit, n) in per_class.items() if n},
    }
    return figures, table


def report(
    towers: Towers, captions: Captions, pictures: Pictures, names: list[str], prompts: list[str],
    batch: int,
) -> tuple[dict[str, Any], list[list[str]]]:
    """Zero-shot and, where there are captions, retrieval figures; prompts in the order of names."""
    training = towers.model.training
    towers.model.eval()
    vectors = embed(towers, pictures, batch)
    texts = embed_texts(towers, captions, prompts, batch)
    scale = float(towers.model.logit_scale.detach().exp())
    figures, table = zero_shot(vectors, texts, pictures, names, scale)
    if any(pictures.captions):
        figures["retrieval"] = evaluate.retrieval(
            vectors, pictures, lambda t: embed_texts(towers, captions, t, batch)
        )
    towers.model.train(training)
    return figures, table


def write_table(path: Path, table: list[list[str]]) -> None:
    """Write the rows tab separated, in the form of clip-rsicd's nbs/results."""
    text = "".join("\t".join(row) + "\n" for row in table)
    path.write_text(text, encoding="utf-8")
