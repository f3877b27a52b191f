"""Tables as people and spreadsheets write them: which columns are times, what separates cells, which file is meant."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.datasets.annotations import read_annotations, segment_datasets
from tadacli.datasets.loading import load_csv
from tadacli.datasets.samples import Dataset
from tadacli.datasets.tables import TableRow, read_table
from tadacli.datasets.time_columns import time_columns
from tadacli.errors import UsageError
from tadacli.video import probe
from tests.media import render

Span = tuple[float | None, float | None]
KNOWN = ("path", "video", "label", "split")


def write(path: Path, content: str | bytes = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def segments(file: Path, *, data_root: Path | None = None) -> Dataset:
    (dataset,) = segment_datasets(read_annotations(file, data_root=data_root)).values()
    return dataset


def spans(dataset: Dataset) -> list[Span]:
    return [(sample.start_seconds, sample.end_seconds) for sample in dataset.samples]


# --- times ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "cells", "span"),
    [
        pytest.param("start,end", "1,2.5", (1.0, 2.5), id="as always"),
        pytest.param("start,stop", "1,2.5", (1.0, 2.5), id="another word"),
        pytest.param("Start,End", "1,2.5", (1.0, 2.5), id="in capitals"),
        pytest.param("start_time,end_time", "1,2.5", (1.0, 2.5), id="with a word that adds nothing"),
        pytest.param("Start Time (s),Stop Time (s)", "1,2.5", (1.0, 2.5), id="with a unit"),
        pytest.param("startSec,endSec", "1,2.5", (1.0, 2.5), id="in one word with humps"),
        pytest.param("start_sec,end_sec", "1,2.5", (1.0, 2.5), id="seconds by name"),
        pytest.param("onset,offset", "1,2.5", (1.0, 2.5), id="onset and offset"),
        pytest.param("begin,duration", "1,1.5", (1.0, 2.5), id="a duration"),
        pytest.param("start_ms,end_ms", "1000,2500", (1.0, 2.5), id="milliseconds"),
        pytest.param("begin_timestamp,end_timestamp", "00:00:01,0:02.5", (1.0, 2.5), id="clocks"),
        pytest.param("start,end", "0:01,1:00:02.5", (1.0, 3602.5), id="clocks under the usual names"),
        pytest.param("fps,start_frame,end_frame", "10,10,25", (1.0, 2.5), id="frames at a rate that is given"),
        pytest.param("start,end,start_frame", "1,2.5,99", (1.0, 2.5), id="seconds come before frames"),
        pytest.param("start,stop_reason", "1,2", (1.0, None), id="a column about something else"),
        pytest.param("stop,score", "yes,0.3", (None, None), id="a word for times without times"),
    ],
)
def test_columns_that_mean_times_are_read(tmp_path: Path, header: str, cells: str, span: Span) -> None:
    if header == "start,stop_reason":
        cells = "1,tired"
    file = write(tmp_path / "own.csv", f"path,label,{header}\na.mp4,run,{cells}\n")
    assert spans(segments(file)) == [span]
    assert spans(load_csv(file)) == [span]


def test_how_columns_were_read_is_said_unless_they_have_their_usual_names(tmp_path: Path) -> None:
    def said(header: str, cells: str) -> tuple[str, ...]:
        data = segments(write(tmp_path / "own.csv", f"path,label,{header}\na.mp4,run,{cells}\n"))
        return tuple(map(str, data.remarks))

    assert said("start,end,age", "1,2,30") == ()
    assert said("age", "30") == ()
    assert said("start,stop_ms", "1,2000") == (
        "columns read: 'start' as start in seconds, 'stop_ms' as end in milliseconds",
    )
    assert said("start,fin", "1,2") == ("columns read: 'start' as start in seconds; not read: 'fin'",)
    assert said("debut,fin", "1,2") == ("no column is read as times; not read: 'debut', 'fin'",)


@pytest.mark.parametrize("name", ["video_start_time", "from", "t0", "clip begin", "offset", "end of shift"])
def test_a_column_that_may_mean_times_is_refused_by_name(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / "own.csv", f"path,label,{name}\na.mp4,run,1\nb.mp4,run,0:02\n")
    with pytest.raises(UsageError, match=f"the column '{name}' holds times"):
        read_annotations(file)
    with pytest.raises(UsageError, match=f"the column '{name}' holds times"):
        load_csv(file)


@given(
    st.lists(st.sampled_from("start end begin stop onset offset time s ms frame of label colour".split()), max_size=4)
)
def test_no_two_sides_are_read_from_one_name(words: list[str]) -> None:
    """Whatever the words, a column is a start, an end, refused, or neither of these for a word that is none of ours."""
    name = " ".join(words)
    try:
        found = time_columns([TableRow("own.csv", 2, {"path": "a", name: "1"})], known=KNOWN)
    except UsageError:
        return
    read = [column for column in found.columns if column.name == name]
    if read:
        assert "colour" not in words
    else:
        assert not set(words) & {"start", "begin", "onset", "end", "stop", "offset"}


def test_frames_are_times_of_the_video_where_no_rate_is_given(tmp_path: Path) -> None:
    # The second half runs at half the rate of the first.
    render(tmp_path / "a.mp4", 30, pts=[*range(15), *range(15, 45, 2)])
    write(tmp_path / "broken.mp4", b"not a video")
    rows = "a,run,6,20\na,walk,15,30\na,jump,3,45\nbroken,run,0,5\n"
    data = segments(write(tmp_path / "own.csv", "video,label,start_frame,end_frame\n" + rows))
    length = probe(tmp_path / "a.mp4").duration_seconds
    assert spans(data)[:2] == [
        (pytest.approx(6 / 30), pytest.approx(25 / 30)),
        (pytest.approx(15 / 30), pytest.approx(length)),
    ]
    end = spans(data)[2][1]
    assert end is not None
    assert end > length
    (unused,) = data.unused
    assert "its times are numbers of frames, and its video cannot be read" in unused.reason
    with pytest.raises(UsageError, match=r"line 2: its times are numbers of frames, and no video tells .*no gone"):
        read_annotations(write(tmp_path / "gone.csv", "video,label,start_frame\ngone,run,6\n"))


# --- spreadsheets -----------------------------------------------------------------------------------

ROWS = "path,label,start,end\na.mp4,marché,0.5,3.0\nb.mp4,chute,3.5,60.0\n"
FACTS: list[Span] = [(0.5, 3.0), (3.5, 60.0)]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(ROWS.replace(",", ";"), id="semicolons"),
        pytest.param(
            ROWS.replace(",", ";").replace(".0", ",0").replace(".5", ",5"), id="semicolons and decimal commas"
        ),
        pytest.param(ROWS.replace(",", "\t"), id="tabs"),
        pytest.param("sep=;\r\n" + ROWS.replace(",", ";"), id="a line that names the separator"),
        pytest.param('"sep=,"\n' + ROWS, id="the same in quotes"),
        pytest.param("sep=|\n" + ROWS.replace(",", "|"), id="a separator that only such a line can tell"),
        pytest.param(ROWS.replace("\n", "\r\n"), id="lines of Windows"),
        pytest.param(b"\xef\xbb\xbf" + ROWS.encode(), id="a byte order mark"),
        pytest.param(ROWS.replace(",", "\t").encode("utf-16"), id="UTF-16, as Excel's Unicode text"),
        pytest.param(b"\xfe\xff" + ROWS.encode("utf-16-be"), id="UTF-16, the other end first"),
        pytest.param(ROWS.replace(",", ", "), id="blanks after commas"),
        pytest.param(ROWS.replace("a.mp4,marché", ' "a.mp4" , "marché" ').replace('" ,', '",'), id="blanks and quotes"),
        pytest.param(ROWS.replace("\n", ",,\n"), id="empty columns at the end"),
        pytest.param(ROWS + ",,,\n;;\n".replace(";;", ",,,"), id="empty rows at the end"),
        pytest.param(ROWS.replace("3.0", '"3,0"'), id="a decimal comma in quotes"),
        pytest.param(ROWS.replace("60.0", "1:00"), id="a clock"),
        pytest.param(ROWS.replace("60.0", "60s"), id="seconds that say so"),
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, content: str | bytes) -> None:
    data = segments(write(tmp_path / "own.csv", content))
    assert spans(data) == FACTS
    assert data.heads == {"": ("chute", "marché")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(ROWS.encode("latin-1"), r"is not UTF-8 text \(byte 32, line 2\)", id="latin-1"),
        pytest.param(ROWS.encode("utf-16-le"), "zero bytes", id="UTF-16 without a mark"),
        pytest.param(
            ROWS.replace(",", "|"), "lacks the column label; read as comma separated it has 'path|", id="bars"
        ),
        pytest.param(
            ROWS.replace("\n", ",x\n").replace(",x", ",", 1), "line 2: 5 fields", id="a value without a column"
        ),
        pytest.param(ROWS.replace("3.0", '"3,500"'), "line 2: end is '3,500', of which the comma", id="which comma"),
        pytest.param(ROWS.replace("3.0", "0:75"), "line 2: end is '0:75', not a time", id="75 seconds"),
    ],
)
def test_what_is_not_sure_is_refused(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said) as failed:
        read_annotations(write(tmp_path / "own.csv", content))
    assert failed.value.hint


def test_a_semicolon_in_a_name_separates_nothing(tmp_path: Path) -> None:
    (row,) = read_table(write(tmp_path / "t.csv", "path,label;old\na;b.mp4,run\n"), ("path",), what="a table")
    assert dict(row.values) == {"path": "a;b.mp4", "label;old": "run"}


# --- videos -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("V0.MP4", "v0.mp4"),
        ("v0.mp4", "V0.MP4"),
        ("v0", "v0.MOV"),
        ("V0", "v0.mov"),
        ("sub\\v0.mp4", "sub/v0.mp4"),
        ("Sub\\V0.mp4", "sub/v0.mp4"),
        (r"C:\films\v0.mp4", "v0.mp4"),
        ("C:/films/v0.mp4", "videos/v0.mp4"),
        ("/home/ann/v0.mp4", "v0.mp4"),
        ("root/v0.mp4", "v0.mp4"),
        (unicodedata.normalize("NFD", "marché.mp4"), unicodedata.normalize("NFC", "marché.mp4")),
        (unicodedata.normalize("NFC", "marché/é.mp4"), unicodedata.normalize("NFD", "marché/é.mp4")),
    ],
)
def test_a_video_is_found_however_its_name_is_written(tmp_path: Path, name: str, there: str) -> None:
    root = tmp_path / "root"
    write(root / there)
    write(root / "other.mp4")
    (sample,) = segments(write(tmp_path / "own.csv", f"path,label\n{name},run\n"), data_root=root).samples
    assert sample.path == root / there
    assert sample.id == name


def test_the_very_name_comes_first_and_others_are_said(tmp_path: Path) -> None:
    for name in ("v0.mp4", "V0.mp4", "v1.mp4"):
        write(tmp_path / name)
    data = segments(write(tmp_path / "own.csv", "path,label\nV0.mp4,run\nv0.mp4,walk\nV1.mp4,run\n"))
    assert [sample.path for sample in data.samples] == [tmp_path / name for name in ("V0.mp4", "v0.mp4", "v1.mp4")]
    assert list(map(str, data.remarks)) == ["1 videos have other names than the annotations say: 'V1.mp4' is v1.mp4"]
    with pytest.raises(UsageError, match=r"v0\.MP4 could be .*V0\.mp4 or .*v0\.mp4"):
        read_annotations(write(tmp_path / "own.csv", "path,label\nv0.MP4,run\n"))


def test_a_name_composed_in_another_way_comes_before_one_in_another_case(tmp_path: Path) -> None:
    for name in ("É.mp4", "é.mp4"):
        write(tmp_path / unicodedata.normalize("NFC", name))
    name = unicodedata.normalize("NFD", "é.mp4")
    (sample,) = segments(write(tmp_path / "own.csv", f"path,label\n{name},run\n")).samples
    assert sample.path == tmp_path / unicodedata.normalize("NFC", "é.mp4")


def test_two_paths_of_another_computer_are_not_one_file(tmp_path: Path) -> None:
    """A file that only the last part of two paths names is not taken for either."""
    write(tmp_path / "1.mp4")
    data = segments(write(tmp_path / "own.csv", "path,label\nC:/left/1.mp4,run\nC:/right/1.mp4,walk\nC:/x/1.mp4,run\n"))
    assert [sample.path for sample in data.samples] == [None] * 3


def test_where_a_video_was_looked_for_is_said(tmp_path: Path) -> None:
    (sample,) = segments(write(tmp_path / "own.csv", "path,label,split\nclips\\v0.mp4,run,\n")).samples
    assert sample.path is None
    assert sample.missing == (
        f"no clips\\v0.mp4, videos/clips\\v0.mp4, clips/v0.mp4, videos/clips/v0.mp4 in {tmp_path}, in whatever case "
        "and with the suffix of any video"
    )


# --- labels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["path", "video"])
def test_one_span_with_two_labels_is_refused_with_the_rows(tmp_path: Path, column: str) -> None:
    write(tmp_path / "a.mp4")
    rows = "a.mp4,run,0,1\na.mp4,run,0,2\nA.MP4,walk,0.0,1.0\na.mp4,run,0,1\na,fall,,1\n"
    file = write(tmp_path / "own.csv", f"{column},label,start,end\n{rows}")
    said = (
        r"2 spans more than one label: line 2 \('run'\) and line 4 \('walk'\), line 2 \('run'\) and line 6 \('fall'\)"
    )
    with pytest.raises(UsageError, match=said):
        segments(file)
    if column == "path":
        with pytest.raises(UsageError, match=r"line 2 \('run'\) and line 4 \('walk'\)"):
            load_csv(file)
