"""The card of a fine-tuned model, as Markdown: what it is, what it learned from, and how good it was found to be.

Everything in it is a fact of the run or follows from one. Labels, paths and notes are a person's text: they can break
neither a table nor the page.
"""

from __future__ import annotations

import platform
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import av
import torch

from tadacli.evaluation.calibration import FittedScores
from tadacli.evaluation.report import Metric, flat_metrics
from tadacli.training.data import FinetuneData
from tadacli.training.plan import FinetuneJob
from tadacli.training.recipes import recipe_toml
from tadacli.training.run import FinetuneResult
from tadacli.training.segment_thresholds import SegmentThresholds, segments_line
from tadacli.version import __version__
from tadacli.zoo.manifest import cards

_MANY_CLASSES = 50
_FEW_ITEMS = 10
_SHOWN_LABELS = 20
# What means something to Markdown, in a table or anywhere in a line; "@", ":" and "." make links of plain addresses. An
# underscore within a word means nothing.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#|~&$!@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|^[-+=]", flags=re.IGNORECASE)
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")


def model_card(
    job: FinetuneJob, result: FinetuneResult, *, path: Path, weights_sha256: str, command: Sequence[str]
) -> str:
    """The card in Markdown with tables (GitHub's), ending in a line feed; the same facts give the same text.

    Args:
        job: What was trained, on what, how.
        result: How good it is, and what was fitted.
        path: What `--model` takes.
        weights_sha256: Of the weights file.
        command: The words of the command line that trained the model.

    Returns:
        The text.
    """
    parts = [
        f"# {escape_markdown(job.start.spec.name)}",
        *_about(job, weights_sha256),
        "## How to use it",
        _block("sh", shlex.join(["tada", "classify", "--model", str(path), "VIDEO"])),
        *_classes(job),
        *_data(job.data, balanced=job.recipe.balance),
        *_result(result),
        *_calibration(job, result.fitted),
        *_segments(job, result.segments),
        *_limits(job, result),
        "## Recipe",
        *([f"{job.chosen.name}, {job.chosen.reason}."] if job.chosen is not None else []),
        _block("toml", recipe_toml(job.recipe).rstrip("\n")),
        "## How to train it again",
        _block("sh", shlex.join(command)),
        f"With {_joined(_versions())}.",
        *_licence(job),
    ]
    text = "\n\n".join(parts) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()  # a path that is not UTF-8 is told by its bytes


def escape_markdown(text: str) -> str:
    """Text as one line of Markdown that shows it: nothing in it is markup, a link or the end of a table cell."""
    line = " ".join(text.split())
    shown = "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in line)
    return _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", shown))


def _versions() -> list[str]:
    return [
        f"tada {__version__}",
        f"torch {torch.__version__}",
        f"av {av.__version__}",
        f"python {platform.python_version()}",
    ]


def _about(job: FinetuneJob, weights_sha256: str) -> Iterator[str]:
    start = job.start
    lines = [f"Network: {escape_markdown(start.spec.architecture)}.", f"Weights: sha256 `{weights_sha256}`."]
    if start.weights_sha256:
        lines.append(f"Started from: {escape_markdown(start.origin)}, sha256 `{start.weights_sha256}`.")
    else:
        lines.append("Started from: random weights.")
    for name, labels in job.data.heads.items():
        lines.append(f"{_of_head(name)}{_count(len(labels), 'class', 'classes')}.")
    yield _list(lines)


def _classes(job: FinetuneJob) -> Iterator[str]:
    yield "## Classes"
    lines = []
    for name in job.data.heads:
        change = job.start.heads[name]
        for what, labels in (("new", change.new), ("kept", change.kept), ("dropped", change.gone)):
            lines.append(f"{_of_head(name)}{len(labels)} {what}{': ' if labels else ''}{_some(labels)}")
    yield _list(lines)


