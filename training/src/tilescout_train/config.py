"""One frozen dataclass for one experiment, read from one TOML file; unknown keys are errors."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigError


@dataclass(frozen=True)
class Config:
    """An experiment. Sizes are in pixels, durations in epochs unless said otherwise."""

    name: str
    seed: int = 1
    epochs: int = 20
    minutes: float = 0.0  # > 0: the schedule follows the time spent in training, not the epochs
    threads: int = 2
    device: str = "cpu"
    bf16: bool = True
    model_id: str = "tilescout-aerial-2"  # of the exported folder
    model_title: str = "Tilescout aerial scenes, second model"
    init: str = ""  # checkpoint whose weights (raw and EMA) the run starts from
    teachers: tuple[str, ...] = ()  # checkpoints whose mean opinion joins the labels
    teacher_share: float = 0.5  # weight of that opinion, the label has the rest

    # data
    scenes: str = "../../shared/data/scenes"
    sets: tuple[str, ...] = ("rsicd_train", "ucm_train", "rsscn7_train")
    painted: tuple[str, ...] = ()  # folders that training/paint wrote
    painted_share: float = 0.0  # share of the samples of a batch
    stored_size: int = 168  # side of the images held in memory
    max_images: int = 0  # 0: all; a small number for rehearsals

    # model
    dimension: int = 256
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    text_width: int = 256
    text_layers: int = 2
    text_heads: int = 4
    context: int = 24

    # optimisation
    batch: int = 128
    lr: float = 0.1
    lr_end: float = 0.0  # the cosine's last value, as a share of lr
    weight_decay: float = 5e-4
    text_lr: float = 1e-3
    text_weight_decay: float = 0.05
    warmup: float = 1.0  # epochs; with minutes: hundredths of the run
    ema: float = 0.998
    sizes: tuple[tuple[float, int], ...] = ((0.0, 96), (0.6, 128))  # (share of the run done, size)
    label_smoothing: float = 0.1
    caption_weight: float = 0.4
    same_class_weight: float = 1.0  # weight of same-class negatives in the caption loss
    caption_memory: int = 0  # pairs of earlier batches that are further negatives
    hard_captions: bool = True  # a caption of another picture of the class is one more negative

    # augmentation
    crop_area: float = 0.5
    crop_area_late: float = 0.0  # once no batch is mixed any more; 0: as before
    mix_probability: float = 0.5  # of a batch being mixed up or cut and mixed
    mosaic_share: float = 0.3  # of the mixed batches: quarters of four pictures side by side
    mix_off: float = 0.8  # share of the run after which no batch is mixed
    colour: float = 0.3
    blur_probability: float = 0.15
    block_probability: float = 0.15  # JPEG-like 8x8 quantisation
    noise: float = 0.03
    cast_probability: float = 0.0  # one colour stronger or weaker by up to 30 %
    haze_probability: float = 0.0  # bright grey over everything, up to 60 %
    blank_probability: float = 0.0  # a side or corner without picture: white, black or grey
    label_probability: float = 0.0  # lines and names, as maps draw them over imagery
    evaluate_size: int = 144
    evaluate_every: int = 1

    def __post_init__(self) -> None:
        """Refuse values that could only fail later."""
        checks = (
            (self.epochs >= 1, "epochs must be at least 1"),
            (self.minutes >= 0, "minutes must not be negative"),
            (self.batch >= 2, "batch must be at least 2"),
            (0 <= self.painted_share <= 0.5, "painted_share must lie in 0..0.5"),
            (self.painted_share == 0 or bool(self.painted), "painted_share needs painted folders"),
            (len(self.widths) == len(self.blocks), "widths and blocks must have one entry a stage"),
            (self.text_width % self.text_heads == 0, "text_width must be divisible by text_heads"),
            (0 < self.crop_area <= 1, "crop_area must lie in 0..1"),
            (0 <= self.crop_area_late <= 1, "crop_area_late must lie in 0..1"),
            (0 <= self.teacher_share <= 1, "teacher_share must lie in 0..1"),
            (self.caption_memory >= 0, "caption_memory must not be negative"),
            (bool(self.sizes) and self.sizes[0][0] == 0, "sizes must start at share 0"),
            (0 <= self.label_smoothing < 1, "label_smoothing must lie in 0..1"),
            (0 < self.same_class_weight <= 1, "same_class_weight must lie in 0..1"),
        )
        for holds, text in checks:
            if not holds:
                raise ConfigError(text)

    def size_at(self, done: float) -> int:
        """Side of the training images when this share of the run is done."""
        return [size for start, size in self.sizes if done >= start - 1e-9][-1]


def _convert(name: str, kind: str, value: Any) -> Any:
    """Check one TOML value against the dataclass field's type; lists become tuples."""
    if kind.startswith("tuple"):
        if not isinstance(value, list):
            raise ConfigError(f"{name}: expected a list, got {type(value).__name__}")
        return tuple(tuple(v) if isinstance(v, list) else v for v in value)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = {"str": str, "int": int, "float": float, "bool": bool}[kind]
    if type(value) is not wanted:
        raise ConfigError(f"{name}: expected {kind}, got {type(value).__name__}")
    return value


def parse(values: dict[str, Any]) -> Config:
    """Build a Config from a flat table of values."""
    fields = {f.name: str(f.type) for f in dataclasses.fields(Config)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(f"unknown key {unknown[0]!r}; known keys: {', '.join(sorted(fields))}")
    if "name" not in values:
        raise ConfigError("key 'name' is missing")
    return Config(**{k: _convert(k, fields[k], v) for k, v in values.items()})


def load(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read an experiment file; overrides are TOML assignments such as "epochs=2"."""
    try:
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        for text in overrides or []:
            values.update(tomllib.loads(text))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        return parse(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
