"""Writes a CLIP folder as a model folder: `python -m tilescout_train.finetune.export --checkpoint
DIR --out DIR --valid FILE.jsonl`.

Both towers become ONNX; tokenizer, background vocabulary, calibration and golden vectors lie beside
them. Every graph is compared with the checkpoint before the folder takes its name.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from .. import calibrate, data, quantise
from .. import text as words
from ..errors import ConfigError, DataError, ExportError, TrainError
from ..evaluate import embed_phrases
from ..export import calibration_block
from . import card, checkpoint, evaluate, golden, graph, pictures
from .captions import Captions
from .checkpoint import Preprocessing
from .pictures import Pictures
from .towers import Towers

PRECISIONS = ("float32", "int8", "int8-dynamic")
RESIZE = "shortest-crop"  # shortest side to size, then the centre
LICENCE = "that of the checkpoint and of the pictures it was trained on; none is added here"
LEAST_COSINE = {"float32": 0.99999, "int8": 0.99, "int8-dynamic": 0.98}  # to the checkpoint
BATCH = 16
FILE_BYTES = (2 << 30) - (32 << 20)  # of weights: a protobuf message ends at 2 GiB


@dataclass(frozen=True)
class Request:
    """What the command line asks for."""

    checkpoint: Path
    out: Path
    valid: Path
    images: Path
    precision: str = "float32"
    template: str = "Aerial photograph of {}"
    context: int = 0  # 0: all positions of the model
    id: str = ""
    title: str = ""
    licence: str = LICENCE
    threads: int = 2


class Exported:
    """The graphs of a folder as encode functions."""

    def __init__(self, folder: Path, captions: Captions, threads: int) -> None:
        """Opens image.onnx and text.onnx the way the server does."""
        self.captions = captions
        self._image = quantise.session(folder / "image.onnx", threads)
        self._text = quantise.session(folder / "text.onnx", threads)

    def both(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 [B, 3, S, S] -> embedding [B, D] and dense [B, P, D]."""
        rows = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        embedding, dense = self._image.run(["embedding", "dense"], {"pixels": rows})
        return torch.from_numpy(embedding), torch.from_numpy(dense)

    def images(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] -> [B, D]."""
        rows = pixels.permute(0, 2, 3, 1).contiguous().numpy()
        return torch.from_numpy(self._image.run(["embedding"], {"pixels": rows})[0])

    def texts(self, prompts: list[str]) -> Tensor:
        """Prompts -> [B, D], in batches of similar length."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        out: list[Tensor] = [torch.empty(0)] * len(prompts)
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            ids = self.captions.ids([prompts[i] for i in part]).numpy()
            vectors = self._text.run(["embedding"], {"tokens": ids})[0]
            for i, vector in zip(part, vectors, strict=True):
                out[i] = torch.from_numpy(vector)
        return torch.stack(out)

    def embed(self, shown: Pictures) -> Tensor:
        """Vectors of all pictures: [N, D]."""
        rows = torch.arange(len(shown)).split(BATCH)
        bar = tqdm(rows, desc="embed", unit="batch", disable=None, leave=False)
        return torch.cat([self.images(shown.batch(part)) for part in bar])


def write_graphs(
    model: Any, preprocessing: Preprocessing, precision: str, folder: Path
) -> None:
    """Write image.onnx and text.onnx."""
    int8 = precision == "int8"
    for name, tower in (("image", model.vision_model), ("text", model.text_model)):
        weights = sum(p.numel() for p in tower.parameters())
        if weights * (1 if int8 else 4) > FILE_BYTES:
            raise ExportError(
                f"{name}.onnx would have {weights * 4} bytes, more than a file can; "
                "take --precision int8"
            )
        made = (
            graph.image_graph(model, preprocessing, int8) if name == "image"
            else graph.text_graph(model, int8)
        )
        target = folder / f"{name}.onnx"
        onnx.save(_dynamic(made) if precision == "int8-dynamic" else made, target)


