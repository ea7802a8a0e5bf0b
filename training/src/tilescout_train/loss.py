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
    images: Tensor, texts: Tensor, scale: Tensor, group: Tensor, same: Tensor, same_weight: float
) -> Tensor:
    """Symmetric contrastive loss of images [N, D] against texts [M, D], M >= N.

    Text i < N is image i's own caption; the rest are further negatives for the images. Negatives of
    the same group [M] (class) count with same_weight; pairs in same [M, M] (bool) are one and the
    same sentence and do not count.
    """
    n = len(images)
    if n < 2:
        return images.sum() * 0
    own = torch.eye(n, len(texts), dtype=torch.bool, device=images.device)
    alike = (group[:n, None] == group[None, :]) & ~own
    logits = scale * images @ texts.T + alike * math.log(same_weight)
    logits = logits.masked_fill(same[:n] & ~own, -1e4)
    target = torch.arange(n, device=images.device)
    by_text = logits[:, :n].T
    return (F.cross_entropy(logits, target) + F.cross_entropy(by_text, target)) / 2
