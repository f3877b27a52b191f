"""Labels that hold together, learned: what a clip shows, the loss, a run that learns them, and what it leaves."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

import tadacli
from tadacli.cli.finetune_plan import plan_lines
from tadacli.datasets.samples import Dataset, HeldLabel, Sample
from tadacli.distributed import Processes, Resources
from tadacli.errors import CheckpointError
from tadacli.models import build
from tadacli.reports.eval_json import eval_json
from tadacli.specs import EvalProtocol, InputSpec, ModelSpec
from tadacli.training.background import with_background
from tadacli.training.clips import TrainingClips
from tadacli.training.data import FinetuneData, load_finetune_data
from tadacli.training.loop import StepReport
from tadacli.training.losses import binary_cross_entropy
from tadacli.training.model_card import model_card
from tadacli.training.plan import FinetuneJob, plan_finetuning
from tadacli.training.recipes import load_recipe
from tadacli.training.run import FinetuneResult, Listener, run_finetuning
from tadacli.training.run_folder import RunFolder
from tadacli.training.run_log import read_log
from tadacli.training.segment_thresholds import search_videos
from tadacli.training.settings import Augmentation
from tadacli.training.starting_point import starting_point
from tadacli.training.validation import validate
from tadacli.zoo.checkpoints import write_checkpoint
from tadacli.zoo.loading import Model
from tests.media import number_in, render

INPUT = InputSpec("interval", 4, 1, 30.0, 32, 32, (0.45,) * 3, (0.225,) * 3)
LABELS = ("bright", "dark", "red")
SETTINGS = {
    "epochs": 12.0,
    "batch_size": 8,
    "learning_rate": 0.01,
    "warmup_epochs": 0.0,
    "evaluate_every_epochs": 6.0,
    "flip": "none",
    "short_sides": (32, 32),
}


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks of a few channels gain nothing from more, and wait for them on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def film(path: Path, *, is_bright: bool, is_red: bool, seed: int) -> None:
    """Twelve frames of stripes, red or grey, on a bright or a dark ground: few steps learn both, on any machine."""
    stripes = np.random.default_rng(seed).integers(0, 90, 32)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"crf": "10"})
        stream.width = stream.height = 32
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        for number in range(12):
            row = np.roll(stripes, number) + (150 if is_bright else 10)
            colour = np.array((1, 0.3, 0.3) if is_red else (1, 1, 1))
            image = np.broadcast_to(row[None, :, None] * colour, (32, 32, 3)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels of 24 videos: each is bright or dark, and half of both are red, which a row of its own says."""
    folder = tmp_path_factory.mktemp("several")
    rows = [("path", "label", "split")]
    for number in range(24):
        is_bright, is_red = bool(number % 2), bool(number // 2 % 2)
        film(folder / f"{number}.mp4", is_bright=is_bright, is_red=is_red, seed=number)
        split = "validation" if number >= 16 else "train"
        rows.append((f"{number}.mp4", "bright" if is_bright else "dark", split))
        rows += [(f"{number}.mp4", "red", split)] if is_red else []
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "labels.csv"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"widths": [8, 8, 16, 16]}
    spec = ModelSpec(
        "r2plus1d_tiny.base", "r2plus1d_tiny", "action", "none", INPUT, {"": ("a",)}, EvalProtocol(1, 1), settings
    )
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    write_checkpoint(path, build(spec.architecture, num_classes=1, **settings).state_dict(), spec)
    return path


def job_of(table: Path, base: Path, **changes: Any) -> FinetuneJob:
    data = load_finetune_data(table)
    recipe = load_recipe("finetune", {**SETTINGS, **changes})
    start = starting_point(base, heads=data.heads, name="mine", dataset=data.name, seed=0, multi_label=data.multi_label)
    return plan_finetuning(data, start, recipe)


