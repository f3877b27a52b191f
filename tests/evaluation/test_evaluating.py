"""`tadacli.evaluate`: the report of `tada eval`, in one call."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tadacli
from tadacli.cli.app import run
from tadacli.datasets.folder import load_folder
from tadacli.datasets.samples import Dataset, Sample
from tadacli.errors import TadaError, UsageError
from tadacli.evaluation.evaluating import EvalInterrupted, EvalStart
from tadacli.reports.eval_json import eval_json
from tadacli.specs import label_list
from tests.media import render

LABELS = tuple(tadacli.load_model(device="cpu").spec.heads[""])
MODEL = tadacli.load_model(device="cpu")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of each of two classes of the built-in model, one too short and one broken."""
    root = tmp_path_factory.mktemp("clips")
    for label in ("pan left", "static"):
        (root / label).mkdir()
        for number in range(2):
            render(root / label / f"{number}.mp4", 36 + number)
    render(root / "static" / "short.mp4", 6)
    (root / "static" / "broken.mp4").write_text("not a video")
    return root


def test_it_is_the_report_of_the_command(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    told: list[tuple[int, int]] = []
    found = tadacli.evaluate(
        "folder",
        data_root=tree,
        model=MODEL,
        views="2x1",
        workers=2,
        on_progress=lambda done, total: told.append((done, total)),
    )
    words = f"tada eval --dataset folder --data-root {tree} --views 2x1 --device cpu --format json -q"
    monkeypatch.setattr(sys, "argv", words.split())
    assert run() == 3, "one item of the data set is broken"
    assert eval_json(found) == capfdbinary.readouterr().out
    assert (found.num_scored, found.num_items) == (5, 6)
    assert told == [(number, 6) for number in range(1, 7)]
    assert "1 of 5 are shorter than a clip" in str(found.notes[-1])


def test_samples_in_memory_are_scored_alike(tree: Path) -> None:
    data = load_folder(tree, labels=LABELS)
    by_name = tadacli.evaluate("folder", annotations=tree, model=MODEL, views="1x1", workers=1)
    in_memory = tadacli.evaluate(data, model=MODEL, views="1x1", workers=1)
    assert eval_json(in_memory) == eval_json(by_name)
    half = replace(data, samples=data.samples[:2])
    part = tadacli.evaluate(half, model=MODEL, split="mine", views="1x1")
    assert (part.split, part.num_items, part.num_scored) == ("mine", 2, 2)


def test_what_cannot_be_measured_is_said_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tadacli.evaluation.scoring.open_video", lambda path, **_: pytest.fail(f"{path} was opened"))
    sample = Sample("a", Path("a.mp4"), {"": 0})
    known = Dataset("mine", {"": LABELS}, (sample,))
    for data, options, message in (
        (replace(known, heads={"": ("b", "c")}), {}, "tells 9 classes apart, mine has 2"),
        (replace(known, samples=(replace(sample, labels={}),)), {}, "not one of 1 sample of mine, all, has a class"),
        (known, {"data_root": "videos"}, "samples in memory"),
        (known, {"views": "2x2"}, "views '2x2'"),
        ("k500", {}, "unknown dataset 'k500'"),
        ("csv", {}, "needs its annotations"),
    ):
        with pytest.raises(UsageError, match=message):
            tadacli.evaluate(data, model=MODEL, **options)  # type: ignore[arg-type]


def test_nothing_that_can_be_scored_is_an_error(tmp_path: Path) -> None:
    sample = Sample("gone", tmp_path / "gone.mp4", {"": 0})
    with pytest.raises(TadaError, match="not one of 1 video"):
        tadacli.evaluate(Dataset("mine", {"": LABELS}, (sample,)), model=MODEL, workers=1)


def test_a_model_of_other_classes_does_not_fit_a_published_list() -> None:
    data = Dataset("kinetics", {"": label_list("kinetics400")}, (Sample("a", None, {"": 3}),))
    with pytest.raises(UsageError, match="has 400") as caught:
        tadacli.evaluate(data, model=MODEL)
    assert "trained on this data set" in caught.value.hint


def test_a_run_goes_on_from_what_is_kept_and_shards_merge_to_the_whole(tree: Path, tmp_path: Path) -> None:
    options = {"data_root": tree, "model": MODEL, "views": "1x1", "workers": 1}
    starts: list[EvalStart] = []

    def stop(done: int, _: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    saved = tmp_path / "scores.jsonl"
    with pytest.raises(EvalInterrupted) as caught:
        tadacli.evaluate("folder", **options, save_predictions=saved, on_progress=stop)
    assert (caught.value.num_done, caught.value.num_items) == (4, 6)
    assert caught.value.report is not None
    assert caught.value.report.num_items == 6
    whole = tadacli.evaluate("folder", **options, save_predictions=saved, resume=True, on_start=starts.append)
    assert (starts, whole.num_failed) == ([EvalStart(None, 6, 6, 4)], 1)
    assert eval_json(whole) == eval_json(tadacli.evaluate("folder", **options))
    shards = [tmp_path / f"shard-{number}.jsonl" for number in (1, 2)]
    for number, path in enumerate(shards, start=1):
        tadacli.evaluate("folder", **options, shard=f"{number}/2", save_predictions=path)
    for files in (saved, shards):
        assert eval_json(tadacli.evaluate("folder", data_root=tree, predictions=files)) == eval_json(whole)


def test_a_run_that_is_interrupted_before_anything_is_scored_says_why_there_is_no_report(tmp_path: Path) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    samples = tuple(Sample(name, tmp_path / f"{name}.mp4", {"": 0}) for name in ("gone", "lost"))
    with pytest.raises(EvalInterrupted) as caught:
        tadacli.evaluate(Dataset("mine", {"": LABELS}, samples), model=MODEL, workers=1, on_progress=stop)
    assert (caught.value.report, caught.value.num_done, caught.value.num_items) == (None, 1, 2)
    assert "not one of 2 videos" in caught.value.reason


def test_samples_without_a_class_are_scored_if_a_file_keeps_the_scores(tree: Path, tmp_path: Path) -> None:
    samples = (Sample("a", tree / "static/0.mp4"), Sample("b", tree / "static/broken.mp4"))
    found = tadacli.evaluate(
        Dataset("mine", {"": LABELS}, samples), model=MODEL, views="1x1", save_predictions=tmp_path / "scores.jsonl"
    )
    assert (found.metrics, found.num_scored, found.num_failed) == (None, 1, 1)
