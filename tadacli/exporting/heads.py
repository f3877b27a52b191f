"""Heads over features as graphs, of any number of sequences of any length, and the proof of these."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tadacli.detection.head_decoding import Head
from tadacli.errors import UsageError
from tadacli.exporting.graphs import Graph, program_of
from tadacli.exporting.proof import BATCH_SIZES, BatchProof, relative_error
from tadacli.models.bmn_head import BMNHead
from tadacli.models.ensemble import Ensemble, Member, members_of
from tadacli.models.pyramid import AtPoints
from tadacli.models.temporal_head import TemporalHead
from tadacli.runtimes import KNOWN, STEPS, logits_name
from tadacli.runtimes.networks import ExportedNetwork
from tadacli.specs import HeadSpec

DISTANCES = "distances"
_EXAMPLE_CHUNKS, _SHORT, _LONG = 12, 48, 200  # steps that a sequence has at least


def traced_head(network: nn.Module, spec: HeadSpec) -> Graph:
    """The graph of a head.

    Args:
        network: The head in float32 on the CPU, in evaluation mode; it stays as it is.
        spec: Its settings.

    Returns:
        The graph. It takes `features` (B, C, N) and `known` (B, N), which of the steps are there, bool; N is a multiple
        of the head's `step_multiple`. It gives what the head's `forward` returns, its parts by name; of several
        heads, what they say together.

    Raises:
        UsageError: The head's work cannot be put into such a graph.
    """
    outputs = output_names(network, spec)
    multiple = int(network.step_multiple)  # type: ignore[arg-type]
    batch, chunks = torch.export.Dim("batch", min=1), torch.export.Dim("chunks", min=1)
    steps = multiple * chunks if multiple > 1 else chunks
    inputs = _inputs(network, spec, 2, multiple * _EXAMPLE_CHUNKS)
    shapes = {STEPS: {0: batch, 2: steps}, KNOWN: {0: batch, 1: steps}}
    return Graph(program_of(_ByName(copy.deepcopy(network), outputs), inputs, shapes), outputs)


def output_names(network: nn.Module, spec: HeadSpec) -> tuple[str, ...]:
    """The names of a head's outputs. Raises `UsageError` for one that has no graph."""
    if isinstance(_first(network), TemporalHead):
        return (logits_name(""),)
    if spec.architecture != "pyramid":
        raise UsageError(
            f"{spec.name} cannot be exported: {spec.architecture} looks at its proposals one window after the other",
            hint="heads of the kinds temporal and pyramid can be",
        )
    heads = list(spec.heads)
    return tuple(name for head in heads for name in (logits_name(head), f"{DISTANCES}.{head}" if head else DISTANCES))


def _first(network: nn.Module) -> Member | BMNHead:
    """A head, or the first one of several."""
    return members_of(cast(Head, network))[0]


class _ByName(nn.Module):
    """A head that gives its outputs by name."""

    def __init__(self, head: nn.Module, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.head, self.outputs = head, outputs

    def forward(self, features: Tensor, known: Tensor) -> dict[str, Tensor]:
        """Features (B, C, N) and which are there (B, N) -> the outputs."""
        of_each = self.head(features, known)
        found: Tensor | dict[str, AtPoints] = (
            self.head.combined(of_each) if isinstance(self.head, Ensemble) else of_each
        )
        parts = [found] if isinstance(found, Tensor) else [part for points in found.values() for part in points]
        return dict(zip(self.outputs, parts, strict=True))


def _inputs(network: nn.Module, spec: HeadSpec, num_sequences: int, num_steps: int) -> tuple[Tensor, Tensor]:
    """Noise like the features that the head was trained on, every eleventh step of which is not there."""
    generator = torch.Generator().manual_seed(num_sequences * num_steps)
    noise = torch.randn(num_sequences, spec.steps.num_channels, num_steps, generator=generator)
    scaling = _first(network).scaling
    mean, deviation = (getattr(scaling, name).detach()[:, None] for name in ("mean", "deviation"))
    return noise * deviation + mean, (torch.arange(num_steps) % 11 != 5).expand(num_sequences, -1).clone()


@torch.inference_mode()
def prove_head(network: nn.Module, spec: HeadSpec, exported: ExportedNetwork) -> tuple[BatchProof, ...]:
    """Sequences of noise through a head and through a file, short ones and long ones, one, two and five at a time.

    Args:
        network: The head.
        spec: Its settings.
        exported: What the file holds.

    Returns:
        What each size of batch gave; two sequences agree if the largest logit of every head is of the same class at the
        same place.

    Raises:
        CheckpointError: The file cannot be run on such a batch.
    """
    names = output_names(network, spec)
    by_name, multiple = _ByName(network, names), int(network.step_multiple)  # type: ignore[arg-type]
    found = []
    for size in BATCH_SIZES:
        errors, num_agreeing = dict.fromkeys(names, 0.0), 0
        for least in (_SHORT, _LONG):
            features, known = _inputs(network, spec, size, -(-least // multiple) * multiple)
            expected = by_name(features, known)
            given = exported.outputs({STEPS: features, KNOWN: known}, names)
            for name in names:
                errors[name] = max(errors[name], relative_error(given[name], expected[name]))
            num_agreeing += _num_agreeing(given, expected, [name for name in names if name.startswith("logits")])
        found.append(BatchProof(size, 2 * size, errors, num_agreeing))
    return tuple(found)


def _num_agreeing(given: dict[str, Tensor], expected: dict[str, Tensor], names: Sequence[str]) -> int:
    same = [
        given[name].shape == expected[name].shape
        and (given[name].flatten(1).argmax(dim=1) == expected[name].flatten(1).argmax(dim=1))
        for name in names
    ]
    return int(torch.stack([torch.as_tensor(each).expand(len(expected[names[0]])) for each in same]).all(dim=0).sum())
