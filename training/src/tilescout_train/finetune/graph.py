"""Both towers of a CLIPModel as ONNX graphs, written node by node; float32 or int8 weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from ..errors import ExportError
from ..graph import Graph, _norm, _weight
from .checkpoint import Preprocessing
from .towers import neighbourhood

BLOCKED = -1e9  # a score that softmax turns into 0


class Towered(Graph):
    """A graph with the pieces that both towers share."""

    def __init__(self, int8: bool) -> None:
        """int8: matrices are stored as int8 with one scale a column; arithmetic stays float."""
        super().__init__()
        self.int8 = int8

    def linear(self, x: str, weight: Tensor, bias: Tensor | None) -> str:
        """x times weight.T plus bias; weight [out, in] as in torch."""
        x = self.add("MatMul", x, _weight(self, weight.detach().T.contiguous(), self.int8))
        return x if bias is None else self.add("Add", x, self.const(bias))

    def layer(self, x: str, layer: nn.Linear) -> str:
        """One linear layer."""
        return self.linear(x, layer.weight, layer.bias)

    def activate(self, x: str, kind: str) -> str:
        """The activation that config.json names; the wrong one costs accuracy silently."""
        if kind == "quick_gelu":
            gate = self.add("Sigmoid", self.add("Mul", x, self.floats(1.702)))
            return self.add("Mul", x, gate)
        if kind == "gelu":
            inner = self.add("Erf", self.add("Mul", x, self.floats(2**-0.5)))
        elif kind in ("gelu_pytorch_tanh", "gelu_new"):
            cube = self.add("Mul", self.add("Mul", x, x), x)
            sum_ = self.add("Add", x, self.add("Mul", cube, self.floats(0.044715)))
            inner = self.add("Tanh", self.add("Mul", sum_, self.floats((2 / np.pi) ** 0.5)))
        else:
            raise ExportError(f"hidden_act {kind!r} is not known; want quick_gelu or gelu")
        half = self.add("Mul", self.add("Add", inner, self.floats(1.0)), self.floats(0.5))
        return self.add("Mul", x, half)

    def heads(self, x: str, heads: int, width: int) -> str:
        """[B, N, W] -> [B, H, N, W/H]."""
        x = self.add("Reshape", x, self.ints(0, 0, heads, width // heads))
        return self.add("Transpose", x, perm=[0, 2, 1, 3])

    def attend(self, q: str, k: str, v: str, bias: str | None, width: int, heads: int) -> str:
        """Attention of [B, H, N, W/H]; bias is added to the scores: [B, N, W]."""
        scores = self.add("MatMul", q, self.add("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.add("Mul", scores, self.floats((width // heads) ** -0.5))
        if bias is not None:
            scores = self.add("Add", scores, bias)
        y = self.add("MatMul", self.add("Softmax", scores, axis=-1), v)
        return self.add("Reshape", self.add("Transpose", y, perm=[0, 2, 1, 3]), self.ints(0, 0, -1))

    def queries(self, y: str, layer: nn.Module, heads: int) -> tuple[str, str, str]:
        """q, k and v of all tokens in one product: each [B, H, N, W/H]."""
        parts = [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]
        width = parts[0].in_features
        weight, bias = (torch.cat([getattr(p, n) for p in parts]) for n in ("weight", "bias"))
        x = self.linear(y, weight, bias)
        x = self.add("Reshape", x, self.ints(0, 0, 3, heads, width // heads))
        x = self.add("Transpose", x, perm=[2, 0, 3, 1, 4])  # [3, B, H, N, W/H]
        q, k, v = (self.add("Gather", x, self.const(np.array(i)), axis=0) for i in range(3))
        return q, k, v

    def mlp(self, x: str, layer: nn.Module, kind: str) -> str:
        """x plus what the block's second half adds."""
        y = self.layer(_norm(self, x, layer.layer_norm2), layer.mlp.fc1)
        return self.add("Add", x, self.layer(self.activate(y, kind), layer.mlp.fc2))

    def block(self, x: str, layer: nn.Module, bias: str | None, heads: int, kind: str) -> str:
        """One block over all tokens: [B, N, W] -> same."""
        q, k, v = self.queries(_norm(self, x, layer.layer_norm1), layer, heads)
        y = self.attend(q, k, v, bias, layer.self_attn.q_proj.in_features, heads)
        x = self.add("Add", x, self.layer(y, layer.self_attn.out_proj))
        return self.mlp(x, layer, kind)

    def rows(self, x: str, first: int, last: int, axis: int) -> str:
        """Slice first to last of an axis."""
        return self.add("Slice", x, self.ints(first), self.ints(last), self.ints(axis))


def _patches(g: Towered, model: Any, preprocessing: Preprocessing) -> str:
    """Pixels -> tokens [B, 1 + P, V]: class token first, positions added, normalised."""
    vision, config = model.vision_model, model.config.vision_config
    size, patch, width = config.image_size, config.patch_size, config.hidden_size
    grid = size // patch
    x = g.add("Cast", "pixels", to=TensorProto.FLOAT)
    x = g.add("Reshape", x, g.ints(-1, grid, patch, grid, patch, 3))
    x = g.add("Transpose", x, perm=[0, 1, 3, 2, 4, 5])
    x = g.add("Reshape", x, g.ints(-1, grid * grid, patch * patch * 3))
    # (pixel / 255 - mean) / std goes into the weights, in double precision.
    weight = vision.embeddings.patch_embedding.weight.detach().double()  # [V, 3, P, P]
    mean, std = (torch.tensor(v).double().view(3, 1, 1)
                 for v in (preprocessing.mean, preprocessing.std))
    bias = -(weight * mean / std).sum((1, 2, 3))
    folded = (weight / (255 * std)).permute(0, 2, 3, 1).reshape(width, -1).float()
    x = g.add("MatMul", x, g.const(folded.T.contiguous(), "w"))
    # A row of zeros in front becomes the class token when the table is added.
    x = g.add("Pad", x, g.ints(0, 1, 0, 0, 0, 0))
    table = vision.embeddings.position_embedding.weight.detach().double().clone()
    table[0] += vision.embeddings.class_embedding.detach().double()
    table[1:] += bias
    x = g.add("Add", x, g.const(table.float()))
    return _norm(g, x, vision.pre_layrnorm)


