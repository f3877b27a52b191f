"""Where the report of `tada eval` goes: stdout or a file, a page, and what is said beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.cli import exits
from tadacli.cli.console import say, say_note
from tadacli.errors import OutputError, UsageError
from tadacli.formats.registry import ReportFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tadacli.evaluation.multi_label import LabelPrecision
    from tadacli.evaluation.report import EvalReport, HeadResult, RunFacts

_SHOWN = 10  # classes and reasons in a table


class Destination:
    """Takes a report, as text in one of the formats and as a page; beside it, a `submission` may be written.

    A partial one goes to files with `.unfinished` in their names, which the final one removes. Where a run was killed
    after it had written some of its files, these are found as they are to be, and stay.
    """

    def __init__(
        self, form: ReportFormat, output: Path | None, page: Path | None, submission: Path | None = None
    ) -> None:
        self.form = form
        self._output, self._page, self._submission = output, page, submission

    def check(self, *, may_be_there: bool = False) -> None:
        """Check, before anything is computed, that the files can be written.

        Args:
            may_be_there: Whether they may exist, as those of a run that is complete do.

        Raises:
            UsageError: Two have the same name.
            OutputError: One exists, or has no folder to be in.
        """
        from tadacli.files import refuse_existing

        files = [path for path in (self._output, self._page, self._submission) if path is not None]
        if len({path.absolute() for path in files}) < len(files):
            raise UsageError("two outputs have the same name", hint="give each a name of its own")
        refuse_existing([path for path in files if not (may_be_there and path.is_file())])
        for path in files:
            if not path.parent.is_dir():
                raise OutputError(f"there is no folder {path.parent}", hint="make it, or give another name")

    def publish(self, found: EvalReport, *, partial: bool = False) -> None:
        """Write a report, and say on how many items it is based; of one without metrics, say why it has none."""
        if found.metrics is None:
            what = "name no classes, so there are no metrics" if found.num_items else "leave no items for this part"
            say(f"the annotations of {found.dataset}, {found.split}, {what}", always=True)
            return
        self.write(_encode(found, self.form), partial=partial)
        if self._page is not None:
            from tadacli.reports.eval_page import eval_page

            page = _named(self._page, partial)
            _write(page, eval_page(found, page), partial)
        written = [path for path in (self._output, self._page) if path is not None]
        if not partial:
            for path in written:
                _named(path, partial=True).unlink(missing_ok=True)
        self._say(found, [_named(path, partial) for path in written])

    def write(self, content: bytes, *, partial: bool = False) -> str:
        """Write the text of a report, and say where it is, to be put after other words: nothing for stdout."""
        if self._output is None:
            exits.write_stdout(content)
            return ""
        _write(_named(self._output, partial), content, partial)
        return f", {self._output}"

    def _say(self, found: EvalReport, written: list[Path]) -> None:
        if self.form != "table" or self._output is not None:
            for note in found.notes:
                say_note(str(note))
            for reason, count in found.reasons.items():
                say(f"not scored: {count} of {found.num_items} {found.unit}: {reason}")
        from tadacli.results import out_of

        where = "".join(f", {path}" for path in written)
        say(f"{out_of(found.num_scored, found.num_items, found.unit, 'scored')}{where}")


def _write(path: Path, content: bytes, partial: bool) -> None:
    from tadacli.files import write_new, write_once

    if partial:
        write_new(path, content, replace=True)
    else:
        write_once(path, content)


def _named(path: Path, partial: bool) -> Path:
    from tadacli.files import name_with

    return path.with_name(name_with(path.stem, f".unfinished{path.suffix}")) if partial else path


def _encode(found: EvalReport, form: ReportFormat) -> bytes:
    if form == "json":
        from tadacli.reports.eval_json import eval_json

        return eval_json(found)
    if form == "csv":
        from tadacli.reports.eval_csv import eval_csv

        return eval_csv(found)
    from tadacli.formats.records import encode_text

    return encode_text(eval_table(found))


# --- a table for people ---------------------------------------------------------------------------------


def eval_table(report: EvalReport) -> str:
    """The metrics, how many items they are based on, the weakest classes, and why the other items are not scored."""
    from tadacli.results import out_of

    lines = [
        f"{report.dataset}, {report.split}: {out_of(report.num_scored, report.num_items, report.unit, 'scored')}",
        *([_made_with(report.run)] if report.run else []),
        "",
        *(_accuracies(report) if report.percent else _precision(report)),
        *(_weakest_labels(report.classes) if report.classes else []),
    ]
    for name, head in report.heads.items():
        lines += _weakest(name, head)
    reasons = list(report.reasons.items())
    lines += [""] if reasons or report.notes else []
    lines += [f"not scored, {count} of {report.num_items}: {reason}" for reason, count in reasons[:_SHOWN]]
    lines += [f"and {len(reasons) - _SHOWN} more reasons, all in --format json"] if len(reasons) > _SHOWN else []
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join(lines) + "\n"


def _made_with(run: RunFacts) -> str:
    """The model, and the views or windows that it scored: `tada eval` keeps the one, `tada detect` the other."""
    settings, name = run["settings"], run["spec"].get("name", "without a name")
    seen = [f"{settings['views']} views"] if settings.get("views") else []
    seen += [f"windows of {settings['window']}"] if settings.get("window") else []
    seen += [f"stride {settings['stride']}"] if settings.get("stride") else []
    return ", ".join([f"model {name}", *seen])


def _accuracies(report: EvalReport) -> list[str]:
    width = max(map(len, report.percent))
    intervals = report.heads[""].intervals if "" in report.heads else {}
    lines = []
    for name, value in report.percent.items():
        low, high = intervals.get(name, (None, None))
        spread = f"   95 % interval {low:.2f} to {high:.2f}" if low is not None else ""
        lines.append(f"{name:{width}}  {value:6.2f} %{spread}")
    for head, majority in report.majority.items():
        name = f"majority_class_{head}" if head else "majority_class"
        lines.append(f"{name:{width}}  {majority.percent:6.2f} %   {majority.text}")
    return lines


def _precision(report: EvalReport) -> list[str]:
    heads = next(iter(report.tasks.values())).tiou
    lines = ["mAP at tIoU " + " ".join(f"{tiou:6.2f}" for tiou in heads) + "    mean"]
    for task, measured in report.tasks.items():
        values = " ".join(f"{value:6.4f}" for value in measured.mean_average_precision)
        lines.append(f"{task:11} {values}  {measured.average:.4f}")
    return lines


def _weakest_labels(classes: Sequence[LabelPrecision]) -> list[str]:
    """The classes of a multi-label model with the lowest average precision."""
    there = [each for each in classes if each.percent is not None]
    shown = sorted(there, key=lambda each: (each.percent, each.index))[:_SHOWN]
    width = max(len(each.label) for each in shown)
    return [
        "",
        f"{'weakest ' if len(there) > _SHOWN else ''}classes, average precision",
        *(f"{each.label:{width}}  {each.percent:6.2f} %  shown by {each.num_items}" for each in shown),
    ]


def _weakest(name: str, head: HeadResult) -> list[str]:
    """The classes with the lowest accuracy, each with what it is most often taken for."""
    import numpy as np

    counts, right = head.num_items, head.num_right
    classes = sorted(np.flatnonzero(counts).tolist(), key=lambda index: (right[index] / counts[index], index))[:_SHOWN]
    width = max((len(head.labels[index]) for index in classes), default=0)
    what = f"{name} classes" if name else "classes"
    lines = ["", f"weakest {what}" if np.count_nonzero(counts) > _SHOWN else f"{what}"]
    for index in classes:
        row = head.confusion[index].copy()
        row[index] = 0
        taken = f"   most often taken for {head.labels[int(row.argmax())]} ({row.max()})" if row.any() else ""
        share = 100 * right[index] / counts[index]
        lines.append(f"{head.labels[index]:{width}}  {share:6.2f} %  {right[index]} of {counts[index]}{taken}")
    return lines
