"""A model as a file for other runtimes, kept only if it gives what the model gives."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tadacli.errors import CheckpointError, UsageError
from tadacli.exporting import DEFAULT_MIN_AGREEMENT
from tadacli.exporting.graphs import OPSET, Graph, Written, traced
from tadacli.exporting.heads import prove_head, traced_head
from tadacli.exporting.int8 import LEAST_CLIPS, Quantised
from tadacli.exporting.output import check_int8, check_output, onnx_versions, report_file
from tadacli.exporting.proof import (
    BATCH_SIZES,
    BatchProof,
    NotProvenError,
    ProofClips,
    check_agreement,
    check_proven,
    proof_clips,
    proof_of,
    prove,
    truth_of,
)
from tadacli.files import new_file, write_new
from tadacli.models.inference import fuse
from tadacli.runtimes import ONNX
from tadacli.runtimes.metadata import ExportFacts, Proof, ProofKind
from tadacli.runtimes.networks import ExportedNetwork, open_exported
from tadacli.version import __version__
from tadacli.zoo import Trust
from tadacli.zoo.loading import Model, Trained, is_head, load_head_model, load_trained

_NOTHING_YET = Proof("noise", 0, (), 0.0, 0.0)


@dataclass(frozen=True)
class ExportReport:
    """What was written, and what it gave on the clips that it was proven on.

    Attributes:
        file: The exported file.
        facts: What it says of itself.
        batches: The proof by the size of batches.
        clips: The videos that the clips are of; none for rendered ones.
        left_out: Videos that could not be read, with the reasons.
        num_nodes: Operations of the graph; weights do not count.
        size_bytes: Of the file.
        seconds: Of tracing and of writing, by name.
    """

    file: Path
    facts: ExportFacts
    batches: tuple[BatchProof, ...]
    clips: tuple[str, ...]
    left_out: tuple[str, ...]
    num_nodes: int
    size_bytes: int
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The report, JSON-ready."""
        facts, whole = self.facts, self.batches[-1]
        accuracy = None
        if whole.num_labelled:
            right, in_file = whole.num_right / whole.num_labelled, whole.num_right_in_file / whole.num_labelled
            accuracy = {"num_clips": whole.num_labelled, "model": right, "file": in_file, "change": in_file - right}
        return {
            "file": self.file.name,
            "model": facts.spec.name,
            "weights_sha256": facts.weights_sha256 or None,
            "tool_version": facts.tool_version,
            "versions": dict(facts.versions),
            "precision": facts.precision,
            "size_bytes": self.size_bytes,
            "num_nodes": self.num_nodes,
            "seconds": self.seconds,
            "proof": asdict(facts.proof),
            "batches": [asdict(each) for each in self.batches],
            "accuracy": accuracy,
            "clips": list(self.clips),
            "left_out": list(self.left_out),
        }


def export(
    model: str | os.PathLike[str] | Trained | None = None,
    *,
    output: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    trust: Trust | None = None,
    labels: Sequence[str] = (),
    clips: Sequence[str] = (),
    int8: bool = False,
    min_agreement: float = DEFAULT_MIN_AGREEMENT,
    on_phase: Callable[[str], object] | None = None,
) -> ExportReport:
    """Writes a model as a file that other runtimes take, with all that is needed to use it, and proves it.

    Clips go through the network and through the file in batches of one, two and five. The file is kept if no output
    differs by more than 1e-4 of the largest, and the best classes are the same. Beside it lies a report.

    Args:
        model: A known name, a run's folder, a weights file that says what it is, or what `load_trained` returned. By
            default `weights`, or else the built-in model. A run that trained a head gives the head: features in, what
            it says of them out.
        output: The file, ending in .onnx (which needs the extra `onnx`) or .pt2.
        weights: A file of weights for a known name.
        trust: Whose settings count where `weights` states others, as for `load_model`.
        labels: Names for classes that nobody has named.
        clips: Videos to prove it on, paths or URLs; by default they are rendered.
        int8: Whether to write weights and activations of eight bits, calibrated on every other one of `clips`, of which
            there are some then; only in ONNX files. What is proven then is the agreement on the others.
        min_agreement: The share of clips, 0 to 1, whose best class is the same in eight bits.
        on_phase: Called with what is done now.

    Returns:
        What was written.

    Raises:
        UsageError: The ending is another one, a library is not installed, or no video can be read.
        OutputError: The file or its report is there already, or cannot be written.
        TadaError: The model cannot be loaded, or the file does not give what the network gives; then it is not kept.

    Example:
        >>> import tadacli
        >>> report = tadacli.export(output="camera.onnx")  # doctest: +SKIP
        >>> report.facts.proof.relative_error <= 1e-4  # doctest: +SKIP
        True
    """
    file = Path(output)
    check_output(file)
    if int8:
        check_int8(file, clips, min_agreement)
    say = on_phase or (lambda _: None)
    if weights is None and isinstance(model, (str, os.PathLike)) and is_head(model):
        if clips or labels or int8:
            raise UsageError(f"{model} is a head over features", hint="leave out --clips, --labels and --int8")
        return _export_head(model, file, say)
    if not isinstance(model, Trained):
        model = load_trained(model, weights=weights, trust=trust, labels=labels)
    reference = _reference(model)
    say("clips")
    proving = proof_clips(reference, clips, least=LEAST_CLIPS if int8 else max(BATCH_SIZES))
    in_float, seconds = _written(partial(traced, model.network, model.spec), file, say)
    written: Written | Quantised = in_float
    facts = ExportFacts(model.spec, model.sha256, "float32", __version__, _versions(file), _NOTHING_YET)
    check = partial(check_proven, file=file)
    if int8:
        say("calibration")
        calibrating, proving = proving.halves()
        facts = replace(facts, precision="int8")
        started = time.perf_counter()
        written = Quantised(in_float, facts, calibrating.clips)
        seconds["calibration"] = time.perf_counter() - started
        check = partial(check_agreement, file=file, least=min_agreement)
    say("proof")
    tried = partial(prove, reference, clips=proving.clips, truth=truth_of(proving, model.spec))
    facts, batches = _write_proven(file, written, facts, tried, check, proving.kind)
    return _reported(file, facts, batches, written, seconds, proving)


