"""`tada convert` as a person uses it: formats, where they go, and files that are none of ours."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest

from tadacli.formats.registry import SEGMENT_FORMATS, ConvertFormat
from tadacli.formats.row_formats import DETECTION_FORMATS
from tadacli.results import Gap
from tests.formats.detections import action, action_row, failed_row, is_installed, row, segment
from tests.media import render

ONE = [row("videos/walk.mp4", segment(10.5, 12.0, "pan left"), segment(11.0, 13.25, "日本 & <b>"), start_seconds=10.0)]
TWO = [*ONE, row("videos/still.mp4")]
FAILED = [*TWO, failed_row("videos/broken.mp4")]
SRT = (
    "1\n00:00:00,500 --> 00:00:02,000\npan left (0.75)\n\n2\n00:00:01,000 --> 00:00:03,250\n日本 & <b> (0.75)\n"
).encode()


@pytest.fixture
def results(tmp_path: Path):
    """`results(rows, name)` writes what `tada detect` writes, and gives the file's path."""

    def write(rows: list[dict], name: str = "results.jsonl") -> Path:
        kind = name.rpartition(".")[2]
        form = DETECTION_FORMATS["jsonl"] if kind == "json" and len(rows) == 1 else DETECTION_FORMATS[kind]
        path = tmp_path / name
        path.write_bytes(form.head + form.separator.join(form.encode(each).content for each in rows) + form.tail)
        return path

    return write


def test_subtitles_go_to_stdout_whatever_the_results_are_in(tada, results) -> None:
    for name in ("one.json", "one.jsonl"):
        assert tada("convert", results(ONE, name), "--to", "srt") == (0, SRT, "")


NO_SCORES = {"not kept: scores of 1 segment"}
NUMBERED = "labels are numbers: 912 verb 3 noun 12"
BETWEEN_FRAMES = {"not kept: fractions of frames of 1 segment"}
LOST = {
    **dict.fromkeys(("actionformer", "boris", "boris-csv", "createml", "ego4d"), NO_SCORES),
    "charades": {*NO_SCORES, "1 label got other characters, such as 'verb_3_noun_12' for 'verb 3 noun 12'"},
    "cvat": {"not kept: scores of 1 segment, fractions of frames of 1 segment"},
    **dict.fromkeys(("edl", "otio", "fcpxml", "fcp7xml", "resolve-edl", "premiere-xml", "labelstudio"), BETWEEN_FRAMES),
    "thumos": {NUMBERED},
    "charades-json": {*NO_SCORES, NUMBERED},
    "ava": {*NO_SCORES, NUMBERED},
}


def test_every_format_can_be_asked_for(tada, results, tmp_path: Path) -> None:
    assert set(get_args(ConvertFormat)) == {*SEGMENT_FORMATS, *DETECTION_FORMATS, "parquet"}
    rows = [action_row("P01_11.mp4", action(0.0, 1.5, 3, 12))]
    for name in get_args(ConvertFormat):
        if not is_installed(name):
            continue
        code, out, err = tada("convert", results(rows), "--to", name)
        assert (code, set(err.splitlines())) == (0, LOST.get(name, set()))
        assert tada("convert", results(rows), "--to", name, "-o", tmp_path / f"out.{name}")[:2] == (0, b"")
        assert (tmp_path / f"out.{name}").read_bytes() == out != b""


