"""Background vocabulary, score scale and verdict thresholds, all fitted on the valid split."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from .text import Concept

MERGED = {"residential area", "buildings", "water"}  # umbrellas: they would fight their own parts
PRIOR_SHARE, PRIOR_LIMIT = 0.5, 1.5  # alpha and clip of the layer prior correction


@dataclass(frozen=True)
class View:
    """Scores of one simulated view for one concept."""

    best: float
    top3: float
    present: bool


def background(concepts: list[Concept], aliases: dict[str, str]) -> list[dict[str, Any]]:
    """Entries of concepts.json in the order of concepts.toml."""
    text = resources.files("tilescout_train").joinpath("concepts.toml").read_text(encoding="utf-8")
    out = []
    for c in concepts:
        if c.names[0] not in MERGED:
            others = [a for a, target in aliases.items() if target in c.names and a not in c.names]
            out.append({
                "phrase": c.names[0], "size": c.size, "synonyms": [*c.names[1:], *others],
                "suggest": c.names[0] != "center", "group": c.group,
            })
    for extra in tomllib.loads(text).get("extra", []):
        out.append({
            "phrase": extra["phrase"], "size": float(extra["size"]), "synonyms": [],
            "suggest": True, "group": extra["group"],
        })
    return out


def log_probability(scale: float, vectors: Tensor, vocabulary: Tensor) -> Tensor:
    """Log softmax over the vocabulary: [N, P]."""
    return (scale * vectors @ vocabulary.T).log_softmax(1)


def fit_scale(vectors: Tensor, vocabulary: Tensor, truth: Tensor) -> float:
    """Logit scale with the least negative log-likelihood of truth [N]."""
    scales = torch.logspace(0.5, 2, 120)
    nll = torch.stack([
        -log_probability(float(s), vectors, vocabulary).gather(1, truth[:, None]).mean()
        for s in scales
    ])
    return float(scales[nll.argmin()])


def calibration_error(confidence: Tensor, right: Tensor, bins: int = 15) -> float:
    """Expected calibration error with bins of equal mass."""
    order = confidence.argsort()
    parts = zip(confidence[order].chunk(bins), right[order].float().chunk(bins), strict=True)
    return sum(len(c) * abs(float(r.mean() - c.mean())) for c, r in parts) / len(order)


def prior_corrected(log_p: Tensor) -> Tensor:
    """Subtract the clipped share of each phrase in the layer and normalise again: [N, P]."""
    prior = log_p.exp().mean(0).log()
    shift = (prior - prior.median()).clamp(-PRIOR_LIMIT, PRIOR_LIMIT)
    return (log_p - PRIOR_SHARE * shift).log_softmax(1)


def simulate(
    p: Tensor, truth: Tensor, columns: list[int], overlaps: Tensor, true_tiles: int, seed: int = 1,
    tiles: int = 200, rounds: int = 8,
) -> list[View]:
    """Views of tiles with 0 or true_tiles tiles of each concept; p [N, P], truth [N] (column).

    overlaps [P, P] marks concepts that may share a tile: such tiles are left out of the views.
    """
    g = torch.Generator().manual_seed(seed)
    out = []
    for column in columns:
        own = torch.nonzero(truth == column)[:, 0]
        rest = torch.nonzero((truth != column) & ~overlaps[truth, column])[:, 0]
        for i in range(rounds * 2):
            n = true_tiles if i % 2 else 0
            pick = [rest[torch.randperm(len(rest), generator=g)[: tiles - n]]]
            pick.append(own[torch.randperm(len(own), generator=g)[:n]])
            scores = p[torch.cat(pick), column].sort(descending=True).values
            out.append(View(float(scores[0]), float(scores[:3].mean()), n > 0))
    return out


def auroc(scores: Tensor, positive: Tensor) -> float:
    """Area under the ROC curve; ties count half."""
    a, b = scores[positive], scores[~positive]
    wins = (a[:, None] > b[None]).float() + 0.5 * (a[:, None] == b[None]).float()
    return float(wins.mean())


def threshold(scores: Tensor, positive: Tensor, false_alarms: float) -> float:
    """Least threshold whose false alarms stay below the share, rounded up to .01."""
    value = float(torch.quantile(scores[~positive], 1 - false_alarms))
    return min(0.97, max(0.05, int(value * 100 + 1) / 100))


def best_threshold(p: Tensor, truth: Tensor, columns: list[int]) -> tuple[float, float]:
    """One threshold for all concepts with the best macro-F1, and that F1."""
    best = (0.5, 0.0)
    for t in torch.arange(0.05, 0.95, 0.01).tolist():
        f1 = []
        for c in columns:
            hit, real = p[:, c] >= t, truth == c
            both = float((hit & real).sum())
            f1.append(2 * both / max(1.0, float(hit.sum() + real.sum())))
        mean = sum(f1) / len(f1)
        if mean > best[1]:
            best = (t, mean)
    return best


def synonym_cosine(names: list[Tensor]) -> float:
    """Cosine that best parts names of one concept from names of others; names[i] is [n_i, D].

    Where a whole range parts them equally well, its middle.
    """
    same = [float(v) for t in names for v in (t @ t.T)[0, 1:]]
    first = torch.stack([t[0] for t in names])
    cross = first @ first.T
    cross.fill_diagonal_(-1)
    other = cross.max(1).values.tolist()
    grid = torch.arange(0.5, 1.0, 0.01).tolist()
    cost = [sum(s < t for s in same) / len(same) + 2 * sum(o >= t for o in other) / len(other)
            for t in grid]
    best = [t for t, c in zip(grid, cost, strict=True) if c <= min(cost) + 1e-9]
    return round((best[0] + best[-1]) / 2, 2)


def calibrate(
    vectors: Tensor, vocabulary: Tensor, truth: Tensor, overlaps: Tensor, names: list[Tensor]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the calibration block of model.json and the figures behind it.

    vectors [N, D] valid tiles, vocabulary [P, D], truth [N] column of the tile's label.
    """
    scale = fit_scale(vectors, vocabulary, truth)
    log_p = log_probability(scale, vectors, vocabulary)
    columns = sorted(set(truth.tolist()))
    p = prior_corrected(log_p).exp()
    views = simulate(p, truth, columns, overlaps, true_tiles=3)
    best = torch.tensor([v.best for v in views])
    top3 = torch.tensor([v.top3 for v in views])
    present = torch.tensor([v.present for v in views])
    match, mean3 = threshold(best, present, 0.05), threshold(top3, present, 0.05)
    weak = min(threshold(best, present, 0.35), match)
    says_match = (best >= match) | (top3 >= mean3)
    seed, f1 = best_threshold(log_p.exp(), truth, columns)
    confidence, chosen = log_p.exp().max(1)
    block = {
        "scale": round(scale, 3), "seed": round(min(max(seed, 0.3), 0.6), 2),
        "floor": round(min(max(seed, 0.3), 0.6) * 0.6, 2), "match": match, "top3": mean3,
        "weak": weak, "synonym": synonym_cosine(names),
    }
    figures = {
        "vocabulary_top1": float((chosen == truth).float().mean()),
        "ece": calibration_error(confidence, chosen == truth),
        "macro_f1": f1, "f1_threshold": seed,
        "auroc_max": auroc(best, present), "auroc_top3": auroc(top3, present),
        "match_rate_present": float(says_match[present].float().mean()),
        "match_rate_absent": float(says_match[~present].float().mean()),
        "weak_or_match_present": float((says_match | (best >= weak))[present].float().mean()),
        "weak_or_match_absent": float((says_match | (best >= weak))[~present].float().mean()),
    }
    return block, figures
