"""The graph that a network becomes, traced once for both kinds of files."""

from __future__ import annotations

import copy
import io
import warnings
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from tadacli.errors import UsageError
from tadacli.exporting.output import onnx_versions
from tadacli.models.inference import fold
from tadacli.runtimes import CLIPS, FEATURES, PT2, logits_name
from tadacli.runtimes.metadata import KEY, ExportFacts
from tadacli.runtimes.pt2_file import METADATA_MEMBER
from tadacli.scoring.views import features_and_logits
from tadacli.specs import ModelSpec

OPSET = 20
_EXAMPLES = 2  # with a single one, tracing takes the batch for a constant
# What tracing leaves about where a node comes from: files of this machine, and most of a small network's bytes.
_ORIGINS = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")
_MOST_ONNX_BYTES = 2**31 - 1


@dataclass(frozen=True)
class Graph:
    """A traced network: its program, and the names of its outputs in their order."""

    program: torch.export.ExportedProgram
    outputs: tuple[str, ...]


def traced(network: nn.Module, spec: ModelSpec) -> Graph:
    """The graph of a network of clips, of any number of clips at a time.

    Args:
        network: The network in float32 on the CPU, in evaluation mode; it stays as it is.
        spec: Its settings: the size of its clips, and its heads.

    Returns:
        The graph. It takes `clips` (B, 3, T, H, W) and gives `features` (B, D) and the logits of each head.
    """
    sizes = spec.input
    clips = torch.zeros(_EXAMPLES, 3, sizes.clip_frames, sizes.crop_size, sizes.crop_size)
    outputs = (FEATURES, *(logits_name(head) for head in spec.heads))
    whole = _WithFeatures(fold(copy.deepcopy(network)), outputs).eval()
    return Graph(program_of(whole, (clips,), {CLIPS: {0: torch.export.Dim("batch", min=1)}}), outputs)


def program_of(
    network: nn.Module, inputs: tuple[Tensor, ...], shapes: dict[str, dict[int, Any]]
) -> torch.export.ExportedProgram:
    """The program of a network, without what it was traced with.

    Args:
        network: The network in evaluation mode; outputs by name.
        inputs: Examples.
        shapes: Which sizes of each input are open, by its name.
    """
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # of torch's about itself
        program = torch.export.export(
            network.eval(), inputs, dynamic_shapes={name: dict(each) for name, each in shapes.items()}
        )
    program.example_inputs = None  # of no use later, and part of the file otherwise
    program._guards_code = []  # Python that would be run in checking what the metadata say as well
    for node in program.graph.nodes:
        for key in _ORIGINS:
            node.meta.pop(key, None)
    return program


class _WithFeatures(nn.Module):
    """A network that gives its features and logits by name."""

    def __init__(self, network: nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.outputs = network, outputs

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Clips (B, 3, T, H, W) -> features (B, D) and logits (B, K) of each head."""
        features, logits = features_and_logits(self.network, clips)
        of_heads = list(logits.values()) if isinstance(logits, dict) else [logits]
        return dict(zip(self.outputs, (features, *of_heads), strict=True))


class Written:
    """A graph in the form of one kind of file, to be written with metadata, more than once if need be.

    Args:
        graph: The graph.
        suffix: The kind of file.

    Raises:
        UsageError: The libraries for ONNX are not installed.
    """

    def __init__(self, graph: Graph, *, suffix: str) -> None:
        self._graph = graph
        self._onnx = None if suffix == PT2 else _onnx_program(graph)

    @property
    def num_nodes(self) -> int:
        """Operations in the graph; weights and inputs do not count."""
        if self._onnx is not None:
            return len(list(self._onnx.model.graph))
        return sum(node.op == "call_function" for node in self._graph.program.graph.nodes)

    def write(self, stream: BinaryIO, facts: ExportFacts) -> None:
        """Writes the file into an empty stream.

        Raises:
            UsageError: It is larger than such a file can be.
        """
        if self._onnx is None:
            # Through memory: torch seeks in what it writes, and ours is locked.
            content = io.BytesIO()
            torch.export.save(self._graph.program, content, extra_files={METADATA_MEMBER: facts.to_json()})
            stream.write(content.getbuffer())
            return
        self._onnx.model.metadata_props[KEY] = facts.to_json()
        proto = self._onnx.model_proto
        if proto.ByteSize() > _MOST_ONNX_BYTES:
            raise UsageError("the network is larger than the 2 GB of an ONNX file", hint="export it as .pt2")
        stream.write(proto.SerializeToString())


def _onnx_program(graph: Graph) -> Any:
    onnx_versions()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            graph.program,
            (),
            dynamo=True,
            opset_version=OPSET,
            output_names=list(graph.outputs),
            verbose=False,
        )
    assert program is not None
    from onnxscript import optimizer

    # Weights in the shapes in which they are used; by default only small ones are worked out.
    optimizer.optimize(
        program.model, input_size_limit=_MOST_ONNX_BYTES, output_size_limit=_MOST_ONNX_BYTES, num_iterations=1
    )
    for node in program.model.graph:
        node.metadata_props.clear()
    return program
