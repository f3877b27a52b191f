"""Segments whose classes are numbers: pickles of columns and lines of text, read without running anything."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadacli.datasets.foreign.numbered import is_numbered
from tadacli.errors import UsageError
from tadacli.evaluation.detections import evaluate_activitynet
from tadacli.evaluation.readers.numbered import read_numbered

CLASSES = {7: "throw", 9: "clean", 12: "jump"}
ROWS = [("a", 1.0, 3.0, 9, 0.9), ("b", 0.5, 2.0, 7, 0.25), ("a", 2.0, 6.5, 12, 0.75)]


def columns(rows: list[Any]) -> dict[str, Any]:
    """The rows as ActionFormer keeps them."""
    videos, starts, ends, numbers, scores = zip(*rows, strict=True)
    single = [np.array(values, dtype=np.float32) for values in (starts, ends, scores)]
    named = {"video-id": list(videos), "t-start": single[0], "t-end": single[1]}
    return {**named, "label": np.array(numbers), "score": single[2]}


def pickled(file: Path, value: Any, protocol: int = 4) -> Path:
    file.write_bytes(pickle.dumps(value, protocol=protocol))
    return file


def lines(file: Path, rows: list[Any]) -> Path:
    file.write_text("".join("\t".join(map(str, row)) + "\r\n" for row in rows))
    return file


def annotations(folder: Path, *, numbered: bool = True, **changes: Any) -> Path:
    """What the rows find, for two videos, and a class that occurs in training alone."""
    entries: dict[str, Any] = {"a": {"subset": "validation", "annotations": []}}
    entries |= {"b": {"subset": "validation", "annotations": []}, "t": {"subset": "training", "annotations": []}}
    for video, start, end, number, _ in [*ROWS[:2], ("t", 0.0, 1.0, 12, 1.0)]:
        label = {"label_id": number} if numbered else {}
        entries[video]["annotations"].append({"label": CLASSES[number], "segment": [start, end], **label, **changes})
    file = folder / "truth.json"
    file.write_text(json.dumps({"version": "1", "database": entries}))
    return file


@pytest.mark.parametrize("form", ["pickle 2", "pickle 5", "text", "text, gzipped"])
def test_the_numbers_are_those_of_the_annotations(tmp_path: Path, form: str) -> None:
    file = tmp_path / "found"
    if form.startswith("pickle"):
        pickled(file, columns(ROWS), int(form[-1]))
    else:
        lines(file, ROWS)
        file.write_bytes(gzip.compress(file.read_bytes()) if form.endswith("gzipped") else file.read_bytes())
    report = evaluate_activitynet(annotations(tmp_path), file)
    assert report.tasks["all"].mean_average_precision == (1.0,) * 10
    notes = "; ".join(map(str, report.notes))
    assert "1 of 3 predictions are left out: their labels are not in the ground truth ('jump')" in notes
    assert "those of label_id" in notes


def test_a_number_that_is_no_class_is_left_out_and_said(tmp_path: Path) -> None:
    file = lines(tmp_path / "found.txt", [*ROWS[:2], ("a", 1.0, 3.0, 3, 1.0)])
    report = evaluate_activitynet(annotations(tmp_path), file)
    assert report.tasks["all"].average == 1.0
    assert "1 of 3 predictions are left out: their labels are not in the ground truth ('class 3')" in str(
        report.notes[-1]
    )


@pytest.mark.parametrize("changes", [{"numbered": False}, {"label_id": 1}, {"label_id": "9"}, {"label_id": [9]}])
def test_without_one_number_for_each_class_nothing_is_guessed(tmp_path: Path, changes: dict[str, Any]) -> None:
    file = lines(tmp_path / "found.txt", ROWS)
    with pytest.raises(UsageError, match="names classes by number") as caught:
        evaluate_activitynet(annotations(tmp_path, **changes), file)
    assert "label_id" in caught.value.hint


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Bomb(), "which could run a program"),
        ({**columns(ROWS), "score": Bomb()}, "which could run a program"),
        ([1, 2], "has no column video-id"),
        ({"video-id": ["a"]}, "has no column t-start"),
        ({**columns(ROWS), "score": np.zeros(2)}, "columns of different lengths: 2, 3"),
        ({**columns(ROWS), "score": np.array([1.0, np.nan, 2.0])}, "segment 1: 'nan' is not a finite number"),
        ({**columns(ROWS), "label": [1, 2, 2.5]}, "segment 2: 2.5 is not the number of a class"),
        ({**columns(ROWS), "label": [1, 2, 10**400]}, "segment 2: .* is not a finite number"),
        ({**columns(ROWS), "video-id": ["a", 3, "b"]}, "segment 1: the video is '3', not text"),
        ({**columns(ROWS), "t-start": np.zeros((3, 2))}, "has no column t-start"),
    ],
)
def test_pickles_that_hold_something_else_are_refused(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_numbered(pickled(tmp_path / "found.pkl", value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a 1 2 3 0.5\na 1 2 3\n", "line 2: not a video, start and end"),
        ("a 1 2 3 0.5\n\na 1 x 3 0.5\n", "line 3: 'x' is not a finite number"),
        ("a 1 2 3 0.5\na 1 inf 3 0.5\n", "line 2: 'inf' is not a finite number"),
        ("a 1 2 3.5 0.5\n", "line 1: 3.5 is not the number of a class"),
    ],
)
def test_lines_that_are_no_segments_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "found.txt").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_numbered(tmp_path / "found.txt")


@pytest.mark.parametrize("content", [b"", b'{"results": {}}', b"a b c d e\n", b"a 1 2 3\n", b"[1, 2, 3, 4, 5]\n"])
def test_other_files_are_not_taken_for_these(content: bytes) -> None:
    assert not is_numbered(content)