def run(job: FinetuneJob, folder: Path, listener: Listener | None = None, **options: Any) -> FinetuneResult:
    folder.mkdir(exist_ok=True)
    return run_finetuning(
        job, RunFolder(folder), Resources(torch.device("cpu"), workers=0), listener=listener, **options
    )


@pytest.fixture(scope="module")
def learned(
    table: Path, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FinetuneJob, RunFolder, FinetuneResult]:
    job, folder = job_of(table, base), tmp_path_factory.mktemp("runs") / "mine"
    with one_thread():
        return job, RunFolder(folder), run(job, folder)


def test_two_questions_are_learned_apart(learned: tuple[FinetuneJob, RunFolder, FinetuneResult], table: Path) -> None:
    job, folder, result = learned
    assert [each.label for each in result.report.classes] == list(LABELS)
    assert all((each.percent or 0) >= 90 for each in result.report.classes)
    assert all(each.num_items == 4 for each in result.report.classes)
    assert result.report.percent["mAP_by_chance"] == 50
    rows = [row for row in read_log(folder.log) if row.event == "evaluation"]
    assert [list(row.accuracies) for row in rows] == [["hit1", "mAP"]] * 2
    assert [row.accuracies["mAP"] for row in rows if row.step == result.best_step] == [result.one_view_map]
    model = tadacli.load_model(folder.model, device="cpu")
    assert model.spec.multi_label
    (red,) = tadacli.classify(table.parent / "18.mp4", model=model, min_score="auto")
    assert {each.label for each in red.heads[""]} == {"dark", "red"}
    again = tadacli.evaluate(job.data.validation, model=model, split="validation")
    assert again.metrics == result.report.metrics
    # Of samples with one label each such a model has an mAP, too.
    single = dataclasses.replace(job.data.validation, multi_label=False)
    assert "mAP" in tadacli.evaluate(single, model=model).percent


def test_what_the_run_leaves_says_it(learned: tuple[FinetuneJob, RunFolder, FinetuneResult]) -> None:
    job, folder, result = learned
    card = model_card(job, result, path=folder.path, weights_sha256="0" * 64, command=["tada"])
    assert "An item may show several classes, each of which was learned by itself." in card
    assert "| red | 8 | 4 |" in card
    assert "| all | 16 | 8 |" in card
    assert "| red | 4 | 100.0 % |" in card
    assert "12 of 24 spans have several labels" in " ".join(plan_lines(job) + list(job.data.notes))
    assert any("several of these, each learned by itself" in line for line in plan_lines(job))
    # The splits are a table of data that gives the same samples.
    again = load_finetune_data(folder.splits)
    assert [each.classes for each in again.train.samples] == [each.classes for each in job.data.train.samples]
    assert len(again.validation.samples) == 8
    assert not any("not used" in note for note in again.notes)


RICH = {"epochs": 2.0, "balance": True, "mixup": 0.5, "label_smoothing": 0.1, "ema_decay": 0.9, "dropout": 0.3}


