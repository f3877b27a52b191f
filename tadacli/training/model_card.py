"""The card of a fine-tuned model, as Markdown: what it is, what it learned from, and how good it was found to be.

Everything in it is a fact of the run or follows from one. Labels, paths and notes are a person's text: they can break
neither a table nor the page.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tadacli.evaluation.eval_metrics import Metric, flat_metrics
from tadacli.evaluation.report import EvalReport, HeadResult

_MANY_CLASSES = 50
_FEW_ITEMS = 10
_SHOWN_LABELS = 20
# What means something to Markdown, in a table or anywhere in a line; "@", ":" and "." make links of plain addresses. An
# underscore within a word means nothing.
_SPECIAL = re.compile(r"[\\`*{}\[\]<>#|~&$!@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.|^[-+=]", flags=re.IGNORECASE)
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")


@dataclass(frozen=True)
class Origin:
    """What a model was started from: weights by name and hash; `licence` is empty where it is not known."""

    name: str
    weights_sha256: str
    licence: str = ""


@dataclass(frozen=True)
class HeadClasses:
    """The classes of a head in the order of its outputs, and what became of those of the model started from.

    `kept` and `new` together are `labels`; `dropped` are the classes that the origin knew and this model does not.
    `temperature` divides the logits; `thresholds` are scores by label. Both are None and empty where none were fitted.
    """

    labels: tuple[str, ...]
    kept: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    temperature: float | None = None
    thresholds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingData:
    """What was learned from and measured on: `counts` are items by split, head and class (in the order of the labels).

    `how_split` says how the splits came about. `num_items` of the `num_found` items were used; `notes` say why others
    were not, and what else to know.
    """

    name: str
    counts: Mapping[str, Mapping[str, Sequence[int]]]
    how_split: str
    num_items: int
    num_found: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class FinetunedModel:
    """All that the card tells. `path` is what `--model` takes, `command` the arguments that trained the model.

    `origin` is None for a model trained from random weights. `recipe_toml` is the recipe as it was resolved.
    `fitted_on` says on what temperature and thresholds were fitted, `selected_on` is the split that the best
    checkpoint was picked on; both are empty where that was not done. `versions` are those of tada, torch and others.
    """

    name: str
    path: str
    weights_sha256: str
    architecture: str
    origin: Origin | None
    heads: Mapping[str, HeadClasses]
    data: TrainingData
    recipe_toml: str
    command: Sequence[str]
    versions: Mapping[str, str]
    evaluation: EvalReport | None = None
    selected_on: str = ""
    fitted_on: str = ""
    limits: tuple[str, ...] = ()


def model_card(model: FinetunedModel) -> str:
    """The card in Markdown with tables (GitHub's), ending in a line feed; the same facts give the same text."""
    parts = [
        f"# {escape_markdown(model.name)}",
        *_about(model),
        "## How to use it",
        _block("sh", shlex.join(["tada", "classify", "--model", model.path, "VIDEO"])),
        *_classes(model),
        *_data(model),
        *_result(model),
        *_calibration(model),
        *_limits(model),
        "## Recipe",
        _block("toml", model.recipe_toml.rstrip("\n")),
        "## How to train it again",
        _block("sh", shlex.join(model.command)),
        "With " + _joined(f"{name} {version}" for name, version in model.versions.items()) + ".",
        *_licence(model.origin),
    ]
    text = "\n\n".join(parts) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()  # a path that is not UTF-8 is told by its bytes


def escape_markdown(text: str) -> str:
    """Text as one line of Markdown that shows it: nothing in it is markup, a link or the end of a table cell."""
    line = " ".join(text.split())
    shown = "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in line)
    return _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", shown))


def _about(model: FinetunedModel) -> Iterator[str]:
    lines = [f"Network: {escape_markdown(model.architecture)}.", f"Weights: sha256 `{model.weights_sha256}`."]
    if model.origin is None:
        lines.append("Started from: random weights.")
    else:
        lines.append(f"Started from: {escape_markdown(model.origin.name)}, sha256 `{model.origin.weights_sha256}`.")
    for name, head in model.heads.items():
        lines.append(f"{_of_head(name)}{_count(len(head.labels), 'class', 'classes')}.")
    yield _list(lines)


def _classes(model: FinetunedModel) -> Iterator[str]:
    yield "## Classes"
    lines = []
    for name, head in model.heads.items():
        for what, labels in (("new", head.new), ("kept", head.kept), ("dropped", head.dropped)):
            lines.append(f"{_of_head(name)}{len(labels)} {what}{': ' if labels else ''}{_some(labels)}")
    yield _list(lines)


def _data(model: FinetunedModel) -> Iterator[str]:
    data = model.data
    yield "## Data"
    yield _list(
        [
            f"{escape_markdown(data.name)}: {data.num_items} of {_count(data.num_found, 'item', 'items')} used.",
            f"Split: {_sentence(data.how_split)}",
            *map(_sentence, data.notes),
        ]
    )
    for name, head in model.heads.items():
        counts = {split: by_head[name] for split, by_head in data.counts.items()}
        if any(len(of_split) != len(head.labels) for of_split in counts.values()):
            raise ValueError(f"the counts of head {name!r} are not those of {len(head.labels)} classes")
        rows: list[list[object]] = []
        if len(head.labels) <= _MANY_CLASSES:
            rows += [[label, *(counts[split][at] for split in counts)] for at, label in enumerate(head.labels)]
        else:
            rows.append(["fewest in a class", *(min(of_split) for of_split in counts.values())])
            rows.append(["most in a class", *(max(of_split) for of_split in counts.values())])
        rows.append(["all", *(sum(of_split) for of_split in counts.values())])
        yield _table([name or "class", *counts], rows)


def _result(model: FinetunedModel) -> Iterator[str]:
    report = model.evaluation
    yield "## Result"
    if report is None:
        yield "It was not evaluated on a held-out split."
        return
    yield (
        f"{escape_markdown(report.dataset)}, split {escape_markdown(report.split)}: {report.num_scored} of "
        f"{report.num_items} {escape_markdown(report.unit)} scored. Intervals are 95 % bootstrap intervals."
    )
    if report.reasons:
        yield _list(f"not scored, {count}: {escape_markdown(reason)}" for reason, count in report.reasons.items())
    metrics = flat_metrics(report)
    yield _table(["metric", "value", "interval"], [_metric_row(metric) for metric in metrics])
    for name, result in report.heads.items():
        rows = [
            [label, f"{right} of {count}", f"{100 * right / count:.1f} %" if count else ""]
            for label, right, count in zip(result.labels, result.num_right, result.num_items, strict=True)
        ]
        if len(rows) <= _MANY_CLASSES:
            yield _table([name or "class", "right", "accuracy"], rows)
    if report.notes:
        yield _list(_sentence(note.text) for note in report.notes)


def _metric_row(metric: Metric) -> list[object]:
    task = f"{metric.task}: " if metric.task else ""
    at = "" if metric.tiou is None else f" at tIoU {metric.tiou:g}"
    interval = "" if metric.interval is None else " to ".join(_number(metric, end) for end in metric.interval)
    return [f"{task}{metric.name}{at}", _number(metric, metric.value), interval]


def _number(metric: Metric, value: float) -> str:
    if metric.measure == "count":
        return str(value)
    return f"{value:.1f} %" if metric.measure == "percent" else f"{value:.4f}"


def _calibration(model: FinetunedModel) -> Iterator[str]:
    fitted = {name: head for name, head in model.heads.items() if head.temperature is not None or head.thresholds}
    yield "## Calibration"
    if not fitted:
        yield "Neither a temperature nor thresholds were fitted: a score is no measured probability."
        return
    if model.fitted_on:
        yield f"Fitted on {escape_markdown(model.fitted_on)}."
    for name, head in fitted.items():
        if head.temperature is not None:
            yield f"- {_of_head(name)}temperature {head.temperature:.4g}, by which the logits are divided"
        if head.thresholds and len(head.thresholds) <= _MANY_CLASSES:
            rows = [[label, f"{score:.4f}"] for label, score in head.thresholds.items()]
            yield _table([name or "class", "threshold"], rows)
        elif head.thresholds:
            low, high = min(head.thresholds.values()), max(head.thresholds.values())
            yield f"{_of_head(name)}{len(head.thresholds)} thresholds, {low:.4f} to {high:.4f}."


def _limits(model: FinetunedModel) -> Iterator[str]:
    yield "## Limits"
    lines = ["It knows these classes only: what is shown in a video besides them can get one of their names, too."]
    report = model.evaluation
    if report is None:
        lines.append("How good it is, is not known.")
    else:
        lines.append(f"The result is that of {escape_markdown(report.dataset)}; nothing was measured on other videos.")
        if model.selected_on and (model.selected_on, model.data.name) == (report.split, report.dataset):
            lines.append("The best checkpoint was picked on the same split, so the result is likely too good.")
        for name, result in report.heads.items():
            lines += _rare(name, result)
    yield _list([*lines, *map(_sentence, model.limits)])


def _rare(name: str, result: HeadResult) -> Iterator[str]:
    """What is hardly known of the classes that were seldom seen in the evaluation."""
    counted = list(zip(result.labels, result.num_items.tolist(), strict=True))
    none = [label for label, count in counted if count == 0]
    few = [label for label, count in counted if 0 < count < _FEW_ITEMS]
    if none:
        yield f"{_of_head(name)}no item in the result: {_some(none)}"
    if few:
        yield f"{_of_head(name)}fewer than {_FEW_ITEMS} items in the result: {_some(few)}"


def _licence(origin: Origin | None) -> Iterator[str]:
    yield "## Licence"
    if origin is None:
        yield "The weights derive from no other weights. The terms of the videos they were trained on may apply."
        return
    licence = f" ({escape_markdown(origin.licence)})" if origin.licence else ", which is not known here,"
    yield (
        f"The weights are derived from {escape_markdown(origin.name)}, so the licence of that{licence} stays in force. "
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
