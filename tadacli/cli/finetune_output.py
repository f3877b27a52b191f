"""What `tada finetune` shows of a run: the plan, progress, and what the folder holds in the end."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from tadacli.cli.console import StepProgress, say
from tadacli.cli.finetune_plan import plan_lines
from tadacli.errors import TadaError
from tadacli.training.loop import StepReport
from tadacli.training.run import Evaluated, FinetuneJob, FinetuneResult, Listener
from tadacli.training.run_folder import RunFolder

if TYPE_CHECKING:
    from tadacli.evaluation.report import EvalReport


class RunView:
    """What is shown of a run, by the first of its processes: the plan, a bar over the steps, evaluations, the result.

    As a context it ends the bars, and says how an interrupted run goes on.
    """

    def __init__(self, output: Path | None, *, quiet: bool, is_dry: bool) -> None:
        self._is_first = "WORLD_SIZE" not in os.environ or os.environ.get("RANK") == "0"
        self._output, self._quiet, self._is_dry = output, quiet or not self._is_first, is_dry
        self._files = StepProgress("looking at the videos", unit="file", quiet=self._quiet)
        self._job: FinetuneJob | None = None
        self._bar: Any = None
        self._accuracy = ""
        self.listener = Listener(
            on_files=self._files.reach, on_plan=self._plan, on_step=self._step, on_evaluation=self._evaluation
        )

    def __enter__(self) -> RunView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__()
        if self._bar is not None:
            self._bar.close()
        if isinstance(error, KeyboardInterrupt) and self._job is not None and not self._is_dry:
            resume = () if "--resume" in sys.argv else ("--resume",)
            again = shlex.join(["tada", *sys.argv[1:], *resume])
            say(f"interrupted; to go on: {again}", quiet=self._quiet)
        if isinstance(error, TadaError) and self._job is None and not self._is_first:
            raise typer.Exit(error.exit_code) from error  # the first process says it for all

    def _plan(self, job: FinetuneJob) -> None:
        self._files.__exit__()
        self._job = job
        lines = [] if self._is_dry else plan_lines(job)
        for line in [*(f"note: {note}" for note in job.data.notes), *lines]:
            say(line, quiet=self._quiet)

    def _step(self, report: StepReport) -> None:
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=report.num_steps,
                initial=report.step - 1,
                unit="step",
                file=sys.stderr,
                disable=True if self._quiet else None,
                dynamic_ncols=True,
                leave=False,
            )
        self._bar.set_postfix_str(f"loss {report.loss:.3f}{self._accuracy}", refresh=False)
        self._bar.update(1)

    def _evaluation(self, found: Evaluated) -> None:
        validation = found.validation
        self._accuracy = f", top-1 {validation.top1:.1f} %"
        if self._bar is not None:
            self._bar.clear()
        count = f"{len(validation.table.ids)} of {len(validation.table.ids) + len(validation.failed)} items"
        best = ", the best so far" if found.is_best else ""
        say(
            f"step {found.step}, epoch {found.epoch:.1f}: top-1 {validation.top1:.1f} %, loss {validation.loss:.3f} "
            f"on {count}{best}",
            quiet=self._quiet,
        )

    def say_result(self, result: FinetuneResult) -> None:
        """Says how good the best model is, and where it lies."""
        assert self._output is not None
        assert self._job is not None
        report, folder, quiet = result.report, RunFolder(self._output), self._quiet
        if result.stopped_early:
            say(f"stopped early, after step {result.num_steps} of {self._job.settings.num_steps}", quiet=quiet)
        for line in result.fitted.notes:
            say(f"note: {line}", quiet=quiet)
        if not folder.curves.is_file():
            say('note: no picture of the curves; pip install "tadacli[curves]" draws one', quiet=quiet)
        scored = f"{report.num_scored} of {report.num_items} held-out items"
        say(f"the best model, of step {result.best_step}, on {scored}: {_accuracies(report)}", quiet=quiet)
        model = shlex.quote(str(folder.path))
        say(f"{folder.card} says more; to use it: tada classify --model {model} VIDEO", quiet=quiet)


def _accuracies(report: EvalReport) -> str:
    """The accuracies, with their intervals where there is one head."""
    spreads = report.heads[""].intervals if "" in report.heads else {}
    texts = []
    for name, value in report.metrics.items():
        if name in spreads or not spreads:
            low, high = spreads.get(name, (None, None))
            texts.append(f"{name} {value:.1f} %" + ("" if low is None else f" ({low:.1f} to {high:.1f})"))
    return ", ".join(texts)
