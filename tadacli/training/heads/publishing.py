"""How good a trained head is, from which score on its segments are worth reporting, and what is written about it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from tadacli.detection.head_decoding import Head, find_spans
from tadacli.evaluation.detection_metrics import DetectionMetrics
from tadacli.evaluation.segment_f1 import TIOU, SegmentThreshold, fit_threshold
from tadacli.files import write_new
from tadacli.formats.records import encode_json
from tadacli.results import counted
from tadacli.specs import HeadSpec
from tadacli.training import Unlabelled
from tadacli.training.heads.data import HeadData, negatives_line
from tadacli.training.heads.fitting import Fitted, columns_of, precision_of_spans
from tadacli.training.heads.settings import HeadSettings
from tadacli.training.model_card import escape_markdown
from tadacli.training.run_folder import RunFolder
from tadacli.zoo.checkpoints import write_checkpoint
from tadacli.zoo.loading import TRUNK_FILE

_UNLABELLED: Mapping[Unlabelled, str] = {
    "background": "background, so what is not labelled there is taken not to happen",
    "ignore": "not learnt from, as something may happen there that is not labelled; the figures below count what is "
    "found there as wrong",
}


@dataclass(frozen=True, eq=False)
class HeadResult:
    """The end of a training: the best weights on the validation videos, and the threshold that was fitted there."""

    fitted: Fitted
    metrics: DetectionMetrics
    threshold: SegmentThreshold
    labels: tuple[str, ...]
    num_videos: int
    num_segments: int


def measured(network: Head, data: HeadData, settings: HeadSettings, fitted: Fitted) -> HeadResult:
    """How good the best head is on the validation videos, and from which score on its segments are worth reporting.

    Args:
        network: With its best weights, in eval mode.
        data: What was held out. Negatives have no part in the mAP, which is that of the labelled videos; the F1 that
            chooses the threshold counts what is found in them as wrong, as it does in any other video.
        settings: With the thresholds of the mAP.
        fitted: The training.

    Returns:
        The mAP, with a verb and a noun of the pairs of both, and one threshold for all classes.
    """
    found = [find_spans(network, each.grid) for each in data.validation]
    in_negatives = [find_spans(network, each.grid) for each in data.held_out_negatives]
    labels, num_nouns = data.heads.get(""), len(data.heads.get("noun", ()))
    metrics = precision_of_spans(found, data.validation, tiou=settings.tiou, num_nouns=num_nouns)
    truth, detections = columns_of(
        [*found, *in_negatives], [*data.validation, *data.held_out_negatives], num_nouns=num_nouns
    )
    threshold = fit_threshold(truth, detections, tiou=TIOU)
    names = labels or tuple(f"{verb} {noun}" for verb in data.heads["verb"] for noun in data.heads["noun"])
    return HeadResult(
        fitted,
        metrics,
        threshold,
        tuple(names[number] for number in metrics.classes),
        len(data.validation),
        sum(len(each.spans) for each in data.validation),
    )


def publish(folder: RunFolder, network: Head, spec: HeadSpec, data: HeadData, result: HeadResult) -> None:
    """Writes the head with its thresholds, the evaluation, and the card.

    Args:
        folder: Of the run.
        network: With its best weights.
        spec: Of the head, without thresholds.
        data: What it was trained on.
        result: How good it is.

    Raises:
        OutputError: A file cannot be written.
    """
    if result.threshold.f1:
        # That of an action is the geometric mean of those of its verb and its noun: the same again.
        level = float(np.float32(result.threshold.threshold))
        spec = replace(spec, thresholds={head: (level,) * len(labels) for head, labels in spec.heads.items()})
    write_checkpoint(folder.model, network.state_dict(), spec)
    metrics, further = result.metrics, data.num_negatives
    report = {
        "split": "validation",
        "num_videos": result.num_videos,
        "num_segments": result.num_segments,
        "tiou": list(metrics.tiou),
        "mAP": list(metrics.mean_average_precision),
        "average_precision": dict(zip(result.labels, map(list, metrics.average_precision), strict=True)),
        "threshold": result.threshold.threshold,
        "segment_f1": {"tiou": TIOU, "f1": result.threshold.f1},
        "best_step": result.fitted.best_step,
        "num_steps": result.fitted.num_steps,
        "features": asdict(spec.steps),
        "notes": list(data.remarks),
        **({"left_out": list(data.samples.left_out)} if data.samples.left_out else {}),
        **({"negatives": {split: asdict(each) for split, each in further.items()}} if further else {}),
    }
    write_new(folder.report, encode_json(report, indent=2) + b"\n", replace=True)
    write_new(folder.card, _card(folder, spec, data, result).encode(), replace=True)


def _card(folder: RunFolder, spec: HeadSpec, data: HeadData, result: HeadResult) -> str:
    """The model card: what the head is, how it is used, and how good it was found to be."""
    metrics = result.metrics
    use = ["tada", "detect", "VIDEO", "--model", str(folder.path)]
    if not (folder.path / TRUNK_FILE).is_file():
        use = ["tada", "detect", "--features", "FOLDER", "--model", str(folder.path)]
    trained_on = counted(sum(len(each.spans) for each in data.train), "segments")
    made_by = escape_markdown(spec.steps.model) if spec.steps.model else "a network that is not named"
    members = spec.arguments.get("members", 1)
    of_several = f" It is {members} heads, trained side by side, which are averaged." if members != 1 else ""
    lines = [
        f"# {escape_markdown(spec.name)}",
        "",
        f"A {spec.architecture.removesuffix('_head')} head that finds segments of {len(result.labels)} classes in "
        f"videos, from features of {made_by}: {spec.steps.num_channels} channels, one every "
        f"{spec.steps.stride_seconds:g} s.{of_several}",
        "",
        "```sh",
        shlex.join(use),
        "```",
        "",
        f"Trained on {counted(len(data.train), 'videos')} with {trained_on}; the time between them is "
        f"{_UNLABELLED[data.unlabelled]}.",
        "",
        *([f"Videos that hold none of the classes: {line}.", ""] if (line := negatives_line(data)) else []),
        f"On {counted(result.num_videos, 'validation videos')} with {counted(result.num_segments, 'segments')}, which "
        f"also chose the best of the {result.fitted.num_steps} steps ({result.fitted.best_step}) and the threshold, so "
        "that less is to be expected of other videos:",
        "",
        "| class | segments | " + " | ".join(f"AP at {each:.2g}" for each in metrics.tiou) + " |",
        "| --- " * (len(metrics.tiou) + 2) + "|",
    ]
    rows = zip(result.labels, metrics.num_truth, metrics.average_precision, strict=True)
    for label, count, precisions in rows:
        cells = " | ".join(f"{100 * each:.1f}" for each in precisions)
        lines.append(f"| {escape_markdown(label)} | {count} | {cells} |")
    mean = " | ".join(f"{100 * each:.1f}" for each in metrics.mean_average_precision)
    lines += [
        f"| mean | {result.num_segments} | {mean} |",
        "",
        f"At the threshold {result.threshold.threshold:.3g} (`--threshold auto`), segment F1 at an IoU of {TIOU:g} is "
        f"{100 * result.threshold.f1:.1f} %.",
        *(["", *(f"- {escape_markdown(each)}" for each in data.remarks)] if data.remarks else []),
    ]
    return "\n".join(lines) + "\n"
