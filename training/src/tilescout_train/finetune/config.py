"""One frozen dataclass for one fine-tuning experiment, read from one TOML file."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import _convert
from ..errors import ConfigError

# Keys that change how fast a run goes, not where it goes: a run may be resumed with others.
FREE = ("threads", "device", "chunk", "save_minutes", "keep_all", "epoch_limit")


@dataclass(frozen=True)
class FineTune:
    """An experiment. The defaults are those of the best Adafactor run behind clip-rsicd."""

    name: str
    checkpoint: str  # folder with config.json, weights and tokenizer files
    seed: int = 1
    epochs: int = 10
    epoch_limit: int = 0  # > 0: stop after so many epochs, the schedule stays that of all
    threads: int = 2
    device: str = "cpu"
    bf16: bool = True

    # data
    scenes: str = "../../shared/data/scenes"
    sets: tuple[str, ...] = ("rsicd_train",)
    valid: str = "rsicd_valid"
    max_images: int = 0  # 0: all; a small number for rehearsals

    # text
    caption_length: int = 32  # tokens with start and end
    text_augmentation: bool = True  # back-translations join the human captions
    same_caption_negatives: bool = True  # False: pictures with one sentence do not compete

    # augmentation: original (as clip-rsicd), overhead (eight orientations, colour) or none
    augmentation: str = "original"
    crop_area: float = 0.8  # this and the rest: overhead only
    colour: float = 0.2
    blur_probability: float = 0.0
    block_probability: float = 0.0
    noise: float = 0.0

    # optimisation
    batch: int = 1024  # pictures that compete in one loss
    chunk: int = 32  # pictures in memory at once
    optimiser: str = "adafactor"  # or adamw
    lr: float = 1e-4
    warmup: int = 50  # steps
    schedule: str = "linear"  # or cosine, to 0
    beta1: float = 0.9  # this and the rest: adamw only
    beta2: float = 0.98
    weight_decay: float = 0.1
    clip_norm: float = 1.0  # 0: none
    logit_scale_max: float = 0.0  # 0: not clamped, as the original; CLIP used 100

    # what is trained: all, none, or last:N (the last N blocks, final norm and projection)
    train_image: str = "all"
    train_text: str = "all"
    train_scale: bool = True

    # evaluation and saving
    template: str = "Aerial photograph of {}"
    labels: str = "glued"  # as in file names (the published figures), or readable (classes.json)
    evaluate_first: bool = True  # figures of the checkpoint before any step
    save_minutes: float = 10.0  # a kill loses at most so much; every epoch is saved anyway
    keep_all: bool = False  # keep every epoch's folder, not only the best and the last

    def __post_init__(self) -> None:
        """Refuse values that could only fail later."""
        checks = (
            (bool(self.name) and Path(self.name).name == self.name, "name must be a folder's name"),
            (self.epochs >= 1, "epochs must be at least 1"),
            (self.epoch_limit >= 0, "epoch_limit must not be negative"),
            (bool(self.sets), "sets must name a training set"),
            (self.caption_length >= 3, "caption_length must be at least 3 (start, a token, end)"),
            (self.augmentation in ("original", "overhead", "none"),
             "augmentation must be original, overhead or none"),
            (0 < self.crop_area <= 1, "crop_area must lie in 0..1"),
            (self.batch >= 2, "batch must be at least 2"),
            (self.chunk >= 1, "chunk must be at least 1"),
            (self.optimiser in ("adafactor", "adamw"), "optimiser must be adafactor or adamw"),
            (self.lr > 0, "lr must be positive"),
            (self.warmup >= 0, "warmup must not be negative"),
            (self.schedule in ("linear", "cosine"), "schedule must be linear or cosine"),
            (self.clip_norm >= 0, "clip_norm must not be negative"),
            (self.logit_scale_max == 0 or self.logit_scale_max >= 1,
             "logit_scale_max must be 0 (none) or at least 1"),
            (self.template.count("{}") == 1, "template must hold one {}"),
            (self.labels in ("glued", "readable"), "labels must be glued or readable"),
            (self.save_minutes >= 0, "save_minutes must not be negative"),
        )
        for holds, text in checks:
            if not holds:
                raise ConfigError(text)
        if self.blocks("train_image") == 0 and self.blocks("train_text") == 0:
            raise ConfigError("nothing is trained: train_image and train_text are both none")

    def blocks(self, key: str) -> int | None:
        """Trained blocks of train_image or train_text: None for all, 0 for a locked tower."""
        value = getattr(self, key)
        if value in ("all", "none"):
            return None if value == "all" else 0
        kind, _, count = value.partition(":")
        if kind != "last" or not count.isdecimal() or int(count) < 1:
            raise ConfigError(f"{key} must be all, none or last:N, got {value!r}")
        return int(count)

    def settings(self) -> dict[str, Any]:
        """Everything that decides where the run goes; a resumed run must agree in it."""
        table = dataclasses.asdict(self)
        return {k: v for k, v in table.items() if k not in FREE}


def parse(values: dict[str, Any]) -> FineTune:
    """Build a FineTune from a flat table of values."""
    fields = {f.name: str(f.type) for f in dataclasses.fields(FineTune)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r}; known keys: {', '.join(sorted(fields))}")
    for key in ("name", "checkpoint"):
        if key not in values:
            raise ConfigError(f"key {key!r} is missing")
    return FineTune(**{k: _convert(k, fields[k], v) for k, v in values.items()})


def load(path: str | Path, overrides: list[str] | None = None) -> FineTune:
    """Read an experiment file; overrides are TOML assignments such as "epochs=2"."""
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        for text in overrides or []:
            values.update(tomllib.loads(text))
        return parse(values)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error
