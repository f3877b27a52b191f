"""A graph in eight bits: weights by channel, activations by what calibration clips make of them."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from tadacli.exporting.graphs import Written
from tadacli.runtimes import CLIPS
from tadacli.runtimes.metadata import KEY, ExportFacts

LEAST_CLIPS = 8  # half of them calibrate, the others say what it costs
_OPERATIONS = ["Conv", "Gemm", "MatMul"]  # of whose inputs there are many to an output


class Quantised:
    """An ONNX graph in eight bits, to be written as a `Written` is.

    Static quantisation by onnxruntime: each weight has a scale of its own for every output channel, each activation one
    that spans what it was for the calibration clips.

    Args:
        written: The graph in float32.
        facts: Its metadata.
        clips: (N, 3, T, H, W) to calibrate with.
    """

    def __init__(self, written: Written, facts: ExportFacts, clips: Tensor) -> None:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_static

        with tempfile.TemporaryDirectory() as folder, _without_advice():
            before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
            with before.open("wb") as stream:
                written.write(stream, facts)
            quantize_static(
                str(before),
                str(after),
                _Reader(clips),
                op_types_to_quantize=_OPERATIONS,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            self._proto: Any = onnx.load(after)

    @property
    def num_nodes(self) -> int:
        """Operations in the graph, also those between numbers of eight bits and others."""
        return len(self._proto.graph.node)

    def write(self, stream: BinaryIO, facts: ExportFacts) -> None:
        """Writes the file into an empty stream."""
        from onnx import helper

        helper.set_model_props(self._proto, {KEY: facts.to_json()})
        stream.write(self._proto.SerializeToString())


class _Reader:
    """Calibration clips as onnxruntime asks for them, one at a time."""

    def __init__(self, clips: Tensor) -> None:
        self._clips = iter(clips)

    def get_next(self) -> dict[str, Any] | None:
        clip = next(self._clips, None)
        return None if clip is None else {CLIPS: clip[None].numpy()}


@contextmanager
def _without_advice() -> Iterator[None]:
    """The library logs advice to the root logger, and warns of itself."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
