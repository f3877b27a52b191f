"""Splits under other names than train and validation: a person says which is for what, and is told what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tadacli.datasets.activitynet import load_activitynet
from tadacli.errors import UsageError
from tadacli.training.data import FinetuneData, load_finetune_data


def annotations(folder: Path, *subsets: str) -> Path:
    """Two classes in each subset; the videos are called after it."""
    database = {
        f"{subset}-{number}": {
            "subset": subset,
            "annotations": [{"label": label, "segment": [0, 1]}] if subset != "Testing" else [],
        }
        for subset in subsets
        for number, label in enumerate(("run", "jump", "run", "jump"))
    }
    file = folder / "gt.json"
    file.write_text(json.dumps({"database": database}), encoding="utf-8")
    return file


def sides(data: FinetuneData) -> tuple[set[str], set[str]]:
    """The splits of which the samples to train and to validate with are."""
    train, validation = (
        {each.video_id.rpartition("-")[0] for each in part.samples} for part in (data.train, data.validation)
    )
    return train, validation


@pytest.mark.parametrize(
    ("subsets", "options", "expected"),
    [
        pytest.param(["training", "validation", "Testing"], {}, ("training", "validation"), id="as they are called"),
        pytest.param(["Training", "VALIDATION"], {}, ("Training", "VALIDATION"), id="in capitals"),
        pytest.param(
            ["Validation", "Test"], {"train_split": "validation"}, ("Validation", "Test"), id="the only other one"
        ),
        pytest.param(["Validation", "Test"], {"train_split": "VAL"}, ("Validation", "Test"), id="a usual spelling"),
        pytest.param(
            ["a", "b", "c"], {"train_split": "C", "validation_split": "a"}, ("c", "a"), id="both of names of one's own"
        ),
        pytest.param(["train", "dev"], {"validation_split": "dev"}, ("train", "dev"), id="one of them"),
        pytest.param(["train", "dev"], {"train_split": "dev"}, ("dev", "train"), id="the other way round"),
        pytest.param(
            ["train", "test", "validation"],
            {"train_split": "test"},
            ("test", "validation"),
            id="validation first",
        ),
        pytest.param(["all", "Testing"], {"train_split": "all"}, ("all", "all"), id="no other has samples"),
    ],
)
def test_splits_are_taken_as_a_person_says(
    tmp_path: Path, subsets: list[str], options: dict[str, Any], expected: tuple[str, str]
) -> None:
    data = load_finetune_data(annotations(tmp_path, *subsets), **options)
    assert sides(data) == ({expected[0]}, {expected[1]})
    said = [remark for remark in data.remarks if "is the one to train with" in remark]
    assert len(said) == bool(options)


@pytest.mark.parametrize(
    ("subsets", "options", "said"),
    [
        pytest.param(["a", "b"], {}, "names the splits a, b, and none for training", id="none for training"),
        pytest.param(["a", "b"], {"validation_split": "b"}, "none for training", id="one half is said"),
        pytest.param(["a", "b"], {"train_split": "c"}, "no split 'c' with samples", id="not there"),
        pytest.param(["a", "Testing"], {"train_split": "Testing"}, "no split 'Testing' with", id="without samples"),
        pytest.param(["a", "b", "c"], {"train_split": "a"}, "which is to validate with", id="two are left"),
        pytest.param(["a", "b"], {"train_split": "a", "validation_split": "A"}, "to train and to validate", id="twice"),
    ],
)
def test_splits_that_cannot_be_taken(tmp_path: Path, subsets: list[str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as failed:
        load_finetune_data(annotations(tmp_path, *subsets), **options)
    assert failed.value.hint


def test_data_without_splits_have_none_to_choose(tmp_path: Path) -> None:
    file = tmp_path / "own.csv"
    file.write_text("path,label\na.mp4,run\nb.mp4,jump\nc.mp4,run\nd.mp4,jump\n")
    with pytest.raises(UsageError, match="no split 'train' with samples"):
        load_finetune_data(file, train_split="train")


def test_folders_of_splits(tmp_path: Path) -> None:
    for name in ("val/run/a", "val/jump/b", "test/run/c", "test/jump/d"):
        (tmp_path / f"{name}.mp4").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.mp4").touch()
    with pytest.raises(UsageError, match="no folder for training") as failed:
        load_finetune_data(tmp_path)
    assert "--train-split" in failed.value.hint
    data = load_finetune_data(tmp_path, train_split="validation")
    assert {sample.path for sample in data.train.samples} == {tmp_path / "val/run/a.mp4", tmp_path / "val/jump/b.mp4"}
    assert {sample.id for sample in data.validation.samples} == {"run/c.mp4", "jump/d.mp4"}


@pytest.mark.parametrize("asked", ["Validation", "validation", "VALIDATION", "val"])
def test_a_subset_of_activitynet_is_found_in_any_case(tmp_path: Path, asked: str) -> None:
    file = annotations(tmp_path, "Validation", "Test")
    truth = load_activitynet(file, subset=asked)
    assert len(truth.videos) == 4
    assert all(video.id.startswith("Validation") for video in truth.videos)


def test_the_very_spelling_of_a_subset_comes_first(tmp_path: Path) -> None:
    file = annotations(tmp_path, "val", "validation")
    assert {video.id[:4] for video in load_activitynet(file, subset="val").videos} == {"val-"}
    assert len(load_activitynet(file, subset="Validation").videos) == 8
    with pytest.raises(UsageError, match="'train'") as failed:
        load_activitynet(file, subset="train")
    assert failed.value.hint == "it has val, validation"
