"""Pictures, prompts and spellings with their vectors and ids, for whoever reads the folder."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..export import GOLDEN_PROMPTS
from .captions import Captions
from .pictures import fit

# Where tokenizers differ: case, contractions, digits, white space, marks, other scripts, no words.
SPELLINGS = (
    "Stadium", "it's the CHURCH's", "2024 trees", "car-park/parking_lot", "  two\t spaces\n",
    "forêt", "foreˆt", "e\u0301tang", "Straße", "İstanbul", "森林", "🏟 stadium", "a&amp;b", "",
    "bridge " * 100,
)


def golden_pictures(size: int) -> list[np.ndarray]:
    """Generated pictures [h, w, 3]: one that needs no resize, a map tile, one high, one wide."""
    out = []
    for n, (h, w, step) in enumerate(
        ((size, size, 8), (256, 256, 32), (size + 45, size, 16), (150, 301, 16))
    ):
        blocks = np.random.default_rng(n).integers(0, 256, (-(-h // step), -(-w // step), 3))
        blocks = blocks.repeat(step, 0).repeat(step, 1)[:h, :w].astype(np.int64)
        y, x = np.mgrid[0:h, 0:w]
        ramp = np.stack([x * 255 // w, y * 255 // h, (x + y) * 255 // (w + h)], -1)
        out.append(((blocks + ramp) // 2).astype(np.uint8))
    return out


def write_golden(
    path: Path, size: int, resampling: str, captions: Captions, images: Callable[[Tensor], Tensor],
    texts: Callable[[list[str]], Tensor],
) -> None:
    """Write golden.json from the exported graphs; images takes uint8 [B, 3, S, S]."""
    pictures, prompts, tokens = [], [], []
    for pixels in golden_pictures(size):
        buffer = io.BytesIO()
        image = Image.fromarray(pixels)
        image.save(buffer, "PNG", optimize=True)
        fitted = torch.from_numpy(fit(image, size, resampling).transpose(2, 0, 1)[None].copy())
        pictures.append({
            "png": base64.b64encode(buffer.getvalue()).decode(),
            "embedding": [round(v, 6) for v in images(fitted)[0].tolist()],
        })
    for prompt in GOLDEN_PROMPTS:
        ids = captions.ids([prompt], captions.length)[0].tolist()
        vector = [round(v, 6) for v in texts([prompt])[0].tolist()]
        prompts.append({"prompt": prompt, "tokens": ids, "embedding": vector})
    for line in SPELLINGS:
        tokens.append({"text": line, "tokens": captions.ids([line])[0].tolist()})
    table = {"images": pictures, "texts": prompts, "tokens": tokens}
    path.write_text(json.dumps(table) + "\n", encoding="utf-8")
