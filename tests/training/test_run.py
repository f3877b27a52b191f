"""Fine-tuning as a whole: it learns, goes on after any interruption, is the same in parts, and stops on bad numbers."""

from __future__ import annotations

import dataclasses
import itertools
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tadacli.datasets.samples import Dataset, Sample
from tadacli.distributed import Processes, Resources
from tadacli.errors import CheckpointError, OutputError, TadaError, UsageError
from tadacli.models import build
from tadacli.reports.eval_json import eval_json
from tadacli.specs import EvalProtocol, InputSpec, ModelSpec, count_classes
from tadacli.training import run as finetuning
from tadacli.training.data import FinetuneData
from tadacli.training.estimate import clips_that_fit, estimate, out_of_memory
from tadacli.training.loop import StepReport, Trainer
from tadacli.training.plan import FinetuneJob, plan_finetuning
from tadacli.training.recipes import load_recipe
from tadacli.training.run import Evaluated, FinetuneResult, Listener, run_finetuning
from tadacli.training.run_folder import RunFolder
from tadacli.training.run_log import RunLog, read_log
from tadacli.training.starting_point import starting_point
from tadacli.training.validation import Validation, validate
from tadacli.zoo.checkpoints import read_checkpoint, write_checkpoint
from tests.trees import render

CPU = torch.device("cpu")
GREY, SPREAD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
INPUT = InputSpec("interval", 2, 1, 30.0, 32, 32, GREY, SPREAD)
Heads = Mapping[str, tuple[str, ...]]
ONE_HEAD: Heads = {"": ("left", "right", "up")}


def write_base(path: Path, heads: Heads, **arguments: Any) -> Path:
    """An untrained network of four channels in a weights file of our own."""
    settings = {"widths": [4, 4, 4, 4], **arguments}
    spec = ModelSpec(
        "r2plus1d_tiny.base", "r2plus1d_tiny", "action", "none", INPUT, heads, EvalProtocol(2, 1), arguments=settings
    )
    torch.manual_seed(1)
    write_checkpoint(path, build(spec.architecture, num_classes=count_classes(heads), **settings).state_dict(), spec)
    return path


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks of four channels gain nothing from more, and wait for them on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten short videos that look different."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(10):
        render(folder / f"{number}.mp4", number, 6)
    return [folder / f"{number}.mp4" for number in range(10)]


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base") / "base.safetensors", ONE_HEAD)


def dataset(paths: list[Path], labels: list[dict[str, int]], heads: Heads = ONE_HEAD) -> Dataset:
    pairs = zip(paths, labels, strict=True)
    return Dataset("made up", heads, tuple(Sample(path.name, path, label) for path, label in pairs))


def data_of(clips: list[Path], heads: Heads = ONE_HEAD) -> FinetuneData:
    """Seven clips to train with and three to validate with."""
    labels = [{head: number % len(names) for head, names in heads.items()} for number in range(10)]
    sides = dataset(clips[:7], labels[:7], heads), dataset(clips[7:], labels[7:], heads)
    return FinetuneData("made up", heads, *sides, how_split="by hand")


STEADY = {"epochs": 3.0, "batch_size": 4, "learning_rate": 0.01, "warmup_epochs": 0.0, "evaluate_every_epochs": 1.0}


def job_of(data: FinetuneData, base: Path, *, recipe: str = "finetune", **changes: Any) -> FinetuneJob:
    chosen = load_recipe(recipe, {**STEADY, **changes})
    start = starting_point(base, heads=data.heads, name="mine", dataset=data.name, seed=chosen.seed)
    return plan_finetuning(data, start, chosen)


def run(
    job: FinetuneJob, folder: Path, listener: Listener | None = None, *, save_every: float = 120.0
) -> FinetuneResult:
    folder.mkdir(exist_ok=True)
    return run_finetuning(
        job, RunFolder(folder), Resources(CPU, workers=0), save_every_seconds=save_every, listener=listener
    )


