"""Results of `tada detect` score exactly as the challenges' files that are made of them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tadacli.errors import UsageError
from tadacli.evaluation.detection_metrics import EPIC_TIOU, ScoredSegments, TimedLabels, average_precision
from tadacli.evaluation.detections import evaluate_activitynet
from tadacli.evaluation.predictions import TimedScores
from tadacli.evaluation.readers.activitynet import read_activitynet, relabelled
from tadacli.evaluation.readers.epic import read_epic_detections
from tadacli.evaluation.readers.own_results import read_detected_actions, read_detected_labels
from tadacli.formats.records import Format
from tadacli.formats.results import is_detect_results
from tadacli.formats.row_formats import DETECTION_FORMATS
from tadacli.formats.segment_files import convert
from tadacli.results import Gap
from tests.formats.detections import ACTION_RUN, action, action_row, failed_row, row, segment

VIDEOS = ["videos/P01_11.MP4", "P01_12/", "https://host/P02_09.mp4?x=1", "P03_01.tar"]
IDS = ["P01_11", "P01_12", "P02_09", "P03_01"]
LABELS = ["pan right", "static", "pan left"]


def failed(path: str) -> dict[str, Any]:
    """A video that the action model could not read."""
    run = {"run": ACTION_RUN.id, "weights_sha256": ACTION_RUN.weights_sha256, "spec": ACTION_RUN.spec}
    return {**failed_row(path), **run}


def write(file: Path, rows: list[dict[str, Any]], form: Format = DETECTION_FORMATS["json"]) -> Path:
    content = form.head + form.separator.join(form.encode(each).content for each in rows) + form.tail
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return file


def through(name: str, folder: Path, rows: list[dict[str, Any]]) -> Path:
    """The file that `tada detect --format NAME` makes of the rows."""
    file = folder / f"{name}-{len(list(folder.iterdir()))}.json"
    file.write_bytes(convert(rows, name, file)[file])
    return file


def assert_same(found: TimedScores, expected: TimedScores) -> None:
    for name in ("video_ids", "starts", "ends", "scores"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist(), name
    assert {head: values.tolist() for head, values in found.classes.items()} == {
        head: values.tolist() for head, values in expected.classes.items()
    }
    assert (found.result_videos, found.labels) == (expected.result_videos, expected.labels)


def metrics(found: TimedScores, head: str, true_classes: list[int]) -> list[float]:
    """mAP against a segment of each class at the same place in every video."""
    names = sorted({*IDS, *found.video_ids.tolist()})
    videos = np.repeat(np.arange(len(names)), len(true_classes))
    starts = np.full(len(videos), 1.0)
    truth = TimedLabels(videos, np.array(true_classes * len(names)), starts, starts + 3.0)
    codes = np.array([names.index(name) for name in found.video_ids.tolist()], dtype=np.int64)
    scored = ScoredSegments(codes, found.classes[head], found.starts, found.ends, found.scores)
    return [float(value) for value in average_precision(truth, scored, tiou=EPIC_TIOU).mean_average_precision]


spans = st.tuples(st.integers(0, 40), st.integers(1, 40)).map(lambda ticks: (ticks[0] / 7, (ticks[0] + ticks[1]) / 7))
scores = st.integers(1, 9999999).map(lambda digits: digits / 1e7)
starts_of_video = st.sampled_from([0.0, 0.04, 10.333333, -0.5])
no_reset = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40, deadline=None
)


@st.composite
def action_rows(draw: Callable[..., Any]) -> list[dict[str, Any]]:
    rows = []
    for path in VIDEOS:
        classes = st.tuples(spans, st.sampled_from([0, 1, 96]), st.sampled_from([0, 7, 299]), scores)
        found = [action(*span, verb, noun, score=score) for span, verb, noun, score in draw(st.lists(classes))]
        rows.append(row(path, *found, run=ACTION_RUN, start_seconds=draw(starts_of_video)))
    rows[draw(st.integers(0, 3))] = failed("P05_01.mp4")
    return rows


@st.composite
def label_rows(draw: Callable[..., Any]) -> list[dict[str, Any]]:
    rows = []
    for path in VIDEOS:
        listed = draw(st.lists(st.tuples(spans, st.sampled_from(LABELS), scores)))
        found = [segment(*span, label, score=score) for span, label, score in listed]
        rows.append(row(path, *found, start_seconds=draw(starts_of_video)))
    rows[draw(st.integers(0, 3))] = failed_row("P05_01.mp4")
    return rows


@no_reset
@given(rows=action_rows())
def test_actions_score_as_the_submission_that_is_made_of_them(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    results = read_detected_actions(write(tmp_path / "out.json", rows))
    official = read_epic_detections(through("epic", tmp_path, rows))
    assert_same(results.predictions, official)
    for head, classes in {"verb": [0, 96], "noun": [7], "action": [7, 96 * 300 + 299]}.items():
        assert metrics(results.predictions, head, classes) == metrics(official, head, classes)


@no_reset
@given(rows=label_rows())
def test_labels_score_as_the_activitynet_predictions_that_are_made_of_them(
    tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    results = read_detected_labels(write(tmp_path / "out.json", rows))
    official = read_activitynet(through("activitynet", tmp_path, rows))
    assert_same(results.predictions, official)
    names = ["static", "pan left", "pan right"]
    ours, theirs = relabelled(results.predictions, names), relabelled(official, names)
    assert metrics(ours, "", [0, 1]) == metrics(theirs, "", [0, 1])


def test_a_model_of_actions_can_be_scored_by_its_labels_too(tmp_path: Path) -> None:
    rows = [action_row("P01_11.mp4", action(1.0, 2.0, 3, 4), action(0.0, 2.0, 3, 5))]
    results = read_detected_labels(write(tmp_path / "out.json", rows))
    assert_same(results.predictions, read_activitynet(through("activitynet", tmp_path, rows)))
    assert results.predictions.labels == ("verb 3 noun 4", "verb 3 noun 5")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.json", DETECTION_FORMATS["json"]),
        ("a.jsonl", DETECTION_FORMATS["jsonl"]),
        ("a.txt", DETECTION_FORMATS["jsonl"]),
        ("a.json.gz", DETECTION_FORMATS["json"]),
    ],
)
def test_every_way_that_results_are_written(tmp_path: Path, name: str, form: Format) -> None:
    rows = [action_row(path, action(1.0, 2.5, number, 2 * number)) for number, path in enumerate(VIDEOS)]
    results = read_detected_actions(write(tmp_path / name, rows, form))
    found = results.predictions
    assert found.result_videos == tuple(IDS)
    assert found.video_ids.tolist() == IDS
    assert found.classes["action"].tolist() == [302 * number for number in range(4)]
    assert (results.failed, found.notes) == ({}, ())
    assert results.run == {
        "tool_version": ACTION_RUN.tool_version,
        "weights_sha256": ACTION_RUN.weights_sha256,
        "spec": ACTION_RUN.spec,
        "settings": ACTION_RUN.settings,
    }
    one = read_detected_actions(write(tmp_path / "one.json", rows[1:2], DETECTION_FORMATS["jsonl"]))
    assert one.predictions.result_videos == ("P01_12",)


def test_videos_that_failed_are_listed_with_their_reasons(tmp_path: Path) -> None:
    rows = [failed("b/P02_09.mp4"), action_row("P01_11.mp4"), {**failed("P01_12"), "error": None}]
    results = read_detected_actions(write(tmp_path / "out.json", rows))
    assert results.failed == {"P02_09": "no, such; file", "P01_12": "no reason is given"}
    assert results.predictions.result_videos == ("P01_11",)
    alone = read_detected_labels(write(tmp_path / "alone.json", rows[:1]))
    assert (alone.predictions.result_videos, len(alone.predictions.scores), len(alone.failed)) == ((), 0, 1)


def test_videos_seen_in_part_count_and_are_noted(tmp_path: Path) -> None:
    gaps = (Gap(3.0, 4.0, "bad packet"), Gap(5.0, 6.0, "bad packet"), Gap(7.0, 8.0, "lost"))
    rows = [row("a.mp4", segment(0.0, 1.0), gaps=gaps), row("b.mp4"), failed_row("c.mp4")]
    results = read_detected_labels(write(tmp_path / "out.json", rows))
    assert results.predictions.result_videos == ("a", "b")
    assert tuple(map(str, results.predictions.notes)) == (
        "1 of 3 videos were searched in part, a first: nothing can be found in their gaps: bad packet (2); lost (1)",
    )


def test_results_of_one_model_with_several_settings_are_noted(tmp_path: Path) -> None:
    rows = [row("a.mp4"), {**row("b.mp4"), "run": "other"}]
    assert tuple(map(str, read_detected_labels(write(tmp_path / "out.json", rows)).predictions.notes)) == (
        "the results come from 2 runs with different settings, machines or versions",
    )


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        pytest.param([row("a.mp4", segment(0.0, 1.0))], "no heads for verbs and nouns", id="another model"),
        pytest.param([row("a.mp4")], "no heads for verbs and nouns", id="another model that found nothing"),
        pytest.param([{**row("a.mp4"), "spec": {"heads": 3}}], "spec.heads has the wrong type", id="heads as a number"),
        pytest.param([action_row("a.mp4", action(0.0, 1.0, 97, 1))], "video a: .* verb 97", id="unknown verb"),
        pytest.param([action_row("a.mp4", action(0.0, 1.0, 1, 300))], "video a: .* noun 300", id="unknown noun"),
        pytest.param([action_row("a.mp4", action(0.0, 1.0, -1, 3))], "video a: .* verb -1", id="negative verb"),
        pytest.param([action_row("a.mp4", segment(0.0, 1.0))], "video a: .* verb None", id="no verb"),
        pytest.param([action_row("a/x.mp4"), action_row("b/x")], "both be the video x", id="one id"),
        pytest.param([action_row("x.mp4"), failed("b/x.mp4")], "both be the video x", id="one id, one failed"),
        pytest.param([action_row("x.mp4"), action_row("x.mp4")], "two results of x.mp4", id="twice"),
        pytest.param([action_row("x.mp4"), row("y.mp4")], "2 models: m, weights cdcd.* and m, weights abab", id="two"),
        pytest.param([], "holds no results", id="none"),
    ],
)
def test_what_cannot_be_scored_as_actions(tmp_path: Path, rows: list[dict[str, Any]], named: str) -> None:
    file = write(tmp_path / "out.json", rows)
    with pytest.raises(UsageError, match=named) as caught:
        read_detected_actions(file)
    assert "out.json" in caught.value.message


def test_other_files_are_refused(tmp_path: Path) -> None:
    table = write(tmp_path / "out.csv", [row("a.mp4")], DETECTION_FORMATS["csv"])
    with pytest.raises(UsageError, match="CSV table, which cannot be evaluated"):
        read_detected_labels(table)
    cut = tmp_path / "cut.jsonl"
    whole = write(tmp_path / "out.jsonl", [row("a.mp4"), row("b.mp4")], DETECTION_FORMATS["jsonl"])
    cut.write_bytes(whole.read_bytes()[:-9])
    with pytest.raises(UsageError, match="unfinished"):
        read_detected_labels(cut)
    with pytest.raises(UsageError, match="there is no file"):
        read_detected_labels(tmp_path / "absent.json")


def test_results_are_told_from_the_files_of_the_challenges(tmp_path: Path) -> None:
    rows = [action_row("P01_11.mp4", action(0.0, 1.0, 1, 2)), action_row("P01_12.mp4")]
    for form in (DETECTION_FORMATS["json"], DETECTION_FORMATS["jsonl"]):
        assert is_detect_results(write(tmp_path / "out", rows, form).read_bytes())
    assert is_detect_results(json.dumps({"results": rows}, indent=2).encode("utf-8-sig"))
    assert is_detect_results(DETECTION_FORMATS["jsonl"].encode(rows[0]).content)
    for name in ("epic", "activitynet"):
        assert not is_detect_results(through(name, tmp_path, rows).read_bytes())
    assert not is_detect_results(b'{"results": {"P01_11": []}}')
    assert not is_detect_results(b"")


def test_no_value_of_a_wrong_type_is_more_than_a_usage_error(tmp_path: Path) -> None:
    file = write(tmp_path / "out.jsonl", [action_row("a.mp4", action(0.0, 1.0, 1, 2))], DETECTION_FORMATS["jsonl"])
    value = json.loads(file.read_bytes())
    (found,) = value["segments"]
    wrong = (None, 3, -1.5, 10**400, "x", [3], {"a": 1})
    values = [{**value, key: each} for key in value for each in wrong]
    values += [{**value, "segments": [{**found, key: each}]} for key in found for each in wrong]
    num_refused = 0
    for each in values:
        file.write_text(json.dumps(each))
        for read in (read_detected_actions, read_detected_labels):
            try:
                read(file)
            except UsageError:
                num_refused += 1
    assert num_refused > len(values)


def test_videos_are_where_they_were_searched(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    rows = [row(str(tmp_path / name), segment(0.0, 1.0, "static")) for name in ("a.mp4", "gone.mp4")]
    entry = {"subset": "validation", "duration": 9.0, "annotations": [{"label": "static", "segment": [0.0, 1.0]}]}
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"database": {"a": entry, "gone": entry}}))
    report = evaluate_activitynet(truth, write(tmp_path / "found.json", rows))
    assert {name: video.path for name, video in report.videos.items()} == {"a": str(tmp_path / "a.mp4"), "gone": ""}
