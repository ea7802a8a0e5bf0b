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


class Memory:
    """Pairs of picture and sentence of the last batches, as further negatives.

    Their embeddings are those of the weights of then, which drift slowly (cross-batch memory, Wang
    et al., CVPR 2020): a batch of 128 holds four pictures of a class, the memory a hundred.
    """

    def __init__(self, size: int, dimension: int) -> None:
        """Starts empty; size 0 keeps nothing."""
        self.size = size
        self.images = torch.zeros(0, dimension)
        self.texts = torch.zeros(0, dimension)
        self.about = torch.zeros(0, 3, dtype=torch.int64)  # picture, class, sentence

    def add(self, images: Tensor, texts: Tensor, about: Tensor) -> None:
        """Take in pairs [N, D], [N, D] with about [N, 3]; the oldest go."""
        if not self.size:
            return
        device = images.device
        self.images, self.texts, self.about = (
            torch.cat([old.to(device), new.detach().to(device)])[-self.size :]
            for old, new in (
                (self.images, images), (self.texts, texts), (self.about, about)
            )
        )

    def state(self) -> list[Tensor]:
        """What a checkpoint keeps."""
        return [self.images, self.texts, self.about]

    def restore(self, state: list[Tensor]) -> None:
        """Go on from a checkpoint."""
        self.images, self.texts, self.about = (t[-self.size :] if self.size else t[:0]
                                               for t in state)


def caption_loss(
    images: Tensor, texts: Tensor, scale: Tensor, about: Tensor, same_weight: float,
    memory: Memory | None = None,
) -> Tensor:
    """Symmetric contrastive loss of images [N, D] against texts [M, D], M >= N.

    Text i < N is image i's own caption; the rest are further negatives for the images, as are the
    memory's for both. About [M, 3] has each text's picture, class and sentence: negatives of the
    same class count with same_weight, those of the same picture or sentence do not count.
    """
    n = len(images)
    if n < 2:
        return images.sum() * 0
    other = about
    rows, columns = images[:0], texts[:0]
    if memory is not None and len(memory.about):
        rows, columns, seen = (t.to(images.device) for t in memory.state())
        other = torch.cat([about, seen])
    own = torch.eye(n, len(other), dtype=torch.bool, device=images.device)
    mine = about[:n, None]
    alike = (mine[..., 1] == other[None, :, 1]) & ~own
    again = ((mine[..., 0] == other[None, :, 0]) | (mine[..., 2] == other[None, :, 2])) & ~own
    offset = (alike * math.log(same_weight)).masked_fill(again, -1e4)  # [N, M + memory]
    by_image = scale * images @ torch.cat([texts, columns]).T + offset
    kept = torch.cat([torch.arange(n), torch.arange(len(about), len(other))]).to(images.device)
    by_text = scale * texts[:n] @ torch.cat([images, rows]).T + offset[:, kept]
    target = torch.arange(n, device=images.device)
    return (F.cross_entropy(by_image, target) + F.cross_entropy(by_text, target)) / 2
