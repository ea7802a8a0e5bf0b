"""Captioned pictures on disk as uint8, and the augmentations of fine-tuning."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from .. import data
from ..errors import DataError
from .config import FineTune

ENTRY_BYTES = 64 << 20  # of one entry of a tar
PICTURE_PIXELS = 1 << 26  # of one decoded picture
RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


@dataclass
class Pictures:
    """Pictures with their class and sentences; all lists have one entry a picture."""

    files: list[str]
    pixels: list[np.ndarray]  # uint8 [3, S, S], mapped from the cache
    label: list[str]  # "" where the list has no class
    captions: list[list[str]]
    extra_captions: list[list[str]]
    digests: dict[str, str]
    source: str = ""  # for error texts

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.files)

    def batch(self, rows: Tensor) -> Tensor:
        """Pixels of these rows: uint8 [B, 3, S, S]."""
        return torch.from_numpy(np.stack([self.pixels[int(i)] for i in rows]))

    def subset(self, rows: list[int]) -> Pictures:
        """Keep some pictures."""
        return Pictures(
            [self.files[i] for i in rows], [self.pixels[i] for i in rows],
            [self.label[i] for i in rows], [self.captions[i] for i in rows],
            [self.extra_captions[i] for i in rows], self.digests,
            self.source,
        )


def concat(parts: list[Pictures]) -> Pictures:
    """Join sets."""
    return Pictures(
        [f for p in parts for f in p.files], [x for p in parts for x in p.pixels],
        [n for p in parts for n in p.label], [c for p in parts for c in p.captions],
        [c for p in parts for c in p.extra_captions],
        {k: v for p in parts for k, v in p.digests.items()},
    )


def fit(image: Image.Image, size: int, resampling: str = "bicubic") -> np.ndarray:
    """Shortest side to size, then the centre: uint8 [size, size, 3], as CLIPImageProcessor."""
    image = image.convert("RGB")
    w, h = image.size
    # The long side is truncated and the offset floored, as transformers does it.
    wide, high = (size, size * h // w) if w <= h else (size * w // h, size)
    if (wide, high) != (w, h):
        image = image.resize((wide, high), RESAMPLING[resampling])
    left, top = (wide - size) // 2, (high - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def decode(raw: bytes, size: int, resampling: str = "bicubic") -> np.ndarray:
    """Decode one encoded picture and fit it: uint8 [size, size, 3]."""
    with Image.open(io.BytesIO(raw)) as image:
        w, h = image.size
        if w * h > PICTURE_PIXELS or max(w, h) > 64 * min(w, h):
            raise ValueError(f"{w} × {h} pixels are too many or too oblong")
        return fit(image, size, resampling)


def _texts(path: Path, number: int, row: dict[str, Any], key: str) -> list[str]:
    value = row.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise DataError(f"{path}:{number}: {key!r} must be a list of strings")
    return [v for v in value if v.strip()]


def _fill(tar: Path, names: list[str], out: np.ndarray, resampling: str) -> None:
    """Decode the named entries of a tar into out [N, 3, S, S]."""
    where: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        where.setdefault(name, []).append(i)
    missing = set(names)
    with tarfile.open(tar) as archive:
        for entry in tqdm(archive, total=len(where), desc=tar.name, unit="img", disable=None):
            path = PurePosixPath(entry.name)
            if path.is_absolute() or ".." in path.parts:
                raise DataError(f"{tar}: entry {entry.name!r} points outside the archive")
            if not entry.isfile() or entry.name not in missing:
                continue
            reader = archive.extractfile(entry)
            if reader is None or entry.size > ENTRY_BYTES:
                raise DataError(f"{tar}: entry {entry.name!r} has {entry.size} bytes, too many")
            try:
                pixels = decode(reader.read(), out.shape[-1], resampling)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise DataError(f"{tar}: entry {entry.name!r} is no picture: {error}") from error
            out[where[entry.name]] = pixels.transpose(2, 0, 1)
            missing.discard(entry.name)
    if missing:
        raise DataError(f"{tar}: has no entry {sorted(missing)[0]!r} ({len(missing)} are missing)")


def _pixels(
    tar: Path, names: list[str], size: int, resampling: str, cache: Path | None
) -> np.ndarray:
    """Decoded pictures, mapped from a .npy that is written once; in memory without a cache."""
    if cache is None:
        out = np.zeros((len(names), 3, size, size), np.uint8)
        _fill(tar, names, out, resampling)
        return out
    key = "\n".join([data.file_digest(tar), resampling, *names])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    kept = cache / f"fit_{tar.name.split('.')[0]}_{size}_{digest}.npy"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        out = np.lib.format.open_memmap(part, "w+", np.uint8, (len(names), 3, size, size))
        _fill(tar, names, out, resampling)
        out.flush()
        part.replace(kept)
    return np.load(kept, mmap_mode="r")


def load_pictures(
    listed: Path, tar: Path, size: int, cache: Path | None, limit: int = 0,
    resampling: str = "bicubic",
) -> Pictures:
    """Load a JSONL list and its tar, in the form of the folder scenes."""
    rows = data.read_list(listed)
    if not rows:
        raise DataError(f"{listed}: is empty")
    captions = [_texts(listed, n, row, "captions") for n, row in enumerate(rows, 1)]
    extra = [_texts(listed, n, row, "aug") for n, row in enumerate(rows, 1)]
    # RSICD's numbered files take no part in class scoring, so they count as unlabelled.
    label = [str(r.get("class", "")) if r.get("named", True) else "" for r in rows]
    keep = list(range(len(rows)))
    if limit:
        keep = keep[:: max(1, len(keep) // limit)][:limit]
    names = [rows[i]["file"] for i in keep]
    try:
        pixels = _pixels(tar, names, size, resampling, cache)
        digests = {listed.name: data.file_digest(listed), tar.name: data.file_digest(tar)}
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{tar}: {getattr(error, 'strerror', None) or error}") from error
    return Pictures(
        names, list(pixels), [label[i] for i in keep], [captions[i] for i in keep],
        [extra[i] for i in keep], digests, str(listed),
    )


def _round(x: Tensor) -> Tensor:
    """Back to whole numbers: the original's pipeline runs on uint8 tensors."""
    return x.round().clamp(0, 255)


