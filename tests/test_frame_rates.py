"""The rate of folders and tars of frames, which cannot say it themselves: what is asked for, read, or assumed aloud."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import tadacli
from tadacli.datasets.check import check_dataset
from tadacli.datasets.epic import load_epic
from tadacli.datasets.loading import DatasetSource, load_dataset
from tadacli.datasets.rates import with_rates
from tadacli.errors import UsageError
from tadacli.results import NoteKind
from tadacli.sampling.settings import window_settings
from tadacli.training.data import load_finetune_data
from tadacli.training.run_folder import RunFolder, write_splits
from tests.media import jpeg_bytes
from tests.trees import EPIC_COLUMNS


def frames(folder: Path, num_frames: int = 60) -> Path:
    folder.mkdir(parents=True)
    for number in range(1, num_frames + 1):
        (folder / f"img_{number:05d}.jpg").write_bytes(jpeg_bytes(number, height=48, width=80))
    return folder


def kinds(notes) -> list[NoteKind]:
    return [note.kind for note in notes]


def test_classify_goes_by_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    folder = frames(tmp_path / "v")
    (at_30,) = tadacli.classify(folder, device="cpu", views="1x1")
    (at_15,) = tadacli.classify(folder, device="cpu", views="1x1", fps=15)
    assert NoteKind.ASSUMED_RATE in kinds(at_30.notes)
    assert NoteKind.ASSUMED_RATE not in kinds(at_15.notes)
    spans = [result.clips[0][-1].index - result.clips[0][0].index for result in (at_30, at_15)]
    assert spans == [31, 15]
    assert at_15.video is not None
    assert at_15.video.duration_seconds == 4.0


def test_detect_goes_by_the_rate_that_is_asked_for(tmp_path: Path) -> None:
    folder = frames(tmp_path / "v")
    (assumed,) = tadacli.detect(folder, device="cpu")
    (asked,) = tadacli.detect(folder, device="cpu", windows=window_settings(fps=10))
    assert (assumed.num_windows, asked.num_windows) == (1, 5)
    assert NoteKind.ASSUMED_RATE in kinds(assumed.notes)
    assert NoteKind.ASSUMED_RATE not in kinds(asked.notes)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e-9, 1e9])
def test_what_is_no_rate_is_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(UsageError, match="no rate of a video"):
        tadacli.classify(tmp_path, fps=fps)
    with pytest.raises(UsageError, match="no rate of a video"):
        window_settings(fps=fps)


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_table_says_the_rate_of_each_folder(tmp_path: Path) -> None:
    frames(tmp_path / "a"), frames(tmp_path / "b"), frames(tmp_path / "P01_11")
    rows = ["a,static,10", "b,pan left,", "P01_11,static,"]
    file = table(tmp_path / "data.csv", "path,label,fps", *rows)
    data = load_dataset(DatasetSource("csv", file))
    assert [sample.fps for sample in data.samples] == [10, None, None]
    assert [sample.fps for sample in with_rates(data, 25).samples] == [10, 25, 25]
    (note,) = [note for note in with_rates(data, None).notes if note.kind is NoteKind.ASSUMED_RATE]
    assert "of 1 of 3 samples" in note.text
    assert NoteKind.ASSUMED_RATE not in kinds(with_rates(data, 25).notes)
    found = check_dataset({"all": with_rates(data, None)}, clip_seconds=3.0)
    assert [finding.id for finding in found.findings if finding.kind == "too short"] == ["b", "P01_11"]
    assert NoteKind.ASSUMED_RATE in kinds(found.notes)


def test_two_rates_of_one_folder_are_refused(tmp_path: Path) -> None:
    frames(tmp_path / "a")
    file = table(tmp_path / "data.csv", "path,label,start,end,fps", "a,x,0,1,10", "a,y,1,2,20")
    with pytest.raises(UsageError, match=r"10\.0 and 20\.0 frames a second"):
        check_dataset({"all": load_dataset(DatasetSource("csv", file))})


def test_eval_goes_by_the_rate_and_a_file_of_another_is_not_continued(tmp_path: Path) -> None:
    frames(tmp_path / "videos" / "static" / "v0")
    saved = tmp_path / "saved.jsonl"
    report = tadacli.evaluate("folder", data_root=tmp_path / "videos", device="cpu", views="1x1")
    assert "of 1 of 1 samples nothing says how many frames" in str(report.notes[0])
    options = {"data_root": tmp_path / "videos", "device": "cpu", "views": "1x1", "save_predictions": saved}
    report = tadacli.evaluate("folder", **options, fps=15)
    assert NoteKind.ASSUMED_RATE not in kinds(report.notes)
    header = json.loads(saved.read_text().splitlines()[0])
    assert header["settings"]["fps"] == 15
    with pytest.raises(tadacli.TadaError):
        tadacli.evaluate("folder", **options, fps=20, resume=True)


def test_finetune_goes_by_the_rate(tmp_path: Path) -> None:
    for label in ("walk", "fall"):
        for number in range(3):
            frames(tmp_path / label / f"c{number}", 4)
    assumed = load_finetune_data(tmp_path)
    assert any("6 of 6 samples nothing says how many frames" in remark for remark in assumed.remarks)
    asked = load_finetune_data(tmp_path, fps=12.5)
    assert {sample.fps for sample in (*asked.train.samples, *asked.validation.samples)} == {12.5}
    assert not any("nothing says" in remark for remark in asked.remarks)


@pytest.mark.parametrize(
    ("video", "rate", "expected"),
    [("P01_11", "59.94", None), ("P01_101", "50", None), ("P09_07", "29.97", None), ("P01_12", "50.0", 50)],
)
def test_frames_of_epic_kitchens_have_60_or_50_a_second(
    tmp_path: Path, video: str, rate: str, expected: float | None
) -> None:
    frames(tmp_path / "P01" / "rgb_frames" / video, 2)
    with (tmp_path / "EPIC_100_validation.csv").open("w", newline="") as file:
        row = dict.fromkeys(EPIC_COLUMNS, "0")
        times = {"start_timestamp": "00:00:00.00", "stop_timestamp": "00:00:01.00"}
        row |= {"narration_id": f"{video}_0", "participant_id": video[:3], "video_id": video, **times}
        writer = csv.DictWriter(file, list(EPIC_COLUMNS))
        writer.writeheader()
        writer.writerow(row)
    table(tmp_path / "EPIC_100_video_info.csv", "video_id,duration,fps,resolution", f"{video},9.0,{rate},1920x1080")
    (sample,) = load_epic(tmp_path, data_root=tmp_path).samples
    assert sample.fps == expected


def test_finetune_reads_the_rates_of_a_table_and_writes_them_with_the_splits(tmp_path: Path) -> None:
    rows = []
    for number, label in enumerate(["walk", "fall"] * 3):
        frames(tmp_path / f"v{number}", 30)
        rows.append(f"v{number},{label},{10 + number}")
    file = table(tmp_path / "data.csv", "path,label,fps", *rows)
    data = load_finetune_data(file, fps=25)
    splits = {"train": data.train, "validation": data.validation}
    rates = {sample.id: sample.fps for dataset in splits.values() for sample in dataset.samples}
    assert rates == {f"v{number}": 10 + number for number in range(6)}
    folder = RunFolder(tmp_path)
    write_splits(folder, splits)
    again = load_finetune_data(folder.splits, data_root=".")
    assert {str(sample.path): sample.fps for sample in again.train.samples} == {
        str(sample.path): sample.fps for sample in data.train.samples
    }


def test_numbers_of_frames_are_read_at_the_rate_they_were_counted_at(tmp_path: Path) -> None:
    for name in ("a", "b", "P01_11"):
        frames(tmp_path / name)
    rows = ["a,x,10,20,25", "b,y,10,20,", "P01_11,x,12,24,"]
    file = table(tmp_path / "data.csv", "path,label,start_frame,end_frame,fps", *rows)
    data = with_rates(load_dataset(DatasetSource("csv", file)), 10)
    assert [(sample.start_seconds, sample.end_seconds, sample.fps) for sample in data.samples] == [
        (0.4, 0.8, 25),
        (0.2, 0.4, 60),
    ]
    (row,) = data.unused
    assert "nothing says how many frames" in row.reason
    assert "column fps" in row.reason