def test_a_run_that_is_interrupted_again_and_again_ends_the_same(table: Path, base: Path, tmp_path: Path) -> None:
    rich = {**RICH, "evaluate_every_epochs": 1.0}
    whole = run(job_of(table, base, **rich), tmp_path / "whole")
    stops = iter((1, 3))

    class StoppedError(Exception):
        pass

    def stop(report: StepReport) -> None:
        if report.step == waited[0]:
            waited[0] = next(stops, 0)
            raise StoppedError

    waited = [next(stops)]
    for _ in range(3):
        try:
            listener = Listener(on_step=stop)
            again = run(job_of(table, base, **rich), tmp_path / "broken", listener, save_every_seconds=-1.0)
            break
        except StoppedError:
            continue
    for name in ("model.safetensors", "last.safetensors"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert eval_json(again.report) == eval_json(whole.report)
    one_label = dataclasses.replace(job_of(table, base, **rich).data.train, multi_label=False)
    other = job_of(table, base, **rich)
    other = dataclasses.replace(other, data=dataclasses.replace(other.data, train=one_label))
    with pytest.raises(CheckpointError, match="was made with other settings"):
        run(other, tmp_path / "broken")


def test_a_run_of_one_label_each_does_not_go_on_as_one_of_several(table: Path, base: Path) -> None:
    job = job_of(table, base)
    samples = tuple(dataclasses.replace(each, others=()) for each in job.data.train.samples)
    sides = [
        dataclasses.replace(job.data.train, samples=samples, multi_label=multi_label) for multi_label in (False, True)
    ]
    one, several = (
        dataclasses.replace(job, data=dataclasses.replace(job.data, train=side, validation=side)) for side in sides
    )
    assert one.identity(Processes()) != several.identity(Processes())
    assert "multi_label" not in one.identity(Processes())  # runs of earlier versions go on


def test_the_best_step_is_the_one_with_the_best_map(
    learned: tuple[FinetuneJob, RunFolder, FinetuneResult],
) -> None:
    job, folder, _ = learned
    spec = tadacli.load_model(folder.model, device="cpu").spec
    found = validate(job.start.network, spec, job.data.validation, Resources(torch.device("cpu")))
    assert found.several is not None
    worse = dataclasses.replace(found, several=dataclasses.replace(found.several, mean_precision=40.0, hit1=100.0))
    better = dataclasses.replace(found, top1=10.0, loss=9.0)
    assert (worse.merit, better.merit) == (40.0, found.several.mean_precision)
    scores = found.table.scores[""]
    shown = np.array([[index in each.classes for index in range(3)] for each in job.data.validation.samples])
    expected = -np.where(shown, np.log(scores), np.log(1 - scores)).sum(axis=1).mean()
    assert found.loss == pytest.approx(expected)


# --- what a clip shows --------------------------------------------------------------------------------------


def clips_of(samples: list[Sample], **options: Any) -> TrainingClips:
    whole = Augmentation(crop_size=32, short_sides=(32, 32), flip="none")
    options = {"heads": {"": LABELS}, "input": INPUT, "augmentation": whole, "multi_label": True, **options}
    return TrainingClips(samples, **options)


def test_a_clip_shows_what_holds_at_its_middle(tmp_path: Path) -> None:
    """Frames 0 to 29, of which the label "red" holds for frames 10 to 19."""
    video = tmp_path / "video.mkv"
    render(video, 30, size=(96, 96), pts=[20 + number for number in range(30)])  # labels count from the first frame
    others = (HeldLabel(2, 10 / 30, 20 / 30), HeldLabel(1, None, None))
    square = Augmentation(crop_size=96, short_sides=(96, 96), flip="none")  # the picture as it is
    shape = dataclasses.replace(INPUT, short_side=96, crop_size=96)
    clips = clips_of([Sample("video", video, {"": 0}, others=others)], augmentation=square, input=shape)
    seen = set()
    for position in range(30):
        item = clips.item(position)
        pixels = (item.clip[:, 0].permute(1, 2, 0) * 0.225 + 0.45) * 255
        middle = number_in(pixels.numpy()) + 1.5  # of four frames
        assert item.targets[""].tolist() == [1, 1, float(10 <= middle < 20)], middle
        seen.add(float(item.targets[""][2]))
    assert seen == {0.0, 1.0}


def test_every_class_of_a_mirrored_clip_changes_sides(table: Path) -> None:
    mirrors = Augmentation(crop_size=32, short_sides=(32, 32), flip="labels", flip_pairs=(("bright", "red"),))
    sample = Sample("0", table.parent / "0.mp4", {"": 0}, others=(HeldLabel(1),))
    clips = clips_of([sample], augmentation=mirrors)
    assert {tuple(clips.item(position).targets[""].tolist()) for position in range(20)} == {(1, 1, 0), (0, 1, 1)}


def test_balanced_clips_have_every_set_of_labels_equally_often(table: Path) -> None:
    videos = [table.parent / f"{number}.mp4" for number in range(4)]
    alone = [Sample(str(number), video, {"": 0}) for number, video in enumerate(videos[:3])]
    both = Sample("3", videos[3], {"": 0}, others=(HeldLabel(2),))
    clips = clips_of([*alone, both], balance=True)
    shown = [tuple(clips.item(position).targets[""].tolist()) for position in range(8)]
    assert {labels: shown.count(labels) for labels in shown} == {(1, 0, 0): 4, (1, 0, 1): 4}


def test_the_loss_asks_for_each_label_by_itself() -> None:
    logits, targets = torch.randn(5, 3), (torch.rand(5, 3) > 0.5).float()
    expected = torch.tensor(0.0)
    for row in range(5):
        for column in range(3):
            score = torch.sigmoid(logits[row, column])
            wanted = targets[row, column] * 0.8 + 0.1
            expected = expected - (wanted * score.log() + (1 - wanted) * (1 - score).log()) / 5
    assert float(binary_cross_entropy(logits, {"": targets}, smoothing=0.2)) == pytest.approx(float(expected), rel=1e-5)
    asked = logits.clone().requires_grad_()
    binary_cross_entropy(asked, {"": targets}, smoothing=0.0).backward()  # type: ignore[no-untyped-call]
    # As with a softmax the gradient is the score less its target.
    torch.testing.assert_close(asked.grad, (torch.sigmoid(logits) - targets) / 5)


# --- beside clips -------------------------------------------------------------------------------------------


def test_segments_of_all_labels_are_looked_for_in_the_windows(tmp_path: Path, base: Path) -> None:
    render(tmp_path / "video.mp4", 90)
    whole, part = (0.0, 3.0), (1.0, 2.0)
    samples = (
        Sample("a", tmp_path / "video.mp4", {"": 0}, *whole, others=(HeldLabel(1, *whole), HeldLabel(2, *part))),
        Sample("b", tmp_path / "video.mp4", {"": 2}, *part, others=(HeldLabel(0, *whole), HeldLabel(1, *whole))),
    )
    dataset = Dataset("mine", {"": LABELS}, samples, multi_label=True)
    start = starting_point(base, heads={"": LABELS}, name="mine", dataset="mine", multi_label=True)
    network = start.network.eval()
    model = Model(start.spec, network, torch.device("cpu"), torch.float32, tmp_path, "")
    (video,), unread = search_videos(dataset, model, Resources(torch.device("cpu")).processes)
    assert not unread
    assert sorted(zip(video.classes.tolist(), map(tuple, video.spans.tolist()), strict=True)) == [
        (0, whole),
        (1, whole),
        (2, part),
    ]
    assert video.scores.scores[""].sum(axis=1).max() > 1.2  # sigmoids


def test_windows_without_a_label_are_as_many_as_the_most_frequent_class(tmp_path: Path) -> None:
    render(tmp_path / "video.mp4", 30 * 12, size=(32, 32))
    overlap = ((0.0, 1.0, 0), (0.2, 1.0, 1), (1.0, 2.0, 0), (1.1, 1.9, 1))
    samples = tuple(
        Sample(
            f"{start}",
            tmp_path / "video.mp4",
            {"": index},
            start,
            end,
            others=tuple(HeldLabel(each, first, last) for first, last, each in overlap if each != index),
        )
        for start, end, index in overlap
    )
    side = Dataset("mine", {"": ("sitting", "talking")}, samples, multi_label=True)
    data = with_background(FinetuneData("mine", side.heads, side, side, "by hand"))
    assert data.counts["train"][""] == {"sitting": 4, "talking": 4, "background": 4}
    added = [sample for sample in data.train.samples if sample.labels[""] == 2]
    assert [sample.classes for sample in added] == [(2,)] * 4
