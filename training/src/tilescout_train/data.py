"""Scenes in memory as uint8, their concept targets, and batch-wise augmentation."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor
from tqdm import tqdm

from .config import Config
from .errors import DataError
from .text import Concept


@dataclass
class Scenes:
    """Pictures with what is known about them; all lists have one entry a picture."""

    pixels: Tensor  # uint8 [N, 3, S, S]
    target: Tensor  # [N, C], rows sum to 1, or to 0 where the class is left out
    allowed: Tensor  # bool [N, C]: the classes that take part in the cross-entropy
    group: Tensor  # [N] class number for the caption loss
    captions: list[list[str]]
    extra_captions: list[list[str]]
    label: list[str]
    painted: Tensor  # bool [N]
    digests: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pixels)


def read_list(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL list; a bad line is named with its number."""
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON: {error.msg}") from error
        if not isinstance(row, dict) or not isinstance(row.get("file"), str):
            raise DataError(f"{path}:{number}: needs an object with a string 'file'")
        rows.append(row)
    return rows


def decode(data: bytes, size: int) -> np.ndarray:
    """Decode one picture to [size, size, 3]; the whole picture is resized, never cropped."""
    with Image.open(io.BytesIO(data)) as image:
        image = image.convert("RGB")
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BICUBIC)
        return np.asarray(image)


def _read_tar(path: Path, names: list[str], size: int) -> np.ndarray:
    """Decode the named entries of a tar.gz: [N, 3, S, S]."""
    where = {name: i for i, name in enumerate(names)}
    out = np.zeros((len(names), 3, size, size), np.uint8)
    missing = set(names)
    try:
        with tarfile.open(path) as tar:
            for entry in tqdm(tar, total=len(names), desc=path.name, unit="img", disable=None):
                if entry.isfile() and entry.name in missing:
                    reader = tar.extractfile(entry)
                    assert reader is not None
                    out[where[entry.name]] = decode(reader.read(), size).transpose(2, 0, 1)
                    missing.discard(entry.name)
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"{path}: {error}") from error
    if missing:
        raise DataError(f"{path}: has no entry {sorted(missing)[0]!r} ({len(missing)} are missing)")
    return out


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _label_table(concepts: list[Concept]) -> dict[str, int]:
    return {label: i for i, c in enumerate(concepts) for label in c.labels}


def masks(concepts: list[Concept]) -> Tensor:
    """Bool [C, C]: row c holds the classes that compete with class c."""
    index = {c.names[0]: i for i, c in enumerate(concepts)}
    out = torch.ones(len(concepts), len(concepts), dtype=torch.bool)
    for i, concept in enumerate(concepts):
        for name in concept.overlaps:
            if name not in index:
                raise DataError(f"concepts.toml: {concept.names[0]!r} overlaps unknown {name!r}")
            out[i, index[name]] = False
    return out


def _pixels(tar: Path, names: list[str], size: int, cache: Path | None) -> tuple[Tensor, str]:
    """Decoded pictures and the tar's digest; kept as .npy so that a resumed run starts at once."""
    try:
        digest = file_digest(tar)
    except OSError as error:
        raise DataError(f"{tar}: {error.strerror}") from error
    if cache is None:
        return torch.from_numpy(_read_tar(tar, names, size)), digest
    listed = hashlib.sha256("\n".join([digest, *names]).encode()).hexdigest()[:16]
    kept = cache / f"{tar.name.split('.')[0]}_{size}_{listed}.npy"
    if not kept.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(".part")
        with part.open("wb") as f:
            np.save(f, _read_tar(tar, names, size))
        part.replace(kept)
    return torch.from_numpy(np.load(kept)), digest


