"""A tiny experiment on random pictures; no test needs the real scenes."""

import json
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tilescout_train.config import Config, parse

CLASSES = ("stadium", "port", "playfields", "river")


def _write_set(root: Path, name: str, count: int) -> None:
    random = np.random.default_rng(len(name))
    lines = []
    with tarfile.open(root / f"{name}.tar.gz", "w:gz") as tar:
        for i in range(count):
            label = CLASSES[i % len(CLASSES)]
            colour = np.array([60 * (i % 4), 40, 200 - 50 * (i % 4)])
            pixels = (random.integers(0, 40, (32, 32, 3)) + colour).clip(0, 255).astype(np.uint8)
            buffer = BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            info = tarfile.TarInfo(f"{name}_{i}.png")
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
            lines.append({
                "file": info.name, "class": label,
                "captions": [f"a {label} near some trees .", f"there is one {label} here ."],
                "aug": ["naked land"],
            })
    text = "\n".join(json.dumps(line) for line in lines)
    (root / f"{name}.jsonl").write_text(text + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training folder with two small sets below it."""
    base = tmp_path_factory.mktemp("training")
    scenes = base / "scenes"
    scenes.mkdir()
    _write_set(scenes, "rsicd_train", 16)
    _write_set(scenes, "rsicd_valid", 8)
    labels = {
        "stadium": "stadium", "port": "port", "river": "river", "playfields": "playing field"
    }
    (scenes / "classes.json").write_text(json.dumps({"rsicd": labels}), encoding="utf-8")
    return base


def tiny(name: str, **more: object) -> Config:
    """A model of a few thousand weights."""
    values = {
        "name": name, "epochs": 2, "scenes": "scenes", "sets": ["rsicd_train"], "stored_size": 32,
        "widths": [8, 8, 16, 16], "blocks": [1, 1, 1, 1], "dimension": 16, "text_width": 16,
        "text_layers": 1, "text_heads": 2, "batch": 8, "sizes": [[0.0, 32]], "evaluate_size": 32,
        "bf16": False, "lr": 0.02, "threads": 1, **more,
    }
    return parse(values)