def image_graph(model: Any, preprocessing: Preprocessing, int8: bool = False) -> onnx.ModelProto:
    """Pixels uint8 [B, S, S, 3] -> embedding [B, D] and dense [B, P, D], unit length.

    The last block computes the class token only; the dense output reads its keys and values again
    as in NACLIP (Towers.dense).
    """
    vision, config = model.vision_model, model.config.vision_config
    if config.image_size % config.patch_size:
        raise ExportError(f"patches of {config.patch_size} do not fill {config.image_size} pixels")
    heads, width, kind = config.num_attention_heads, config.hidden_size, config.hidden_act
    grid, dim = config.image_size // config.patch_size, model.config.projection_dim
    tokens = grid * grid + 1
    g = Towered(int8)
    x = _patches(g, model, preprocessing)
    layers = vision.encoder.layers
    for layer in layers[:-1]:
        x = g.block(x, layer, None, heads, kind)
    last = layers[-1]
    y = _norm(g, x, last.layer_norm1)
    first = g.rows(y, 0, 1, 1)
    q = g.heads(g.layer(first, last.self_attn.q_proj), heads, width)
    k, v = (g.heads(g.layer(y, p), heads, width)
            for p in (last.self_attn.k_proj, last.self_attn.v_proj))
    z = g.layer(g.attend(q, k, v, None, width, heads), last.self_attn.out_proj)
    z = g.mlp(g.add("Add", g.rows(x, 0, 1, 1), z), last, kind)
    z = g.add("Reshape", _norm(g, z, vision.post_layernorm), g.ints(-1, width))
    projection = g.const(model.visual_projection.weight.detach().T.contiguous(), "project")
    g.unit(g.add("MatMul", z, projection), "embedding")

    near = g.const(neighbourhood(grid)[1:])  # [P, 1 + P]
    patches = g.rows(k, 1, tokens, 2)
    z = g.layer(g.attend(patches, k, v, near, width, heads), last.self_attn.out_proj)
    g.unit(g.add("MatMul", _norm(g, z, vision.post_layernorm), projection), "dense")
    size = config.image_size
    return g.model(
        "image",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["B", size, size, 3])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", dim]),
            helper.make_tensor_value_info("dense", TensorProto.FLOAT, ["B", tokens - 1, dim]),
        ],
    )


def _end(g: Towered, end: int) -> str:
    """Position of the token whose row is the text's embedding: [B]."""
    if end == 2:  # old files: the largest id, the first on ties
        return g.add("ArgMax", "tokens", axis=1, keepdims=0)
    found = g.add("Equal", "tokens", g.const(np.array(end, np.int64)))
    found = g.add("Cast", found, to=TensorProto.INT32)
    return g.add("ArgMax", found, axis=1, keepdims=0)  # none found: position 0


def text_graph(model: Any, int8: bool = False) -> onnx.ModelProto:
    """Tokens int64 [B, L] -> embedding [B, D]; L up to the size of the position table.

    What stands behind the first end token does not matter, so rows may be padded with anything.
    """
    text, config = model.text_model, model.config.text_config
    heads, kind, dim = config.num_attention_heads, config.hidden_act, model.config.projection_dim
    positions, width = config.max_position_embeddings, config.hidden_size
    g = Towered(int8)
    table = text.embeddings.token_embedding.weight.detach()
    if int8:
        rows = g.add("Gather", g.const(table.half().numpy(), "words"), "tokens", axis=0)
        x = g.add("Cast", rows, to=TensorProto.FLOAT)
    else:
        x = g.add("Gather", g.const(table, "words"), "tokens", axis=0)
    length = g.add("Slice", g.add("Shape", "tokens"), g.ints(1), g.ints(2))  # [1]
    at = g.const(text.embeddings.position_embedding.weight)
    x = g.add("Add", x, g.add("Slice", at, g.ints(0), length, g.ints(0)))
    causal = torch.full((positions, positions), BLOCKED).triu(1)
    both = g.add("Concat", length, length, axis=0)
    bias = g.add("Slice", g.const(causal), g.ints(0, 0), both, g.ints(0, 1))
    for layer in text.encoder.layers:
        x = g.block(x, layer, bias, heads, kind)
    pairs = g.add("Unsqueeze", _end(g, config.eos_token_id), g.ints(1))  # [B, 1]
    x = g.add("GatherND", x, pairs, batch_dims=1)  # [B, T]; the norm acts on each row alone
    x = _norm(g, x, text.final_layer_norm)
    projection = g.const(model.text_projection.weight.detach().T.contiguous(), "project")
    x = g.add("Reshape", x, g.ints(-1, width))
    g.unit(g.add("MatMul", x, projection), "embedding")
    return g.model(
        "text",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["B", "L"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", dim])],
    )
