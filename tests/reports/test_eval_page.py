"""The page of an evaluation as bytes: what is inside, what is escaped, and that it stays small."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadacli.datasets.samples import Sample
from tadacli.evaluation.detection_metrics import DetectionMetrics, ScoredSegments, TimedLabels
from tadacli.evaluation.error_kinds import MULTIPLES, ErrorCounts, ErrorKind, judge_detections
from tadacli.evaluation.majority import MajorityClass
from tadacli.evaluation.metrics import Outcomes, calibration, confusion_matrix
from tadacli.evaluation.report import (
    Accuracies,
    ComparedSegments,
    EvalReport,
    HeadResult,
    ItemResult,
    NamedPrecision,
    Precisions,
    ScoredItems,
    TaskParts,
    TimedVideo,
    UnscoredItem,
)
from tadacli.reports import eval_lanes
from tadacli.reports.eval_items import listed_items
from tadacli.reports.eval_page import encode_eval_page
from tadacli.reports.video_links import VideoLink, played_videos
from tadacli.results import Note, NoteKind
from tests import media
from tests.reports.test_detection_page import NASTY, Elements

TIOU = [0.1, 0.2, 0.3]


def _errors(multiple: int, *numbers: int) -> ErrorCounts:
    return ErrorCounts(0.3, multiple, dict(zip(ErrorKind, numbers, strict=True)), 2, 4)


ERRORS = (_errors(1, 2, 1, 0, 1, 0, 0), _errors(10, 2, 1, 1, 1, 1, 1))


def head(labels: Sequence[str], pairs: Sequence[tuple[int, int]], **changes: Any) -> HeadResult:
    """A head that predicted, for items of these true classes, these classes, all with a score of 0.75."""
    true, predicted = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    items = Outcomes(true, predicted, np.where(true == predicted, 0, 1), np.full(len(pairs), 0.75))
    result = HeadResult(tuple(labels), confusion_matrix(items, num_classes=len(labels)), calibration=calibration(items))
    return replace(result, **changes)


def item(name: str, *, label: int = 0, predicted: int = 1, **changes: Any) -> ItemResult:
    return replace(ItemResult(name, f"videos/{name}.mp4", label, predicted, 0.125, 0.75, 1), **changes)


def recognition(**changes: Any) -> EvalReport:
    """Three classes, six items scored and two not."""
    pairs = [(0, 0), (0, 0), (0, 1), (1, 1), (1, 0), (1, 0)]
    worst = (item("b", label=1, predicted=0, start_seconds=1.5, end_seconds=63.25), item("a"))
    result = head(["wave", "nod", "bow"], pairs, worst=worst, intervals={"top1": (12.5, 87.5)})
    report = EvalReport(
        "folder",
        "test",
        "videos",
        6,
        8,
        Accuracies({"top1": 50.0, "mean_class_accuracy": 50.0}),
        {"": result},
        (UnscoredItem("c", "videos/c.mp4", "is damaged"), UnscoredItem("d", "", "there is no file")),
        {"model": "tiny.motion", "settings": {"views": "2x1"}},
        (Note(NoteKind.MEASURE, "a note"),),
        majority={"": MajorityClass("wave", 3, 6)},
    )
    return replace(report, **changes)


def detections() -> EvalReport:
    task = DetectionMetrics(tuple(TIOU), (0, 1, 2, 3), (1,) * 4, ((0.5, 0.25, 0.125),) * 4, 9, 7, 3, 3)
    classes = tuple(NamedPrecision(f"class {n}", n + 1, (n / 8, n / 16, 0.0), n) for n in range(4))
    videos = tuple(NamedPrecision(f"P01_0{n}", 2, (0.5, 0.25, n / 8)) for n in range(3))
    precisions = Precisions({"verb": task, "noun": task}, {"verb": TaskParts(classes, videos, ERRORS)})
    return EvalReport("ek100-detection", "validation", "videos", 3, 3, precisions)


@pytest.mark.parametrize("text", NASTY)
def test_any_text_comes_through_and_opens_no_element(text: str) -> None:
    plain = Elements(encode_eval_page(recognition()))
    lost = UnscoredItem(text, text, text)
    result = head([text, "nod"], [(0, 1)], worst=(item(text, path=text),))
    notes = (Note(NoteKind.MEASURE, text),)
    report = EvalReport(text, text, text, 1, 2, Accuracies({text: 1.0}), {text: result}, (lost,), {text: text}, notes)
    page = Elements(encode_eval_page(report, {text: b"picture"}))
    assert [tag for tag, _, _ in page.found] == [tag for tag, _, _ in plain.found]
    data = page.data()
    assert data["heads"][0]["labels"] == [text, "nod"]
    assert (data["heads"][0]["worst"][0]["id"], data["heads"][0]["worst"][0]["path"]) == (text, text)
    assert data["unscored"] == [[text, text, 0]]
    assert data["reasons"] == [[text, 1]]
    assert data["notes"] == [text]
    assert [text, text] in data["facts"]
    assert list(data["thumbnails"]) == [text]


def test_the_policy_allows_this_style_and_this_script_only() -> None:
    content = encode_eval_page(recognition(), {"a": b"picture"})
    page = Elements(content)
    (policy,) = [a["content"] for tag, a, _ in page.found if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert (rules["default-src"], rules["img-src"]) == ("'none'", "data:")
    for name, text in (("style-src", page.texts("style")[0]), ("script-src", page.texts("script")[-1])):
        assert rules[name] == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert content.decode().replace("http://www.w3.org/2000/svg", "").count("//www.") == 0
    assert b"https:" not in content


def test_everything_in_the_report_is_in_the_page() -> None:
    data = Elements(encode_eval_page(recognition(), {"a": b"picture", "of no item": b"other"})).data()
    assert (data["num_scored"], data["num_items"], data["unit"]) == (6, 8, "videos")
    assert data["metrics"][0] == {
        "task": "",
        "name": "top1",
        "value": 50.0,
        "isPercent": True,
        "low": 12.5,
        "high": 87.5,
    }
    assert data["metrics"][1]["low"] is None
    always = data["metrics"][2]
    assert (always["name"], always["value"], always["about"]) == ("majority_class", 50.0, "always 'wave', 3 of 6")
    (found,) = data["heads"]
    assert found["rows"] == [[0, 2, 1, 1], [0, 2, 1, 1], []]
    assert [each["id"] for each in found["worst"]] == ["b", "a"]
    assert [each[2] for each in found["calibration"]["bins"] if each[2]] == [6]
    assert data["unscored"] == [["c", "videos/c.mp4", 0], ["d", "", 1]]
    assert data["reasons"] == [["is damaged", 1], ["there is no file", 1]]
    assert data["thumbnails"] == {"a": base64.b64encode(b"picture").decode()}
    assert ["settings: views", "2x1"] in data["facts"]


def test_detection_is_told_by_task_and_threshold() -> None:
    data = Elements(encode_eval_page(detections())).data()
    assert [task["name"] for task in data["tasks"]] == ["verb", "noun"]
    assert (data["tasks"][0]["tiou"], data["tasks"][0]["mAP"]) == (TIOU, [0.5, 0.25, 0.125])
    assert data["tasks"][0]["facts"] == [["classes", "4"], ["detections", "9"], ["scored", "7"]]
    assert (data["metrics"], data["heads"]) == ([], [])
    assert data["tasks"][0]["classes"][3] == ["class 3", 4, 0.1875, [0.375, 0.1875, 0.0]]
    assert data["tasks"][0]["videos"][1] == ["P01_01", 2, 0.2917, [0.5, 0.25, 0.125]]
    assert (data["tasks"][1]["classes"], data["tasks"][1]["videos"]) == ([], [])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_becomes_none(value: float) -> None:
    result = head(["wave", "nod"], [(0, 1)], worst=(item("a", label_score=value, predicted_score=value),))
    report = recognition(metrics=Accuracies({"top1": value}), heads={"": result})
    data = Elements(encode_eval_page(report)).data()
    assert data["metrics"][0]["value"] is None
    assert data["heads"][0]["worst"][0]["labelScore"] is None


def test_the_same_report_gives_the_same_bytes() -> None:
    first, second = ({"a": b"1", "b": b"2"}, {"b": b"2", "a": b"1"})
    assert encode_eval_page(recognition(), first) == encode_eval_page(recognition(), second)


def test_a_page_of_many_classes_and_items_stays_small() -> None:
    rng = np.random.default_rng(0)
    pairs = [(int(a), int(b)) for a, b in rng.integers(0, 400, (20_000, 2))]
    lost = tuple(UnscoredItem(f"item {n}", f"videos/{n:08d}.mp4", "there is no file") for n in range(2_000))
    result = head([f"class {n}" for n in range(400)], pairs)
    page = encode_eval_page(recognition(heads={"": result}, unscored=lost))
    assert len(page) < 500_000
    rows = Elements(page).data()["heads"][0]["rows"]
    matrix = np.zeros((400, 400), dtype=np.int64)
    for number, row in enumerate(rows):
        matrix[number, row[::2]] = row[1::2]
    np.testing.assert_array_equal(matrix, result.confusion)


def test_each_cell_lists_as_many_items_as_there_is_room_for() -> None:
    pairs = [(0, 0)] * 9 + [(0, 1)] * 4 + [(1, 0)] * 2
    scores = np.linspace(0.5, 0.1, len(pairs))
    result = head(["wave", "nod"], pairs)
    outcomes = Outcomes(
        *np.array(pairs).T, np.array([true != predicted for true, predicted in pairs]), np.full(len(pairs), 0.75)
    )
    samples = [Sample(f"v{number}", None, {"": true}) for number, (true, _) in enumerate(pairs)]
    result = replace(result, items=ScoredItems(samples, outcomes, scores))
    assert len(listed_items(result)) == len(pairs)
    some = listed_items(result, most=8)
    assert [(each.label, each.predicted) for each in some] == [(0, 1)] * 3 + [(1, 0)] * 2 + [(0, 0)] * 3
    assert [each.id for each in some] == ["v12", "v11", "v10", "v14", "v13", "v8", "v7", "v6"]  # the lowest scores
    assert len(listed_items(result, most=1)) == 3  # one of each cell at least
    data = Elements(encode_eval_page(recognition(heads={"": result}))).data()
    assert data["heads"][0]["items"][0] == ["v12", -1, 0, 1, round(scores[12], 4), 0.75, None, None]


def test_videos_share_the_room_inside_a_page(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        media.render(tmp_path / name, 12)
    (tmp_path / "frames").mkdir()
    paths = [str(tmp_path / name) for name in ("a.mp4", "gone.mp4", "a.mp4", "b.mp4", "frames")]
    room = (tmp_path / "a.mp4").stat().st_size + 10
    found = played_videos(paths, tmp_path / "page.html", max_inline=room)
    assert list(found) == [paths[0], paths[1], *paths[3:]]
    first, gone, second, frames = found.values()
    assert (first.link.content, first.codec, first.reason) == ((tmp_path / "a.mp4").read_bytes(), "h264", "")
    assert (gone.link, gone.reason) == (VideoLink(), "the file is not there")
    assert (second.link, second.reason) == (VideoLink(name="b.mp4", url="b.mp4"), "")
    assert frames.reason == "these are pictures, which a page does not play"


def compared(*, multiple_of_found: int = 1, path: str = "") -> EvalReport:
    """Two videos; of three true segments one is found twice, one with a wrong label, and one is missed."""
    truth = TimedLabels(np.array([0, 0, 1]), np.array([0, 1, 1]), [0.0, 5.0, 2.0], [2.0, 6.0, 4.0])
    rows = [(0, 0, 0.0, 2.0, 0.9), (0, 0, 0.0, 1.9, 0.8), (0, 0, 5.0, 6.0, 0.7), (1, 0, 8.0, 9.0, 0.6)]
    found = ScoredSegments(*(np.array(column) for column in zip(*(rows * multiple_of_found), strict=True)))
    judged = judge_detections(truth, found, tiou=0.5)
    task = DetectionMetrics(tuple(TIOU), (0, 1), (1, 2), ((0.5, 0.25, 0.125),) * 2, 4, 4, 2, 2)
    parts = TaskParts(
        (NamedPrecision("wave", 1, (1.0, 0.5, 0.0), 0), NamedPrecision("nod", 2, (0.5, 0.25, 0.0), 1)),
        (NamedPrecision("a", 2, (0.5, 0.25, 0.125)), NamedPrecision("b", 1, (0.0, 0.0, 0.0))),
        tuple(map(judged.counts, MULTIPLES)),
        ComparedSegments(("a", "b"), truth, found, judged),
    )
    videos = {"a": TimedVideo(path, 10.0), "b": TimedVideo()}
    metrics = Precisions({"all": task}, {"all": parts})
    return EvalReport("activitynet", "validation", "videos", 2, 2, metrics, videos=videos)


def test_true_segments_and_detections_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = Elements(encode_eval_page(compared())).data()["tasks"][0]["lanes"]
    assert (lanes["multiple"], lanes["tiou"], lanes["labels"], lanes["num_left"]) == (10, 0.5, ["wave", "nod"], 0)
    first, second = lanes["videos"]
    assert (first["id"], first["seconds"], first["truth"]) == ("a", 10, [0, 0, 2, 1, 1, 5, 6, 0])
    kinds = [list(ErrorKind)[kind] for kind in first["found"][4::5]]
    assert kinds == [ErrorKind.RIGHT, ErrorKind.DOUBLE, ErrorKind.WRONG_LABEL]
    assert first["found"][:5] == [0, 0, 2, 0.9, 0]
    assert (second["seconds"], second["truth"], second["found"]) == (9, [1, 2, 4, 0], [0, 8, 9, 0.6, 5])
    monkeypatch.setattr(eval_lanes, "MAX_SHOWN", 4)
    lanes = Elements(encode_eval_page(compared())).data()["tasks"][0]["lanes"]
    assert lanes["multiple"] == 1  # one of four detections, as there is one true segment of its class
    assert [video["found"] for video in lanes["videos"]] == [[0, 0, 2, 0.9, 0], []]
    monkeypatch.setattr(eval_lanes, "MAX_SHOWN", 2)
    lanes = Elements(encode_eval_page(compared())).data()["tasks"][0]["lanes"]
    assert ([video["id"] for video in lanes["videos"]], lanes["num_left"]) == (["b"], 1)  # the worse one


def test_times_without_end_and_many_segments_fit_into_a_page() -> None:
    report = compared(multiple_of_found=200)
    assert isinstance(report.metrics, Precisions)
    segments = report.metrics.parts["all"].segments
    assert segments is not None
    ends = segments.detections.ends_seconds.copy()
    ends[0] = np.inf
    endless = replace(segments, detections=replace(segments.detections, ends_seconds=ends))
    parts = replace(report.metrics.parts["all"], segments=endless)
    page = encode_eval_page(replace(report, metrics=replace(report.metrics, parts={"all": parts})))
    assert Elements(page).data()["tasks"][0]["lanes"]["videos"][0]["found"][2] == 1e9