def original(pixels: Tensor, g: torch.Generator) -> Tensor:
    """The augmentation of clip-rsicd, run_clip_flax_tv.py: uint8 [B, 3, S, S] -> same.

    RandomCrop(.8 S), flips both ways, RandomResizedCrop(.8 S, scale .8-1.2, ratio 1), Resize(S,
    bicubic). Its ColorJitter() without arguments changes nothing. Not antialiased, as torchvision
    of 2021 resized tensors.
    """
    size = pixels.shape[-1]
    side = int(size * 0.8)

    def draw(n: int) -> int:
        return int(torch.randint(0, n, (1,), generator=g))

    rows = []
    for picture in pixels:
        top, left = draw(size - side + 1), draw(size - side + 1)
        x = picture[:, top : top + side, left : left + side].float()
        if draw(2):
            x = x.flip(2)
        if draw(2):
            x = x.flip(1)
        for _ in range(10):  # an area above 1 does not fit and is drawn again
            area = 0.8 + 0.4 * float(torch.rand(1, generator=g))
            inner = round((area * side * side) ** 0.5)
            if inner <= side:
                top, left = draw(side - inner + 1), draw(side - inner + 1)
                x = x[:, top : top + inner, left : left + inner]
                break
        x = _round(F.interpolate(x[None], side, mode="bilinear", align_corners=False))
        rows.append(_round(F.interpolate(x, size, mode="bicubic", align_corners=False)))
    return torch.cat(rows).to(torch.uint8)


def augment(pixels: Tensor, config: FineTune, g: torch.Generator) -> Tensor:
    """Augment uint8 [B, 3, S, S] as the experiment says; uint8 again, as in serving."""
    if config.augmentation == "none":
        return pixels
    if config.augmentation == "original":
        return original(pixels, g)
    x = data.geometric(pixels, pixels.shape[-1], config.crop_area, g)
    x = data.photometric(x, config, g)  # type: ignore[arg-type]  # has the five keys it reads
    return _round(x).to(torch.uint8)
