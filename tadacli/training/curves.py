"""The course of a training run as a picture: loss, accuracy and learning rate over the epochs."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

from tadacli.errors import UsageError
from tadacli.training.run_log import LogRow, best_evaluation

_WIDTH_INCHES = 7.5
_PANEL_INCHES = 2.4
_DPI = 120
_MANY_STEPS = 60
_WINDOW = 15
# Colours that stay apart for the colour-blind (Okabe and Ito, 2008).
_TRAIN, _VALIDATION, _BEST = "#0072B2", "#D55E00", "#555555"
_ACCURACY = ("#D55E00", "#009E73", "#0072B2", "#CC79A7")
_LEGENDS = {"hit1": "hit@1"}
_MARKERS = ("o", "s", "^", "D")


def curves_png(rows: Sequence[LogRow]) -> bytes:
    """The rows of a run's log as PNG; the same rows give the same bytes with the same matplotlib.

    Panels without a number are left out. The best evaluation (`best_evaluation`) is marked.

    Args:
        rows: Of the log, in order.

    Returns:
        The bytes of the file.

    Raises:
        UsageError: There are no rows, or matplotlib is not installed.
    """
    if not rows:
        raise UsageError("the log has no rows yet, so there are no curves", hint="train for some steps first")
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "the picture of the curves needs matplotlib", hint='install it with pip install "tadacli[curves]"'
        ) from error
    panels = [panel for panel, has_numbers in _PANELS if has_numbers(rows)]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a person's own settings do not change the picture
        figure = Figure(figsize=(_WIDTH_INCHES, 0.6 + _PANEL_INCHES * max(len(panels), 1)), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots(max(len(panels), 1), sharex=True, squeeze=False)[:, 0].tolist()
        for axis, panel in zip(axes, panels, strict=False):
            panel(axis, rows)
        _finish(figure, axes, rows)
        buffer = io.BytesIO()
        canvas.print_figure(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _draw_loss(axis: Any, rows: Sequence[LogRow]) -> None:
    epochs, losses = _points(rows, lambda row: row.train_loss)
    if len(losses) > _MANY_STEPS:  # single batches scatter; their mean shows the course
        axis.plot(epochs, losses, color=_TRAIN, linewidth=0.7, alpha=0.3)
        label = f"training, mean of {_WINDOW} logged steps"
        axis.plot(epochs, _smooth(losses), color=_TRAIN, linewidth=1.8, label=label)
    elif losses:
        axis.plot(epochs, losses, color=_TRAIN, linewidth=1.5, marker=_point_marker(losses), label="training")
    epochs, losses = _points(rows, lambda row: row.validation_loss)
    if losses:
        axis.plot(epochs, losses, color=_VALIDATION, linewidth=1.5, marker="o", markersize=4, label="validation")
    axis.set_ylabel("loss")
    _keep_in_view(axis, rows)


def _keep_in_view(axis: Any, rows: Sequence[LogRow]) -> None:
    """Start at zero where that costs little: losses are read against it."""
    low, high = axis.get_ylim()
    losses = [*_points(rows, lambda row: row.train_loss)[1], *_points(rows, lambda row: row.validation_loss)[1]]
    if not any(value < 0 for value in losses) and low < high / 3:
        axis.set_ylim(bottom=0)


def _draw_accuracy(axis: Any, rows: Sequence[LogRow]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row.accuracies))
    for number, name in enumerate(names):
        epochs, values = _points(rows, lambda row, name=name: row.accuracies.get(name))  # type: ignore[misc]
        axis.plot(
            epochs,
            values,
            color=_ACCURACY[number % len(_ACCURACY)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            linewidth=1.5,
            label="validation" if names == ["top1"] else _LEGENDS.get(name, name.removesuffix("_top1")),
        )
    axis.set_ylabel("mAP and hit@1 (%)" if "mAP" in names else "top-1 accuracy (%)")
    low, high = axis.get_ylim()
    axis.set_ylim(max(low, -2.0), min(max(high, low + 1), 102.0))


def _draw_learning_rate(axis: Any, rows: Sequence[LogRow]) -> None:
    epochs, rates = _points(rows, lambda row: row.learning_rate)
    axis.plot(epochs, rates, color=_TRAIN, linewidth=1.5, marker=_point_marker(rates))
    axis.set_ylabel("learning rate")
    axis.set_ylim(bottom=0)
    axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)


_PANELS: tuple[tuple[Callable[[Any, Sequence[LogRow]], None], Callable[[Sequence[LogRow]], bool]], ...] = (
    (
        _draw_loss,
        lambda rows: any(_is_number(row.train_loss) or _is_number(row.validation_loss) for row in rows),
    ),
    (_draw_accuracy, lambda rows: any(_is_number(value) for row in rows for value in row.accuracies.values())),
    (_draw_learning_rate, lambda rows: any(_is_number(row.learning_rate) for row in rows)),
)


def _finish(figure: Any, axes: Sequence[Any], rows: Sequence[LogRow]) -> None:
    best = best_evaluation(rows)
    for axis in axes:
        axis.grid(True, color="#e4e4e4", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
        if best is not None:
            axis.axvline(best.epoch, color=_BEST, linestyle="--", linewidth=1)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(frameon=False, fontsize="small", loc="best")
    if rows[-1].epoch >= 1:
        axes[-1].set_xlim(left=0)
    if rows[-1].epoch >= 4:
        axes[-1].xaxis.get_major_locator().set_params(integer=True)
    axes[-1].set_xlabel("epoch (passes over the training data)")
    figure.align_ylabels(axes)
    figure.suptitle(_title(rows[-1], best), fontsize="medium")


def _title(last: LogRow, best: LogRow | None) -> str:
    course = f"{last.step:,} steps, {last.num_examples:,} clips"
    if best is None:
        return f"{course}; no evaluation yet"
    accuracy = list(best.accuracies.items())[-1:]
    number = "".join(f"{_spoken(name)} {value:.1f} %" for name, value in accuracy)
    if not number and best.validation_loss is not None:
        number = f"loss {best.validation_loss:.4g}"
    return f"{course}; best evaluation (dashed): {number or 'no number'}, epoch {best.epoch:.4g}, step {best.step:,}"


def _spoken(name: str) -> str:
    """The name of an accuracy for people: "action top-1" of `action_top1`."""
    return name.replace("_", " ").replace("top1", "top-1")


def _points(rows: Sequence[LogRow], number_of: Callable[[LogRow], float | None]) -> tuple[list[float], list[float]]:
    """The epochs and values of the rows that have this number; one that is not finite leaves a gap."""
    found = [(row.epoch, value) for row in rows if (value := number_of(row)) is not None]
    return [epoch for epoch, _ in found], [value if math.isfinite(value) else math.nan for _, value in found]


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _point_marker(values: Sequence[float]) -> str:
    """A single point is no line, so it is drawn as a dot."""
    return "o" if sum(map(math.isfinite, values)) == 1 else ""


def _smooth(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours, `_WINDOW` in all, without those that are no numbers."""
    means = []
    for middle in range(len(values)):
        reach = range(max(0, middle - _WINDOW // 2), min(len(values), middle + _WINDOW // 2 + 1))
        window = [values[at] for at in reach if math.isfinite(values[at])]
        means.append(sum(window) / len(window) if window else math.nan)
    return means