def _data(data: FinetuneData, *, balanced: bool) -> Iterator[str]:
    num_items = len(data.train.samples) + len(data.validation.samples)
    found = _count(num_items + len(data.left_out), "item", "items")
    yield "## Data"
    yield _list(
        [
            f"{escape_markdown(data.name)}: {num_items} of {found} used.",
            f"Split: {_sentence(data.how_split)}",
            *(["An item may show several classes, each of which was learned by itself."] if data.multi_label else []),
            *(["In training every class was drawn equally often."] if balanced else []),
            *map(_sentence, (*data.notes, *data.left_out)),
        ]
    )
    for name, labels in data.heads.items():
        counts = {split: by_head[name] for split, by_head in data.counts.items()}
        rows: list[list[object]] = []
        if len(labels) <= _MANY_CLASSES:
            rows += [[label, *(of_split[label] for of_split in counts.values())] for label in labels]
        else:
            rows.append(["fewest in a class", *(min(of_split.values()) for of_split in counts.values())])
            rows.append(["most in a class", *(max(of_split.values()) for of_split in counts.values())])
        rows.append(["all", len(data.train.samples), len(data.validation.samples)])
        yield _table([name or "class", *counts], rows)


def _result(result: FinetuneResult) -> Iterator[str]:
    report = result.report
    yield "## Result"
    yield (
        f"{escape_markdown(report.dataset)}, split {escape_markdown(report.split)}: {report.num_scored} of "
        f"{report.num_items} {escape_markdown(report.unit)} scored, {result.views} views of each. "
        f"{_about_metrics(result)} {_one_view(result)}"
    )
    if report.reasons:
        yield _list(f"not scored, {count}: {escape_markdown(reason)}" for reason, count in report.reasons.items())
    metrics = flat_metrics(report)
    measured = [_metric_row(metric) for metric in metrics]
    for name, majority in report.majority.items():
        measured.append([f"{name}: {majority.text}" if name else majority.text, f"{majority.percent:.1f} %", ""])
    yield _table(["metric", "value", "interval"], measured)
    for name, head in report.heads.items():
        rows = [
            [label, f"{right} of {count}", f"{100 * right / count:.1f} %" if count else ""]
            for label, right, count in zip(head.labels, head.num_right, head.num_items, strict=True)
        ]
        if len(rows) <= _MANY_CLASSES:
            yield _table([name or "class", "right", "accuracy"], rows)
    if report.classes and len(report.classes) <= _MANY_CLASSES:
        yield _table(
            ["class", "shown by", "average precision"],
            [
                [each.label, each.num_items, "" if each.percent is None else f"{each.percent:.1f} %"]
                for each in report.classes
            ],
        )
    if report.notes:
        yield _list(_sentence(note.text) for note in report.notes)


def _about_metrics(result: FinetuneResult) -> str:
    if not result.report.classes:
        return "Intervals are 95 % bootstrap intervals."
    return (
        "Any number of classes may be shown at a time. mAP is the mean of the classes' average precisions, beside what "
        "scores that say nothing reach; hit1 is the share of items whose best class is one that they show."
    )


def _one_view(result: FinetuneResult) -> str:
    if result.one_view_map is not None:
        return f"With one view of each, as in the log, mAP is {result.one_view_map:.1f} %."
    return f"With one view of each, as in the log, top-1 is {result.one_view_top1:.1f} %."


def _metric_row(metric: Metric) -> list[object]:
    task = f"{metric.task}: " if metric.task else ""
    at = "" if metric.tiou is None else f" at tIoU {metric.tiou:g}"
    interval = "" if metric.interval is None else " to ".join(_number(metric, end) for end in metric.interval)
    return [f"{task}{metric.name}{at}", _number(metric, metric.value), interval]


def _number(metric: Metric, value: float) -> str:
    if metric.measure == "count":
        return str(value)
    return f"{value:.1f} %" if metric.measure == "percent" else f"{value:.4f}"


