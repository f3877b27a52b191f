"""Thresholds on the temporal IoU as they are asked for, and what a report says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.errors import UsageError
from tadacli.evaluation.detection_metrics import ACTIVITYNET_TIOU, EPIC_TIOU, THUMOS_TIOU
from tadacli.evaluation.detections import evaluate_activitynet, parse_tiou
from tadacli.evaluation.report import TimedVideo
from tadacli.evaluation.saved import evaluate_predictions


@pytest.mark.parametrize(
    ("text", "official"),
    [
        ("0.1:0.1:0.5", EPIC_TIOU),
        ("0.1,0.2,0.3,0.4,0.5", EPIC_TIOU),
        (".5:.05:.95", ACTIVITYNET_TIOU),
        ("0.3:0.10:0.7", THUMOS_TIOU),
    ],
)
def test_thresholds_of_a_benchmark_are_its_own_to_the_last_bit(text: str, official: tuple[float, ...]) -> None:
    assert parse_tiou(text) == official


@given(start=st.integers(1, 100), step=st.integers(1, 100), data=st.data())
def test_a_range_and_its_list_are_the_same_thresholds(start: int, step: int, data: st.DataObject) -> None:
    num_steps = data.draw(st.integers(0, (100 - start) // step))
    values = [start + step * number for number in range(num_steps + 1)]
    found = parse_tiou(f"{start / 100}:{step / 100:.2f}:{values[-1] / 100}")
    assert found == pytest.approx([value / 100 for value in values], rel=0, abs=1e-15)
    assert (found[0], found[-1]) == (start / 100, values[-1] / 100)
    assert parse_tiou(", ".join(f"{value / 100:.2f}" for value in values)) == found


def test_a_threshold_of_the_data_set_is_its_own_whatever_stands_beside_it() -> None:
    assert parse_tiou("0.3,0.35,0.7", usual=EPIC_TIOU) == (EPIC_TIOU[2], 0.35, 0.7)
    assert parse_tiou("0.1:0.1:0.9", usual=ACTIVITYNET_TIOU)[-1] == ACTIVITYNET_TIOU[8]


def test_uneven_and_single_thresholds_are_the_numbers_given() -> None:
    assert parse_tiou("0.3,0.5,0.75,1") == (0.3, 0.5, 0.75, 1.0)
    assert parse_tiou("0.07") == (0.07,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "''"),
        ("0:0.1:0.5", "'0'"),
        ("0.1:0:0.5", "'0'"),
        ("0.1:-0.1:0.5", "'-0.1'"),
        ("0.5,1.01", "'1.01'"),
        ("0.125", "'0.125'"),
        ("0.5,nan", "'nan'"),
        ("0.5,", "''"),
        ("1e-1", "'1e-1'"),
        ("\u0660.5", "cannot be read"),
        ("0.1:0.5", "cannot be read"),
        ("0.5:0.1:0.1", "end below their start"),
        ("0.1:0.15:0.5", "the last step is at 0.4"),
        ("0.7,0.5", "0.5 stands behind 0.7"),
        ("0.5,0.50", "0.5 stands behind 0.5"),
    ],
)
def test_thresholds_that_cannot_be_meant_are_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_tiou(text)
    assert repr(text) in caught.value.message
    assert said in caught.value.message
    assert caught.value.hint


def test_a_report_notes_thresholds_that_are_not_the_benchmark_s(tmp_path: Path) -> None:
    item = {"label": "a", "segment": [0.0, 10.0]}
    entry = {"subset": "validation", "duration": 20.0, "annotations": [item]}
    truth, found = tmp_path / "truth.json", tmp_path / "found.json"
    truth.write_text(json.dumps({"version": "1", "database": {"v": entry}}))
    # An overlap of a half, exactly on a threshold.
    found.write_text(json.dumps({"version": "1", "results": {"v": [{**item, "score": 1.0, "segment": [0.0, 5.0]}]}}))
    usual = evaluate_activitynet(truth, found)
    assert usual.tasks["all"].mean_average_precision == (1.0, *[0.0] * 9)
    assert not [note for note in map(str, usual.notes) if "tIoU" in note]
    report = evaluate_activitynet(truth, found, tiou=parse_tiou("0.3,0.5,0.51"))
    assert (report.tasks["all"].tiou, report.tasks["all"].mean_average_precision) == ((0.3, 0.5, 0.51), (1.0, 1.0, 0.0))
    assert report.tasks["all"].average == pytest.approx(2 / 3)
    (note,) = [note for note in map(str, report.notes) if "tIoU" in note]
    assert "0.3,0.5,0.51;" in note
    assert "0.5:0.05:0.95" in note
    assert report.videos == {"v": TimedVideo("", 20.0)}
    (tmp_path / "v.mp4").touch()
    with_video = evaluate_predictions("activitynet", found, annotations=truth, data_root=tmp_path)
    assert with_video.videos == {"v": TimedVideo(str(tmp_path / "v.mp4"), 20.0)}
