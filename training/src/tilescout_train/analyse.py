"""What a trained model's figures are worth: `python -m tilescout_train.analyse --model DIR`.

Prints Markdown for the model card: hits with intervals, retrieval with intervals, accuracy when
pictures show less detail or less ground, classes. With --against the paired difference of two
models. Nothing is trained or chosen here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from . import data, evaluate, export, text
from .config import load
from .data import Scenes
from .errors import ConfigError, DataError, TrainError
from .evaluate import EncodeImages, EncodeTexts

RESAMPLES = 2000
COARSER = (1.5, 2.0, 3.0, 4.0, 6.0, 8.0)  # how many times fewer pixels across the same ground
CLOSER = (0.75, 0.5, 0.35)  # share of the side that is still seen, at full detail
KS = (1, 3, 5, 10)


@dataclass(frozen=True)
class Subject:
    """A model to look at."""

    name: str
    images: EncodeImages
    texts: EncodeTexts
    size: int


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object of a model folder."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from error


def from_folder(folder: Path) -> Subject:
    """A model folder that export wrote, int8 or float."""
    model = read_json(folder / "model.json")
    if model.get("text", {}).get("tokenizer") != "words":
        raise DataError(f"{folder}: only models with the tokenizer 'words' can be analysed")
    table = read_json(folder / "vocab.json")
    tokenizer = text.Tokenizer(
        table["words"], table["aliases"] | table.get("descriptions", {}), model["text"]["context"]
    )
    images, texts = export.ort_encoders(folder / "image.onnx", folder / "text.onnx", tokenizer)
    return Subject(folder.name, images, texts, model["image"]["size"])


def from_run(path: Path) -> Subject:
    """The averaged weights of an experiment's last checkpoint."""
    config = load(path)
    run = path.resolve().parents[1] / "runs" / config.name
    model, tokenizer = export.load_run(config, run)
    images, texts = evaluate.torch_encoders(model, tokenizer)
    return Subject(config.name, images, texts, config.evaluate_size)