def outcome(folder: Path, result: FinetuneResult) -> list[Any]:
    """Everything a run leaves, but for times."""
    files = RunFolder(folder)
    rows = [dataclasses.replace(row, elapsed_seconds=0.0) for row in read_log(files.log)]
    written = [files.model.read_bytes(), files.last.read_bytes(), files.splits.read_bytes()]
    return [rows, *written, eval_json(result.report), result.fitted, result.best_step, result.num_steps]


# --- it learns ----------------------------------------------------------------------------------------------


def test_overfits_eight_clips(clips: list[Path], tmp_path: Path) -> None:
    heads = {"": ("one", "other")}
    answers = [{"": number} for number in (0, 1, 1, 0, 1, 0, 0, 1)]
    same = dataset(clips[:8], answers, heads)
    data = FinetuneData("made up", heads, same, same, how_split="not at all")
    base = write_base(tmp_path / "base.safetensors", heads, widths=[8, 8, 16, 16])
    job = job_of(
        data,
        base,
        epochs=60.0,
        batch_size=8,
        flip="none",
        short_sides=(32, 32),
        dropout=0.0,
        learning_rate=0.003,
        evaluate_every_epochs=60.0,
    )
    result = run(job, tmp_path / "run")
    assert result.report.percent["top1"] == 100.0
    assert [row.accuracies["top1"] for row in read_log(tmp_path / "run" / "log.csv") if row.event == "evaluation"] == [
        100.0
    ]


def test_verbs_and_nouns_are_two_heads(clips: list[Path], tmp_path: Path) -> None:
    heads = {"verb": ("open", "close"), "noun": ("door", "box", "jar")}
    base = write_base(tmp_path / "base.safetensors", ONE_HEAD)
    result = run(job_of(data_of(clips, heads), base, epochs=1.0), tmp_path / "run")
    model = read_checkpoint(tmp_path / "run" / "model.safetensors")
    assert model.spec is not None
    assert dict(model.spec.heads) == heads
    assert {name: len(model.state_dict[f"head.{name}.weight"]) for name in ("linear1", "linear2")} == {
        "linear1": 2,
        "linear2": 3,
    }
    assert set(result.fitted.thresholds) == {"verb", "noun"}
    (row,) = [row for row in read_log(tmp_path / "run" / "log.csv") if row.event == "evaluation"]
    assert list(row.accuracies) == ["verb_top1", "noun_top1", "action_top1"]


# --- it goes on ---------------------------------------------------------------------------------------------


class InterruptedRunError(Exception):
    pass


