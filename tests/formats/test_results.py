"""Reading our own results back, and saying what is wrong with a file that holds none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tadacli.errors import UsageError
from tadacli.formats.records import Format
from tadacli.formats.results import read_detections
from tadacli.formats.row_formats import DETECTION_FORMATS, FORMATS
from tadacli.formats.rows import classification_row
from tadacli.results import Classification, Gap, Run
from tests.formats.detections import action, action_row, failed_row, row, segment

ROWS = [
    row("caf\udce9 日本.mp4", segment(0.5, 2.0, "two\nlines"), gaps=(Gap(3.0, 4.0, "damaged"),)),
    failed_row("e.mp4"),
    action_row("P01_11.mp4", action(0.0, 1.5, 3, 12)),
    row("none.mp4"),
]


def content(form: Format, rows: list[dict]) -> bytes:
    return form.head + form.separator.join(form.encode(each).content for each in rows) + form.tail


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_what_was_written_is_read(tmp_path: Path, name: str) -> None:
    file = tmp_path / "whatever its name"
    file.write_bytes(content(DETECTION_FORMATS[name], ROWS))
    assert read_detections(file) == ROWS
    file.write_bytes(content(DETECTION_FORMATS[name], ROWS[:1]))
    assert read_detections(file) == ROWS[:1]


def test_the_json_of_one_video_is_read_however_it_is_laid_out(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    file.write_bytes(content(DETECTION_FORMATS["jsonl"], ROWS[:1]))
    assert read_detections(file) == ROWS[:1]
    file.write_text("\ufeff" + json.dumps(ROWS[0], indent=2), encoding="utf-8")
    assert read_detections(file) == ROWS[:1]


@pytest.mark.parametrize(
    ("form", "rows"),
    [(DETECTION_FORMATS["json"], ROWS), (DETECTION_FORMATS["jsonl"], ROWS[:2]), (DETECTION_FORMATS["jsonl"], ROWS[:1])],
    ids=["json", "jsonl", "json of one video"],
)
def test_an_unfinished_file_is_never_taken_for_a_whole_one(tmp_path: Path, form: Format, rows: list[dict]) -> None:
    whole = content(form, rows)
    first = len(form.head + form.encode(rows[0]).content)
    file = tmp_path / "cut"
    for length in range(1, len(whole), 11):
        file.write_bytes(whole[:length])
        if form.head == b"" and length in (first - 1, first):
            continue  # a whole first line is a whole file
        with pytest.raises(UsageError, match="is unfinished") as caught:
            read_detections(file)
        assert caught.value.hint


def classified() -> bytes:
    run = Run("0.1", "ab" * 32, {"task": "action", "heads": {"": 3}}, {"views": "1x1"}, "run1")
    return FORMATS["jsonl"].encode(classification_row(Classification("a.mp4", "ok", "m"), run, size_bytes=1)).content


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "holds no results"),
        (b"\n \n", "holds no results"),
        (b'{"results": []}', "holds no results"),
        (b"\xff\xfe\x00", "does not hold results: it is not text"),
        (b"my own notes\n", "does not hold results: line 1 is not JSON"),
        (b"[" * 100_000, "does not hold results: it is nested too deeply"),
        (b'{"video": "a", "video": "b"}\n', "does not hold results: the key 'video' stands there twice"),
        (
            b'{}\n{"path": 1, "path": 2}\n',
            "does not hold results: line 2 cannot be read: the key 'path' stands there twice",
        ),
        (b"[1, 2]", "result 1 of .* is not an object"),
        (b"{}", "result 1 of .*: .*path is missing; error is missing; and 14 more"),
        (content(DETECTION_FORMATS["csv"], ROWS), "is a CSV table, which cannot be converted"),
        (content(DETECTION_FORMATS["jsonl"], ROWS[:1]) + b"oops\n" + classified(), "line 2 is not JSON"),
        (content(DETECTION_FORMATS["jsonl"], [ROWS[3], ROWS[3]]), r"holds two results of none\.mp4"),
        (classified(), "result 1 of .* comes from tada classify, which finds no segments"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, data: bytes, reason: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=reason) as caught:
        read_detections(file)
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(("name", "reason"), [("none", "No such file"), ("folder", "Is a directory")])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=f"{name} cannot be read: {reason}"):
        read_detections(tmp_path / name)


def _segment_change(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda each: each["segments"][0].update(changes)


def _without(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda each: each.pop(key)


def _with(**changes: object) -> Callable[[dict[str, Any]], None]:
    return lambda each: each.update(changes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_without("segments"), "result 2 of .*: segments is missing"),
        (_without("start_seconds"), "result 2 of .*: start_seconds is missing"),
        (_with(sources=1), "result 2 of .*: unknown key sources"),
        (_segment_change(colour="red"), r"result 2 of .*: unknown key segments\.0\.colour"),
        (lambda each: each["settings"].update(windw="2s"), r"result 2 of .*: unknown key settings\.windw"),
        (_with(status="fine"), 'result 2 of .*: status has the wrong type or value, got "fine"'),
        (_with(windows="58"), 'result 2 of .*: windows has the wrong type or value, got "58"'),
        (_with(duration_seconds=float("nan")), "result 2 of .*: duration_seconds has the wrong type or value, got NaN"),
        (_with(start_seconds=None), "result 2 of .* does not say when the video starts"),
        (_with(notes=[1]), r"notes\.0 has the wrong type or value, got 1"),
        (_with(windows=10**400), "windows has the wrong type or value, got 1000"),
        (_with(fps=10**400), "fps has the wrong type or value, got 1000"),
        (_with(segments=[5]), r"result 2 of .*: segments\.0 has the wrong type or value, got 5"),
        (_with(gaps=[{"start_seconds": 0.0, "end_seconds": 1.0}]), r"result 2 of .*: gaps\.0\.reason is missing"),
        (_segment_change(label=None), r"result 2 of .*: segments\.0\.label has the wrong type or value, got null"),
        (_segment_change(score=True), r"result 2 of .*: segments\.0\.score has the wrong type or value, got true"),
        (_segment_change(index=1.5), r"result 2 of .*: segments\.0\.index has the wrong type or value, got 1\.5"),
        (_segment_change(end_seconds=float("inf")), "end_seconds has the wrong type or value, got Infinity"),
        (_segment_change(end_seconds=0.25), "segment 1 in result 2 of .* ends before it starts"),
        (_segment_change(verb=3), "segment 1 in result 2 of .* lacks 'noun', 'action'"),
    ],
)
def test_a_result_that_was_changed_is_not_guessed_at(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    changed = json.loads(json.dumps(ROWS[0]))
    change(changed)
    file = tmp_path / "out.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in (ROWS[1], changed)))
    with pytest.raises(UsageError, match=reason):
        read_detections(file)
