"""`tadacli.finetune`: one call from clips to a folder that the other functions take."""

from __future__ import annotations

import doctest
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tadacli
from tadacli.distributed import Processes
from tadacli.errors import OutputError, SpecError, UsageError
from tadacli.training.data import FinetuneData, load_finetune_data
from tadacli.training.plan import FinetuneJob
from tadacli.training.recipes import load_recipe
from tadacli.training.run import Evaluated, FinetuneResult, Listener
from tadacli.training.run_folder import RunFolder
from tadacli.training.session import by_first, dry_run
from tests.media import render

# Two steps of four clips, small enough for a test and with every kind of random number in it.
SETTINGS: Mapping[str, object] = {
    "epochs": 1,
    "batch_size": 4,
    "warmup_epochs": 0,
    "dropout": 0.5,
    "mixup": 0.2,
    "randaugment_ops": 1,
}
CLIP = {"clip_frames": 4, "frame_stride": 2, "short_side": 64, "crop_size": 64}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five videos of each of two classes."""
    root = tmp_path_factory.mktemp("data") / "clips"
    for label, first in (("still", 0), ("moving", 200)):
        (root / label).mkdir(parents=True)
        for number in range(5):
            render(root / label / f"{label}{number}.mp4", 12 + number, noise=1 + number + first)
    return root


def tuned(data: Any, output: Path, **options: Any) -> FinetuneResult:
    options = {"settings": SETTINGS, "clip": CLIP, "views": "1x1", "device": "cpu", "workers": 0, **options}
    return tadacli.finetune(data, output=output, **options)


@pytest.fixture(scope="module")
def run(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, FinetuneResult]:
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py", "my clips"])
        return folder, tuned(clips, folder.path)


def test_the_folder_is_a_model_with_its_report_and_card(run: tuple[RunFolder, FinetuneResult], clips: Path) -> None:
    folder, result = run
    model = tadacli.load_model(folder.path, device="cpu")
    assert model.spec.heads == {"": ("moving", "still")}
    assert (model.spec.name, model.spec.input.clip_frames) == ("r2plus1d_tiny.mine", 4)
    assert (model.spec.temperatures, model.spec.thresholds) == (result.fitted.temperatures, result.fitted.thresholds)
    (found,) = tadacli.classify(clips / "still" / "still0.mp4", model=model, views="1x1")
    assert {each.label for each in found.heads[""]} == {"moving", "still"}
    told = json.loads(folder.report.read_text())
    assert told["metrics"]["top1"] == result.report.percent["top1"]
    assert told["num_items"] == result.report.num_items == 2
    assert "python train.py 'my clips'" in folder.card.read_text()
    assert json.loads(folder.facts.read_text())["command"] == ["python", "train.py", "my clips"]
    assert load_recipe(folder.recipe).batch_size == 4
    for path in (folder.last, folder.checkpoint, folder.splits, folder.log, folder.page):
        assert path.is_file()


def test_the_example_of_the_documentation(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").symlink_to(clips)
    text = (
        (tadacli.finetune.__doc__ or "")
        .replace("# doctest: +SKIP", "")
        .replace("settings=settings", "settings=settings, clip=clip")
    )
    example = doctest.DocTestParser().get_doctest(text, {"clip": CLIP}, "finetune", None, 0)
    doctest.DebugRunner().run(example)  # raises what goes wrong


def test_a_dry_run_leaves_nothing(clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seeds: list[int] = []

    def load(seed: int) -> FinetuneData:
        seeds.append(seed)
        return load_finetune_data(clips, seed=seed)

    planned: list[FinetuneJob] = []
    settings = {**SETTINGS, "seed": 3}
    listener = Listener(on_plan=planned.append)
    found = dry_run(load, settings=settings, clip=CLIP, device="cpu", workers=0, listener=listener)
    assert found is not None
    assert (found.job, found.num_processes, seeds) == (planned[0], 1, [3])
    assert found.estimate.seconds_per_step > 0
    assert not list(tmp_path.iterdir())


def test_the_report_is_that_of_evaluate_on_the_held_out_items(
    run: tuple[RunFolder, FinetuneResult], clips: Path
) -> None:
    folder, result = run
    held_out = load_finetune_data(clips).validation
    again = tadacli.evaluate(held_out, model=folder.path, split="validation", views="1x1", device="cpu")
    assert again.metrics == result.report.metrics


def test_values_give_the_same_weights_as_names_whatever_happened_before(
    run: tuple[RunFolder, FinetuneResult], clips: Path, tmp_path: Path
) -> None:
    data, recipe = load_finetune_data(clips), load_recipe("finetune_small", {**SETTINGS, "crop_size": 64})
    augmentation = replace(recipe.augmentation, short_sides=(64, 80))
    recipe = replace(recipe, augmentation=augmentation)  # what the recipe makes of frames of 64
    cudnn, told = torch.backends.cudnn, list[Evaluated]()
    before = cudnn.deterministic, cudnn.allow_tf32
    torch.manual_seed(7)
    state = torch.get_rng_state()
    tuned(data, tmp_path / "mine", recipe=recipe, settings=None, listener=Listener(on_evaluation=told.append))
    assert torch.equal(torch.get_rng_state(), state)
    assert (cudnn.deterministic, cudnn.allow_tf32) == before
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == run[0].model.read_bytes()
    assert told[-1].step == run[1].num_steps == 2


def test_a_finished_folder_is_not_overwritten_and_stays_what_it_was_begun_as(
    run: tuple[RunFolder, FinetuneResult], clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, result = run
    kept = [folder.model, folder.facts, folder.recipe, folder.card, folder.report]
    before = [path.read_bytes() for path in kept]
    with pytest.raises(OutputError, match="not overwritten"):
        tuned(clips, folder.path)
    monkeypatch.setattr(sys, "argv", ["other.py", "--resume"])
    again = tuned(clips, folder.path, resume=True)
    assert [path.read_bytes() for path in kept] == before
    assert (again.best_step, again.report.metrics) == (result.best_step, result.report.metrics)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"settings": {"epoch": 3}}, UsageError, "epoch"),
        ({"views": "many"}, UsageError, "views 'many'"),
        ({"model": "tada2d_r51"}, SpecError, "unknown model"),
        ({"clip": {**CLIP, "crop_size": 512}}, UsageError, "crop of 512"),
        ({"recipe": load_recipe("finetune")}, UsageError, "settings change"),
    ],
)
def test_what_cannot_be_meant_leaves_no_folder(
    options: dict[str, Any], error: type[Exception], message: str, clips: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        tuned(clips, tmp_path / "mine", **options)
    assert not (tmp_path / "mine").exists()


@dataclass(frozen=True)
class _OneOfTwo(Processes):
    """One of two processes, and what comes from the first."""

    sent: Any = None

    def from_first(self, value: Any) -> Any:
        return value if self.is_first else self.sent


def test_what_the_first_process_cannot_do_fails_in_all() -> None:
    def fail() -> int:
        raise OutputError("no room", hint="make some")

    for processes in (Processes(), _OneOfTwo(0, 2), _OneOfTwo(1, 2, sent=OutputError("no room"))):
        with pytest.raises(OutputError, match="no room"):
            by_first(processes, fail)
    assert by_first(_OneOfTwo(0, 2), lambda: 5) == 5
    assert by_first(_OneOfTwo(1, 2, sent=5), fail) == 5, "the others read nothing themselves"