def _calibration(job: FinetuneJob, fitted: FittedScores) -> Iterator[str]:
    yield "## Calibration"
    heads = [head for head in job.data.heads if head in fitted.temperatures or fitted.thresholds.get(head)]
    if not heads:
        yield "Neither a temperature nor thresholds were fitted: a score is no measured probability."
        return
    yield "Fitted on validation, one view of each item."
    for name in heads:
        if name in fitted.temperatures:
            yield f"- {_of_head(name)}temperature {fitted.temperatures[name]:.4g}, by which the logits are divided"
        thresholds = fitted.thresholds.get(name, ())
        if thresholds and len(thresholds) <= _MANY_CLASSES:
            pairs = zip(job.data.heads[name], thresholds, strict=True)
            yield _table([name or "class", "threshold"], [[label, f"{score:.4f}"] for label, score in pairs])
        elif thresholds:
            low, high = min(thresholds), max(thresholds)
            yield f"{_of_head(name)}{len(thresholds)} thresholds, {low:.4f} to {high:.4f}."


def _segments(job: FinetuneJob, fitted: SegmentThresholds | None) -> Iterator[str]:
    """The thresholds for windows of long videos."""
    if fitted is None:
        return
    yield f"For `tada detect --threshold auto`: {segments_line(fitted)}."
    for name, thresholds in fitted.thresholds.items():
        if len(thresholds) <= _MANY_CLASSES:
            pairs = zip(job.data.heads[name], thresholds, strict=True)
            rows = [[label, f"{score:g}"] for label, score in pairs]
            yield _table([name or "class", "threshold for segments"], rows)
    if fitted.notes:
        yield _list(map(_sentence, fitted.notes))


def _limits(job: FinetuneJob, result: FinetuneResult) -> Iterator[str]:
    yield "## Limits"
    lines = [
        "It knows these classes only: what is shown in a video besides them can get one of their names, too.",
        f"The result is that of {escape_markdown(job.data.name)}; nothing was measured on other videos.",
        "The best checkpoint was picked on the same split, so the result is likely too good.",
    ]
    for name, head in result.report.heads.items():
        lines += _rare(name, list(zip(head.labels, head.num_items.tolist(), strict=True)))
    lines += _rare("", [(each.label, each.num_items) for each in result.report.classes])
    yield _list([*lines, *map(_sentence, result.fitted.notes)])


def _rare(name: str, counted: Sequence[tuple[str, int]]) -> Iterator[str]:
    """What is hardly known of the classes that were seldom seen in the evaluation, by the number of their items."""
    none = [label for label, count in counted if count == 0]
    few = [label for label, count in counted if 0 < count < _FEW_ITEMS]
    if none:
        yield f"{_of_head(name)}no item in the result: {_some(none)}"
    if few:
        yield f"{_of_head(name)}fewer than {_FEW_ITEMS} items in the result: {_some(few)}"


def _licence(job: FinetuneJob) -> Iterator[str]:
    start = job.start
    yield "## Licence"
    if not start.weights_sha256:
        yield "The weights derive from no other weights. The terms of the videos they were trained on may apply."
        return
    card = cards().get(start.origin)
    known = escape_markdown(card.source.licence) if card is not None else ""
    licence = f" ({known})" if known else ", which is not known here,"
    origin = escape_markdown(start.origin)
    yield (
        f"The weights are derived from {origin}, so the licence of that{licence} stays in force. "
        "The terms of the videos they were trained on may apply, too."
    )


def _sentence(text: str) -> str:
    return f"{escape_markdown(text.rstrip().removesuffix('.'))}."


def _of_head(name: str) -> str:
    return f"{escape_markdown(name)}: " if name else ""


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _some(labels: Sequence[str]) -> str:
    """The labels, or the first of very many and how many more there are."""
    more = len(labels) - _SHOWN_LABELS
    return _joined(labels[:_SHOWN_LABELS]) + (f" and {more} more" if more > 0 else "")


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(map(escape_markdown, texts))


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [[*head], ["---"] + ["---:"] * (len(head) - 1), *rows]
    cells = [[each if at == 1 else escape_markdown(str(each)) for each in line] for at, line in enumerate(lines)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in cells)


def _block(language: str, text: str) -> str:
    """Text as it is; its fence is longer than any within."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"