def load_set(
    root: Path, name: str, concepts: list[Concept], size: int, limit: int = 0,
    cache: Path | None = None,
) -> Scenes:
    """Load one labelled set, such as rsicd_train, from NAME.jsonl and NAME.tar.gz."""
    rows = read_list(root / f"{name}.jsonl")
    if limit:
        rows = rows[:: max(1, len(rows) // limit)][:limit]
    names = [r["file"] for r in rows]
    pixels, digest = _pixels(root / f"{name}.tar.gz", names, size, cache)
    corpus = name.split("_")[0]
    table, competes = _label_table(concepts), masks(concepts)
    target = torch.zeros(len(rows), len(concepts))
    allowed = torch.ones(len(rows), len(concepts), dtype=torch.bool)
    labels = sorted({f"{corpus}:{r['class']}" for r in rows})
    for i, row in enumerate(rows):
        c = table.get(f"{corpus}:{row['class']}")
        if c is not None:  # RSICD's playfields mix several classes: captions only
            target[i, c] = 1
            allowed[i] = competes[c]
    group = torch.tensor(
        [table.get(f"{corpus}:{r['class']}", 1000 + labels.index(f"{corpus}:{r['class']}"))
         for r in rows]
    )
    return Scenes(
        pixels, target, allowed, group, [list(r.get("captions", [])) for r in rows],
        [list(r.get("aug", [])) for r in rows], [r["class"] for r in rows],
        torch.zeros(len(rows), dtype=torch.bool), {name: digest},
    )


def load_painted(folder: Path, concepts: list[Concept], size: int, limit: int = 0) -> Scenes:
    """Load painted tiles: tiles.jsonl lines with file, labels, main (weighs twice) and partly
    (classes that show too little to count either way).
    """
    rows = read_list(folder / "tiles.jsonl")
    known = {name: i for i, c in enumerate(concepts) for name in c.names}
    painter = torch.zeros(len(concepts), dtype=torch.bool)
    seen = {label for r in rows for label in r.get("labels", [])}
    painter[[known[label] for label in seen if label in known]] = True
    rows = [r for r in rows if any(label in known for label in r.get("labels", []))]
    if limit:
        rows = rows[:: max(1, len(rows) // limit)][:limit]
    if not rows:
        raise DataError(f"{folder}: no tile carries a label that concepts.toml knows")
    target = torch.zeros(len(rows), len(concepts))
    allowed = torch.zeros(len(rows), len(concepts), dtype=torch.bool)
    pixels = torch.zeros(len(rows), 3, size, size, dtype=torch.uint8)
    for i, row in enumerate(tqdm(rows, desc=folder.name, unit="img", disable=None)):
        data = (folder / row["file"]).read_bytes()
        pixels[i] = torch.from_numpy(decode(data, size).transpose(2, 0, 1).copy())
        present = {known[label] for label in row["labels"] if label in known}
        main = known.get(row.get("main", ""))
        for c in present:
            target[i, c] = 2.0 if c == main else 1.0
        # The list is complete for the painter's own classes; the rest may be there or not.
        allowed[i] = painter
        allowed[i, [known[label] for label in row.get("partly", []) if label in known]] = False
        allowed[i, list(present)] = True
        target[i] /= target[i].sum()
    names = [row.get("main") or row["labels"][0] for row in rows]
    return Scenes(
        pixels, target, allowed, torch.full((len(rows),), 5000), [[] for _ in rows],
        [[] for _ in rows], names, torch.ones(len(rows), dtype=torch.bool),
        {folder.name: file_digest(folder / "tiles.jsonl")},
    )


def concat(parts: list[Scenes]) -> Scenes:
    """Join sets."""
    return Scenes(
        torch.cat([p.pixels for p in parts]), torch.cat([p.target for p in parts]),
        torch.cat([p.allowed for p in parts]), torch.cat([p.group for p in parts]),
        [c for p in parts for c in p.captions], [c for p in parts for c in p.extra_captions],
        [n for p in parts for n in p.label], torch.cat([p.painted for p in parts]),
        {k: v for p in parts for k, v in p.digests.items()},
    )


def load_training(config: Config, concepts: list[Concept], base: Path) -> Scenes:
    """Load everything that the experiment trains on; relative paths start at base."""
    root = base / config.scenes
    size, limit = config.stored_size, config.max_images
    cache = base / ".cache"
    parts = [load_set(root, name, concepts, size, limit, cache) for name in config.sets]
    parts += [load_painted(base / p, concepts, size, limit) for p in config.painted]
    return concat(parts)


def resize_batch(pixels: Tensor, size: int) -> Tensor:
    """Resize uint8 [B, 3, s, s] with Pillow's bicubic filter, as the server does."""
    if pixels.shape[-1] == size:
        return pixels
    rows = [
        np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BICUBIC))
        for p in pixels.permute(0, 2, 3, 1).numpy()
    ]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)


def _rand(shape: tuple[int, ...], g: torch.Generator, low: float, high: float) -> Tensor:
    return torch.rand(shape, generator=g) * (high - low) + low


def geometric(pixels: Tensor, size: int, area: float, g: torch.Generator) -> Tensor:
    """Random crop of the given least area, aspect 3/4..4/3, and one of eight orientations.

    Returns float [B, 3, size, size] in 0..255.
    """
    b = len(pixels)
    side = _rand((b,), g, area, 1).sqrt()
    aspect = torch.exp(_rand((b,), g, -0.28, 0.28) / 2)
    half_x, half_y = (side * aspect).clamp(max=1), (side / aspect).clamp(max=1)
    shift_x = _rand((b,), g, -1, 1) * (1 - half_x)
    shift_y = _rand((b,), g, -1, 1) * (1 - half_y)
    flip_x = torch.randint(0, 2, (b,), generator=g) * 2 - 1
    flip_y = torch.randint(0, 2, (b,), generator=g) * 2 - 1
    swap = torch.randint(0, 2, (b,), generator=g).bool()
    matrix = torch.zeros(b, 2, 3)
    matrix[:, 0, 0] = torch.where(swap, 0.0, half_x * flip_x)
    matrix[:, 0, 1] = torch.where(swap, half_x * flip_x, 0.0)
    matrix[:, 1, 0] = torch.where(swap, half_y * flip_y, 0.0)
    matrix[:, 1, 1] = torch.where(swap, 0.0, half_y * flip_y)
    matrix[:, 0, 2], matrix[:, 1, 2] = shift_x, shift_y
    source = pixels.float()
    if pixels.shape[-1] > 1.8 * size:  # else the finest texture would alias
        source = F.interpolate(
            source, size=int(1.3 * size), mode="bilinear", antialias=True, align_corners=False
        )
    grid = F.affine_grid(matrix, [b, 3, size, size], align_corners=False)
    return F.grid_sample(source, grid, padding_mode="reflection", align_corners=False)


def _dct_matrix() -> Tensor:
    k, n = torch.arange(8.0)[:, None], torch.arange(8.0)[None]
    out = torch.cos(torch.pi * (2 * n + 1) * k / 16) * 0.5
    out[0] /= 2**0.5
    return out


def block_noise(x: Tensor, g: torch.Generator) -> Tensor:
    """Quantise 8x8 DCT blocks the way JPEG does; x [B, 3, s, s] in 0..255, s divisible by 8."""
    b, c, h, w = x.shape
    dct = _dct_matrix()
    blocks = x.reshape(b, c, h // 8, 8, w // 8, 8).transpose(3, 4)  # [B, C, h/8, w/8, 8, 8]
    freq = dct @ blocks @ dct.T
    ramp = torch.arange(8.0)
    step = _rand((b, 1, 1, 1, 1, 1), g, 4, 14) * (1 + 0.6 * (ramp[:, None] + ramp[None]))
    freq = (freq / step).round() * step
    return (dct.T @ freq @ dct).transpose(3, 4).reshape(b, c, h, w)


def photometric(x: Tensor, config: Config, g: torch.Generator) -> Tensor:
    """Colour, contrast, grey, blur, block and pixel noise; x [B, 3, s, s] in 0..255."""
    b, j = len(x), config.colour
    grey = (x * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    saturation = _rand((b, 1, 1, 1), g, 1 - j, 1 + j)
    saturation[torch.rand(b, generator=g) < 0.04] = 0
    x = grey + (x - grey) * saturation
    mean = x.mean((2, 3), keepdim=True)
    x = mean + (x - mean) * _rand((b, 1, 1, 1), g, 1 - j, 1 + j)
    x = x * _rand((b, 1, 1, 1), g, 1 - j, 1 + j) * _rand((b, 3, 1, 1), g, 1 - j / 4, 1 + j / 4)
    blur = torch.nonzero(torch.rand(b, generator=g) < config.blur_probability)[:, 0]
    if len(blur):
        soft = F.avg_pool2d(F.pad(x[blur], (1, 1, 1, 1), mode="reflect"), 3, 1)
        x[blur] = torch.lerp(x[blur], soft, _rand((len(blur), 1, 1, 1), g, 0.3, 1))
    block = torch.nonzero(torch.rand(b, generator=g) < config.block_probability)[:, 0]
    if len(block) and x.shape[-1] % 8 == 0:
        x[block] = block_noise(x[block], g)
    x = cast_and_haze(x, config.cast_probability, config.haze_probability, g)
    if config.noise:
        x = x + torch.randn(x.shape, generator=g) * _rand((b, 1, 1, 1), g, 0, config.noise) * 255
    return x.clamp(0, 255)


def _chosen(n: int, probability: float, g: torch.Generator) -> Tensor:
    """Row numbers of those that are drawn."""
    return torch.nonzero(torch.rand(n, generator=g) < probability)[:, 0]


def cast_and_haze(x: Tensor, cast: float, haze: float, g: torch.Generator) -> Tensor:
    """Colour casts of other providers, and the bright veil of haze; x [B, 3, s, s] in 0..255."""
    if cast and len(rows := _chosen(len(x), cast, g)):
        x[rows] = x[rows] * _rand((len(rows), 3, 1, 1), g, 0.7, 1.3)
    if haze and len(rows := _chosen(len(x), haze, g)):
        x[rows] = torch.lerp(
            x[rows], _rand((len(rows), 1, 1, 1), g, 170, 240).expand_as(x[rows]),
            _rand((len(rows), 1, 1, 1), g, 0.1, 0.6),
        )
    return x


def blank_parts(x: Tensor, probability: float, g: torch.Generator) -> Tensor:
    """A corner of some pictures is without picture, as at the edge of a mosaic."""
    s = x.shape[-1]
    for i in _chosen(len(x), probability, g).tolist():
        high, wide = (int(v) for v in _rand((2,), g, 0.15, 1.0) * s)
        if high * wide > s * s // 2:  # never most of it
            high = max(1, s * s // (2 * wide))
        top = 0 if torch.rand(1, generator=g) < 0.5 else s - high
        left = 0 if torch.rand(1, generator=g) < 0.5 else s - wide
        value = (0.0, 255.0, 128.0)[int(torch.randint(0, 3, (1,), generator=g))]
        x[i, :, top : top + high, left : left + wide] = value
    return x


def label_sheets(count: int, size: int, seed: int) -> Tensor:
    """Transparent sheets [count, 4, size, size] (RGB, then opacity 0..1) of what maps draw over
    imagery: roads as lines, names as rows of letters.
    """
    draw = np.random.default_rng(seed)
    out = torch.zeros(count, 4, size, size)
    names = (
        "Main Street", "North Road", "Park", "Old Town", "12", "A40", "Station", "River",
        "Mill Lane",
    )
    inks = ((255, 255, 255), (255, 221, 102), (250, 170, 60), (40, 40, 40), (30, 90, 200))
    for i in range(count):
        sheet = Image.new("RGBA", (size, size))
        pen = ImageDraw.Draw(sheet)
        for _ in range(int(draw.integers(0, 4))):
            bends = draw.integers(-size // 4, size + size // 4, (3, 2)).tolist()
            ink = (*inks[int(draw.integers(len(inks)))], int(draw.integers(130, 256)))
            pen.line([tuple(p) for p in bends], fill=ink, width=int(draw.integers(2, 7)))
        for _ in range(int(draw.integers(1, 5))):
            at = tuple(draw.integers(0, size - 20, 2).tolist())
            pen.text(
                at, names[int(draw.integers(len(names)))], fill=(255, 255, 255, 255),
                stroke_width=1, stroke_fill=(20, 20, 20, 255),
            )
        pixels = torch.from_numpy(np.asarray(sheet).copy()).permute(2, 0, 1).float()
        out[i] = pixels
        out[i, 3] /= 255
    return out


def lay_labels(x: Tensor, sheets: Tensor, probability: float, g: torch.Generator) -> Tensor:
    """Lay sheets over some of the pictures x [B, 3, s, s] in 0..255."""
    rows = _chosen(len(x), probability, g)
    if not len(rows):
        return x
    pick = sheets[torch.randint(0, len(sheets), (len(rows),), generator=g)]
    pick = F.interpolate(
        pick, size=x.shape[-1], mode="bilinear", antialias=True, align_corners=False
    )
    x[rows] = torch.lerp(x[rows], pick[:, :3], pick[:, 3:])
    return x


def mix(
    x: Tensor, target: Tensor, allowed: Tensor, g: torch.Generator, mosaic_share: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Mixup (mostly light), CutMix (even shares) or quarters of a batch with itself shuffled."""
    if torch.rand(1, generator=g) < mosaic_share:
        return _quarters(x, target, allowed, g)
    order = torch.randperm(len(x), generator=g)
    share = float(torch.rand(1, generator=g))
    if torch.rand(1, generator=g) < 0.5:
        share = 1 - 0.5 * share**3
        x = x * share + x[order] * (1 - share)
    else:
        s = x.shape[-1]
        cut = int(s * (1 - share) ** 0.5)
        top, left = (int(torch.randint(0, s - cut + 1, (1,), generator=g)) for _ in range(2))
        x = x.clone()
        x[:, :, top : top + cut, left : left + cut] = x[
            order, :, top : top + cut, left : left + cut
        ]
        share = 1 - cut * cut / (s * s)
    return x, *_blend(target, allowed, [torch.arange(len(x)), order], [share, 1 - share])


def _quarters(
    x: Tensor, target: Tensor, allowed: Tensor, g: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Parts of four pictures meet at one point, as where a tile's border cuts the scenes."""
    s = x.shape[-1]
    row, column = (int(torch.randint(s // 4, s - s // 4 + 1, (1,), generator=g)) for _ in range(2))
    orders = [torch.arange(len(x))] + [torch.randperm(len(x), generator=g) for _ in range(3)]
    out, shares = x.clone(), []
    halves = ((slice(0, row), row), (slice(row, s), s - row))
    columns = ((slice(0, column), column), (slice(column, s), s - column))
    for order, ((down, high), (along, wide)) in zip(
        orders, [(h, c) for h in halves for c in columns], strict=True
    ):
        out[:, :, down, along] = x[order][:, :, down, along]
        shares.append(high * wide / (s * s))
    return out, *_blend(target, allowed, orders, shares)


def _blend(
    target: Tensor, allowed: Tensor, orders: list[Tensor], shares: list[float]
) -> tuple[Tensor, Tensor]:
    """Target and allowed classes of a mixture; one part without a class leaves it out."""
    mixed = sum(target[o] * share for o, share in zip(orders, shares, strict=True))
    usable = torch.stack([target[o].sum(1) > 0 for o in orders]).all(0)
    mixed[~usable] = 0
    return mixed, torch.stack([allowed[o] for o in orders]).all(0) | (mixed > 0)
