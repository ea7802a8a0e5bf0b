"""Writes golden.json: what transformers and open_clip make of checkpoints whose weights a formula gives.

    pip install torch transformers open_clip_torch
    python make_golden.py golden.json

No weights are stored: the Go tests compute the same ones (formula_test.go), so that a model of full size costs nothing here.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
END = 99


def fnv(name: str) -> int:
    h = 0xCBF29CE484222325
    for c in name.encode():
        h = (h ^ c) * 0x100000001B3 % 2**64
    return h


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values in reading order: splitmix64 of the name's hash and the index, scaled by powers of two."""
    n = int(np.prod(shape, dtype=np.int64))
    with np.errstate(over="ignore"):
        z = np.uint64(fnv(name)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    u = (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    scale, shift = rule(name, shape, n)
    return (u * np.float32(scale) + np.float32(shift)).reshape(shape)


def rule(name: str, shape: tuple[int, ...], n: int) -> tuple[float, float]:
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith(".weight")):
        return 0.25, 1.0  # norms
    if len(shape) < 2:
        return 0.0625, 0.0
    if "embedding" in name and "patch" not in name:
        return 0.5, 0.0
    fan_in, scale = n // shape[0], 1.0
    while scale * scale * fan_in > 2:
        scale /= 2
    return scale, 0.0


def pixels(size: int, count: int = 2) -> np.ndarray:
    """uint8 [count, 3, size, size]."""
    s, c, y, x = np.meshgrid(np.arange(count), np.arange(3), np.arange(size), np.arange(size), indexing="ij")
    return ((7 * x + 13 * y + 29 * c + 31 * s + (x * y) % 11 + (x // 16 * 37) + (y // 16 * 53)) % 256).astype(np.uint8)


def tokens(context: int) -> list[list[int]]:
    """Padded to the longest, so that the place of the end matters."""
    rows = [[98, 5, 17, 3, END], [98, 40, END], [98, 2, 3, 5, 7, 11, 13, 17, 19, 23, END], [98] + [i % 90 for i in range(context - 2)] + [END]]
    longest = max(map(len, rows))
    return [r + [END] * (longest - len(r)) for r in rows]


def normal(size: int) -> torch.Tensor:
    p = pixels(size).astype(np.float32) / np.float32(255)
    return torch.from_numpy((p - MEAN[:, None, None]) / STD[:, None, None])


def unit(x: torch.Tensor) -> list[list[float]]:
    x = x.double()
    return [[round(v, 7) for v in row] for row in (x / x.norm(dim=-1, keepdim=True)).tolist()]


def projected(out: object) -> torch.Tensor:
    return out if isinstance(out, torch.Tensor) else out.pooler_output  # transformers 5 gives an output object


def by_transformers(a: dict) -> dict:
    import transformers

    text = {
        "vocab_size": a["vocabulary"], "hidden_size": a["textWidth"], "num_hidden_layers": a["textLayers"],
        "num_attention_heads": a["textHeads"], "intermediate_size": 4 * a["textWidth"],
        "max_position_embeddings": a["context"], "hidden_act": a["activation"], "eos_token_id": a["end"],
        "bos_token_id": 98, "pad_token_id": 1,
    }
    vision = {
        "hidden_size": a["width"], "num_hidden_layers": a["layers"], "num_attention_heads": a["heads"],
        "intermediate_size": 4 * a["width"], "image_size": a["imageSize"], "patch_size": a["patch"],
        "hidden_act": a["activation"],
    }
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=a["dimension"])
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.from_numpy(weights(name, tuple(p.shape))))
        size = a.get("size") or a["imageSize"]
        extra = {"interpolate_pos_encoding": True} if size != a["imageSize"] else {}
        image = projected(model.get_image_features(pixel_values=normal(size), **extra))
        ids = torch.tensor(tokens(min(a["context"], a["longest"])))
        written = projected(model.get_text_features(input_ids=ids))
    return {"image": unit(image), "text": unit(written), "by": f"transformers {transformers.__version__}"}


def hf_name(name: str) -> str:
    """open_clip's name of a tensor that is laid out alike in both; others are handled where they are set."""
    table = {
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    }
    if name in table:
        return table[name]
    for old, new in (
        ("visual.ln_pre", "vision_model.pre_layrnorm"), ("visual.ln_post", "vision_model.post_layernorm"),
        ("ln_final", "text_model.final_layer_norm"), ("visual.transformer.resblocks", "vision_model.encoder.layers"),
        ("transformer.resblocks", "text_model.encoder.layers"), (".attn.out_proj", ".self_attn.out_proj"),
        (".ln_1", ".layer_norm1"), (".ln_2", ".layer_norm2"), (".mlp.c_fc", ".mlp.fc1"), (".mlp.c_proj", ".mlp.fc2"),
    ):
        name = name.replace(old, new)
    return name


def open_clip_tensor(name: str, shape: tuple[int, ...], resnet: bool) -> np.ndarray:
    if ".attn.in_proj_" in name:
        layer, kind = hf_name(name.split(".attn.")[0]), name.rsplit("_", 1)[1]
        part = (shape[0] // 3, *shape[1:])
        return np.concatenate([weights(f"{layer}.self_attn.{p}_proj.{kind}", part) for p in "qkv"])
    if name == "text_projection":
        return weights("text_projection.weight", shape[::-1]).T
    if name == "visual.proj":
        return weights("visual_projection.weight", shape[::-1]).T
    return weights(name if resnet and name.startswith("visual.") else hf_name(name), shape)


def by_open_clip(a: dict) -> dict:
    import open_clip
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    resnet = "stages" in a
    size = a.get("size") or a["imageSize"]
    vision = CLIPVisionCfg(
        image_size=a["imageSize"], width=a["width"], layers=tuple(a["stages"]) if resnet else a["layers"],
        patch_size=None if resnet else a["patch"], head_width=a["width"] // a["heads"] if not resnet else 64,
    )
    text = CLIPTextCfg(
        context_length=a["context"], vocab_size=a["vocabulary"], width=a["textWidth"], heads=a["textHeads"], layers=a["textLayers"],
    )
    model = CLIP(a["dimension"], vision, text, quick_gelu=a["activation"] == "quick_gelu").eval()
    state = {n: torch.from_numpy(np.ascontiguousarray(open_clip_tensor(n, tuple(t.shape), resnet)))
             for n, t in model.state_dict().items() if not n.endswith("num_batches_tracked") and n != "logit_scale"}
    if size != a["imageSize"]:
        vision.image_size = size
        model = CLIP(a["dimension"], vision, text, quick_gelu=a["activation"] == "quick_gelu").eval()
        open_clip.model.resize_pos_embed(state, model)
    model.load_state_dict(state, strict=False)
    with torch.no_grad():
        ids = torch.tensor(tokens(a["context"]))
        padded = torch.nn.functional.pad(ids, (0, a["context"] - ids.shape[1]))
        return {"image": unit(model.encode_image(normal(size))), "text": unit(model.encode_text(padded)),
                "by": f"open_clip {open_clip.__version__}"}


def cases() -> list[dict]:
    small = {"textWidth": 32, "textLayers": 2, "textHeads": 2, "vocabulary": 100, "context": 77, "longest": 77, "dimension": 24,
             "activation": "quick_gelu", "layers": 3, "end": 2}

    def vit(name: str, image_size: int, patch: int, width: int, heads: int, **more: object) -> dict:
        return {"name": name, "imageSize": image_size, "patch": patch, "width": width, "heads": heads, **small, **more}

    reduced = [
        vit("ViT-B-32", 224, 32, 48, 3), vit("ViT-B-32-256", 256, 32, 48, 3), vit("ViT-B-16", 224, 16, 48, 3),
        vit("ViT-L-14", 224, 14, 64, 4), vit("ViT-L-14-336", 336, 14, 32, 2), vit("ViT-H-14", 224, 14, 160, 2, activation="gelu", end=END),
        vit("LongCLIP-B", 224, 16, 48, 3, context=248, longest=248), vit("ViT-B-32 at 288", 224, 32, 48, 3, size=288),
        vit("ViT-B-32 at 160", 224, 32, 48, 3, size=160),
    ]
    full = {"name": "ViT-B-32 in full", "imageSize": 224, "patch": 32, "width": 768, "heads": 12, "layers": 12, "textWidth": 512,
            "textLayers": 12, "textHeads": 8, "vocabulary": 49408, "context": 77, "longest": 20, "dimension": 512,
            "activation": "quick_gelu", "end": END}
    rn50 = {"name": "RN50", "imageSize": 224, "patch": 32, "width": 8, "heads": 4, "stages": [3, 4, 6, 3], **small}
    both = [{**a, "library": library} for a in reduced for library in ("transformers", "open_clip") if a["name"] != "ViT-H-14" or library == "transformers"]
    h14 = {**next(a for a in reduced if a["name"] == "ViT-H-14"), "library": "open_clip", "end": 2}
    return [*both, h14, {**rn50, "library": "open_clip"}, {**full, "library": "transformers"}]


def main() -> None:
    torch.set_num_threads(2)
    out = []
    for a in cases():
        found = (by_transformers if a["library"] == "transformers" else by_open_clip)(a)
        print(a["name"], found["by"], file=sys.stderr)
        out.append({**a, **found})
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(a) for a in out) + "\n]\n")


if __name__ == "__main__":
    main()
