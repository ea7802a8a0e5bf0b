"""A random CLIP of a few thousand weights with a vocabulary of its own, and generated scenes."""

import json
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tilescout_train.finetune.config import FineTune, parse

CLASSES = ("stadium", "port", "river", "forest")
COLOURS = ((200, 60, 60), (60, 60, 200), (60, 180, 190), (40, 120, 40))
WORDS = (*CLASSES, "photograph", "aerial", "near", "some", "trees", "there", "is", "one", "of", "a")
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_symbols() -> list[str]:
    """The 256 printable stand-ins for bytes, in the order of the ids."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def vocabulary() -> tuple[list[str], list[str]]:
    """Tokens in id order and merges that make one token of every word."""
    merges: list[str] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            merge = f"{parts[0]} {parts[1]}"
            if merge not in merges:
                merges.append(merge)
            parts = ["".join(parts[:2]), *parts[2:]]
    base = byte_symbols()
    joined = [m.replace(" ", "") for m in merges]
    return [*base, *(b + "</w>" for b in base), *joined, START, END], merges


def write_clip(folder: Path, seed: int = 0, **text: object) -> Path:
    """Write a random CLIP folder that transformers loads."""
    from transformers import CLIPConfig, CLIPModel

    tokens, merges = vocabulary()
    start, end = tokens.index(START), tokens.index(END)
    tower = {"intermediate_size": 64, "num_hidden_layers": 2}
    config = CLIPConfig(
        projection_dim=16,
        text_config={
            "vocab_size": len(tokens), "hidden_size": 24, "num_attention_heads": 3,
            "max_position_embeddings": 40, "bos_token_id": start, "eos_token_id": end,
            "pad_token_id": end, **tower, **text,
        },
        vision_config={
            "hidden_size": 32, "num_attention_heads": 2, "image_size": 32, "patch_size": 8, **tower,
        },
    )
    torch.manual_seed(seed)
    model = CLIPModel(config)
    with torch.no_grad():  # biases start at 0 and norms at 1, which would hide a forgotten one
        for p in model.parameters():
            p.add_(torch.randn(p.shape) * 0.05)
    model.save_pretrained(folder)
    ids = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    text_rows = "\n".join(["#version: 0.2", *merges]) + "\n"
    (folder / "merges.txt").write_text(text_rows, encoding="utf-8")
    preprocessing = {"size": 32, "crop_size": 32, "resample": 3, "do_center_crop": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing), encoding="utf-8")
    return folder


def write_set(root: Path, name: str, count: int) -> None:
    """Write NAME.jsonl and NAME.tar.gz; the last row is not named and has another class."""
    random = np.random.default_rng(len(name))
    lines = []
    with tarfile.open(root / f"{name}.tar.gz", "w:gz") as tar:
        for i in range(count):
            label = CLASSES[i % len(CLASSES)]
            shape = (48, 40, 3) if i % 3 else (36, 36, 3)
            noise = random.integers(-30, 30, shape)
            pixels = (noise + np.array(COLOURS[i % len(COLOURS)])).clip(0, 255).astype(np.uint8)
            buffer = BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            info = tarfile.TarInfo(f"{name}_{i}.png")
            info.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(info, buffer)
            lines.append({
                "file": info.name, "class": label, "named": True,
                "captions": [f"a {label} near some trees {i} .", f"there is one {label} {i} ."][
                    : 1 + i % 2
                ],
                "aug": ["naked land"] if i % 4 == 1 else [],
            })
    lines[-1].update({"class": "playfields", "named": False})
    text = "\n".join(json.dumps(line) for line in lines)
    (root / f"{name}.jsonl").write_text(text + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training folder with the checkpoint `clip` and two small sets."""
    torch.set_num_threads(1)
    base = tmp_path_factory.mktemp("training")
    write_clip(base / "clip")
    (base / "scenes").mkdir()
    write_set(base / "scenes", "rsicd_train", 24)
    write_set(base / "scenes", "rsicd_valid", 13)
    return base


def tiny(name: str, **more: object) -> FineTune:
    """An experiment of seconds."""
    values = {
        "name": name, "checkpoint": "clip", "scenes": "scenes", "epochs": 2, "batch": 8, "chunk": 8,
        "lr": 0.02, "warmup": 1, "threads": 1, "bf16": False, "augmentation": "overhead",
        "keep_all": True, **more,
    }
    return parse(values)
