"""What `tada eval` shows of a run: progress, the report, and what is left after Ctrl-C."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from tadacli.cli import exits
from tadacli.cli.console import say, say_note, showing
from tadacli.cli.eval_output import Destination
from tadacli.cli.printable import printable
from tadacli.cli.progress import Progress

if TYPE_CHECKING:
    from tadacli.evaluation.evaluating import EvalStart
    from tadacli.evaluation.report import EvalReport
    from tadacli.profiling import Profile

# A run of more items than this should not be lost.
_LONG_RUN = 200


def publish_run(
    run: Callable[..., EvalReport], destination: Destination, *, name: str, keeps: bool, profile: Profile | None
) -> None:
    """Evaluate, and publish the report, also when interrupted; `keeps` says that a file holds what is done."""
    from tadacli.evaluation.evaluating import EvalInterrupted

    stopped = None

    def begin(start: EvalStart) -> None:
        if start.num_done < start.num_items:  # reports that are there already are not of this run
            destination.check()
        if start.shard is not None:
            say(f"shard {start.shard}: {start.num_items} of {start.num_in_split} items")
        if start.num_done:
            say(f"resuming: {start.num_done} of {start.num_items} items are done")
        if not keeps and start.num_items > _LONG_RUN:
            say_note("nothing is kept if this run stops; --save-predictions FILE keeps every item")

    with showing(profile), Progress(name, unit="item") as progress:
        try:
            report: EvalReport | None = run(on_start=begin, on_progress=progress.reach)
        except EvalInterrupted as interrupted:
            stopped, report = interrupted, interrupted.report
    if report is not None:
        destination.publish(report, partial=stopped is not None)
    if stopped is not None:
        if stopped.reason:
            say(f"no report yet: {printable(stopped.reason)}", always=True)
        how = "--resume continues" if keeps else "add --save-predictions FILE to go on later"
        say(f"interrupted: {stopped.num_done} of {stopped.num_items} items are done; {how}", always=True)
        raise typer.Exit(exits.INTERRUPTED)
    if report is not None and report.num_items and not report.is_complete:
        raise typer.Exit(exits.SOME_FAILED)
