"""Both towers as ONNX graphs, written node by node so that every operator is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from .model import MEAN, STD, Block, ConvNorm, DualEncoder, TextBlock

OPSET, IR_VERSION = 17, 8


class Graph:
    """Collects nodes and initializers; every method returns the name of its output."""

    def __init__(self) -> None:
        """Starts empty."""
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._count = 0

    def _name(self, hint: str) -> str:
        self._count += 1
        return f"{hint}_{self._count}"

    def const(self, value: Any, hint: str = "c") -> str:
        """Add an initializer; tensors become float32 unless they are integer or half arrays."""
        if isinstance(value, Tensor):
            value = value.detach().float().numpy()
        name = self._name(hint)
        self.initializers.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def add(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        out = out or self._name(op.lower())
        self.nodes.append(
            helper.make_node(op, list(inputs), [out], name=f"node_{out}", **attributes)
        )
        return out

    def floats(self, *values: float) -> str:
        """A float32 constant: a scalar for one value."""
        array = np.array(values, np.float32)
        return self.const(array[0] if len(values) == 1 else array)

    def ints(self, *values: int) -> str:
        """An int64 vector."""
        return self.const(np.array(values, np.int64))

    def unit(self, x: str, out: str) -> str:
        """Scale the last axis to unit length."""
        norm = self.add("ReduceL2", x, axes=[-1], keepdims=1)
        return self.add("Div", x, self.add("Max", norm, self.floats(1e-12)), out=out)

    def model(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """Check the graph and wrap it up."""
        graph = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="tilescout-train"
        )
        model.ir_version = IR_VERSION
        model = onnx.shape_inference.infer_shapes(model)
        onnx.checker.check_model(model)
        return model


def _conv(g: Graph, x: str, layer: ConvNorm) -> str:
    """Convolution with its batch norm folded in."""
    conv, norm = layer[0], layer[1]
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = conv.weight * gain[:, None, None, None]
    bias = norm.bias - norm.running_mean * gain
    k, s, p = conv.kernel_size[0], conv.stride[0], conv.padding[0]
    return g.add(
        "Conv", x, g.const(weight, "w"), g.const(bias, "b"),
        kernel_shape=[k, k], strides=[s, s], pads=[p, p, p, p],
    )


def _block(g: Graph, x: str, block: Block) -> str:
    y = g.add("Relu", _conv(g, x, block.conv1))
    y = _conv(g, y, block.conv2)
    short = x
    if isinstance(block.shortcut, nn.Sequential):
        if isinstance(block.shortcut[0], nn.AvgPool2d):
            short = g.add(
                "AveragePool", short, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1,
                count_include_pad=0,
            )
        short = _conv(g, short, block.shortcut[1])
    return g.add("Relu", g.add("Add", y, short))


def image_graph(model: DualEncoder, size: int) -> onnx.ModelProto:
    """Pixels uint8 [B, S, S, 3] -> embedding [B, D] and dense [B, P, D], unit length."""
    if size % 16:
        raise ValueError("the input size must be a multiple of 16")
    tower, g = model.image, Graph()
    x = g.add("Cast", "pixels", to=TensorProto.FLOAT)
    gain, offset = [1 / (255 * s) for s in STD], [-m / s for m, s in zip(MEAN, STD, strict=True)]
    x = g.add("Add", g.add("Mul", x, g.floats(*gain)), g.floats(*offset))
    x = g.add("Transpose", x, perm=[0, 3, 1, 2])
    for layer in tower.stem:
        if isinstance(layer, ConvNorm):
            x = _conv(g, x, layer)
        elif isinstance(layer, nn.ReLU):
            x = g.add("Relu", x)
        else:
            x = g.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for block in tower.body:
        x = _block(g, x, block)
    channels = tower.project.in_features
    weight = g.const(tower.project.weight.T, "project")
    bias = g.const(tower.project.bias, "project_bias")
    pooled = g.add("Reshape", g.add("GlobalAveragePool", x), g.ints(-1, channels))
    g.unit(g.add("Add", g.add("MatMul", pooled, weight), bias), "embedding")
    cells = (-(-size // 32)) ** 2
    flat = g.add("Reshape", x, g.ints(-1, channels, cells))
    flat = g.add("Transpose", flat, perm=[0, 2, 1])
    g.unit(g.add("Add", g.add("MatMul", flat, weight), bias), "dense")
    dim = tower.project.out_features
    return g.model(
        "image",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["B", size, size, 3])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", dim]),
            helper.make_tensor_value_info("dense", TensorProto.FLOAT, ["B", cells, dim]),
        ],
    )


def _weight(g: Graph, weight: Tensor, int8: bool) -> str:
    """A matrix [in, out]; int8 with one scale an output column when asked."""
    if not int8:
        return g.const(weight, "w")
    scale = weight.abs().amax(0).clamp(min=1e-8) / 127
    whole = (weight / scale).round().clamp(-127, 127).to(torch.int8).numpy()
    return g.add("DequantizeLinear", g.const(whole, "w8"), g.const(scale, "scale"), axis=1)


def _linear(g: Graph, x: str, layer: nn.Linear, int8: bool) -> str:
    return g.add(
        "Add", g.add("MatMul", x, _weight(g, layer.weight.detach().T, int8)), g.const(layer.bias)
    )


def _norm(g: Graph, x: str, layer: nn.LayerNorm) -> str:
    return g.add(
        "LayerNormalization", x, g.const(layer.weight), g.const(layer.bias),
        axis=-1, epsilon=layer.eps,
    )


def _text_block(g: Graph, x: str, bias: str, block: TextBlock, length: int, int8: bool) -> str:
    width, heads = block.out.in_features, block.heads
    qkv = _linear(g, _norm(g, x, block.norm1), block.qkv, int8)
    qkv = g.add("Reshape", qkv, g.ints(-1, length, 3, heads, width // heads))
    qkv = g.add("Transpose", qkv, perm=[2, 0, 3, 1, 4])  # [3, B, H, L, W/H]
    q, k, v = (g.add("Gather", qkv, g.const(np.array(i, np.int64)), axis=0) for i in range(3))
    weights = g.add("MatMul", q, g.add("Transpose", k, perm=[0, 1, 3, 2]))
    weights = g.add("Mul", weights, g.floats((width // heads) ** -0.5))
    weights = g.add("Softmax", g.add("Add", weights, bias), axis=-1)
    y = g.add("Transpose", g.add("MatMul", weights, v), perm=[0, 2, 1, 3])
    y = g.add("Reshape", y, g.ints(-1, length, width))
    x = g.add("Add", x, _linear(g, y, block.out, int8))
    y = _linear(g, _norm(g, x, block.norm2), block.up, int8)
    erf = g.add("Erf", g.add("Mul", y, g.floats(2**-0.5)))
    half = g.add("Mul", g.add("Add", erf, g.floats(1.0)), g.floats(0.5))
    return g.add("Add", x, _linear(g, g.add("Mul", y, half), block.down, int8))


def text_graph(model: DualEncoder, context: int, int8: bool) -> onnx.ModelProto:
    """Tokens int64 [B, L] -> embedding [B, D]; int8 holds for weights only, so that a prompt's
    embedding does not depend on its batch mates."""
    tower, g = model.text, Graph()
    table = tower.token.weight.detach().numpy()
    if int8:
        table = g.add("Cast", g.const(table.astype(np.float16), "words"), to=TensorProto.FLOAT)
    else:
        table = g.const(table, "words")
    x = g.add("Gather", table, "tokens", axis=0)
    x = g.add("Add", x, g.const(tower.position[:context]))
    pad = g.add("Equal", "tokens", g.const(np.array(0, np.int64)))
    bias = g.add("Mul", g.add("Cast", pad, to=TensorProto.FLOAT), g.floats(-1e4))
    bias = g.add("Reshape", bias, g.ints(-1, 1, 1, context))
    for block in tower.blocks:
        x = _text_block(g, x, bias, block, context, int8)
    x = _norm(g, x, tower.norm)
    real = g.add("Cast", g.add("Not", pad), to=TensorProto.FLOAT)
    real = g.add("Reshape", real, g.ints(-1, context, 1))
    total = g.add("ReduceSum", g.add("Mul", x, real), g.ints(1), keepdims=0)
    count = g.add("ReduceSum", real, g.ints(1), keepdims=0)
    pooled = g.add("Div", total, g.add("Max", count, g.floats(1.0)))
    g.unit(_linear(g, pooled, tower.project, False), "embedding")
    dim = tower.project.out_features
    return g.model(
        "text",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, ["B", context])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["B", dim])],
    )
