"""`tada finetune --task detection`: a head that finds segments, from labelled segments of long videos."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.cli import options
from tadacli.cli.console import be_quiet, say, say_note
from tadacli.cli.progress import Progress
from tadacli.errors import UsageError
from tadacli.zoo import DEFAULT_MODEL, Trust

if TYPE_CHECKING:
    from tadacli.training import HeadKind, Unlabelled
    from tadacli.training.data import FinetuneData
    from tadacli.training.heads.data import HeadData
    from tadacli.training.heads.fitting import Progress as Evaluated
    from tadacli.training.heads.publishing import HeadResult
    from tadacli.training.heads.settings import HeadSettings
    from tadacli.training.loop import StepReport
    from tadacli.zoo.loading import Model

_OF_DETECTION = frozenset(("head", "features", "snippet", "stride"))
# The parameters of the command that mean something for a head; the others are about training a network on clips.
_USED = _OF_DETECTION | frozenset(
    "data dataset annotations data_root labels tier train_split validation_split validation_share group_by fps model "
    "unlabelled negatives multi_label weights trust fetch setting epochs batch_size learning_rate seed task device "
    "index output resume quiet".split()
)


@dataclass(frozen=True)
class HeadOptions:
    """What the command was asked for, as far as it concerns a head."""

    output: Path | None
    head: HeadKind
    features: Path | None
    negatives: Path | None
    validation_share: float
    unlabelled: Unlabelled
    snippet: str | None
    stride: str | None
    fps: float | None
    model: str
    weights: str | None
    trust: Trust | None
    fetch: bool
    settings: Mapping[str, str]
    numbers: Mapping[str, float]
    device: str
    index: str | None
    resume: bool


def refuse_unused(given: Mapping[str, object], defaults: Mapping[str, object], *, is_detection: bool) -> None:
    """Raise `UsageError` for an option that was given and would be without effect."""
    for name, value in given.items():
        is_used = name in _USED if is_detection else name not in _OF_DETECTION
        if is_used or value == defaults[name] or value == []:
            continue
        option = f"--{name.replace('_', '-')}"
        if is_detection:
            raise UsageError(f"{option} does not go with --task detection", hint="leave it out: it is about clips")
        raise UsageError(f"{option} goes with --task detection", hint="add that, or leave the option out")


def train_head(load: Callable[[int], FinetuneData], chosen: HeadOptions) -> None:
    """Trains a head and says how good it is."""
    if chosen.output is None:
        raise UsageError("the run needs a folder", hint="--output runs/mine")
    if chosen.features is not None and (chosen.snippet or chosen.stride):
        raise UsageError(
            "--features are there already, of snippets of their own", hint="leave --snippet and --stride out"
        )
    from tadacli.sampling.snippets import snippet_settings
    from tadacli.training.heads.session import HeadListener, finetune_head
    from tadacli.training.negatives import find_negatives

    if "WORLD_SIZE" in os.environ and os.environ.get("RANK") != "0":
        be_quiet(True)  # the first process speaks for all
    settings = {**_typed(chosen.settings), **chosen.numbers}
    seed = settings.get("seed", 0)
    seed = seed if isinstance(seed, int) else 0
    view = _View()
    with view:
        data = load(seed)
        result = finetune_head(
            data,
            output=chosen.output,
            features=chosen.features or snippet_settings(snippet=chosen.snippet, stride=chosen.stride, fps=chosen.fps),
            head=chosen.head,
            trunk=_trunk(chosen),
            negatives=None
            if chosen.negatives is None
            else find_negatives(chosen.negatives, data, validation_share=chosen.validation_share, seed=seed),
            unlabelled=chosen.unlabelled,
            settings=settings,
            device=chosen.device,
            index=chosen.index,
            resume=chosen.resume,
            command=["tada", *sys.argv[1:]],
            listener=HeadListener(
                on_features=view.features, on_plan=view.plan, on_step=view.step, on_evaluation=view.evaluation
            ),
        )
    _say_result(result, chosen.output)


def _trunk(chosen: HeadOptions) -> Model | None:
    """The model that makes features, or made them; of features that are there, the usual one is not meant."""
    if chosen.features is not None and chosen.model == DEFAULT_MODEL:
        return None
    return options.repeatable_model(
        chosen.model,
        weights=chosen.weights,
        device=chosen.device,
        dtype="float32",
        fetch=chosen.fetch,
        trust=chosen.trust,
    )


def _typed(settings: Mapping[str, str]) -> dict[str, object]:
    """The values of --set as JSON has them, or as text."""
    found: dict[str, object] = {}
    for name, text in settings.items():
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        found[name] = tuple(value) if isinstance(value, list) else value
    return found


class _View:
    """What is shown of a run: bars over videos and steps, and the evaluations."""

    def __init__(self) -> None:
        self._videos, self._steps = Progress("making features", unit="video"), Progress(unit="step")

    def __enter__(self) -> _View:
        return self

    def __exit__(self, *_: object) -> None:
        self._videos.close()
        self._steps.close()

    def features(self, number: int, total: int) -> None:
        """A video's features are there."""
        self._videos.reach(number, total)

    def plan(self, data: HeadData, settings: HeadSettings) -> None:
        """What will be trained on what."""
        from tadacli.results import counted
        from tadacli.training.heads.data import negatives_line

        self._videos.close()
        for remark in data.remarks:
            say_note(remark)
        for split, sequences in (("train", data.train), ("validation", data.validation)):
            num_segments = counted(sum(len(each.spans) for each in sequences), "segments")
            say(f"{split}: {num_segments} of {counted(len(sequences), 'videos')}")
        if line := negatives_line(data):
            say(f"negatives: {line}")
        steps = data.steps
        averaged = f", the mean of {settings.members}" if settings.members > 1 else ""
        say(f"features: {steps.num_channels} channels every {steps.stride_seconds:g} s; {settings.kind} head{averaged}")

    def step(self, report: StepReport) -> None:
        """A step was taken."""
        self._steps.reach(report.step, report.num_steps, begun_at=report.step - 1, more=f"loss {report.loss:.3f}")

    def evaluation(self, found: Evaluated) -> None:
        """An evaluation on the validation videos."""
        best = ", the best so far" if found.is_best else ""
        say(f"step {found.step}, epoch {found.epoch:.0f}: mAP {100 * found.precision:.1f} %{best}")


def _say_result(result: HeadResult, output: Path) -> None:
    from tadacli.results import counted

    metrics = result.metrics
    at = ", ".join(
        f"{100 * value:.1f} % at {tiou:.2g}"
        for tiou, value in zip(metrics.tiou, metrics.mean_average_precision, strict=True)
    )
    say(
        f"the best head, of step {result.fitted.best_step}, on {counted(result.num_segments, 'segments')} of "
        f"{counted(result.num_videos, 'validation videos')}: mAP {at}"
    )
    say(f"to use it: tada detect VIDEO --model {shlex.quote(str(output))} --threshold auto")
