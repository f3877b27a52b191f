"""What `tada finetune` shows of a run: the plan, progress, and what the folder holds in the end."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from tadacli.cli.console import be_quiet, say, say_note
from tadacli.cli.finetune_plan import plan_lines
from tadacli.cli.progress import Progress
from tadacli.errors import TadaError
from tadacli.training.frame_cache import CacheUse
from tadacli.training.loop import StepReport
from tadacli.training.plan import FinetuneJob
from tadacli.training.run import Evaluated, FinetuneResult, Listener
from tadacli.training.run_folder import RunFolder
from tadacli.training.segment_thresholds import segments_line
from tadacli.training.validation import ONE_VIEW, Validation
from tadacli.zoo.store import size_text

if TYPE_CHECKING:
    from tadacli.evaluation.majority import MajorityClass
    from tadacli.evaluation.report import EvalReport


class RunView:
    """What is shown of a run, by the first of its processes: the plan, a bar over the steps, evaluations, the result.

    As a context it ends the bars, and says how an interrupted run goes on.
    """

    def __init__(self, output: Path | None, *, is_dry: bool) -> None:
        self._is_first = "WORLD_SIZE" not in os.environ or os.environ.get("RANK") == "0"
        if not self._is_first:
            be_quiet(True)
        self._output, self._is_dry = output, is_dry
        self._files = Progress("looking at the videos", unit="file")
        self._steps = Progress(unit="step")
        self._videos = Progress("windows of held-out videos", unit="video")
        self._job: FinetuneJob | None = None
        self._accuracy = ""
        self._cache: CacheUse | None = None
        self.listener = Listener(
            on_files=self._files.reach,
            on_plan=self._plan,
            on_step=self._step,
            on_evaluation=self._evaluation,
            on_cache=self._keep,
            on_searched_video=self._videos.reach,
        )

    def __enter__(self) -> RunView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()
        self._steps.close()
        self._videos.close()
        if isinstance(error, KeyboardInterrupt) and self._job is not None and not self._is_dry:
            resume = () if "--resume" in sys.argv else ("--resume",)
            again = shlex.join(["tada", *sys.argv[1:], *resume])
            say(f"interrupted; to go on: {again}")
        if isinstance(error, TadaError) and self._job is None and not self._is_first:
            raise typer.Exit(error.exit_code) from error  # the first process says it for all

    def _plan(self, job: FinetuneJob) -> None:
        self._files.close()
        self._job = job
        lines = [] if self._is_dry else plan_lines(job)
        for each in job.data.notes:
            say_note(str(each))
        for line in lines:
            say(line)

    def _step(self, report: StepReport) -> None:
        loss = f"loss {report.loss:.3f}{self._accuracy}"
        self._steps.reach(report.step, report.num_steps, begun_at=report.step - 1, more=loss)

    def _evaluation(self, found: Evaluated) -> None:
        validation = found.validation
        reached = f"{'top-1' if validation.several is None else 'mAP'} {validation.merit:.1f} %"
        self._accuracy = f", {reached}"
        count = f"{len(validation.table.ids)} of {len(validation.table.ids) + len(validation.failed)} items"
        best = ", the best so far" if found.is_best else ""
        say(
            f"step {found.step}, epoch {found.epoch:.1f}: {reached} "
            f"({_plain(validation)}), loss {validation.loss:.3f} on {count}, one view each{best}",
        )

    def _keep(self, use: CacheUse) -> None:
        self._cache = use

    def say_result(self, result: FinetuneResult) -> None:
        """Says how good the best model is, and where it lies."""
        assert self._output is not None
        assert self._job is not None
        report, folder = result.report, RunFolder(self._output)
        if result.stopped_early:
            say(f"stopped early, after step {result.num_steps} of {self._job.settings.num_steps}")
        if self._cache is not None:
            say_note(_kept(self._cache, len(self._job.data.train.samples)))
        for line in (*result.fitted.notes, *(result.segments.notes if result.segments else ())):
            say_note(line)
        if not folder.curves.is_file():
            say_note('no picture of the curves; pip install "tadacli[curves]" draws one')
        scored = f"{report.num_scored} of {report.num_items} held-out items, {_views(result)}"
        say(f"the best model, of step {result.best_step}, on {scored}: {_accuracies(report)}")
        if result.views != ONE_VIEW:
            has_map = result.one_view_map is not None
            reached = f"mAP {result.one_view_map:.1f} %" if has_map else f"top-1 {result.one_view_top1:.1f} %"
            say(f"one view each, as in the log: {reached}")
        if result.segments is not None:
            say(f"segments of detect --threshold auto: {segments_line(result.segments)}")
        model = shlex.quote(str(folder.path))
        say(f"{folder.card} says more; to use it: tada classify --model {model} VIDEO")


def _kept(use: CacheUse, num_samples: int) -> str:
    """What was kept of frames, as far as one process knows."""
    share = f"the frames of {use.num_samples} of {num_samples} training samples"
    return f"{share} were kept, in {size_text(use.used_bytes)} of {size_text(use.num_bytes)}"


def _accuracies(report: EvalReport) -> str:
    """The accuracies, with their intervals where there is one head."""
    spreads = report.heads[""].intervals if "" in report.heads else {}
    texts = []
    for name, value in report.percent.items():
        if name in spreads or not spreads:
            low, high = spreads.get(name, (None, None))
            texts.append(f"{name} {value:.1f} %" + ("" if low is None else f" ({low:.1f} to {high:.1f})"))
    always = [(f"{name} " if name else "") + _majority(each) for name, each in report.majority.items()]
    return "; ".join([", ".join(texts), *always])


def _majority(found: MajorityClass) -> str:
    return f"always {found.label!r}: {found.percent:.1f} %"


def _plain(found: Validation) -> str:
    """What is reached without looking: by always giving the same answer, or of several labels by chance."""
    return _majority(found.majority) if found.several is None else f"by chance: {found.several.chance:.1f} %"


def _views(result: FinetuneResult) -> str:
    return "one view each, as in the log" if result.views == ONE_VIEW else f"{result.views} views each"
