"""Zero-shot and retrieval figures on a labelled set, for any pair of encode functions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .data import Scenes, resize_batch
from .model import DualEncoder, normalise
from .text import SEARCH_TEMPLATES, Tokenizer

EncodeImages = Callable[[Tensor], Tensor]  # uint8 [B, 3, S, S] -> unit [B, D]
EncodeTexts = Callable[[list[str]], Tensor]  # prompts -> unit [B, D]


def torch_encoders(
    model: DualEncoder, tokenizer: Tokenizer, bf16: bool = False
) -> tuple[EncodeImages, EncodeTexts]:
    """Encode functions of a PyTorch model."""
    device = next(model.parameters()).device

    def images(pixels: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return model.image(normalise(pixels.to(device))).float().cpu()

    def texts(prompts: list[str]) -> Tensor:
        ids = tokenizer.batch([tokenizer.encode(p)[0] for p in prompts])
        with torch.no_grad():
            return model.text(ids.to(device)).float().cpu()

    return images, texts


def embed_images(encode: EncodeImages, pixels: Tensor, size: int, batch: int = 64) -> Tensor:
    """Embed uint8 [N, 3, s, s] resized to size: [N, D]."""
    parts = [encode(resize_batch(p, size)) for p in pixels.split(batch)]
    return torch.cat(parts)


def embed_phrases(
    encode: EncodeTexts, phrases: list[str], templates: tuple[str, ...] = SEARCH_TEMPLATES
) -> Tensor:
    """Mean of the unit vectors over the templates, unit again: [P, D]."""
    prompts = [t.replace("{}", p) for p in phrases for t in templates]
    vectors = encode(prompts).reshape(len(phrases), len(templates), -1)
    return F.normalize(vectors.mean(1), dim=-1)


def class_phrases(root: Path, corpus: str = "rsicd") -> dict[str, str]:
    """Class id -> readable label from classes.json."""
    return json.loads((root / "classes.json").read_text(encoding="utf-8"))[corpus]


def interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z = 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return float(middle - half), float(middle + half)


def named(scenes: Scenes) -> Tensor:
    """Indices of the pictures that class scoring uses (RSICD: without playfields)."""
    return torch.tensor([i for i, name in enumerate(scenes.label) if name != "playfields"])


def zero_shot(vectors: Tensor, scenes: Scenes, texts: Tensor, classes: list[str]) -> dict[str, Any]:
    """Top-k, per-class recall and average precision; texts [C, D] in the order of classes."""
    keep = named(scenes)
    truth = torch.tensor([classes.index(scenes.label[int(i)]) for i in keep])
    scores = vectors[keep] @ texts.T  # [N, C]
    order = scores.argsort(dim=1, descending=True)
    rank = (order == truth[:, None]).float().argmax(1)
    top = {k: float((rank < k).float().mean()) for k in (1, 3, 5, 10)}
    per_class = {}
    for c, name in enumerate(classes):
        mine = truth == c
        if mine.any():
            wrong = order[mine, 0][order[mine, 0] != c]
            per_class[name] = {
                "n": int(mine.sum()),
                "top1": float((rank[mine] == 0).float().mean()),
                "ap": average_precision(scores[:, c], mine),
                "confused": classes[int(wrong.mode().values)] if len(wrong) else "",
            }
    return {"n": len(keep), "topk": top, "classes": per_class}


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Mean precision at the rank of each true one."""
    hits = truth[scores.argsort(descending=True)].float()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    return float((precision * hits).sum() / hits.sum().clamp(min=1))


def retrieval(vectors: Tensor, scenes: Scenes, encode: EncodeTexts) -> dict[str, float]:
    """R@1/5/10 image to text (any own caption counts) and text to image, and their mean mR."""
    pairs = [(i, c) for i, captions in enumerate(scenes.captions) for c in captions]
    owner = torch.tensor([i for i, _ in pairs])
    texts = torch.cat(
        [encode([c for _, c in pairs[i : i + 512]]) for i in range(0, len(pairs), 512)]
    )
    scores = texts @ vectors.T  # [captions, images]
    text_rank = (scores > scores.gather(1, owner[:, None])).sum(1)
    own = owner[:, None] == torch.arange(len(vectors))[None]
    best = scores.masked_fill(~own, -2).max(0).values  # best own caption of every image
    image_rank = ((scores > best[None]) & ~own).sum(0)
    out = {}
    for k in (1, 5, 10):
        out[f"i2t@{k}"] = float((image_rank < k).float().mean())
        out[f"t2i@{k}"] = float((text_rank < k).float().mean())
    out["mR"] = sum(out.values()) / 6
    return out


def report(
    images: EncodeImages, texts: EncodeTexts, scenes: Scenes, root: Path, size: int
) -> dict[str, Any]:
    """Everything at once for RSICD valid."""
    phrases = {k: v for k, v in class_phrases(root).items() if k != "playfields"}
    vectors = embed_images(images, scenes.pixels, size)
    table = zero_shot(vectors, scenes, embed_phrases(texts, list(phrases.values())), list(phrases))
    table["retrieval"] = retrieval(vectors, scenes, texts)
    table["size"] = size
    return table
