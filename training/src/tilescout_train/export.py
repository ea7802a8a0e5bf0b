"""Writes the model folder that the encoder loads: `python -m tilescout_train.export --config ...`.

Takes the run's averaged weights, writes both towers as ONNX, the vocabulary, the background
vocabulary, the calibration and golden vectors, and checks them. --out is the int8 folder; the same
in float32 goes to `float` in the run's folder.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from . import calibrate, data, evaluate, graph, quantise, text
from .config import Config, load
from .errors import ExportError, TrainError
from .evaluate import EncodeImages, EncodeTexts
from .model import DualEncoder
from .train import CHECKPOINT

LICENCE = "trained on images whose terms are mostly not stated; see the model card"
LIMIT_BYTES = 16_000_000


def load_run(config: Config, folder: Path) -> tuple[DualEncoder, text.Tokenizer]:
    """Averaged model and tokenizer of a run."""
    path = folder / CHECKPOINT
    if not path.exists():
        raise ExportError(f"{path}: no such checkpoint; train first")
    state = torch.load(path, weights_only=True)
    _, aliases = text.load_concepts()
    model = DualEncoder(config, len(state["words"]))
    model.load_state_dict(state["ema"])
    return model.eval(), text.Tokenizer(state["words"], aliases, config.context)


def ort_encoders(
    image: onnx.ModelProto | Path, words: onnx.ModelProto | Path, tokenizer: text.Tokenizer,
    threads: int = 2,
) -> tuple[EncodeImages, EncodeTexts]:
    """Encode functions that run the exported graphs."""
    image_session = quantise.session(image, threads)
    text_session = quantise.session(words, threads)

    def images(pixels: Tensor) -> Tensor:
        rows = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(image_session.run(["embedding"], {"pixels": rows})[0])

    def texts(prompts: list[str]) -> Tensor:
        ids = tokenizer.batch([tokenizer.encode(p)[0] for p in prompts], tokenizer.context)
        return torch.from_numpy(text_session.run(["embedding"], {"tokens": ids.numpy()})[0])

    return images, texts


def golden_pictures(size: int) -> list[np.ndarray]:
    """Small generated pictures [S, S, 3] and one of 256 px that has to be resized."""
    out = []
    for n, (side, step) in enumerate(((size, 8), (size, 16), (256, 32))):
        y, x = np.mgrid[0:side, 0:side]
        base = np.random.default_rng(n).integers(0, 256, (side // step, side // step, 3))
        blocks = base.repeat(step, 0).repeat(step, 1).astype(np.int64)
        ramp = np.stack([x * 255 // side, y * 255 // side, (x + y) * 255 // (2 * side)], -1)
        out.append(((blocks + ramp) // 2).astype(np.uint8))
    return out


GOLDEN_PROMPTS = (
    "stadium", "a satellite image of an airport", "storage tanks", "boats in a marina",
    "car parks", "Baseball  fields", "many planes are parked next to a long building",
    "forêt quux", "森林",
)
GOLDEN_WORDS = (
    "Harbour", "car parks near an aerodrome", "The church’s FIELDS", "storage_tanks", "zzyzx",
    "parking-lot", "ﬁelds", "", "123 trees", "factories", "bridge " * 30,
)


def write_golden(
    folder: Path, size: int, tokenizer: text.Tokenizer, images: EncodeImages, texts: EncodeTexts
) -> None:
    """Vectors that the Go tests compare with: int8 graphs, Pillow's bicubic resize."""
    pictures = []
    for pixels in golden_pictures(size):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
        batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        vector = images(data.resize_batch(batch, size))[0]
        pictures.append({
            "png": base64.b64encode(buffer.getvalue()).decode(),
            "embedding": [round(v, 6) for v in vector.tolist()],
        })
    prompts = []
    for prompt in GOLDEN_PROMPTS:
        ids = tokenizer.batch([tokenizer.encode(prompt)[0]], tokenizer.context)[0].tolist()
        vector = [round(v, 6) for v in texts([prompt])[0].tolist()]
        prompts.append({"prompt": prompt, "tokens": ids, "embedding": vector})
    words = []
    for line in GOLDEN_WORDS:
        ids, unknown = tokenizer.encode(line)
        words.append({"text": line, "tokens": ids, "unknown": unknown})
    table = {"images": pictures, "texts": prompts, "words": words}
    (folder / "golden.json").write_text(json.dumps(table) + "\n", encoding="utf-8")


def calibration_block(
    vectors: Tensor, valid: data.Scenes, texts: EncodeTexts, entries: list[dict[str, Any]],
    concepts: list[text.Concept],
) -> tuple[dict[str, float], dict[str, float]]:
    """Fit the calibration on the named valid pictures; see calibrate.calibrate."""
    keep = evaluate.named(valid)
    phrases = [e["phrase"] for e in entries]
    column = {f"rsicd:{label.split(':')[1]}": phrases.index(c.names[0])
              for c in concepts for label in c.labels
              if label.startswith("rsicd:") and c.names[0] in phrases}
    truth = torch.tensor([column[f"rsicd:{valid.label[int(i)]}"] for i in keep])
    overlaps = torch.zeros(len(phrases), len(phrases), dtype=torch.bool)
    for c in concepts:
        for other in c.overlaps:
            if c.names[0] in phrases and other in phrases:
                overlaps[phrases.index(c.names[0]), phrases.index(other)] = True
    vocabulary = evaluate.embed_phrases(texts, phrases)
    names = [
        evaluate.embed_phrases(texts, list(c.names))
        for c in concepts if c.names[0] not in calibrate.MERGED
    ]
    return calibrate.calibrate(vectors[keep], vocabulary, truth, overlaps, names)


