"""Static int8 of the image graph: QDQ form, weights per channel, activations with one scale."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

INT8_OPS = ["Conv", "Relu", "Add", "MaxPool", "AveragePool"]


class Reader(CalibrationDataReader):
    """Hands calibration pictures over in small batches."""

    def __init__(self, pixels: np.ndarray, batch: int = 16) -> None:
        """Pixels uint8 [N, S, S, 3]."""
        self._batches = iter([pixels[i : i + batch] for i in range(0, len(pixels), batch)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next feed, None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {"pixels": batch}


def quantise_image(
    model: onnx.ModelProto, pixels: np.ndarray, keep_float: tuple[str, ...] = ()
) -> onnx.ModelProto:
    """Quantise with ranges taken from pixels uint8 [N, S, S, 3]; the projections stay float."""
    convs = {n.name for n in model.graph.node if n.op_type == "Conv"}
    inside = [n.name for n in model.graph.node if n.op_type in INT8_OPS]
    first = next(n for n in model.graph.node if n.op_type == "Conv")
    outside = [  # the normalisation before the first convolution, and what follows the pooling
        n.name for n in model.graph.node
        if n.op_type == "Add" and (not _has_value(model, n) or n.output[0] == first.input[0])
    ]
    nodes = [n for n in inside if n not in outside and n not in keep_float]
    assert convs & set(nodes)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "f.onnx", Path(folder) / "q.onnx"
        onnx.save(model, source)
        quantize_static(
            source, target, Reader(pixels), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax, nodes_to_quantize=nodes,
            op_types_to_quantize=INT8_OPS,
        )
        return onnx.load(target)


def _has_value(model: onnx.ModelProto, node: onnx.NodeProto) -> bool:
    """Tell a residual sum (two computed inputs) from a bias or the normalisation."""
    fixed = {i.name for i in model.graph.initializer}
    return not any(name in fixed for name in node.input)


def session(model: onnx.ModelProto | Path, threads: int = 2) -> ort.InferenceSession:
    """Open a session the way the server does."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def optimised_ops(model: onnx.ModelProto) -> Counter[str]:
    """Count the operators that ONNX Runtime really runs."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "o.onnx"
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(target)
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return Counter(n.op_type for n in onnx.load(target).graph.node)
