"""Class-prompt cross-entropy with masks, and the caption contrastive loss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def class_loss(logits: Tensor, target: Tensor, allowed: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of logits [B, C] against target [B, C] (rows sum to 1, or to 0: left out).

    Classes outside allowed [B, C] take no part; smoothing spreads over the allowed ones.
    """
    use = target.sum(1) > 0
    if not bool(use.any()):
        return logits.sum() * 0
    logits, target, allowed = logits[use], target[use], allowed[use]
    log_p = F.log_softmax(logits.masked_fill(~allowed, -1e4), dim=1)
    even = allowed / allowed.sum(1, keepdim=True)
    soft = target * (1 - smoothing) + even * smoothing
    return -(soft * log_p.masked_fill(~allowed, 0)).sum(1).mean()


def caption_loss(
    images: Tensor, texts: Tensor, scale: Tensor, group: Tensor, same_weight: float
) -> Tensor:
    """Symmetric contrastive loss of images [N, D] against their captions [N, D].

    Negatives of the same group [N] (class) count only with same_weight: captions of one class are
    often interchangeable.
    """
    if len(images) < 2:
        return images.sum() * 0
    logits = scale * images @ texts.T
    same = group[:, None] == group[None, :]
    same.fill_diagonal_(False)
    logits = logits + same * math.log(same_weight)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
