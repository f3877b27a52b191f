"""Files for other programs: where they go, whole or not at all, and never over another file."""

from __future__ import annotations

import errno
import json
import os
import resource
from pathlib import Path

import pytest

from tadacli.errors import OutputError, TadaError, UsageError
from tadacli.files import write_new
from tadacli.formats.registry import SEGMENT_FORMATS, SegmentFormat
from tadacli.formats.segment_files import convert, plan_files, write_file
from tests.formats.detections import action, action_row, failed_row, row, segment

PER_VIDEO = [name for name, form in SEGMENT_FORMATS.items() if form.per_video]
FOR_ALL = [name for name, form in SEGMENT_FORMATS.items() if not form.per_video]


def rows_of(*paths: str) -> list[dict]:
    return [action_row(path, action(0.0, 1.5, 3, 12)) for path in paths]


def write_segments(form: SegmentFormat, rows: list[dict], output: Path) -> list[Path]:
    """Convert and write as the commands do; the files that were written."""
    contents = convert(rows, form.name, output)
    for file, content in contents.items():
        assert file is not None
        write_file(file, content, make_folder=file != output)
    return list(contents)


def plan_and_write(name: str, paths: list[str], target: Path | None) -> None:
    form = SEGMENT_FORMATS[name]
    plan_files(form, paths, target)
    assert target is not None
    write_segments(form, rows_of(*paths), target)


def files_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("name", SEGMENT_FORMATS)
def test_one_video_goes_to_the_file_that_was_named(tmp_path: Path, name: str) -> None:
    form, rows = SEGMENT_FORMATS[name], rows_of("in/a.mp4")
    assert write_segments(form, rows, tmp_path / "out.x") == [tmp_path / "out.x"]
    assert (tmp_path / "out.x").read_bytes() == form.encode(rows) != b""
    assert files_in(tmp_path) == ["out.x"]


@pytest.mark.parametrize("name", PER_VIDEO)
def test_several_videos_get_a_folder_with_a_file_each(tmp_path: Path, name: str) -> None:
    form, rows = SEGMENT_FORMATS[name], rows_of("in/a.mp4", "b/same.mp4", "c/same.mp4")
    written = write_segments(form, rows, tmp_path / "out")
    assert written == [tmp_path / "out" / f"{stem}{form.suffix}" for stem in ("a", "b-same", "c-same")]
    assert [file.read_bytes() for file in written] == [form.encode([each]) for each in rows]
    assert files_in(tmp_path / "out") == sorted(file.name for file in written)


@pytest.mark.parametrize("name", PER_VIDEO)
def test_one_video_goes_into_a_folder_that_exists(tmp_path: Path, name: str) -> None:
    form = SEGMENT_FORMATS[name]
    assert write_segments(form, rows_of("in/a.mp4"), tmp_path) == [tmp_path / f"a{form.suffix}"]


@pytest.mark.parametrize("name", FOR_ALL)
def test_several_videos_share_a_file(tmp_path: Path, name: str) -> None:
    assert write_segments(SEGMENT_FORMATS[name], rows_of("first.mp4", "second.mp4"), tmp_path / "out") == [
        tmp_path / "out"
    ]
    content = (tmp_path / "out").read_text()
    assert content.index("first") < content.index("second")
    if name in ("activitynet", "epic"):
        assert list(json.loads(content)["results"]) == ["first", "second"]


