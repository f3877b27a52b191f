"""Results files: every way of being interrupted leads to the file of an uninterrupted run."""

from __future__ import annotations

import csv
import json
import os
import resource
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tadacli.errors import OutputError
from tadacli.formats.growing_files import ResultFile
from tadacli.formats.row_formats import FORMATS
from tadacli.formats.rows import classification_row, path_in_csv
from tadacli.results import Classification, FrameTime, Note, NoteKind, Prediction, Run

SPEC = {"name": "m", "task": "action", "heads": {"": 3}}
RUN = Run("0.1", "ab" * 32, SPEC, {"views": "1x1", "topk": 2}, "run1")
PATHS = ["a.mp4", 'quote".mp4', "line\nbreak.mp4", "caf\udce9.mp4", "日本, 1.mp4", "e.mp4"]


def row(path: str, *, run: Run = RUN) -> dict:
    if path == "e.mp4":
        result = Classification(path=path, status="error", model="m", error="no, such; file")
    else:
        result = Classification(
            path=path,
            status="ok",
            model="m",
            heads={"": (Prediction("x, y", 1, 0.5), Prediction("z", 0, 0.25))},
            clips=((FrameTime(0, 0.0), FrameTime(3, 0.1)),),
            notes=(Note(NoteKind.MODEL, "a note"),),
        )
    return classification_row(result, run, size_bytes=None if path == "e.mp4" else 7)


def size_of(path: str) -> int | None:
    return None if path == "e.mp4" else 7


def open_file(path: Path, name: str, *, resume: bool = False, run_id: str = "run1", sizes=size_of) -> ResultFile:
    return ResultFile(path, FORMATS[name], run_id=run_id, resume=resume, size_of=sizes)


def write(path: Path, name: str, paths: list[str], *, resume: bool = False) -> list[str]:
    """Write what is not there yet; the videos that were written."""
    file = open_file(path, name, resume=resume)
    new = [each for each in paths if each not in file.done]
    for each in new:
        file.add(row(each))
    file.finish(paths)
    file.close()
    return new


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_at_any_byte_resumes_to_the_same_file(tmp_path: Path, name: str) -> None:
    whole = tmp_path / "whole"
    write(whole, name, PATHS)
    content = whole.read_bytes()
    cut = tmp_path / "cut"
    for length in range(0, len(content) + 1, 7):
        cut.write_bytes(content[:length])
        write(cut, name, PATHS, resume=True)
        assert cut.read_bytes() == content, length


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_scored_twice(tmp_path: Path, name: str) -> None:
    file = open_file(tmp_path / "out", name)
    for each in PATHS[:3]:
        file.add(row(each))
    file.close()
    assert write(tmp_path / "out", name, PATHS, resume=True) == PATHS[3:]
    assert write(tmp_path / "out", name, PATHS, resume=True) == []


@pytest.mark.parametrize("name", FORMATS)
def test_new_and_changed_and_dropped_inputs_give_the_file_of_a_fresh_run(tmp_path: Path, name: str) -> None:
    write(tmp_path / "fresh", name, PATHS[1:])
    write(tmp_path / "out", name, [PATHS[0], *PATHS[2:]])
    file = open_file(tmp_path / "out", name, resume=True, sizes=lambda path: 8 if path == PATHS[3] else size_of(path))
    assert file.done == dict.fromkeys((PATHS[0], PATHS[2], PATHS[4]), "ok") | {"e.mp4": "error"}
    for each in PATHS[1:]:
        if each not in file.done:
            file.add(row(each))
    file.finish(PATHS[1:])
    file.close()
    assert (tmp_path / "out").read_bytes() == (tmp_path / "fresh").read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_other_settings_are_not_mixed_in(tmp_path: Path, name: str) -> None:
    write(tmp_path / "out", name, PATHS)
    with pytest.raises(OutputError, match=r"made with other settings \(run run1, now run2\)"):
        open_file(tmp_path / "out", name, resume=True, run_id="run2")


