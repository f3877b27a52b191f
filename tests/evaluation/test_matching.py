"""Predictions that fit no annotation: they are named, with what they were probably meant to be, and never a success."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.datasets.samples import Dataset, Sample
from tadacli.errors import NothingScoredError, UsageError
from tadacli.evaluation.detections import evaluate_activitynet
from tadacli.evaluation.matching import unmatched
from tadacli.evaluation.predictions import ScoreTable, TopScores
from tadacli.evaluation.recognition import evaluate_classified, evaluate_scores
from tadacli.reports.eval_csv import eval_csv
from tadacli.reports.eval_json import eval_json

SPAN = [1.0, 3.0]


def annotated(folder: Path, videos: Sequence[str], *, duration: float | None = 10.0, **more: Any) -> Path:
    """Annotations of a segment of one class in each video."""
    entry = {"subset": "validation", "annotations": [{"label": "walk", "segment": SPAN, **more}]}
    length = {} if duration is None else {"duration": duration}
    file = folder / "truth.json"
    file.write_text(json.dumps({"version": "1", "database": {video: {**entry, **length} for video in videos}}))
    return file


def predicted(folder: Path, segments: Mapping[str, Sequence[Sequence[float]]]) -> Path:
    """Predictions of that class, segments by video."""
    results = {
        video: [{"label": "walk", "score": 0.5, "segment": list(span)} for span in spans]
        for video, spans in segments.items()
    }
    file = folder / "found.json"
    file.write_text(json.dumps({"version": "1", "external_data": {}, "results": results}))
    return file


@pytest.mark.parametrize("name", ["v_x", "x.mp4", "X", "videos/x.MKV", "v_x.webm"])
def test_another_spelling_of_an_id_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not one of 1 video ") as caught:
        evaluate_activitynet(annotated(tmp_path, ["x"]), predicted(tmp_path, {name: [SPAN]}))
    assert f"{name} (x?)" in caught.value.message
    assert f"the annotations have x where the predictions have {name}" in caught.value.hint


def test_annotations_with_the_longer_id_are_found_alike(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        evaluate_activitynet(annotated(tmp_path, ["v_x"]), predicted(tmp_path, {"x": [SPAN]}))
    assert "x (v_x?)" in caught.value.message


def test_of_many_the_first_are_named_and_the_others_counted(tmp_path: Path) -> None:
    found = predicted(tmp_path, {f"other {number}": [] for number in range(40)})
    with pytest.raises(UsageError) as caught:
        evaluate_activitynet(annotated(tmp_path, ["x"]), found)
    assert "other 0, other 1" in caught.value.message
    assert caught.value.message.endswith("other 9 and 30 more")
    assert "same split" in caught.value.hint


def test_some_that_do_not_match_are_listed_in_the_report(tmp_path: Path) -> None:
    truth = annotated(tmp_path, ["a", "b", "c"])
    report = evaluate_activitynet(truth, predicted(tmp_path, {"a": [SPAN], "b": [SPAN], "v_c": [SPAN], "d": []}))
    assert report.unmatched == ("v_c", "d")
    (note,) = map(str, report.notes)
    assert note.startswith("2 of 4 results are of videos that are no samples: v_c (c?), d;")
    assert json.loads(eval_json(report))["unmatched"] == ["v_c", "d"]
    assert b"\nunmatched,,,d," in eval_csv(report).replace(b"\r", b"")
    assert report.is_complete, "one of three videos may have nothing found in it"


@pytest.mark.parametrize(("num_there", "complete"), [(4, True), (3, True), (2, False), (1, False), (0, False)])
def test_predictions_that_lack_half_of_the_videos_are_no_success(
    tmp_path: Path, num_there: int, complete: bool
) -> None:
    videos = ["a", "b", "c", "d"]
    report = evaluate_activitynet(
        annotated(tmp_path, videos), predicted(tmp_path, {video: [SPAN] for video in videos[:num_there]})
    )
    assert report.num_scored == num_there
    assert report.tasks["all"].mean_average_precision[0] == pytest.approx(num_there / 4)
    assert report.is_complete == complete


# --- times ----------------------------------------------------------------------------------------------


def test_frames_in_place_of_seconds_keep_the_official_number_and_are_said(tmp_path: Path) -> None:
    truth = annotated(tmp_path, ["a", "b"])
    report = evaluate_activitynet(truth, predicted(tmp_path, {"a": [SPAN, [25, 75]], "b": [[100, 200], [9, 10]]}))
    (note,) = map(str, report.notes)
    assert note.startswith("2 of 4 segments reach beyond the end of the video, by up to 190.00 s (b lasts 10 s)")
    silent = annotated(tmp_path, ["a", "b"], duration=None)
    again = evaluate_activitynet(silent, predicted(tmp_path, {"a": [SPAN, [25, 75]], "b": [[100, 200], [9, 10]]}))
    assert (again.tasks, again.notes) == (report.tasks, ())


@given(spans=st.lists(st.tuples(st.integers(0, 120), st.integers(0, 120)), min_size=1, max_size=9))
def test_odd_times_are_counted_one_by_one(tmp_path_factory: pytest.TempPathFactory, spans: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("spans")
    times = [(start / 10, end / 10) for start, end in spans]
    report = evaluate_activitynet(annotated(folder, ["a"]), predicted(folder, {"a": times}))
    num_backwards = sum(end < start for start, end in spans)
    num_beyond = sum(max(span) > 101 for span in spans)
    expected = [f"{num_backwards} of {len(spans)} segments end before they start"] * (num_backwards > 0)
    expected += [f"{num_beyond} of {len(spans)} segments reach beyond the end of the video"] * (num_beyond > 0)
    notes = [str(note) for note in report.notes]
    assert len(notes) == len(expected)
    assert all(note.startswith(text) for note, text in zip(notes, expected, strict=True))


# --- the results of classify ------------------------------------------------------------------------------


def tops(paths: Sequence[str], folder: str = "") -> TopScores:
    """Results that name the first of two classes for each of the videos."""
    columns = np.zeros((len(paths), 1), dtype=np.int64), np.ones((len(paths), 1))
    return TopScores(np.array(paths, dtype=np.str_), *columns, 1, 2, "a model", {}, folder=folder)


def samples(*places: Path | None) -> Dataset:
    """A sample of the first class for each file, or a name alone."""
    listed = [Sample(f"s{number}", place, {"": 0}) for number, place in enumerate(places)]
    return Dataset("mine", {"": ("a", "b")}, tuple(listed))


def test_relative_paths_count_from_the_folder_of_the_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    data = samples(tmp_path / "run" / "a.mp4", tmp_path / "elsewhere" / "b.mp4")
    report = evaluate_classified(data, tops(["a.mp4", "b.mp4"], folder=str(tmp_path / "run")), split="all")
    assert (report.num_scored, report.is_complete, report.unmatched) == (2, True, ())
    with pytest.raises(UsageError, match="not one of 1 video "):
        evaluate_classified(data, tops(["a.mp4"]), split="all")


def test_the_working_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = samples(tmp_path / "a.mp4", tmp_path / "run" / "a.mp4")
    report = evaluate_classified(data, tops(["a.mp4", "run/a.mp4"], folder=str(tmp_path / "run")), split="all")
    assert report.num_scored == 2


def test_results_that_match_no_sample_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        evaluate_classified(samples(None), tops(["/v/v_s0.mp4", "/v/other.mp4"]), split="all")
    assert "/v/v_s0.mp4 (s0?), /v/other.mp4" in caught.value.message
    with pytest.raises(UsageError) as caught:
        evaluate_classified(samples(tmp_path / "a.mp4"), tops(["/v/a.mp4"]), split="all")
    assert f"/v/a.mp4 ({tmp_path / 'a.mp4'}?)" in caught.value.message


def test_an_item_without_a_prediction_is_no_success() -> None:
    data = samples(None, None)
    report = evaluate_classified(data, tops(["s0.mp4"]), split="all")
    assert (report.num_scored, report.num_items, report.is_complete) == (1, 2, False)
    whole = evaluate_classified(data, tops(["s0.mp4", "s1.mp4"]), split="all")
    assert whole.is_complete


def test_all_that_failed_ends_with_the_code_of_failed_inputs() -> None:
    data, none = samples(None), ScoreTable(np.array([], dtype=np.str_), {"": np.empty((0, 2))})
    with pytest.raises(NothingScoredError) as caught:
        evaluate_scores(data, none, split="all", scores_are="probabilities", failed={"s0": "is damaged"})
    assert caught.value.exit_code == 3


@given(names=st.lists(st.text(min_size=1, max_size=9), max_size=6), known=st.lists(st.text(min_size=1, max_size=9)))
def test_a_name_is_unmatched_exactly_if_it_is_not_known(names: list[str], known: list[str]) -> None:
    found = unmatched(names, known, unit="videos")
    assert found.names == tuple(dict.fromkeys(name for name in names if name not in known))
    assert all(meant == "" or meant in known for meant in found.likely)