@pytest.mark.parametrize("name", SEGMENT_FORMATS)
def test_videos_that_failed_are_left_out_and_change_no_name(tmp_path: Path, name: str) -> None:
    form = SEGMENT_FORMATS[name]
    rows = [failed_row("x/a.mp4"), *rows_of("y/a.mp4" if form.per_video else "y/b.mp4")]
    (written,) = write_segments(form, rows, tmp_path / "out")
    assert written.read_bytes() == form.encode(rows[1:])
    assert written.relative_to(tmp_path) == (Path("out", f"y-a{form.suffix}") if form.per_video else Path("out"))
    assert write_segments(form, [rows[0]], tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_names_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    write_segments(SEGMENT_FORMATS["srt"], rows_of("caf\udce9.mp4", "b.mp4"), tmp_path / "out")
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == [b"b.srt", b"caf\xe9.srt"]


@pytest.mark.parametrize("name", SEGMENT_FORMATS)
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    form = SEGMENT_FORMATS[name]
    paths = ["a.mp4", "b.mp4"]
    theirs = tmp_path / f"b{form.suffix}" if form.per_video else tmp_path / "out"
    theirs.write_text("my own")
    target = tmp_path if form.per_video else theirs
    for act in (lambda: plan_files(form, paths, target), lambda: write_segments(form, rows_of(*paths), target)):
        with pytest.raises(OutputError, match="exists and is not overwritten"):
            act()
    assert files_in(tmp_path) == [theirs.name]
    assert theirs.read_text() == "my own"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        (tmp_path / "out").write_text("my own")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="exists and is not overwritten"):
        write_new(tmp_path / "out", b"new")
    assert (tmp_path / "out").read_text() == "my own"
    assert files_in(tmp_path) == ["out"]


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)
    write_new(tmp_path / "out", b"new")
    assert (tmp_path / "out").read_bytes() == b"new"
    assert files_in(tmp_path) == ["out"]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="out cannot be written: File too large"):
            write_new(tmp_path / "out", b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files_in(tmp_path) == []


def test_a_row_that_a_format_refuses_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_segments(SEGMENT_FORMATS["epic"], [row("a.mp4", segment(0.0, 1.0))], tmp_path / "out")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "paths", "output", "error", "reason"),
    [
        ("srt", ["a.mp4", "b.mp4"], None, UsageError, "srt holds one video in a file, and these are 2"),
        ("srt", ["a.mp4", "b.mp4"], "file", OutputError, "file is not a folder"),
        ("srt", ["a.mp4", "b.mp4"], "none/out", OutputError, "cannot be written: there is no folder"),
        ("srt", ["a.mp4"], "none/out", OutputError, "cannot be written: there is no folder"),
        ("epic", ["a.mp4"], "folder", OutputError, "folder is a folder"),
        ("activitynet", ["a/x.mp4", "b/x.mp4"], None, OutputError, r"a/x\.mp4 and b/x\.mp4 would both be"),
        ("epic", ["a/x.mp4", "b/x.mp4"], "out", OutputError, r"a/x\.mp4 and b/x\.mp4 would both be"),
    ],
)
def test_outputs_that_cannot_be_are_refused_with_a_hint(
    tmp_path: Path, name: str, paths: list[str], output: str | None, error: type[TadaError], reason: str
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(error, match=reason) as caught:
        plan_and_write(name, paths, None if output is None else tmp_path / output)
    assert caught.value.hint
    assert files_in(tmp_path) == ["file", "folder"]


def test_a_plan_says_where_each_video_goes(tmp_path: Path) -> None:
    srt, epic = SEGMENT_FORMATS["srt"], SEGMENT_FORMATS["epic"]
    assert plan_files(srt, ["a.mp4"], None) == {"a.mp4": None}
    assert plan_files(epic, ["a.mp4", "b.mp4"], None) == {"a.mp4": None, "b.mp4": None}
    assert plan_files(epic, ["a.mp4", "b.mp4"], tmp_path / "x") == dict.fromkeys(("a.mp4", "b.mp4"), tmp_path / "x")
    assert plan_files(srt, ["a.mp4"], tmp_path / "x") == {"a.mp4": tmp_path / "x"}
    assert plan_files(srt, ["a.mp4", "b.mp4"], tmp_path / "x") == {
        "a.mp4": tmp_path / "x" / "a.srt",
        "b.mp4": tmp_path / "x" / "b.srt",
    }
    assert files_in(tmp_path) == []
