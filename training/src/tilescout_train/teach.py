"""Labels softened by what earlier models say of the pictures (distillation)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from . import data, text
from .config import Config
from .data import Scenes
from .errors import DataError
from .evaluate import embed_phrases, torch_encoders
from .model import DualEncoder


def opinion(
    state: dict[str, Any], config: Config, concepts: list[text.Concept], aliases: dict[str, str],
    scenes: Scenes,
) -> Tensor:
    """Probabilities [N, C] of a checkpoint's averaged weights, over the allowed classes.

    Mean over the picture as it is and mirrored; rows without a label are 0.
    """
    model = DualEncoder(config, len(state["words"]))
    model.load_state_dict(state["ema"])
    model.eval().to(memory_format=torch.channels_last)
    tokenizer = text.Tokenizer(state["words"], aliases, config.context)
    images, texts = torch_encoders(model, tokenizer, config.bf16)
    classes = embed_phrases(texts, [c.names[0] for c in concepts], text.TEMPLATES)
    scale = float(model.scale().detach())
    out = torch.zeros(scenes.target.shape)
    rows = torch.nonzero(scenes.target.sum(1) > 0)[:, 0]
    size = config.evaluate_size
    for part in tqdm(rows.split(128), desc="teacher", disable=None):
        pixels = data.resize_batch(scenes.pixels[part], size)
        closed = ~scenes.allowed[part]
        for view in (pixels, pixels.flip(3)):
            logits = scale * images(view.contiguous()) @ classes.T
            out[part] += logits.masked_fill(closed, -1e4).softmax(1) / 2
    return out


def soften(config: Config, concepts: list[text.Concept], scenes: Scenes, base: Path) -> Scenes:
    """Scenes whose target is the label and, by teacher_share, the teachers' mean opinion.

    The opinion is kept in .cache, so that a resumed run starts at once.
    """
    if not config.teachers:
        return scenes
    _, aliases = text.load_concepts()
    parts = []
    for name in config.teachers:
        path = base / name
        try:
            digest = data.file_digest(path)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error
        key = f"{digest} {config.evaluate_size} {sorted(scenes.digests.items())} {len(scenes)}"
        kept = base / ".cache" / f"teacher_{hashlib.sha256(key.encode()).hexdigest()[:16]}.pt"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            state = torch.load(path, weights_only=True)
            part = kept.with_suffix(".part")
            torch.save(opinion(state, config, concepts, aliases, scenes), part)
            part.replace(kept)
        parts.append(torch.load(kept, weights_only=True))
    share = config.teacher_share
    mean = torch.stack(parts).mean(0)
    return replace(scenes, target=(1 - share) * scenes.target + share * mean)