def test_parquet_goes_to_a_pipe_and_not_to_a_terminal(tada, results, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    code, out, _ = tada("convert", results(ONE), "--to", "parquet")
    assert (code, out[:4]) == (0, b"PAR1")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, err = tada("convert", results(ONE), "--to", "parquet")
    assert (code, out) == (2, b"")
    assert err.splitlines() == ["error: parquet is no text to be shown", "hint: give --output FILE.parquet"]


def test_our_own_formats_are_what_detect_writes(tada, results) -> None:
    for rows in (ONE, FAILED):
        for source in ("a.json", "a.jsonl"):
            for name in ("csv", "json", "jsonl"):
                code, out, err = tada("convert", results(rows, source), "--to", name)
                assert (code, out, err) == (0, results(rows, f"wanted.{name}").read_bytes(), "")
    assert json.loads(tada("convert", results(ONE), "--to", "json")[1])["segments"][1]["label"] == "日本 & <b>"
    flat = list(csv.DictReader(io.StringIO(tada("convert", results(FAILED), "--to", "csv")[1].decode())))
    assert [(line["video"], line["status"], line["label"]) for line in flat] == [
        ("videos/walk.mp4", "ok", "pan left"),
        ("videos/walk.mp4", "ok", "日本 & <b>"),
        ("videos/still.mp4", "ok", ""),
        ("videos/broken.mp4", "error", ""),
    ]


def test_several_videos_get_a_file_each(tada, results, tmp_path: Path) -> None:
    code, out, err = tada("convert", results(TWO), "--to", "srt", "--output", tmp_path / "subs")
    assert (code, out, err) == (0, b"", f"2 videos written to {tmp_path / 'subs'}\n")
    assert (tmp_path / "subs" / "walk.srt").read_bytes() == SRT
    assert (tmp_path / "subs" / "still.srt").read_bytes() == b""
    code, out, err = tada("convert", results(TWO), "--to", "eaf")
    assert (code, out) == (2, b"")
    hint = "hint: name a folder for the files: --output FOLDER\n"
    assert err == "error: eaf holds one video in a file, and these are 2\n" + hint


def test_one_file_for_several_videos_goes_to_stdout(tada, results) -> None:
    code, out, _ = tada("convert", results(TWO), "--to", "activitynet")
    assert code == 0
    assert {name: len(found) for name, found in json.loads(out)["results"].items()} == {"walk": 2, "still": 0}


@pytest.mark.parametrize("to", ["activitynet", "srt"])
def test_videos_that_failed_are_named_and_left_out(tada, results, tmp_path: Path, to: str) -> None:
    code, out, err = tada("convert", results(FAILED), "--to", to, "-o", tmp_path / "out")
    assert (code, out) == (3, b"")
    assert err == f"2 videos written to {tmp_path / 'out'}\nleft out: videos/broken.mp4: no, such; file\n"
    code, out, err = tada("convert", results(FAILED[2:]), "--to", to)
    assert (code, out, err) == (3, b"", "left out: videos/broken.mp4: no, such; file\n")


def test_spans_that_could_not_be_read_are_named(tada, results) -> None:
    rows = [row("a.mp4", segment(0.0, 1.0), gaps=(Gap(2.0, 3.0, "damaged"),))]
    code, out, err = tada("convert", results(rows), "--to", "vtt")
    assert (code, out) == (0, b"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\npan left (0.75)\n")
    assert err == "note: a.mp4: 1 span could not be read, which vtt does not say\n"


def test_an_elan_document_is_named_after_the_video(tada, results, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert tada("convert", results(ONE), "--to", "eaf", "-o", tmp_path / "out")[0] == 0
    root = ElementTree.parse(tmp_path / "out" / "walk.eaf").getroot()
    tiers = ["pan left", "pan left score", "日本 & <b>", "日本 & <b> score"]
    assert [tier.attrib["TIER_ID"] for tier in root.iter("TIER")] == tiers


@pytest.mark.parametrize(
    ("content", "to", "code", "message", "hint"),
    [
        (None, "srt", 2, "cannot be read: No such file or directory", ""),
        ("notes", "srt", 2, "does not hold results: line 1 is not JSON", "give the .json or .jsonl"),
        ('{"topk": []}', "srt", 2, "comes from tada classify, which finds no segments", "tada detect finds segments"),
        ('{"video": "a', "vtt", 2, "is unfinished: its end is missing", "--resume"),
        ("path,status,error\n", "csv", 2, "is a CSV table", "give the .json or .jsonl"),
    ],
)
def test_files_that_are_no_results_get_one_line_and_a_hint(
    tada, tmp_path: Path, content: str | None, to: str, code: int, message: str, hint: str
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    got, out, err = tada("convert", path, "--to", to)
    assert (got, out) == (code, b"")
    first, *rest = err.splitlines()
    assert first.startswith("error: ")
    assert str(path) in first
    assert message in first
    assert [line.startswith("hint: ") and hint in line for line in rest] == ([True] if hint else [])


def test_models_without_verbs_and_nouns_have_no_epic_submission(tada, results) -> None:
    code, out, err = tada("convert", results(ONE), "--to", "epic")
    assert (code, out) == (2, b"")
    assert err.startswith("error: the EPIC-KITCHENS submission needs segments with a verb and a noun\nhint: ")


def test_an_output_that_exists_is_kept(tada, results, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("my own")
    for to in ("srt", "activitynet", "csv"):
        code, out, err = tada("convert", results(ONE), "--to", to, "-o", tmp_path / "mine")
        assert (code, out) == (1, b"")
        assert "mine exists and is not overwritten" in err
    assert (tmp_path / "mine").read_text() == "my own"


def test_unknown_formats_are_refused(tada, results) -> None:
    code, out, err = tada("convert", results(ONE), "--to", "aaf")
    assert (code, out) == (2, b"")
    assert "aaf" in err


@pytest.mark.parametrize("to", ["srt", "eaf", "epic", "csv"])
def test_converting_needs_neither_the_model_nor_the_video(results, to: str) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tadacli.cli.convert import convert_command\n"
        f"convert_command(Path({str(results([action_row('P01_11.mp4')]))!r}), {to!r}, None)\n"
        "loaded = [name for name in ('torch', 'torchvision', 'av', 'pandas', 'numpy') if name in sys.modules]\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early_ends_it_quietly(results, unbuffered: str) -> None:
    path = results([row("a.mp4", *(segment(float(at), at + 1.0) for at in range(3000)))])
    program = (
        "import sys, typer\n"
        "from pathlib import Path\n"
        "from tadacli.cli.convert import convert_command\n"
        "try:\n"
        f"    convert_command(Path({str(path)!r}), 'srt', None)\n"
        "except typer.Exit as leaving:\n"
        "    sys.exit(leaving.exit_code)\n"
    )
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) == b"1"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


# --- labels of other programs -----------------------------------------------------------------------

LABELS = [
    {"video": "a.mp4", "label": "walk, fast", "start": "0:00.5", "end": 1.25, "split": "training"},
    {"video": "gone.mp4", "label": "fall", "start": 2, "split": "val"},
    {"video": "a.mp4", "label": "fall", "start": 3, "end": 3, "split": "val"},
]


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    (tmp_path / "a.mp4").touch()
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(LABELS))
    return file


def test_labels_become_a_table_that_is_read_again(tada, labels: Path, tmp_path: Path) -> None:
    code, out, err = tada("convert", labels, "--to", "csv", "-o", tmp_path / "table.csv")
    assert (code, out) == (3, b"")
    assert err == (
        "left out: entry 2: its span is empty, reversed, or begins before the video\n"
        f"2 of 3 labels written to {tmp_path / 'table.csv'}\n"
    )
    table = (tmp_path / "table.csv").read_text()
    assert table == (
        "path,label,start_seconds,end_seconds,split\n"
        f'{tmp_path / "a.mp4"},"walk, fast",0.5,1.25,train\n'
        "gone.mp4,fall,2.0,,validation\n"
    )
    again = tada("convert", labels, "--to", "csv", "-o", tmp_path / "table.csv")
    assert again[0] == 1
    assert "table.csv" in again[2]
    from tadacli.datasets.annotations import read_annotations

    spans = read_annotations(tmp_path / "table.csv").spans
    assert [(span.label, span.start_seconds, span.end_seconds, span.split) for span in spans] == [
        ("walk, fast", 0.5, 1.25, "train"),
        ("fall", 2.0, None, "validation"),
    ]
    assert spans[0].path == tmp_path / "a.mp4"


def test_options_of_labels_are_not_those_of_results(tada, labels: Path, results) -> None:
    code, _, err = tada("convert", labels, "--to", "jsonl")
    assert (code, "holds labels" in err) == (2, True)
    code, _, err = tada("convert", results(ONE), "--to", "csv", "--fps", "25")
    assert (code, "--fps" in err) == (2, True)


def test_segments_of_a_model_are_counted_at_a_rate_that_is_named(tada, results) -> None:
    code, out, err = tada("convert", results(ONE), "--to", "edl", "--fps", "25")
    assert (code, out.decode().splitlines()[3]) == (
        0,
        "001  AX       V     C        00:00:00:12 00:00:02:00 00:00:00:00 00:00:01:13",
    )
    assert err == "not kept: fractions of frames of 2 segments\n"


def test_labels_go_to_other_programs_and_what_is_lost_is_said(tada, tmp_path: Path) -> None:
    render(tmp_path / "a.mp4", 30)
    table = tmp_path / "labels.csv"
    table.write_text("video,label,start,end,split\na,Walk,0,0.5,train\na,walk,0.5,,train\na,fall,0.6,2,train\n")
    code, out, err = tada("convert", table, "--to", "cvat")
    assert code == 3
    assert err.splitlines() == [
        "note: labels that differ in spelling alone: 'Walk' and 'walk'",
        "left out: line 4: it ends at 2.00 s, and the video lasts 1.00 s",
        "not kept: splits of 1 video",
        "2 of 3 labels written",
    ]
    (tmp_path / "out.xml").write_bytes(out)
    code, out, _ = tada("convert", tmp_path / "out.xml", "--to", "csv", "--from-format", "cvat")
    rows = list(csv.DictReader(io.StringIO(out.decode())))
    assert [(row["label"], row["start_seconds"], row["end_seconds"]) for row in rows] == [
        ("Walk", "0.0", "0.5"),
        ("walk", "0.5", "1.0"),
    ]
    code, _, err = tada("convert", tmp_path / "out.xml", "--to", "srt", "--from-format", "boris")
    assert (code, "is XML, and files of boris are JSON or text" in err) == (2, True)


def test_a_csv_of_detect_goes_where_its_segments_go(tada, results, tmp_path: Path) -> None:
    flat = tmp_path / "flat.csv"
    flat.write_bytes(tada("convert", results(ONE), "--to", "csv")[1])
    code, out, _ = tada("convert", flat, "--to", "activitynet")
    wanted = json.loads(tada("convert", results(ONE), "--to", "activitynet")[1])["results"]
    assert (code, json.loads(out)["results"]) == (0, wanted)


# --- editors ----------------------------------------------------------------------------------------


def test_a_table_gets_timecode_and_frames_where_they_are_asked_for(tada, results, tmp_path: Path) -> None:
    code, out, err = tada("convert", results(ONE), "--to", "csv", "--times", "timecode")
    first, _ = csv.DictReader(io.StringIO(out.decode()))
    assert (code, err, first["start_timecode"], first["end_timecode"]) == (0, "", "00:00:00;15", "00:00:02;00")
    command = ("convert", results(ONE), "--to", "tsv", "--times", "timecode")
    code, out, _ = tada(*command, "--fps", "25", "--start-timecode", "09:59:59:20", "-o", tmp_path / "a.tsv")
    first, _ = csv.DictReader(io.StringIO((tmp_path / "a.tsv").read_text()), delimiter="\t")
    assert (code, first["start_timecode"], first["end_timecode"]) == (0, "10:00:00:07", "10:00:01:20")
    assert "start_timecode" in json.loads((tmp_path / "a.tsv.meta.json").read_text())["columns"]


@pytest.mark.parametrize(
    ("options", "said", "hint"),
    [
        (("srt", "--times", "frames"), "--times are those of tables, and srt is none", "--to csv"),
        (("srt", "--start-timecode", "01:00:00:00"), "srt has no timecode", "--times timecode"),
        (("csv", "--times", "timecode", "--fps", "12"), "12 frames a second is no rate of SMPTE timecode", "--fps 25"),
        (("edl", "--start-timecode", "1h"), "'1h' is no timecode", "01:00:00:00"),
    ],
)
def test_times_that_a_format_or_a_video_does_not_have_are_refused(tada, results, options, said: str, hint: str) -> None:
    code, out, err = tada("convert", results(ONE), "--to", *options)
    assert (code, out) == (2, b"")
    error, way = err.splitlines()
    assert (said in error, hint in way) == (True, True), err


def test_labels_get_the_timecode_of_their_video(tada, tmp_path: Path) -> None:
    render(tmp_path / "a.mov", 30, timecode="01:00:00:00")
    table = tmp_path / "labels.csv"
    table.write_text("video,label,start,end\na,walk,0.1,0.5\na,fall,0.5,\ngone,fall,1,\n")
    code, out, err = tada("convert", table, "--to", "csv", "--times", "timecode", "-o", tmp_path / "out.csv")
    assert (code, out) == (0, b""), err
    lines = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [(line["start_timecode"], line["end_timecode"]) for line in lines] == [
        ("01:00:00:03", "01:00:00:15"),
        ("01:00:00:15", "01:00:01:00"),
        ("", ""),
    ]
    code, out, _ = tada("convert", tmp_path / "out.csv", "--to", "csv")  # read by its seconds
    assert [line["start_seconds"] for line in csv.DictReader(io.StringIO(out.decode()))] == ["0.1", "0.5", "1.0"]
    table.write_text("video,label,start,end\na,walk,0.1,0.5\n")
    code, out, _ = tada("convert", table, "--to", "edl")
    assert (code, b"01:00:00:03 01:00:00:15 00:00:00:00 00:00:00:12" in out) == (0, True)
