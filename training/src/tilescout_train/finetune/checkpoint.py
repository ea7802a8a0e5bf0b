"""Reads and writes CLIP folders in the layout of transformers; nothing is fetched, no code runs."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError, TrainError

# Files that training does not change and that a loader needs beside the weights.
PASSED_ON = (
    "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "preprocessor_config.json",
    "processor_config.json",
)
MEAN = (0.48145466, 0.4578275, 0.40821073)  # openai/CLIP clip.py, _transform
STD = (0.26862954, 0.26130258, 0.27577711)
FILTERS = {2: "bilinear", 3: "bicubic", 4: "box"}  # Pillow's numbers


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the image tower's input: shortest side to size, centre, normalise."""

    size: int
    filter: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


def library() -> Any:
    """Return transformers, or say how to get it."""
    try:
        import transformers
    except ImportError as error:
        raise TrainError(
            "the package transformers is missing; pip install -e '.[finetune]'"
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _line(error: Exception) -> str:
    """First line of a library's error text, cut to a readable length."""
    text = str(error).strip().splitlines() or [type(error).__name__]
    return text[0][:200]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(table, dict):
        raise DataError(f"{path}: needs a JSON object")
    return table


def load_model(folder: Path) -> Any:
    """CLIPModel in float32 on the CPU; every weight is there and finite."""
    transformers = library()
    kind = _read_json(folder / "config.json").get("model_type")
    if kind != "clip":
        raise DataError(f"{folder / 'config.json'}: model_type is {kind!r}, want 'clip'")
    try:
        # weights_only: a pickle that names anything but tensors is refused, not run.
        model, found = transformers.CLIPModel.from_pretrained(
            folder, local_files_only=True, weights_only=True, dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # four file formats, each with errors of its own
        raise DataError(f"{folder}: the weights cannot be read: {_line(error)}") from error
    missing = sorted(found["missing_keys"])
    if missing:
        raise DataError(f"{folder}: the weights lack {missing[0]!r} and {len(missing) - 1} more")
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight).all()):
            raise DataError(f"{folder}: {name} holds NaN or infinite values")
    return model


def load_tokenizer(folder: Path, vocabulary: int) -> Any:
    """CLIPTokenizer of the folder; its ids must fit the model's token table."""
    transformers = library()
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        raise DataError(f"{folder}: no tokenizer.json or vocab.json and merges.txt in it")
    try:
        tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # JSON, merges and a Rust parser, each with errors of its own
        raise DataError(f"{folder}: the tokenizer cannot be read: {_line(error)}") from error
    if len(tokenizer) > vocabulary:
        raise DataError(
            f"{folder}: the tokenizer has {len(tokenizer)} ids, the token table {vocabulary} rows"
        )
    return tokenizer


def load_preprocessing(folder: Path, size: int) -> Preprocessing:
    """Read preprocessor_config.json, old or new form; absent: CLIP's own values."""
    path = folder / "preprocessor_config.json"
    table = _read_json(path) if path.exists() else {}
    crop = table.get("crop_size", size)
    crop = crop.get("height") if isinstance(crop, dict) else crop
    if crop != size:
        raise DataError(f"{path}: crop_size is {crop}, but the model takes {size} pixels")
    if not table.get("do_center_crop", True) or not table.get("do_normalize", True):
        raise DataError(f"{path}: do_center_crop and do_normalize must be true")
    mean, std = (
        tuple(table.get(key, default))
        for key, default in (("image_mean", MEAN), ("image_std", STD))
    )
    if len(mean) != 3 or len(std) != 3 or not all(v > 0 for v in std):
        raise DataError(f"{path}: image_mean and image_std need three values, std positive")
    resample = table.get("resample", 3)
    if resample not in FILTERS:
        raise DataError(f"{path}: resample is {resample}, want one of {sorted(FILTERS)}")
    return Preprocessing(size, FILTERS[resample], mean, std)


def save_model(model: Any, source: Path, out: Path) -> None:
    """Write a folder that transformers loads: a kill leaves no folder or a whole one."""
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    model.save_pretrained(part)
    for name in PASSED_ON:
        if (source / name).is_file():
            shutil.copyfile(source / name, part / name)
    replace_folder(part, out)


def replace_folder(part: Path, out: Path) -> None:
    """Put a finished folder in its place; the old one goes only when the new one is whole."""
    for path in part.iterdir():
        with path.open("rb") as f:
            os.fsync(f.fileno())
    if out.exists():
        shutil.rmtree(out)
    part.replace(out)