def resampled(values: Tensor, weights: Tensor) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of values [N]; weights [R, N] count the draws."""
    means = (weights @ values) / weights.sum(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975]).to(means.dtype)).tolist()
    return low, high


def draws(n: int, seed: int = 1) -> Tensor:
    """How often each of n is drawn in each resample: [R, n]."""
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.multinomial(n, np.full(n, 1 / n), RESAMPLES)).double()


def coarser(pixels: Tensor, factor: float) -> Tensor:
    """Same ground, fewer pixels: shrink uint8 [N, 3, s, s] and enlarge it again."""
    side = pixels.shape[-1]
    small = max(4, round(side / factor))
    return _each(pixels, lambda i: i.resize((small, small), Image.Resampling.BOX).resize(
        (side, side), Image.Resampling.BICUBIC
    ))


def closer(pixels: Tensor, share: float) -> Tensor:
    """The middle of uint8 [N, 3, s, s], cut out."""
    side = pixels.shape[-1]
    inner = max(4, round(side * share))
    first = (side - inner) // 2
    return pixels[:, :, first : first + inner, first : first + inner].contiguous()


def _each(pixels: Tensor, change: Callable[[Image.Image], Image.Image]) -> Tensor:
    rows = [np.asarray(change(Image.fromarray(p))) for p in pixels.permute(0, 2, 3, 1).numpy()]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)


def ranks(vectors: Tensor, texts: Tensor, truth: Tensor) -> Tensor:
    """Place of the true class, from 0: [N]; texts [C, D], truth [N]."""
    scores = vectors @ texts.T
    return (scores > scores.gather(1, truth[:, None])).sum(1)


def retrieval_ranks(
    vectors: Tensor, scenes: Scenes, encode: EncodeTexts
) -> tuple[Tensor, Tensor, Tensor]:
    """Rank of the best own caption of every picture [N], rank of the own picture of every caption
    [M], and the captions' pictures [M]; as evaluate.retrieval counts them.
    """
    pairs = [(i, c) for i, captions in enumerate(scenes.captions) for c in captions]
    owner = torch.tensor([i for i, _ in pairs])
    texts = torch.cat(
        [encode([c for _, c in pairs[i : i + 512]]) for i in range(0, len(pairs), 512)]
    )
    scores = texts @ vectors.T  # [M, N]
    by_text = (scores > scores.gather(1, owner[:, None])).sum(1)
    own = owner[:, None] == torch.arange(len(vectors))[None]
    best = scores.masked_fill(~own, -2).max(0).values
    return ((scores > best[None]) & ~own).sum(0), by_text, owner


def mean_recall(
    by_picture: Tensor, by_text: Tensor, owner: Tensor
) -> tuple[float, tuple[float, float]]:
    """mR and its interval; pictures are drawn with all their captions, the gallery stays."""
    n = len(by_picture)
    weights = torch.cat([torch.ones(1, n).double(), draws(n)])  # [1 + R, N]
    captions = weights[:, owner]
    total = torch.zeros(len(weights)).double()
    for k in (1, 5, 10):
        total += weights @ (by_picture < k).double() / weights.sum(1)
        total += captions @ (by_text < k).double() / captions.sum(1)
    low, high = torch.quantile(total[1:] / 6, torch.tensor([0.025, 0.975]).double()).tolist()
    return float(total[0] / 6), (low, high)


def span(value: float, interval: tuple[float, float], scale: float = 1.0, digits: int = 3) -> str:
    """A value with its interval."""
    return f"{scale * value:.{digits}f} [{scale * interval[0]:.{digits}f}, " \
           f"{scale * interval[1]:.{digits}f}]"


class Analysis:
    """One model on one labelled set."""

    def __init__(self, subject: Subject, scenes: Scenes, phrases: dict[str, str]) -> None:
        """Scenes as data.load_set gives them; phrases are words for its classes."""
        self.subject, self.scenes = subject, scenes
        self.classes, self.phrases = list(phrases), phrases
        self.rows = evaluate.named(scenes)
        strange = sorted({scenes.label[int(i)] for i in self.rows} - set(phrases))
        if strange:
            raise DataError(f"classes.json has no phrase for the class {strange[0]!r}")
        self.texts = evaluate.embed_phrases(subject.texts, list(phrases.values()))
        self.truth = torch.tensor([self.classes.index(scenes.label[int(i)]) for i in self.rows])
        self.vectors = evaluate.embed_images(subject.images, scenes.pixels, subject.size)
        self.places = ranks(self.vectors[self.rows], self.texts, self.truth)

    def _top1(self, pixels: Tensor) -> float:
        vectors = evaluate.embed_images(self.subject.images, pixels, self.subject.size)
        return float((ranks(vectors, self.texts, self.truth) == 0).float().mean())

    def hits(self) -> list[str]:
        """Top-k; the resampled interval draws pictures, Wilson's assumes independent ones."""
        n = len(self.rows)
        weights = draws(n)
        lines = [f"| {n} pictures | hit | Wilson | resampled |", "|---|---|---|---|"]
        for k in KS:
            hit = (self.places < k).double()
            share = float(hit.mean())
            wilson, own = evaluate.interval(share, n), resampled(hit, weights)
            lines.append(
                f"| top-{k} | {share:.3f} | {wilson[0]:.3f}–{wilson[1]:.3f} "
                f"| {own[0]:.3f}–{own[1]:.3f} |"
            )
        # Mean over classes: what a map with other shares of the classes would see.
        recalls = torch.stack([
            (self.places[self.truth == c] == 0).double().mean() for c in self.truth.unique()
        ])
        lines.append(f"| top-1, mean of the classes | {float(recalls.mean()):.3f} | | |")
        return lines

    def retrieval(self) -> list[str]:
        """mR over the captions."""
        if not any(self.scenes.captions):
            return ["No captions."]
        value, interval = mean_recall(
            *retrieval_ranks(self.vectors, self.scenes, self.subject.texts)
        )
        return [f"mR {span(value, interval, 100, 1)} (resampled by picture, gallery fixed)."]

    def detail(self) -> list[str]:
        """Top-1 with less detail and with less ground."""
        pixels, n = self.scenes.pixels[self.rows], len(self.rows)
        side = pixels.shape[-1]
        rows = [("as it is", f"{side}", float((self.places == 0).float().mean()))]
        rows += [
            (f"{f:g} times coarser ground pixels", f"{round(side / f)}",
             self._top1(coarser(pixels, f)))
            for f in COARSER
        ]
        rows += [
            (f"only the middle {100 * s:g} % of the side", f"{round(side * s)}",
             self._top1(closer(pixels, s)))
            for s in CLOSER
        ]
        lines = ["| picture | pixels across | top-1 |", "|---|---|---|"]
        return lines + [
            f"| {what} | {across} | {span(top, evaluate.interval(top, n))} |"
            for what, across, top in rows
        ]

    def by_class(self) -> list[str]:
        """Top-1 of every class, the worst first, and what it is taken for."""
        found = (self.vectors[self.rows] @ self.texts.T).argmax(1)
        rows = []
        for c, name in enumerate(self.classes):
            mine = self.truth == c
            n = int(mine.sum())
            if n:
                share = float((self.places[mine] == 0).float().mean())
                wrong = found[mine & (found != c)]
                taken = self.classes[int(wrong.mode().values)] if len(wrong) else ""
                rows.append((share, name, n, self.phrases.get(taken, "")))
        lines = ["| class | n | top-1 | most often taken for |", "|---|---|---|---|"]
        return lines + [
            f"| {self.phrases[name]} | {n} | {span(share, evaluate.interval(share, n))} | {taken} |"
            for share, name, n, taken in sorted(rows)
        ]

    def against(self, other: Analysis) -> list[str]:
        """Paired difference of two models on the same pictures."""
        n = len(self.rows)
        weights = draws(n)
        lines = [
            f"| {self.subject.name} less {other.subject.name} | difference | only the first right "
            "| only the second right |", "|---|---|---|---|",
        ]
        for k in KS:
            a, b = self.places < k, other.places < k
            gap = a.double() - b.double()
            lines.append(
                f"| top-{k} | {span(float(gap.mean()), resampled(gap, weights))} "
                f"| {int((a & ~b).sum())} | {int((b & ~a).sum())} |"
            )
        return lines

    def markdown(self) -> str:
        """All tables."""
        parts = (
            ("Hits", self.hits()), ("Captions", self.retrieval()),
            ("Ground detail", self.detail()), ("Classes", self.by_class()),
        )
        return "\n".join(
            line for title, lines in parts for line in (f"### {title}", "", *lines, "")
        )


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Analyse a trained model on a labelled set.")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--model", type=Path, help="model folder that export wrote")
    which.add_argument("--config", type=Path, help="experiment whose last checkpoint to take")
    parser.add_argument("--against", type=Path, help="second model folder: paired differences")
    parser.add_argument("--scenes", required=True, type=Path, help="folder with the lists")
    parser.add_argument("--set", default="rsicd_valid")
    parser.add_argument("--limit", type=int, default=0, help="pictures (0: all)")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(arguments)
    try:
        if args.limit < 0 or args.threads < 1:
            raise ConfigError("--limit must not be negative, --threads must be at least 1")
        torch.set_num_threads(args.threads)
        subject = from_folder(args.model) if args.model else from_run(args.config)
        concepts, _ = text.load_concepts()
        scenes = data.load_set(args.scenes, args.set, concepts, 168, args.limit)
        corpus = args.set.split("_")[0]
        phrases = read_json(args.scenes / "classes.json").get(corpus)
        if not phrases:
            raise DataError(f"{args.scenes / 'classes.json'}: has no classes of {corpus!r}")
        phrases = {k: v for k, v in phrases.items() if k != "playfields"}
        analysis = Analysis(subject, scenes, phrases)
        print(analysis.markdown())
        if args.against:
            other = Analysis(from_folder(args.against), scenes, phrases)
            print("\n".join(["### Difference", "", *analysis.against(other)]))
    except TrainError as error:
        print(f"analyse: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
