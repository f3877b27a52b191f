"""Background: windows of unlabelled time and of negatives, a class that detection knows and does not report."""

from __future__ import annotations

import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

import tadacli
from tadacli.datasets.samples import Dataset, Sample
from tadacli.detection.settings import SegmentSettings
from tadacli.errors import UsageError
from tadacli.specs import BACKGROUND
from tadacli.training.background import with_background
from tadacli.training.data import FinetuneData, load_finetune_data
from tests.media import render

LENGTH = 2.0  # of a window of detect, in seconds


def twelve_seconds(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    render(path, 60, size=(32, 32 + 4 * number), time_base=Fraction(1, 5))
    return path


def data_of(path: Path, other: Path) -> FinetuneData:
    """Labels of seconds 4 to 6 and 9.2 to the end of one video, and of all of another one."""
    heads = {"": ("wave", "nod")}
    train = tuple(
        Sample(f"{path.name} {start}", path, {"": label}, start, end, path.name)
        for start, end, label in ((4.0, 5.0, 0), (5.0, 6.0, 0), (9.2, None, 1))
    )
    validation = (Sample(other.name, other, {"": 1}, None, None, other.name),)
    return FinetuneData(
        "mine", heads, Dataset("segments", heads, train), Dataset("segments", heads, validation), "by hand"
    )


def windows_of(data: Dataset) -> list[tuple[float | None, float | None]]:
    index = data.heads[""].index(BACKGROUND)
    return [(each.start_seconds, each.end_seconds) for each in data.samples if each.labels[""] == index]


def test_windows_of_unlabelled_time_touch_no_label(tmp_path: Path) -> None:
    data = data_of(twelve_seconds(tmp_path / "a.mp4"), twelve_seconds(tmp_path / "b.mp4"))
    found = with_background(data)
    # Half a second around each label is left out: 0 to 3.5 and 6.5 to 8.7 are free, each room for one window.
    assert windows_of(found.train) == [(0.0, 2.0), (6.5, 8.5)]
    assert windows_of(found.validation) == []
    assert found.heads == found.train.heads == found.validation.heads == {"": ("wave", "nod", BACKGROUND)}
    assert found.background == BACKGROUND
    assert found.train.samples[:3] == data.train.samples
    assert "train: 2 of 2 windows of unlabelled time are background" in found.notes
    assert with_background(data) == found


def test_negatives_are_background_all_over_and_split_by_video(tmp_path: Path) -> None:
    data = data_of(twelve_seconds(tmp_path / "a.mp4"), twelve_seconds(tmp_path / "b.mp4"))
    for number in range(4):
        twelve_seconds(tmp_path / "none" / "deep" / f"{number}.mp4", 1 + number)
    found = with_background(data, unlabelled="ignore", negatives=tmp_path / "none", validation_share=0.5)
    train, validation = (
        {sample.path for sample in side.samples if sample.labels[""] == 2} for side in (found.train, found.validation)
    )
    assert train
    assert validation
    assert not train & validation
    # As many as the most frequent class has samples.
    assert (len(windows_of(found.train)), len(windows_of(found.validation))) == (2, 1)
    assert all(end == (start or 0.0) + LENGTH for start, end in windows_of(found.train))
    (tmp_path / "none" / "broken.mp4").write_bytes(b"no video")
    with_broken = with_background(data, unlabelled="ignore", negatives=tmp_path / "none", validation_share=0.5)
    assert any("1 of" in each and "negatives cannot be read: broken.mp4" in each for each in with_broken.notes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="has no videos"):
        with_background(data, negatives=tmp_path / "empty")


def test_a_negative_that_is_labelled_is_refused_by_name(tmp_path: Path) -> None:
    data = data_of(twelve_seconds(tmp_path / "a.mp4"), twelve_seconds(tmp_path / "b.mp4", 1))
    twelve_seconds(tmp_path / "none" / "other.mp4", 2)
    (tmp_path / "none" / "linked.mp4").symlink_to(tmp_path / "a.mp4")
    shutil.copyfile(tmp_path / "b.mp4", tmp_path / "none" / "copied.mp4")
    with pytest.raises(UsageError) as error:
        with_background(data, negatives=tmp_path / "none")
    assert "2 of 3 negatives are labelled videos, too" in error.value.message
    for name, labelled in (("linked.mp4", "a.mp4"), ("copied.mp4", "b.mp4")):
        assert f"{name} is {tmp_path / labelled}" in error.value.message


def test_data_without_unlabelled_time_stay_as_they_are(tmp_path: Path) -> None:
    data = data_of(twelve_seconds(tmp_path / "a.mp4"), twelve_seconds(tmp_path / "b.mp4"))
    whole = replace(data, train=replace(data.train, samples=data.validation.samples))
    found = with_background(whole)
    assert (found.heads, found.train, found.background) == (whole.heads, whole.train, "")
    assert any("no windows to train it with" in each for each in found.notes)
    two = {"verb": ("take",), "noun": ("cup",)}
    with pytest.raises(UsageError, match="several"):
        with_background(replace(data, heads=two))


def test_a_model_with_background_reports_everything_else(tmp_path: Path) -> None:
    lines = ["video,start,end,label"]
    for number in range(4):
        twelve_seconds(tmp_path / f"{number}.mp4", 1 + number)
        lines += [f"{number}.mp4,0,3,first", f"{number}.mp4,5,8,second"]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    settings = {"epochs": 1, "batch_size": 4, "warmup_epochs": 0}
    clip = {"clip_frames": 2, "frame_stride": 2, "short_side": 32, "crop_size": 32}
    data = with_background(load_finetune_data(tmp_path / "labels.csv"))
    options = {"settings": settings, "clip": clip, "views": "1x1", "device": "cpu", "workers": 0}
    tadacli.finetune(data, output=tmp_path / "mine", **options)  # type: ignore[arg-type]
    assert "windows of unlabelled time are background" in (tmp_path / "mine" / "README.md").read_text()
    model = tadacli.load_model(tmp_path / "mine", device="cpu")
    assert model.spec.background == BACKGROUND
    assert model.spec.heads[""] == ("first", "second", BACKGROUND)
    for wanted, may_be_there in (
        (SegmentSettings(threshold=0.0), False),
        (SegmentSettings(threshold=0.0, labels=(BACKGROUND,)), True),
    ):
        (found,) = tadacli.detect(tmp_path / "0.mp4", model=model, segments=wanted)
        assert (BACKGROUND in {each.label for each in found.segments}) == may_be_there
