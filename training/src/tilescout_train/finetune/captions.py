"""From sentences to token ids, and the draw of one sentence a picture and epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DataError
from .pictures import Pictures


class Captions:
    """Tokenises sentences the way clip-rsicd did: cut to length, the end token kept."""

    def __init__(self, tokenizer: Any, length: int, positions: int) -> None:
        """Positions is the size of the model's table."""
        if length > positions:
            raise ConfigError(
                f"caption_length is {length}, but the model has {positions} positions"
            )
        self.tokenizer, self.length = tokenizer, length

    def ids(self, texts: list[str], length: int = 0) -> Tensor:
        """int64 [B, L]: start, tokens, end, then the end token again as padding.

        L is length, or that of the longest sentence: what stands behind the first end token never
        reaches the embedding, so shorter padding gives the same vectors for less work.
        """
        rows = self.tokenizer(texts, truncation=True, max_length=self.length)["input_ids"]
        length = length or max(len(row) for row in rows)
        out = torch.full((len(rows), length), self.tokenizer.eos_token_id, dtype=torch.long)
        for i, row in enumerate(rows):
            out[i, : len(row)] = torch.tensor(row)
        return out


def pools(pictures: Pictures, augmented: bool) -> list[list[str]]:
    """The sentences that each picture may be trained with: its own, whatever their number.

    (The original repeats every path as often as captions are asked for; where a picture has fewer,
    all later pairs are shifted.)
    """
    if not augmented:
        return pictures.captions
    both = zip(pictures.captions, pictures.extra_captions, strict=True)
    return [[*own, *extra] for own, extra in both]


def captioned(pictures: Pictures, augmented: bool) -> Pictures:
    """Keep the pictures that have a sentence."""
    rows = [i for i, pool in enumerate(pools(pictures, augmented)) if pool]
    if not rows:
        raise DataError(f"{', '.join(pictures.digests)}: no picture has a caption")
    return pictures if len(rows) == len(pictures) else pictures.subset(rows)


def draw(choices: list[list[str]], rows: Tensor, g: torch.Generator) -> list[str]:
    """One sentence for each of these rows."""
    return [
        choices[i][int(torch.randint(0, len(choices[i]), (1,), generator=g))]
        for i in rows.tolist()
    ]