def fails_at(count: int, function: Callable[..., Any], *, first: bool = True) -> Callable[..., Any]:
    """The function, but its call number `count` raises, before or after it has done its work."""
    calls = 0

    def wrapper(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count and first:
            raise InterruptedRunError
        result = function(*arguments, **options)
        if calls == count:
            raise InterruptedRunError
        return result

    return wrapper


RICH = {"epochs": 2.0, "balance": True, "mixup": 0.5, "ema_decay": 0.9, "early_stop": 50, "dropout": 0.3}
BREAKS: list[tuple[str, Any, str, list[int]]] = [
    # what is broken, its owner, its name, at which calls
    ("a row of the log", RunLog, "add", [1, 3]),
    ("a model", finetuning, "write_checkpoint", [1, 2]),
    ("a checkpoint", Trainer, "save", [1, 2]),
    ("an update", Trainer, "run_step", [4]),
    ("the end", finetuning, "fit_scores", [1]),
    ("the report", finetuning, "evaluate_scores", [1]),
]


def test_a_run_that_was_interrupted_anywhere_ends_as_one_that_was_not(
    clips: list[Path], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_of(clips)
    expected = outcome(tmp_path / "whole", run(job_of(data, base, **RICH), tmp_path / "whole"))
    num_broken = 0
    for what, owner, name, calls in BREAKS:
        for count in calls:
            for first in (True, False):
                folder = tmp_path / f"{name} {count} {first}"
                with monkeypatch.context() as patch:
                    patch.setattr(owner, name, fails_at(count, getattr(owner, name), first=first))
                    try:
                        run(job_of(data, base, **RICH), folder)
                    except InterruptedRunError:
                        num_broken += 1
                assert outcome(folder, run(job_of(data, base, **RICH), folder)) == expected, (what, count, first)
    assert num_broken == 2 * sum(len(calls) for *_, calls in BREAKS)


def test_a_run_that_is_interrupted_again_and_again_ends_the_same(clips: list[Path], base: Path, tmp_path: Path) -> None:
    """Checkpoints at every step, and a listener that fails behind each step and each evaluation."""
    data = data_of(clips)
    expected = outcome(tmp_path / "whole", run(job_of(data, base, **RICH), tmp_path / "whole"))
    seen: set[tuple[str, int]] = set()

    def hear(kind: str, step: int) -> None:
        if (kind, step) not in seen:
            seen.add((kind, step))
            raise InterruptedRunError

    listener = Listener(
        on_step=lambda report: hear("step", report.step), on_evaluation=lambda found: hear("evaluation", found.step)
    )
    for _ in range(40):
        try:
            result = run(job_of(data, base, **RICH), tmp_path / "broken", listener, save_every=-1.0)
            break
        except InterruptedRunError:
            continue
    assert outcome(tmp_path / "broken", result) == expected
    assert seen == {("step", step) for step in range(1, 5)} | {("evaluation", step) for step in (2, 4)}


def test_a_finished_run_only_evaluates_again(clips: list[Path], base: Path, tmp_path: Path) -> None:
    first = outcome(tmp_path / "run", run(job_of(data_of(clips), base), tmp_path / "run"))
    steps: list[StepReport] = []
    again = run(job_of(data_of(clips), base), tmp_path / "run", Listener(on_step=steps.append))
    assert not steps
    assert outcome(tmp_path / "run", again) == first


def relabelled(data: FinetuneData) -> FinetuneData:
    first, *others = data.train.samples
    other = dataclasses.replace(first, labels={"": 1 - first.labels[""]})
    return dataclasses.replace(data, train=dataclasses.replace(data.train, samples=(other, *others)))


def without_one(data: FinetuneData) -> FinetuneData:
    kept = dataclasses.replace(data.validation, samples=data.validation.samples[1:])
    return dataclasses.replace(data, validation=kept)


@pytest.mark.parametrize(
    ("changes", "change_data", "said"),
    [
        pytest.param({"learning_rate": 0.02}, None, "learning_rate was 0.01, is 0.02", id="a rate"),
        pytest.param({"epochs": 4.0}, None, r"num_steps was 6, is 7", id="a length"),
        pytest.param({"accumulate": 2}, None, "clips_at_once was 4, is 2", id="fewer clips in each pass"),
        pytest.param({"mixup": 0.5}, None, r"recipe\.mixup was 0\.0, is 0\.5", id="what only the clips know"),
        pytest.param({}, relabelled, r"data\.train was '7 samples", id="a label"),
        pytest.param({}, without_one, r"data\.validation was '3 samples .*, is '2 samples", id="an item less"),
    ],
)
def test_a_run_is_not_continued_as_another_one(
    clips: list[Path], base: Path, tmp_path: Path, changes: dict[str, Any], change_data: Any, said: str
) -> None:
    data = data_of(clips)
    with pytest.raises(InterruptedRunError):
        run(job_of(data, base), tmp_path / "run", Listener(on_step=fails_at(3, lambda _: None)))
    other = data if change_data is None else change_data(data)
    with pytest.raises(CheckpointError, match=said) as error:
        run(job_of(other, base, **changes), tmp_path / "run")
    assert "\n" not in error.value.message


def test_a_recipe_of_other_words_is_the_same_run(clips: list[Path], base: Path, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError):
        run(job_of(data_of(clips), base), tmp_path / "run", Listener(on_step=fails_at(3, lambda _: None)))
    run(job_of(data_of(clips), base, note="from my notebook"), tmp_path / "run")


# --- which model is kept ------------------------------------------------------------------------------------


def played(values: list[tuple[float, float]]) -> Callable[..., Validation]:
    """A validation that finds these (top1, loss), one after the other, and then what there is."""
    coming = iter(values)

    def fake(*arguments: Any, **options: Any) -> Validation:
        found = validate(*arguments, **options)
        top1, loss = next(coming, (found.top1, found.loss))
        return dataclasses.replace(found, top1=top1, loss=loss)

    return fake


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([(50, 1.0), (60, 2.0), (40, 0.1)], 2),
        ([(50, 1.0), (50, 0.9), (50, 0.95)], 2),
        ([(50, 1.0), (50, 1.0), (50, 1.0)], 1),
        ([(50, 1.0), (50, 1.1), (51, 9.0)], 3),
    ],
    ids=["by accuracy", "then by loss", "then the first", "the last"],
)
def test_the_best_and_the_last_model_are_kept(
    clips: list[Path],
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: list[tuple[float, float]],
    best: int,
) -> None:
    states: list[dict[str, torch.Tensor]] = []

    def keep(network: torch.nn.Module, *arguments: Any, **options: Any) -> Validation:
        states.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return fake(network, *arguments, **options)

    fake = played(values)
    monkeypatch.setattr(finetuning, "validate", keep)
    result = run(job_of(data_of(clips), base), tmp_path / "run")
    assert result.best_step == 2 * best
    for name, expected in (("model", states[best - 1]), ("last", states[2])):
        found = read_checkpoint(tmp_path / "run" / f"{name}.safetensors").state_dict
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items()), name
    assert not torch.equal(states[0]["head.out.weight"], states[2]["head.out.weight"])