def _dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """Products in int8, their activations' range taken from each call: fast without calibration.

    An embedding then depends a little on the others of its batch. Pixels and projection stay float.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    products = [n for n in model.graph.node if n.op_type == "MatMul"]
    names = {i.name for i in model.graph.initializer}
    inside = [n.name for n in products if n.input[1] in names and "project" not in n.input[1]]
    if any(i.name == "pixels" for i in model.graph.input):
        inside = inside[1:]  # the patches
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "f.onnx", Path(folder) / "q.onnx"
        onnx.save(model, source)
        quantize_dynamic(
            source, target, op_types_to_quantize=["MatMul"], nodes_to_quantize=inside,
            per_channel=True, weight_type=QuantType.QInt8,
        )
        return onnx.load(target)


def least_cosine(towers: Towers, exported: Exported, size: int) -> float:
    """Lowest cosine between the graphs and the checkpoint over pictures, patches and prompts."""
    fitted = [pictures.fit(pictures.Image.fromarray(p), size) for p in golden.golden_pictures(size)]
    pixels = torch.from_numpy(np.stack(fitted)).permute(0, 3, 1, 2).contiguous()
    prompts = [*golden.GOLDEN_PROMPTS, *golden.SPELLINGS]
    with torch.no_grad():
        want = [towers.images(pixels), towers.dense(pixels), *(
            towers.texts(exported.captions.ids([p])) for p in prompts
        )]
    got = [*exported.both(pixels), *(exported.texts([p]) for p in prompts)]
    pairs = zip(want, got, strict=True)
    lowest = [F.cosine_similarity(w, g, dim=-1).min() for w, g in pairs]
    return float(torch.stack(lowest).min())  # NaN stays NaN


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write vocab.json and merges.txt as OpenAI's, whatever files the tokenizer came from."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    if model.get("type") != "BPE" or model.get("end_of_word_suffix") != "</w>":
        raise ExportError("the tokenizer is not CLIP's byte pair encoding with </w>")
    vocabulary = dict(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    for token in ("<|startoftext|>", "<|endoftext|>"):
        if token not in vocabulary:
            raise ExportError(f"the tokenizer has no {token}")
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    table = json.dumps(vocabulary, ensure_ascii=False)
    (folder / "vocab.json").write_text(table + "\n", encoding="utf-8")
    rows = "\n".join(["#version: 0.2", *merges])
    (folder / "merges.txt").write_text(rows + "\n", encoding="utf-8")


def _calibration(
    exported: Exported, shown: Pictures, entries: list[dict[str, Any]],
    concepts: list[words.Concept],
) -> tuple[dict[str, float], dict[str, float]]:
    """Fit the calibration on the labelled pictures, as the bundled model's."""
    known = {name.removeprefix("rsicd:") for c in concepts for name in c.labels
             if name.startswith("rsicd:") and c.names[0] in {e["phrase"] for e in entries}}
    rows = [i for i, label in enumerate(shown.label) if label and label != "playfields"]
    strange = sorted({shown.label[i] for i in rows} - known)
    if strange:
        raise DataError(f"{shown.source}: class {strange[0]!r} is not an RSICD class")
    chosen = shown.subset(rows)
    vectors = exported.embed(chosen)
    try:
        return calibration_block(vectors, chosen, exported.texts, entries, concepts)
    except (IndexError, RuntimeError, ValueError) as error:
        raise DataError(
            f"{shown.source}: {len(rows)} pictures of {len({shown.label[i] for i in rows})} "
            "classes are too few to calibrate on"
        ) from error


