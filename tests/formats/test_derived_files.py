"""Several formats of one run: the same as each by itself, whole or not there, and taken up again after a kill."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas
import pytest

from tadacli.errors import OutputError, UsageError
from tadacli.files import companion_of
from tadacli.formats.derived_files import DerivedFiles, Wanted, parquet_file, result_folder
from tadacli.formats.parquet import write_parquet
from tadacli.formats.registry import SEGMENT_FORMATS
from tadacli.formats.row_formats import detection_formats, encode_all
from tadacli.formats.rows import DetectionRow
from tadacli.formats.tables import CLASSIFICATIONS, DETECTIONS
from tests.formats.detections import RUN, action, action_row, failed_row, row, segment

ROWS: dict[str, DetectionRow] = {
    each["path"]: each
    for each in (
        row("videos/walk.mp4", segment(1.0, 3.25), segment(2.0, 4.5, "a, b")),
        row("caf\udce9.mp4", segment(1 / 3, 2 / 3, "日本語")),
        row("still.mp4"),
        failed_row("broken.mp4"),
    )
}
FORMATS = ("csv", "tsv", "json", "jsonl", "parquet", "srt", "eaf", "activitynet")
FORMS = detection_formats(num_videos=len(ROWS), columns=["gaps"])


def opened(folder: Path, *, formats: tuple[str, ...] = FORMATS, resume: bool = False) -> DerivedFiles[DetectionRow]:
    wanted = Wanted(formats, FORMS, DETECTIONS, RUN, ["gaps"])
    sizes = {path: each["size_bytes"] for path, each in ROWS.items()}
    return result_folder(folder, wanted, list(ROWS), resume=resume, size_of=sizes.__getitem__)


def write(folder: Path, *, resume: bool = False) -> list[str]:
    """Write what is not there yet; the videos that were."""
    results = opened(folder, resume=resume)
    new = [path for path in ROWS if path not in results.done]
    for path in new:
        results.add(ROWS[path])
    results.finish(list(ROWS))
    results.close()
    return new


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_each_format_is_what_it_is_by_itself(tmp_path: Path) -> None:
    write(tmp_path / "out")
    found = content(tmp_path / "out")
    for name in ("csv", "tsv", "json", "jsonl"):
        assert found[f"results.{name}"] == encode_all(FORMS[name], list(ROWS.values()))
    readable = [each for each in ROWS.values() if each["status"] != "error"]
    assert found["walk.srt"] == SEGMENT_FORMATS["srt"].encode(readable[:1])
    assert found["results_activitynet.json"] == SEGMENT_FORMATS["activitynet"].encode(readable)
    assert {name for name in found if name.endswith(".eaf")} == {
        "walk.eaf",
        "still.eaf",
        *(n for n in found if "caf" in n and n.endswith("eaf")),
    }
    assert "broken.srt" not in found
    about = json.loads(found["results.csv.meta.json"])
    assert about["runs"][0]["settings"] == json.loads(found["results.jsonl"].splitlines()[0])["settings"]
    assert list(about["columns"]) == found["results.csv"].splitlines()[0].decode().split(",")


def test_a_table_in_parquet_has_the_lines_of_csv_with_types(tmp_path: Path) -> None:
    write(tmp_path / "out")
    table = pandas.read_parquet(tmp_path / "out" / "results.parquet", dtype_backend="numpy_nullable")
    flat = pandas.read_csv(io.BytesIO(content(tmp_path / "out")["results.csv"]), keep_default_na=False)
    assert list(table.columns) == list(flat.columns)
    for name in ("video", "label", "error"):
        assert table[name].fillna("").tolist() == flat[name].tolist()
    assert [str(table.dtypes[name]) for name in ("index", "score", "num_rows")] == ["Int64", "Float64", "Int64"]
    assert table["start_seconds"].dropna().tolist() == [1.0, 2.0, 0.333333]


@pytest.mark.parametrize("num_done", range(len(ROWS) + 1))
def test_a_run_that_was_killed_goes_on_to_the_same_files(tmp_path: Path, num_done: int) -> None:
    write(tmp_path / "whole")
    results = opened(tmp_path / "out")
    for path in list(ROWS)[:num_done]:
        results.add(ROWS[path])
    results.close()  # as a kill leaves it: nothing is finished
    assert write(tmp_path / "out", resume=True) == list(ROWS)[num_done:]
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_run_that_was_killed_while_the_files_are_made_makes_the_others(tmp_path: Path) -> None:
    write(tmp_path / "whole")
    write(tmp_path / "out")
    for name in ("results.parquet", "walk.srt", "results.csv.meta.json"):
        (tmp_path / "out" / name).unlink()
    assert write(tmp_path / "out", resume=True) == []
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_formats_that_share_a_suffix_have_files_of_their_own(tmp_path: Path) -> None:
    results = opened(tmp_path / "out", formats=("audacity", "elan-txt", "thumos"))
    for each in ROWS.values():
        results.add(each)
    results.finish(list(ROWS))
    results.close()
    assert {"walk.txt", "walk.elan-txt.txt", "results_thumos.txt"} <= content(tmp_path / "out").keys()


def test_no_file_of_a_person_is_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "walk.srt").write_text("mine")
    with pytest.raises(OutputError, match=r"walk\.srt exists"):
        opened(folder)
    results = opened(folder, resume=True)
    for each in ROWS.values():
        results.add(each)
    with pytest.raises(OutputError, match=r"walk\.srt exists"):
        results.finish(list(ROWS))
    results.close()
    assert (folder / "walk.srt").read_text() == "mine"
    with pytest.raises(OutputError, match="is not a folder"):
        opened(folder / "walk.srt")
    with pytest.raises(OutputError, match="there is no folder"):
        opened(tmp_path / "none" / "out")


def test_a_parquet_file_is_there_when_it_is_whole_and_its_rows_until_then(tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    wanted = Wanted(("parquet",), FORMS, DETECTIONS, RUN)
    sizes = {path: each["size_bytes"] for path, each in ROWS.items()}
    first, *others = ROWS
    results = parquet_file(file, wanted, resume=False, size_of=sizes.__getitem__)
    results.add(ROWS[first])
    results.close()
    assert not file.exists()
    results = parquet_file(file, wanted, resume=True, size_of=sizes.__getitem__)
    assert list(results.done) == [first]
    for path in others:
        results.add(ROWS[path])
    results.finish(list(ROWS))
    results.close()
    assert list(content(tmp_path)) == ["out.parquet"]
    assert pandas.read_parquet(file)["video"].nunique() == len(ROWS)
    with pytest.raises(OutputError, match="exists"):
        parquet_file(file, wanted, resume=True, size_of=sizes.__getitem__)


def test_every_column_of_every_table_has_a_type_that_holds() -> None:
    rows = [*ROWS.values(), action_row("P01_11.mp4", action(0.0, 1.5, 3, 12))]
    stream = io.BytesIO()
    write_parquet(stream, DETECTIONS, rows, about=b"{}", more=["all"])
    stream.seek(0)
    table = pandas.read_parquet(stream)
    assert (table["verb"].dropna().tolist(), table["action"].dropna().tolist()) == ([3.0], ["3,12"])
    write_parquet(io.BytesIO(), CLASSIFICATIONS, [], about=b"{}", more=["all"])


def test_without_its_package_parquet_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", {}.get)
    with pytest.raises(UsageError, match="not installed") as error:
        opened(tmp_path / "out")
    assert "tadacli[parquet]" in error.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_companion_is_named_after_its_table() -> None:
    assert companion_of(Path("a/found.csv")) == Path("a/found.csv.meta.json")