def test_early_stop_counts_evaluations_without_a_better_one(
    clips: list[Path], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [(50, 1.0), (40, 1.0), (60, 1.0), (60, 1.0), (59, 0.1), (99, 0.1)]
    monkeypatch.setattr(finetuning, "validate", played(values))
    heard: list[Evaluated] = []
    job = job_of(data_of(clips), base, epochs=20.0, early_stop=2)
    result = run(job, tmp_path / "run", Listener(on_evaluation=heard.append))
    assert [found.is_best for found in heard] == [True, False, True, False, False]
    assert (result.stopped_early, result.num_steps, result.best_step) == (True, 10, 6)
    assert (tmp_path / "run" / "last.safetensors").is_file()
    again = run(job_of(data_of(clips), base, epochs=20.0, early_stop=2), tmp_path / "run")
    assert (again.stopped_early, again.num_steps, again.best_step) == (True, 10, 6)


# --- what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluate_every", [0.5, 1.0], ids=["seen by the evaluation", "seen by the loss"])
def test_bad_numbers_stop_it_and_leave_the_last_good_checkpoint(
    clips: list[Path], base: Path, tmp_path: Path, evaluate_every: float
) -> None:
    wild = {"learning_rate": 1e30, "max_grad_norm": 0.0, "warmup_epochs": 2.0, "warmup_start_rate": 0.0}
    wild |= {"optimizer": "sgd", "evaluate_every_epochs": evaluate_every, "weight_decay": 0.0}
    heard: list[Evaluated] = []
    with pytest.raises(TadaError, match=r"^training stopped at step \d+: [^\n]*$") as error:
        run(job_of(data_of(clips), base, **wild), tmp_path / "run", Listener(on_evaluation=heard.append))
    assert error.value.exit_code == 1
    assert error.value.hint
    files = RunFolder(tmp_path / "run")
    assert files.checkpoint.is_file() == files.model.is_file() == bool(heard)
    if heard:
        state = torch.load(files.checkpoint, weights_only=True)
        assert state["step"] == heard[-1].step
        assert all(bool(tensor.isfinite().all()) for tensor in state["network"].values())


def test_a_full_disk_is_said_and_the_run_goes_on_later(
    clips: list[Path], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, folder = data_of(clips), tmp_path / "run"
    expected = outcome(tmp_path / "whole", run(job_of(data, base), tmp_path / "whole"))
    for owner, name, call in ((finetuning, "write_checkpoint", 1), (Trainer, "save", 1), (Trainer, "save", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, on_a_full_disk(getattr(owner, name), at_call=call))
            with pytest.raises(OutputError, match=r"cannot be written: (File too large|No space)") as raised:
                run(job_of(data, base), folder, save_every=-1.0)
        assert raised.value.hint == "free some space, then go on with --resume"
        assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    # The last good one stays.
    assert torch.load(folder / "checkpoint.pt", weights_only=True)["step"] == 2
    assert outcome(folder, run(job_of(data, base), folder)) == expected


def on_a_full_disk(function: Callable[..., Any], *, at_call: int) -> Callable[..., Any]:
    """The function, of which the call of this number finds no room for more than a few bytes."""
    calls = itertools.count(1)

    def wrapper(*arguments: Any, **options: Any) -> Any:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        if next(calls) == at_call:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
        try:
            return function(*arguments, **options)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return wrapper


@pytest.mark.parametrize(
    ("changes", "num_processes", "said"),
    [
        ({"batch_size": 5}, 2, "a batch of 5 clips cannot be shared by 2 processes in 1 parts"),
        ({"batch_size": 6, "accumulate": 2}, 2, "shared by 2 processes in 2 parts"),
        ({"recipe": "tada2d_r50.ssv2_8f", "epochs": 10.0}, 1, "no head has both"),
    ],
)
def test_what_cannot_be_is_said_when_it_is_planned(
    clips: list[Path], base: Path, changes: dict[str, Any], num_processes: int, said: str
) -> None:
    data = data_of(clips)
    recipe = load_recipe(changes.pop("recipe", "finetune"), {**STEADY, **changes})
    start = starting_point(base, heads=data.heads, name="mine", dataset=data.name)
    with pytest.raises(UsageError, match=said):
        plan_finetuning(data, start, recipe, num_processes=num_processes)


# --- the plan -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_processes_share_a_batch_as_its_parts(clips: list[Path], base: Path, count: int, accumulate: int) -> None:
    job = job_of(data_of(clips), base, batch_size=12, accumulate=accumulate)
    for step in (0, 3):
        shared = [job.positions(step, Processes(rank, count)) for rank in range(count)]
        assert [len(parts) for parts in shared] == [accumulate] * count
        assert [place for parts in shared for part in parts for place in part] == list(range(12 * step, 12 * step + 12))


def test_a_run_goes_on_in_more_processes_only_where_these_give_its_weights(clips: list[Path], base: Path) -> None:
    """Batch norms that learn see the clips of one pass: halves, in a row or in two processes, are not the whole."""
    data, (one, two) = data_of(clips), (Processes(0, count) for count in (1, 2))
    whole, halves = job_of(data, base), job_of(data, base, accumulate=2)
    assert whole.identity(two) == halves.identity(one) != whole.identity(one)
    for frozen in ({"freeze": "trunk"}, {"freeze_norms": True}):
        whole_frozen, halves_frozen = job_of(data, base, **frozen), job_of(data, base, accumulate=2, **frozen)
        assert whole_frozen.identity(one) == whole_frozen.identity(two) == halves_frozen.identity(one)


def test_a_mirror_turns_no_label_into_a_wrong_one(clips: list[Path], base: Path) -> None:
    pair = job_of(data_of(clips), base).recipe.augmentation
    assert (pair.flip, pair.flip_pairs) == ("labels", (("left", "right"),))
    alone = job_of(data_of(clips, {"": ("turn left", "sit", "stand")}), base).recipe.augmentation
    assert (alone.flip, alone.flip_pairs) == ("none", ())
    plain = job_of(data_of(clips, {"": ("fall", "sit", "stand")}), base).recipe.augmentation
    assert (plain.flip, plain.flip_pairs) == ("plain", ())
    assert job_of(data_of(clips), base, flip="none").recipe.augmentation.flip == "none"


def test_an_estimate_changes_nothing(clips: list[Path], base: Path) -> None:
    job = job_of(data_of(clips), base, epochs=1.0, batch_size=7)
    before = {name: tensor.clone() for name, tensor in job.start.network.state_dict().items()}
    found = estimate(job, Resources(CPU))
    assert found.seconds_per_step > 0
    assert found.memory_bytes > 0
    assert tuple(found.batch.clips.shape) == (7, 3, 2, 32, 32)
    assert all(torch.equal(before[name], tensor) for name, tensor in job.start.network.state_dict().items())


# --- out of memory ------------------------------------------------------------------------------------------

BASE, EACH = 1000, 100


def too_large(limit: int) -> Callable[[int], int]:
    def peak(count: int) -> int:
        if BASE + EACH * count > limit:
            raise torch.OutOfMemoryError
        return BASE + EACH * count

    return peak


@pytest.mark.parametrize(
    ("limit", "batch_size", "num_processes", "said"),
    [
        # 95 % of 2000 are 9 clips beside the base; of the divisors of 12, 6 is the largest of those.
        (2000, 12, 1, "9 fit: --set accumulate=2 takes the 12 of a step in parts, and --batch-size 9 fewer"),
        (1400, 12, 1, "3 fit: --set accumulate=4 takes the 12 of a step in parts, and --batch-size 3 fewer"),
        (1400, 12, 2, "3 fit: --set accumulate=2 takes the 12 of a step in parts, and --batch-size 6 fewer"),
        (1210, 12, 1, "1 fits: --set accumulate=12 takes"),
        (1099, 12, 1, "not even one clip at once fits"),
        # The measurement says that all fit, and they did not: fewer than those are named.
        (9999, 4, 1, "3 fit: --set accumulate=2 takes the 4 of"),
    ],
)
def test_out_of_memory_names_the_clips_that_fit(
    clips: list[Path], base: Path, limit: int, batch_size: int, num_processes: int, said: str
) -> None:
    job = job_of(data_of(clips), base, batch_size=batch_size)
    error = out_of_memory(
        job, Resources(CPU, Processes(0, num_processes)), peak_bytes_of=too_large(limit), total_bytes=limit
    )
    assert error.exit_code == 1
    assert error.message == f"out of memory on cpu: {batch_size // num_processes} clips at once are too many"
    assert said in error.hint


def test_clips_that_fit_are_as_many_as_there_is_room_for() -> None:
    for total in range(0, 60):
        fit = clips_that_fit(total, base_bytes=7, bytes_per_clip=5)
        assert fit == max([count for count in range(20) if 7 + 5 * count <= total], default=0)


def test_the_report_is_that_of_the_kept_model(clips: list[Path], base: Path, tmp_path: Path) -> None:
    data = data_of(clips)
    result = run(job_of(data, base), tmp_path / "run")
    stored = read_checkpoint(tmp_path / "run" / "model.safetensors")
    assert stored.spec is not None
    assert stored.spec.thresholds == result.fitted.thresholds
    assert result.report.run is not None
    assert result.report.run["weights_sha256"] == stored.sha256
    network = build("r2plus1d_tiny", num_classes=3, **stored.spec.arguments)
    network.load_state_dict(dict(stored.state_dict))
    found = validate(network.eval(), stored.spec, data.validation, Resources(CPU), views=stored.spec.protocol)
    assert found.top1 == json.loads(eval_json(result.report))["metrics"]["top1"]


def test_what_the_log_says_of_the_best_step_is_said_beside_the_report(
    clips: list[Path], base: Path, tmp_path: Path
) -> None:
    result = run(job_of(data_of(clips), base), tmp_path / "run")
    assert result.views == EvalProtocol(2, 1)
    rows = [row for row in read_log(tmp_path / "run" / "log.csv") if row.event == "evaluation"]
    assert [row.accuracies["top1"] for row in rows if row.step == result.best_step] == [result.one_view_top1]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells a process's own peak")
def test_the_memory_of_the_process_that_started_this_one_is_not_counted() -> None:
    large = 1_600_000_000
    asked = "from tadacli.training.estimate import peak_resident_bytes; print(peak_resident_bytes())"
    start = f"import subprocess, sys; x = b'x' * {large}; subprocess.run([sys.executable, '-c', {asked!r}], check=True)"
    found = int(subprocess.run([sys.executable, "-c", start], check=True, capture_output=True, text=True).stdout)
    assert 50_000_000 < found < large
