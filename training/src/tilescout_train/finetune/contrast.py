"""CLIP's symmetric loss, and its exact gradient for batches that do not fit into memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .towers import Towers

Encode = Callable[[Tensor], Tensor]


def clip_loss(images: Tensor, texts: Tensor, scale: Tensor, same: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over rows and columns of scale * images @ texts.T; both [B, D] unit.

    Pairs in same [B, B] (bool) do not compete.
    """
    logits = scale * images @ texts.T
    if same is not None:
        own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(same.to(logits.device) & ~own, -1e4)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def same_sentence(ids: Tensor) -> Tensor:
    """Bool [B, B]: rows of ids [B, L] that are equal."""
    return (ids[:, None] == ids[None]).all(-1)


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def backward(
    towers: Towers, pixels: Tensor, ids: Tensor, chunk: int, same: Tensor | None = None
) -> float:
    """Add the gradient of clip_loss over the whole batch and return the loss.

    With more pictures than chunk: embed all without a graph, take the gradient with respect to the
    embeddings, then run every chunk again and hand its part on (GradCache, Gao et al. 2021). Exact,
    for twice the forward passes; memory is that of one chunk.
    """
    log_scale = towers.model.logit_scale
    if len(pixels) <= chunk:
        loss = clip_loss(towers.images(pixels), towers.texts(ids), log_scale.exp(), same)
        loss.backward()
        return float(loss.detach())
    model = towers.model
    sides: list[tuple[Encode, Tensor, list[torch.nn.Module]]] = [
        (towers.images, pixels, [model.vision_model, model.visual_projection]),
        (towers.texts, ids, [model.text_model, model.text_projection]),
    ]
    states, leaves = [], []
    with torch.no_grad():
        for encode, inputs, _ in sides:
            vectors = []
            for part in inputs.split(chunk):
                states.append(_random_state(towers.device))  # dropout must fall alike twice
                vectors.append(encode(part))
            leaves.append(torch.cat(vectors))
    after = _random_state(towers.device)
    for leaf in leaves:
        leaf.requires_grad_(True)
    loss = clip_loss(*leaves, log_scale.exp(), same)
    loss.backward()
    again = iter(states)
    for (encode, inputs, modules), leaf in zip(sides, leaves, strict=True):
        learns = any(p.requires_grad for m in modules for p in m.parameters())
        assert leaf.grad is not None
        for part, grad in zip(inputs.split(chunk), leaf.grad.split(chunk), strict=True):
            state = next(again)
            if learns:
                _set_random_state(state, towers.device)
                encode(part).backward(grad)
    _set_random_state(after, towers.device)
    return float(loss.detach())
