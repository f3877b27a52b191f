"""What people labelled, for the page: which video a label is of, and where it lies in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tadacli.datasets.labels_of_people import read_labels_of_people
from tadacli.errors import UsageError
from tadacli.evaluation.agreement import LabelledTime, VideoLabels
from tadacli.reports.truth import agreement_note, truth_of
from tests import media
from tests.browser.test_correcting import row_of
from tests.reports.test_detection_page import detection, found

TABLE = "video,label,start,end\na,nod,0.5,1\nb.mp4,bow,1,\nc,nod,0,1\n"


def labels(folder: Path, text: str = TABLE) -> Any:
    (folder / "mine.csv").write_text(text)
    return read_labels_of_people(folder / "mine.csv")


def test_a_video_goes_by_its_file_or_its_name(tmp_path: Path) -> None:
    media.render(tmp_path / "A.mp4", 3)
    read = labels(tmp_path)
    truth = truth_of(read, ["elsewhere/b.mkv", str(tmp_path / "A.mp4"), "d.mp4"])
    assert set(truth.spans) == {"elsewhere/b.mkv", str(tmp_path / "A.mp4")}
    assert truth.name == "mine.csv"
    assert truth.remarks[-1] == f"{tmp_path / 'mine.csv'} also labels 1 video of which no result is asked for"
    assert truth_of(read, ["x/a.mp4", str(tmp_path / "A.mp4")]).spans.keys() == {str(tmp_path / "A.mp4")}
    with pytest.raises(UsageError, match=r"has no labels for z\.mp4: its videos are a, b\.mp4, c"):
        truth_of(read, ["z.mp4"])
    with pytest.raises(UsageError, match=r"'b\.mp4' could be x/b\.mp4, y/b\.mp4"):
        truth_of(read, ["x/b.mp4", "y/b.mp4"])


def test_labels_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    annotations = [{"segment": each, "label": "nod"} for each in ([0.5, 1.0], [1.0, 0.5])]
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"database": {"a": {"subset": "validation", "annotations": annotations}}}))
    truth = truth_of(read_labels_of_people(file), ["a.mp4"])
    (remark,) = truth.remarks
    assert remark == f"1 label of {file} cannot be used: its span is empty, reversed, or begins before the video"
    assert [span.end_seconds for span in truth.spans["a.mp4"]] == [1.0]


def test_times_count_from_the_first_frame_and_end_with_the_video(tmp_path: Path) -> None:
    truth = truth_of(
        labels(tmp_path, "video,label,start,end\na,nod,0.5,1\na,wave,1.5,9\na,bow,3,4\nb,bow,1,\n"), ["a.mp4", "b"]
    )
    row: Any = detection(path="a.mp4", start_seconds=5.0, duration_seconds=2.0)
    assert truth.of(row) == (LabelledTime(5.5, 6.0, "nod"), LabelledTime(6.5, 7.0, "wave"))
    assert truth.of(row | {"path": "b"}) == (LabelledTime(6.0, 7.0, "bow"),)
    assert truth.of(row | {"path": "c.mp4"}) is None
    assert truth.of(row | {"duration_seconds": None}) is None
    other = truth_of(labels(tmp_path, "video,label,start,end\na,nod,0.5,1\n"), ["a.mp4"])
    assert other.id != truth.id


def test_corrections_are_truth_and_what_a_machine_found_is_not(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    media.render(video, 40)
    row = row_of(video, start_seconds=2.0) | {"segments": [found(2.5, 3.0, "nod")]}
    file = tmp_path / "saved.json"
    file.write_text(json.dumps({"results": [row]}))
    with pytest.raises(UsageError, match="nobody corrected it"):
        read_labels_of_people(file)
    file.write_text(json.dumps({"results": [row | {"removed": []}]}))
    (span,) = truth_of(read_labels_of_people(file), ["other/a.mp4"]).of(row | {"path": "other/a.mp4"})
    assert span == LabelledTime(2.5, 3.0, "nod")


def test_the_agreement_is_one_sentence(tmp_path: Path) -> None:
    truth = truth_of(labels(tmp_path, "video,label,start,end\na,nod,0,1\n"), ["a"])
    one = VideoLabels([LabelledTime(0.0, 2.0, "nod")], [LabelledTime(0.0, 1.0, "nod")], (0.0, 4.0))
    assert agreement_note(truth, [one]) == "agreement with mine.csv: kappa 0.50 on a grid of 0.1 s, F1 1.00 at tIoU 0.5"
    none = VideoLabels([], [], (0.0, 4.0))
    assert agreement_note(truth, [none, none]) == (
        "agreement with mine.csv over 2 videos: no kappa, as all instants are labelled alike on a grid of 0.1 s, "
        "no F1, as there are no segments at tIoU 0.5"
    )