def write_folder(request: Request) -> dict[str, Any]:
    """Export the checkpoint and return the figures; the folder appears only when it is whole."""
    torch.set_num_threads(request.threads)
    out = request.out
    if out.exists() and not (out / "model.json").is_file() and any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty and no model folder; name another")
    model = checkpoint.load_model(request.checkpoint).eval()
    config = model.config
    size = config.vision_config.image_size
    preprocessing = checkpoint.load_preprocessing(request.checkpoint, size)
    tokenizer = checkpoint.load_tokenizer(request.checkpoint, config.text_config.vocab_size)
    positions = config.text_config.max_position_embeddings
    captions = Captions(tokenizer, request.context or positions, positions)
    shown = pictures.load_pictures(
        request.valid, request.images, size, None, 0, preprocessing.filter
    )
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        figures = _fill(request, part, model, preprocessing, captions, shown)
        checkpoint.replace_folder(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return figures


def _fill(
    request: Request, folder: Path, model: Any, preprocessing: Preprocessing, captions: Captions,
    shown: Pictures,
) -> dict[str, Any]:
    """Write everything into folder; model.json comes last."""
    write_graphs(model, preprocessing, request.precision, folder)
    exported = Exported(folder, captions, request.threads)
    cosine = least_cosine(Towers(model, preprocessing), exported, preprocessing.size)
    if not cosine >= LEAST_COSINE[request.precision]:
        raise ExportError(
            f"the {request.precision} graphs are {cosine:.6f} (cosine) from the checkpoint, "
            f"want {LEAST_COSINE[request.precision]}"
        )
    write_tokenizer(captions.tokenizer, folder)
    concepts, aliases = words.load_concepts()
    entries = calibrate.background(concepts, aliases)
    table = json.dumps({"version": 1, "concepts": entries}, ensure_ascii=False, indent=1)
    (folder / "concepts.json").write_text(table + "\n", encoding="utf-8")
    block, behind = _calibration(exported, shown, entries, concepts)
    scale = float(model.logit_scale.detach().exp())
    figures = _figures(exported, shown, request.template, scale)
    golden.write_golden(
        folder / "golden.json", preprocessing.size, preprocessing.filter, captions,
        exported.images, exported.texts,
    )
    _write_model(request, folder, model, preprocessing, captions, scale, block)
    figures |= {"calibration": behind, "least_cosine": cosine}
    card.write(folder, request.checkpoint, request.valid, request.template, figures)
    return {**figures, "bytes": sum(p.stat().st_size for p in folder.iterdir())}


def _figures(
    exported: Exported, shown: Pictures, template: str, scale: float
) -> dict[str, Any]:
    """Top-k by the published protocol and the mean over the search templates."""
    names = evaluate.classes([shown])
    chosen = shown.subset([i for i, label in enumerate(shown.label) if label])
    vectors = exported.embed(chosen)
    out = {}
    embedders: tuple[tuple[str, Callable[[list[str]], Tensor]], ...] = (
        ("topk", lambda n: exported.texts([template.replace("{}", name) for name in n])),
        ("topk_search_templates", lambda n: embed_phrases(exported.texts, n)),
    )
    for key, embed in embedders:
        figures, _ = evaluate.zero_shot(vectors, embed(names), chosen, names, scale)
        out["n"], out[key] = figures["n"], figures["topk"]
    return out


def _write_model(
    request: Request, folder: Path, model: Any, preprocessing: Preprocessing, captions: Captions,
    scale: float, block: dict[str, float],
) -> None:
    name = request.id or request.checkpoint.resolve().name
    table = {
        "format": 1, "id": name, "title": request.title or f"CLIP, {name}",
        "licence": request.licence, "dimension": model.config.projection_dim,
        "logitScale": round(scale, 4),
        "image": {
            "file": "image.onnx", "sha256": data.file_digest(folder / "image.onnx"),
            "input": "pixels", "output": "embedding", "dense": "dense",
            "size": preprocessing.size, "resize": RESIZE, "filter": preprocessing.filter,
        },
        "text": {
            "file": "text.onnx", "sha256": data.file_digest(folder / "text.onnx"),
            "input": "tokens", "output": "embedding", "context": captions.length,
            "tokenizer": "bpe", "vocabulary": "vocab.json", "merges": "merges.txt",
        },
        "templates": list(words.SEARCH_TEMPLATES), "concepts": "concepts.json",
        "calibration": block,
    }
    (folder / "model.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Export a CLIP folder as a model folder.")
    parser.add_argument("--checkpoint", required=True, type=Path, help="CLIP folder")
    parser.add_argument("--out", required=True, type=Path, help="model folder to write")
    parser.add_argument("--valid", required=True, type=Path, help="list to calibrate on (JSONL)")
    parser.add_argument("--images", type=Path, help="its pictures (default: NAME.tar.gz beside it)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--template", default=Request.template, help="for the figures")
    parser.add_argument("--context", type=int, default=0, help="tokens of a prompt (0: all)")
    parser.add_argument("--id", default="", help="default: the checkpoint folder's name")
    parser.add_argument("--title", default="")
    parser.add_argument("--licence", default=LICENCE)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(arguments)
    values = vars(args)
    values["images"] = args.images or args.valid.with_suffix(".tar.gz")
    try:
        if args.context < 0 or args.threads < 1:
            raise ConfigError("--context must not be negative, --threads must be at least 1")
        if args.template.count("{}") != 1:
            raise ConfigError("--template must hold one {}")
        figures = write_folder(Request(**values))
    except TrainError as error:
        print(f"export: {error}", file=sys.stderr)
        return 2
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