@pytest.mark.parametrize("name", FORMATS)
def test_a_persons_file_is_not_touched(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.write_text("my own notes\n")
    for resume, reason in ((False, "exists and is not overwritten"), (True, "does not hold results")):
        with pytest.raises(OutputError, match=reason):
            open_file(out, name, resume=resume)
    assert out.read_text() == "my own notes\n"


@pytest.mark.parametrize("name", FORMATS)
def test_a_full_disk_leaves_whole_items(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    file = open_file(out, name)
    file.add(row(PATHS[0]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (out.stat().st_size + 40, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            file.add(row(PATHS[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    write(tmp_path / "whole", name, PATHS)
    assert write(out, name, PATHS, resume=True) == PATHS[1:]
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


def test_the_formats_say_the_same(tmp_path: Path) -> None:
    for name in FORMATS:
        write(tmp_path / name, name, PATHS)
    rows = [json.loads(line) for line in (tmp_path / "jsonl").read_bytes().splitlines()]
    assert rows == json.loads((tmp_path / "json").read_bytes())["results"] == [row(path) for path in PATHS]
    with (tmp_path / "csv").open(newline="", encoding="utf-8") as file:
        flat = list(csv.DictReader(file))
    assert [(path_in_csv(each["video"]), each["rank"], each["label"]) for each in flat] == [
        pair for path in PATHS[:-1] for pair in ((path, "1", "x, y"), (path, "2", "z"))
    ] + [("e.mp4", "", "")]
    assert flat[-1]["error"] == "no, such; file"


@pytest.mark.parametrize(
    ("target", "reason"),
    [("folder", "is a folder"), ("none/out.csv", r"none/out.csv cannot be written: there is no folder .*none$")],
)
def test_an_output_that_cannot_be_is_named_at_once(tmp_path: Path, target: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=reason):
        open_file(tmp_path / target, "csv")


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_file_of_a_person_is_not_touched_but_one_that_was_begun_goes_on(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.touch()
    with pytest.raises(OutputError, match="exists and is not overwritten"):
        open_file(out, name)
    assert write(out, name, PATHS, resume=True) == PATHS


@pytest.mark.parametrize("name", FORMATS)
def test_a_new_file_in_which_there_is_nothing_does_not_stay(tmp_path: Path, name: str) -> None:
    open_file(tmp_path / "out", name).close()
    assert not (tmp_path / "out").exists()
    write(tmp_path / "out", name, PATHS[:1])
    open_file(tmp_path / "out", name, resume=True, sizes=lambda _: 8).close()
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize("name", FORMATS)
def test_two_runs_do_not_write_to_one_file(tmp_path: Path, name: str) -> None:
    out = tmp_path / ("n" * 255)
    first = open_file(out, name)
    for resume, reason in ((False, "exists and is not overwritten"), (True, "another run is writing to")):
        with pytest.raises(OutputError, match=reason):
            open_file(out, name, resume=resume)
    for each in reversed(PATHS):
        first.add(row(each))
    first.finish(PATHS)
    first.close()
    whole = out.read_bytes()
    assert write(out, name, PATHS, resume=True) == []
    assert out.read_bytes() == whole


def test_a_disk_that_is_full_at_the_end_is_said(tmp_path: Path) -> None:
    out = tmp_path / "out"
    file = open_file(out, "json")
    file.add(row(PATHS[0]))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (out.stat().st_size, limits[1]))
    try:
        with pytest.raises(OutputError, match="out cannot be written: File too large"):
            file.finish(PATHS[:1])
        file.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert write(out, "json", PATHS[:1], resume=True) == []


@example(b"a\rb.mp4")
@example(b"\r\n")
@given(st.binary(min_size=1, max_size=12) | st.text("\\u05cdfe9x", min_size=1).map(os.fsencode))
def test_every_file_name_stands_in_csv_as_utf8_and_comes_back(name: bytes) -> None:
    path, form = os.fsdecode(name.replace(b"\0", b"x")), FORMATS["csv"]
    content = form.head + form.encode(row(path)).content
    content.decode("utf-8")
    (item,) = form.decode(content)
    assert (item.path, item.content) == (path, form.encode(row(path)).content)


def test_the_bytes_of_names_as_the_first_version_wrote_them_are_read(tmp_path: Path) -> None:
    path = "caf\udce9.mp4"
    write(tmp_path / "out", "csv", [path])
    content = (tmp_path / "out").read_bytes()
    (tmp_path / "out").write_bytes(content.replace(rb"caf\udce9", b"caf\xe9"))
    assert write(tmp_path / "out", "csv", [path], resume=True) == []
    assert (tmp_path / "out").read_bytes() == content