def speed(session_images: EncodeImages, size: int, batch: int = 8, seconds: float = 4.0) -> float:
    """Bare inferences a second."""
    pixels = torch.randint(0, 256, (batch, 3, size, size)).to(torch.uint8)
    session_images(pixels)
    start, done = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        session_images(pixels)
        done += batch
    return done / (time.monotonic() - start)


def write_graphs(
    model: DualEncoder, tokenizer: text.Tokenizer, pixels: Tensor, size: int, folder: Path
) -> None:
    """Write image.onnx and text.onnx, int8; pixels uint8 [N, 3, s, s] calibrate the ranges."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = data.resize_batch(pixels, size).permute(0, 2, 3, 1).contiguous().numpy()
    image = quantise.quantise_image(graph.image_graph(model, size), rows)
    ops = quantise.optimised_ops(image)
    if ops["Conv"] or ops["FusedConv"]:
        raise ExportError(f"{ops['Conv'] + ops['FusedConv']} convolutions stayed float")
    onnx.save(image, folder / "image.onnx")
    onnx.save(graph.text_graph(model, tokenizer.context, int8=True), folder / "text.onnx")


def write_folder(config: Config, base: Path, out: Path) -> dict[str, Any]:
    """Export the experiment's run to out (int8) and to its own folder (float); return the figures.

    The figures are those of the int8 folder on RSICD valid, which also fits both calibrations.
    """
    run = base / "runs" / config.name
    root, size = base / config.scenes, config.evaluate_size
    torch.set_num_threads(config.threads)
    model, tokenizer = load_run(config, run)
    concepts, aliases = text.load_concepts()
    training = data.load_set(root, "rsicd_train", concepts, config.stored_size, 512)
    valid = data.load_set(root, "rsicd_valid", concepts, config.stored_size, 0, base / ".cache")
    whole = run / "float"
    whole.mkdir(exist_ok=True)
    write_graphs(model, tokenizer, training.pixels, size, out)
    onnx.save(graph.image_graph(model, size), whole / "image.onnx")
    onnx.save(graph.text_graph(model, tokenizer.context, int8=False), whole / "text.onnx")
    entries = calibrate.background(concepts, aliases)
    scale = float(model.scale().detach())
    both = {}
    for folder, suffix in ((whole, "-float"), (out, "")):
        tokenizer.save(folder / "vocab.json")
        table = json.dumps({"version": 1, "concepts": entries}, ensure_ascii=False, indent=1)
        (folder / "concepts.json").write_text(table + "\n", encoding="utf-8")
        images, texts = ort_encoders(folder / "image.onnx", folder / "text.onnx", tokenizer)
        figures = evaluate.report(images, texts, valid, root, size)
        vectors = evaluate.embed_images(images, valid.pixels, size)
        block, figures["calibration"] = calibration_block(vectors, valid, texts, entries, concepts)
        write_golden(folder, size, tokenizer, images, texts)
        write_model(folder, config, suffix, scale, block)
        figures["images_per_second"] = speed(images, size)
        both[suffix] = (figures, vectors)
    (float_figures, float_vectors), (figures, vectors) = both["-float"], both[""]
    figures["float_topk"] = float_figures["topk"]
    figures["int8_cosine"] = float(F.cosine_similarity(vectors, float_vectors).mean())
    total = sum(p.stat().st_size for p in out.iterdir() if p.is_file())
    if total > LIMIT_BYTES:
        raise ExportError(f"the folder has {total} bytes, more than {LIMIT_BYTES}")
    figures["bytes"] = total
    (run / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def write_model(
    out: Path, config: Config, suffix: str, scale: float, block: dict[str, float]
) -> None:
    """Write model.json; it comes last, so that a folder without it is not taken for whole."""
    table = {
        "format": 1, "id": config.model_id + suffix, "title": config.model_title,
        "licence": LICENCE, "dimension": config.dimension, "logitScale": round(scale, 4),
        "image": {
            "file": "image.onnx", "sha256": data.file_digest(out / "image.onnx"),
            "input": "pixels", "output": "embedding", "dense": "dense",
            "size": config.evaluate_size, "resize": "squash", "filter": "bicubic",
        },
        "text": {
            "file": "text.onnx", "sha256": data.file_digest(out / "text.onnx"), "input": "tokens",
            "output": "embedding", "context": config.context, "tokenizer": "words",
            "vocabulary": "vocab.json",
        },
        "templates": list(text.SEARCH_TEMPLATES), "concepts": "concepts.json",
        "calibration": block,
    }
    (out / "model.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Export a run as a model folder.")
    parser.add_argument("--config", required=True, help="experiment file (TOML)")
    parser.add_argument("--out", required=True, help="model folder to write")
    parser.add_argument("overrides", nargs="*", help="TOML assignments, such as evaluate_size=128")
    args = parser.parse_args()
    try:
        base = Path(args.config).resolve().parents[1]
        figures = write_folder(load(args.config, args.overrides), base, Path(args.out))
    except TrainError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