def _export_head(path: str | os.PathLike[str], file: Path, say: Callable[[str], object]) -> ExportReport:
    """A head over features as a file, proven on noise like the features that it was trained on."""
    head = load_head_model(path, device="cpu")
    written, seconds = _written(partial(traced_head, head.network, head.spec), file, say)
    facts = ExportFacts(head.spec, head.weights_sha256, "float32", __version__, _versions(file), _NOTHING_YET)
    say("proof")
    tried = partial(prove_head, head.network, head.spec)
    facts, batches = _write_proven(file, written, facts, tried, partial(check_proven, file=file), "noise")
    return _reported(file, facts, batches, written, seconds)


def _written(trace: Callable[[], Graph], file: Path, say: Callable[[str], object]) -> tuple[Written, dict[str, float]]:
    """The graph in the form of the file, and the seconds that tracing and writing took."""
    say("graph")
    started = time.perf_counter()
    graph = trace()
    after_tracing = time.perf_counter()
    written = Written(graph, suffix=file.suffix)
    return written, {"graph": after_tracing - started, "file": time.perf_counter() - after_tracing}


def _reported(
    file: Path,
    facts: ExportFacts,
    batches: tuple[BatchProof, ...],
    written: Written | Quantised,
    seconds: Mapping[str, float],
    proving: ProofClips | None = None,
) -> ExportReport:
    """The report, which is written beside the file."""
    names, left_out = ((), ()) if proving is None else (proving.names, proving.left_out)
    rounded = {name: round(value, 2) for name, value in seconds.items()}
    size = file.stat().st_size
    report = ExportReport(file, facts, batches, names, left_out, written.num_nodes, size, rounded)
    text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False)
    write_new(report_file(file), f"{text}\n".encode())
    return report


def _reference(model: Trained) -> Model:
    """The model as tada runs it, on the CPU."""
    cpu = torch.device("cpu")
    network = fuse(copy.deepcopy(model.network))
    return Model(model.spec, network, cpu, torch.float32, model.path, model.sha256)


def _versions(file: Path) -> dict[str, str]:
    versions = {"torch": str(torch.__version__)}
    if file.suffix == ONNX:
        versions |= {**onnx_versions(), "opset": str(OPSET)}
    return versions


def _write_proven(
    file: Path,
    written: Written | Quantised,
    facts: ExportFacts,
    tried: Callable[[ExportedNetwork], tuple[BatchProof, ...]],
    check: Callable[[Sequence[BatchProof]], None],
    kind: ProofKind,
) -> tuple[ExportFacts, tuple[BatchProof, ...]]:
    """Writes the file under its name once it has passed the check of what it gave when it was tried."""
    with new_file(file) as stream:
        written.write(stream, facts)
        stream.flush()
        try:
            opened = open_exported(Path(stream.name), torch.device("cpu"), may_choose=False, suffix=file.suffix)
            batches = tried(opened.network)
        except CheckpointError as error:
            raise NotProvenError(
                f"{file} was not kept: {error.message.replace(stream.name, file.name)}", hint=error.hint
            ) from error
        del opened
        check(batches)
        facts = replace(facts, proof=proof_of(batches, kind))
        stream.seek(0)
        stream.truncate()
        written.write(stream, facts)
    return facts, batches
