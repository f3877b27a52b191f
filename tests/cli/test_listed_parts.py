"""Parts of videos in lists: a row of results for each, with its id, alike with workers and without."""

from __future__ import annotations

import csv
import importlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Tada

pyarrow = pytest.importorskip("pyarrow")
PARTS = ("id", "part_start_seconds", "part_end_seconds")


@pytest.fixture(scope="module")
def listed(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Parts of videos of 1.2 s and longer, the last three of which cannot be."""
    clip, other = str(videos / "clip 1.mp4"), str(videos / "clip 9.mp4")
    columns: dict[str, list[Any]] = {
        "path": [clip, clip, other, clip, clip, other, clip],
        "start": [0.0, 0.5, None, None, 0.0, 1.0, 0.9],
        "end": [0.5, None, 1.0, None, 9.0, 0.5, 1.2],
        "id": ["one", "two", "three", None, "four", "five", "one"],
    }
    file = tmp_path_factory.mktemp("list") / "list.parquet"
    importlib.import_module("pyarrow.parquet").write_table(pyarrow.table(columns), file)
    return f"@{file}"


def rows_of(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize("command", ["classify", "detect"])
def test_each_part_has_a_row(
    tada: Tada, untrained: Path, videos: Path, listed: str, tmp_path: Path, command: str
) -> None:
    words = ["--model", untrained, "--device", "cpu", *(["--threshold", "0.1"] if command == "detect" else [])]
    code, _, said = tada(command, listed, *words, "-o", tmp_path / "one.jsonl")
    assert code == 3
    rows = rows_of((tmp_path / "one.jsonl").read_bytes())
    assert [tuple(row.get(name, "-") for name in PARTS) for row in rows] == [
        ("one", 0.0, 0.5),
        ("two", 0.5, None),
        ("three", None, 1.0),
        ("-", "-", "-"),
        ("four", 0.0, 9.0),
        ("five", 1.0, 0.5),
        ("one", 0.9, 1.2),
    ]
    clip = str(videos / "clip 1.mp4")
    assert rows[0]["path"] == clip
    for row, asked in ((rows[0], ["--start", "0", "--end", "0.5"]), (rows[1], ["--start", "0.5"]), (rows[3], [])):
        (alone,) = rows_of(tada(command, clip, *words, *asked, "--format", "jsonl")[1])
        changing = {*PARTS, "settings", "run"}
        assert {key: row[key] for key in row if key not in changing} == {
            key: alone[key] for key in alone if key not in changing
        }
    assert [row["status"] == "error" for row in rows] == [False] * 4 + [True] * 3
    errors = [row["error"] for row in rows[4:]]
    assert "ends at 9.00 s in the list, the video at 1.23 s" in errors[0]
    assert "from 1 s to 0.5 s" in errors[1]
    assert "another row with the id 'one'" in errors[2]
    assert f"error: {errors[1]}" in said

    many = ["--engine", "local", "-o", tmp_path / "many.jsonl"]
    assert tada(command, listed, *words, *many)[0] == 3
    assert (tmp_path / "many.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def test_tables_say_which_part_and_go_on_after_a_kill(
    tada: Tada, untrained: Path, listed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    classify = ["classify", listed, "--model", untrained, "--device", "cpu", "--topk", "1"]
    code, shown, _ = tada(*classify, "--format", "table")
    assert code == 3
    assert "clip 1.mp4 (two, 0:00:00.500 to end)" in shown.decode()
    file = tmp_path / "one.csv"
    assert tada(*classify, "-o", file)[0] == 3
    whole = file.read_bytes()
    lines = list(csv.DictReader(io.StringIO(whole.decode())))
    assert [line["part_end_seconds"] for line in lines] == ["0.5", "", "1.0", "", "9.0", "0.5", "1.2"]
    file.write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    assert tada(*classify, "-o", file, "--resume")[0] == 3
    assert file.read_bytes() == whole
    run = ["--engine", "local", "-o", tmp_path / "many.jsonl"]
    assert tada(*classify, *run)[0] == 3
    assert tada("collect", tmp_path / "many.jsonl.run", "-o", tmp_path / "many.csv")[0] == 3
    assert (tmp_path / "many.csv").read_bytes() == whole


@pytest.mark.parametrize(
    "words", [["classify", "--start", "1"], ["detect", "--report", "page.html"], ["detect", "--format", "srt"]]
)
def test_parts_are_refused_where_they_cannot_be_told(tada: Tada, listed: str, words: list[str]) -> None:
    code, _, said = tada(words[0], listed, *words[1:])
    assert code == 2
    assert "has a column start, and spans are not read here" in said
