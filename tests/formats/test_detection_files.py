"""Detection results on disk: what rows say, and that every way of being interrupted leads to the same file."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tadacli.errors import OutputError, UsageError
from tadacli.files import companion_of
from tadacli.formats.growing_files import ResultFile
from tadacli.formats.records import Csv, Format
from tadacli.formats.row_formats import DETECTION_FORMATS, detection_formats
from tadacli.formats.tables import CLASSIFICATIONS, DETECTIONS
from tadacli.results import Gap
from tests.formats.detections import RUN, action, action_row, failed_row, row, segment

GAPS = (Gap(10.0000004, 12.5, 'broken, "badly"'), Gap(20.0, 20.5, "late\nframes"))
ROWS = {
    each["path"]: each
    for each in (
        row("a.mp4", segment(0.5, 2.0), segment(1.0, 3.0, "x, y\tz", index=0, score=0.125)),
        row("line\nbreak\r.mp4"),
        row("caf\udce9.mp4", segment(1 / 3, 2 / 3, "日本語 --> &<b>"), start_seconds=0.1, gaps=GAPS),
        action_row("P01_11.mp4", action(0.0, 1.5, 3, 12), action(0.5, 1.5, 96, 299)),
        failed_row("e.mp4"),
    )
}
for each in ROWS.values():
    each["run"] = "run1"
ONE = {"caf\udce9.mp4": ROWS["caf\udce9.mp4"]}
FORM_OF_THEN = Csv(DETECTIONS.earlier, DETECTIONS.flatten, num_new=1)
CASES = {
    **{name: (form, ROWS) for name, form in DETECTION_FORMATS.items()},
    "json of one video": (DETECTION_FORMATS["jsonl"], ONE),
}


def open_file(path: Path, form: Format, *, resume: bool = False, companion: bytes | None = None) -> ResultFile:
    sizes = {video: row["size_bytes"] for video, row in ROWS.items()}
    return ResultFile(path, form, run_id="run1", resume=resume, size_of=sizes.__getitem__, companion=companion)


def write(path: Path, form: Format, rows: dict[str, dict], *, resume: bool = False) -> list[str]:
    """Write what is not there yet; the videos that were written."""
    file = open_file(path, form, resume=resume)
    new = [each for each in rows if each not in file.done]
    for each in new:
        file.add(rows[each])
    file.finish(list(rows))
    file.close()
    return new


def test_a_row_says_all_that_was_found_in_a_frozen_order() -> None:
    found = row("a.mp4", segment(0.12345678, 2.0), start_seconds=1 / 3, gaps=GAPS)
    assert " ".join(found) == (
        "video path status error model task duration_seconds start_seconds fps windows windows_planned segments "
        "gaps frames notes info size_bytes tool_version weights_sha256 spec settings run schema_version"
    )
    assert found["video"] == found["path"] == "a.mp4"
    assert (found["status"], found["error"], found["model"], found["task"]) == ("partial", None, "m", "action")
    assert (found["duration_seconds"], found["start_seconds"], found["fps"]) == (59.993333, 0.333333, 29.97003)
    assert (found["windows"], found["windows_planned"], found["frames"]) == (58, 59, {"used": 464})
    assert found["segments"] == [
        {"start_seconds": 0.123457, "end_seconds": 2.0, "label": "pan left", "index": 1, "score": 0.75}
    ]
    assert found["gaps"][0] == {"start_seconds": 10.0, "end_seconds": 12.5, "reason": 'broken, "badly"'}
    assert found["info"]["num_frames"] == 1798
    assert (found["size_bytes"], found["run"], found["spec"]) == (7, "run1", RUN.spec)


def test_a_segment_of_an_action_names_its_verb_and_noun() -> None:
    (found,) = action_row("P01_11.mp4", action(0.0, 1.5, 3, 12))["segments"]
    assert list(found)[5:] == ["verb", "noun", "action", "verb_label", "noun_label", "verb_score", "noun_score"]
    assert (found["verb"], found["noun"], found["action"], found["index"]) == (3, 12, "3,12", 912)
    assert (found["verb_label"], found["noun_label"]) == ("verb 3", "noun 12")
    assert (found["verb_score"], found["noun_score"]) == (0.9, 0.8)


def test_a_video_that_failed_has_no_facts() -> None:
    found = failed_row("e.mp4")
    assert (found["status"], found["error"], found["segments"]) == ("error", "no, such; file", [])
    assert [found[key] for key in ("duration_seconds", "start_seconds", "fps", "info")] == [None] * 4


@pytest.mark.parametrize("case", CASES)
def test_a_file_cut_at_any_byte_resumes_to_the_same_file(tmp_path: Path, case: str) -> None:
    form, rows = CASES[case]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    write(whole, form, rows)
    content = whole.read_bytes()
    for length in [*range(0, len(content), 37), len(content) - 1, len(content)]:
        cut.write_bytes(content[:length])
        write(cut, form, rows, resume=True)
        assert cut.read_bytes() == content, length


def test_a_table_that_an_earlier_version_began_goes_on_in_its_columns(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut.csv"
    write(whole, FORM_OF_THEN, ROWS)
    content = whole.read_bytes()
    assert content.startswith(b"path,status,")
    for length in [*range(5, len(content), 97), len(content)]:
        cut.write_bytes(content[:length])
        open_file(cut, DETECTION_FORMATS["csv"], resume=True, companion=b"{}").close()
        write(cut, DETECTION_FORMATS["csv"], ROWS, resume=True)
        assert cut.read_bytes() == content, length
    assert not companion_of(cut).exists()


def test_a_table_shows_what_people_look_for_first(tmp_path: Path) -> None:
    write(tmp_path / "csv", DETECTION_FORMATS["csv"], ROWS)
    head, *lines = (tmp_path / "csv").read_text(encoding="utf-8").splitlines()
    assert head.startswith("video,start_seconds,end_seconds,label,score,")
    assert max(len(line) for line in lines) < 150
    assert "settings" not in head


def test_the_companion_of_a_table_comes_and_goes_with_it(tmp_path: Path) -> None:
    table, form = tmp_path / "a.csv", DETECTION_FORMATS["csv"]
    beside = companion_of(table)
    open_file(table, form, companion=b"1").close()
    assert list(tmp_path.iterdir()) == []
    file = open_file(table, form, companion=b"1")
    assert beside.read_bytes() == b"1"
    file.add(ROWS["e.mp4"])
    file.close()
    open_file(table, form, resume=True, companion=b"2").close()
    assert beside.read_bytes() == b"2"
    beside.unlink()
    open_file(table, form, resume=True, companion=b"1").close()
    assert beside.read_bytes() == b"1"
    table.unlink()
    with pytest.raises(OutputError, match=r"a\.csv\.meta\.json exists and is not overwritten|exists"):
        open_file(table, form, companion=b"3")
    assert not table.exists()
    assert beside.read_bytes() == b"1"


def test_columns_are_added_in_their_own_order() -> None:
    usual, more = DETECTIONS.with_columns([]), DETECTIONS.with_columns(["settings", "gaps"])
    assert [name for name in more if name not in usual] == ["gaps", "settings"]
    assert [name for name in more if name in usual] == list(usual)
    assert {*DETECTIONS.with_columns(["all"])} >= {*DETECTIONS.earlier} - {"path"}
    assert {*CLASSIFICATIONS.with_columns(["all"])} >= {*CLASSIFICATIONS.earlier} - {"path"}
    with pytest.raises(UsageError, match="no column 'gap'"):
        DETECTIONS.with_columns(["gap"])


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_scored_twice(tmp_path: Path, case: str) -> None:
    form, rows = CASES[case]
    file = open_file(tmp_path / "out", form)
    for each in list(rows.values())[:3]:
        file.add(each)
    file.close()
    assert write(tmp_path / "out", form, rows, resume=True) == list(rows)[3:]
    assert write(tmp_path / "out", form, rows, resume=True) == []


def test_the_json_formats_hold_the_rows(tmp_path: Path) -> None:
    for case, (form, rows) in CASES.items():
        write(tmp_path / case, form, rows)
    rows = list(ROWS.values())
    assert json.loads((tmp_path / "json").read_bytes()) == {"results": rows}
    assert [json.loads(line) for line in (tmp_path / "jsonl").read_bytes().splitlines()] == rows
    assert json.loads((tmp_path / "json of one video").read_bytes()) == ROWS["caf\udce9.mp4"]


def in_csv(path: str) -> str:
    """A path with the bytes that are no UTF-8 as `\\udcXX`."""
    return path.encode("utf-8", "backslashreplace").decode()


def test_csv_has_a_line_for_each_segment_and_one_for_a_video_without(tmp_path: Path) -> None:
    write(tmp_path / "csv", detection_formats(columns=["all"])["csv"], ROWS)
    text = (tmp_path / "csv").read_bytes().decode("utf-8")
    flat = list(csv.DictReader(io.StringIO(text, newline="")))
    columns = ("video", "start_seconds", "label", "score", "action")
    assert [[line[key] for key in columns] for line in flat] == [
        [str({**found, "video": in_csv(path)}.get(key, "")) for key in columns]
        for path, each in ROWS.items()
        for found in each["segments"] or [{}]
    ]
    by_path = {line["video"]: line for line in flat}
    assert json.loads(by_path[in_csv("caf\udce9.mp4")]["gaps"]) == ROWS["caf\udce9.mp4"]["gaps"]
    assert (by_path["P01_11.mp4"]["verb"], by_path["P01_11.mp4"]["noun"]) == ("96", "299")
    assert by_path["e.mp4"]["error"] == "no, such; file"


@pytest.mark.parametrize("name", DETECTION_FORMATS)
def test_thousands_of_gaps_resume_too(tmp_path: Path, name: str) -> None:
    gaps = tuple(Gap(float(second), second + 0.5, "the packet is damaged") for second in range(3000))
    rows = {"a.mp4": row("a.mp4", segment(1.0, 2.0), gaps=gaps), "line\nbreak\r.mp4": ROWS["line\nbreak\r.mp4"]}
    write(tmp_path / "whole", DETECTION_FORMATS[name], rows)
    file = open_file(tmp_path / "out", DETECTION_FORMATS[name])
    file.add(rows["a.mp4"])
    file.close()
    assert write(tmp_path / "out", DETECTION_FORMATS[name], rows, resume=True) == ["line\nbreak\r.mp4"]
    assert (tmp_path / "out").read_bytes() == (tmp_path / "whole").read_bytes()
