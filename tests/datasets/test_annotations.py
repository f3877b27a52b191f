"""Labelled segments of long videos: tables, ActivityNet, and annotations of ELAN, each as somebody would have them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tadacli.datasets.annotations import read_annotations, segment_datasets
from tadacli.datasets.samples import Dataset
from tadacli.errors import UsageError
from tadacli.formats.elan import eaf
from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tests.media import shared_folder

Fact = tuple[str, str, float | None, float | None]


def load_segments(
    file: Path, *, data_root: Path | None = None, labels: Sequence[str] | None = None, tier: str | None = None
) -> dict[str, Dataset]:
    return segment_datasets(
        read_annotations(file, data_root=data_root, tiers=None if tier is None else [tier]), labels=labels
    )


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def facts(data: Dataset) -> list[Fact]:
    """(id, label, start, end) of each sample."""
    return [(each.id, data.names_of(each)[""], each.start_seconds, each.end_seconds) for each in data.samples]


# --- tables -----------------------------------------------------------------------------------------


def test_a_table_of_segments_by_split(tmp_path: Path) -> None:
    for name in ("videos/b.MP4", "sub/c.avi", "a.mp4", "test/d.mkv"):
        write(tmp_path / name)
    text = (
        "video,split,label,start_seconds,end_seconds,person\na,train,run,1.5,2,x\na,training,run,0.5,1,x\n"
        "b,val,jump,,,y\nsub/c.avi,train,run,3,,y\nd,test,run,0,1,y\ngone.mp4,train,walk,0,1,\na,train,run,1.5,2,x\n"
    )
    data = load_segments(write(tmp_path / "own.csv", text))
    assert list(data) == ["test", "train", "validation"]
    assert {part.heads[""] for part in data.values()} == {("jump", "run", "walk")}
    assert facts(data["train"]) == [
        ("a@1.5-2.0", "run", 1.5, 2.0),
        ("a@0.5-1.0", "run", 0.5, 1.0),
        ("sub/c.avi@3.0-", "run", 3.0, None),
        ("gone.mp4@0.0-1.0", "walk", 0.0, 1.0),
    ]
    assert [(row.place, row.reason) for row in data["train"].unused] == [("line 8", "repeats an earlier row")]
    assert [each.path for each in data["train"].samples] == [
        tmp_path / "a.mp4",
        tmp_path / "a.mp4",
        tmp_path / "sub/c.avi",
        None,
    ]
    assert [each.video_id for each in data["train"].samples] == ["a", "a", "sub/c", "gone"]
    assert [(each.id, each.path) for each in data["validation"].samples] == [("b", tmp_path / "videos/b.MP4")]
    assert data["test"].samples[0].path == tmp_path / "test/d.mkv"
    assert read_annotations(tmp_path / "own.csv").spans[2].columns["person"] == "y"


def test_a_path_and_the_video_that_it_was_cut_from(tmp_path: Path) -> None:
    text = "path,video,label,participant_id\n1.mp4,film,run,P01\n2.mp4,film,jump,P02\n"
    (data,) = load_segments(write(tmp_path / "own.csv", text)).values()
    assert [(each.id, each.video_id, each.participant) for each in data.samples] == [
        ("1.mp4", "film", "P01"),
        ("2.mp4", "film", "P02"),
    ]


def test_results_of_detect_as_a_table_count_from_the_first_frame(tmp_path: Path) -> None:
    text = (
        "path,status,start_seconds,end_seconds,label,video_start_seconds\n"
        "a.mp4,ok,1.4,2.4,run,1.4\nb.mp4,ok,,,,0.0\nc.mp4,error,,,,\na.mp4,ok,3.5,4.0,jump,1.4\n"
    )
    (data,) = load_segments(write(tmp_path / "found.csv", text)).values()
    assert facts(data) == [("a.mp4@0.0-1.0", "run", 0.0, 1.0), ("a.mp4@2.1-2.6", "jump", 2.1, 2.6)]
    assert [row.reason for row in data.unused] == ["no segment was found"] * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\na,run\n", "line 1: the header lacks the column path or video"),
        ("video\na\n", "line 1: the header lacks the column label"),
        ("video,label\n", "no rows"),
        ("video,label\na,\n", "line 2: label is empty"),
        ("video,label,start,end\na,run,2,1\n", "line 2: the span"),
        ("video,label,start\na,run,nan\n", "line 2: start is 'nan'"),
        ("video,label,split\na,run,train\na,walk,\n", "line 3: no split is named here"),
        ("video,label\na,walk\na,rnu\n", "line 3: label 'rnu'"),
        ("video,label\ntwice,run\n", r"twice could be .*twice\.avi or .*twice\.mp4"),
    ],
)
def test_rows_that_are_not_so_are_named(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path / "twice.mp4")
    write(tmp_path / "twice.avi")
    with pytest.raises(UsageError, match=said):
        load_segments(write(tmp_path / "own.csv", text), labels=("run", "walk"))


def test_real_segments() -> None:
    folder = shared_folder() / "untrimmed_actions"
    data = load_segments(folder / "segments.csv")
    assert {split: len({each.video_id for each in part.samples}) for split, part in data.items()} == {
        "train": 12,
        "validation": 3,
    }
    counts = {split: Counter(part.names_of(each)[""] for each in part.samples) for split, part in data.items()}
    assert counts["train"] == {
        "walk": 42,
        "standup": 36,
        "falling": 20,
        "sitdown": 11,
        "sit": 9,
        "falled": 8,
        "lying": 8,
        "active": 5,
        "sleeping": 5,
    }
    assert counts["validation"] == {
        "walk": 17,
        "standup": 10,
        "sitdown": 6,
        "sit": 5,
        "active": 4,
        "sleeping": 3,
        "lying": 2,
        "falled": 1,
        "falling": 1,
    }
    assert all(each.path is not None and each.path.is_file() for part in data.values() for each in part.samples)
    assert not any(part.unused for part in data.values())


# --- ActivityNet ------------------------------------------------------------------------------------


def test_activitynet_by_subset(tmp_path: Path) -> None:
    write(tmp_path / "v_x.mp4")

    def entry(subset: str, *annotations: tuple[str, float, float]) -> dict[str, Any]:
        listed = [{"label": label, "segment": [start, end]} for label, start, end in annotations]
        return {"subset": subset, "duration": 9.0, "annotations": listed}

    database = {
        "x": entry("training", ("Rowing", 1, 2.5), ("Rowing", 3, 3)),
        "y": entry("validation", ("Surfing", 0, 1)),
        "z": entry("testing"),
    }
    file = write(tmp_path / "an.json", json.dumps({"version": "1.3", "database": database}))
    data = load_segments(file)
    assert list(data) == ["train", "validation"]
    assert facts(data["train"]) == [("x@1.0-2.5", "Rowing", 1.0, 2.5)]
    assert data["train"].samples[0].path == tmp_path / "v_x.mp4"
    assert [row.reason for row in data["train"].unused] == ["its span is empty, reversed, or begins before the video"]
    assert facts(data["validation"]) == [("y@0.0-1.0", "Surfing", 0.0, 1.0)]
    assert data["validation"].heads == {"": ("Rowing", "Surfing")}
    with pytest.raises(UsageError, match="'Surfing' is not one of the 1"):
        load_segments(file, labels=("Rowing",))
    with pytest.raises(UsageError, match="no object 'database'"):
        load_segments(write(tmp_path / "other.json", '{"results": {}}'))
    del database["z"]["subset"]
    with pytest.raises(UsageError, match="without a subset"):
        load_segments(write(tmp_path / "an.json", json.dumps({"database": database})))


def test_videos_of_activitynet_are_found_in_other_spellings(tmp_path: Path) -> None:
    write(tmp_path / "videos/A.MOV")
    database = {
        video: {"subset": "training", "annotations": [{"label": "Rowing", "segment": [0, 1]}]} for video in "ab"
    }
    (data,) = load_segments(write(tmp_path / "an.json", json.dumps({"database": database}))).values()
    assert [sample.path for sample in data.samples] == [tmp_path / "videos/A.MOV", None]
    assert f"no b, videos/b, training/b, v_b, videos/v_b and 1 more in {tmp_path}" in data.samples[1].missing
    assert list(map(str, data.remarks)) == ["1 videos have other names than the annotations say: 'a' is videos/A.MOV"]
    database["b"]["subset"] = []  # type: ignore[assignment]
    with pytest.raises(UsageError, match="a video without a subset"):
        load_segments(write(tmp_path / "an.json", json.dumps({"database": database})))


# --- ELAN -------------------------------------------------------------------------------------------


def elan(
    tiers: dict[str, list[tuple[int | None, int | None, str]]],
    *,
    media: str = 'MEDIA_URL="file:///C:/films/my%20film.mp4" RELATIVE_MEDIA_URL="./my%20film.mp4"',
    author: str = "somebody",
    units: str = "milliseconds",
    doctype: str = "",
) -> str:
    """A document as ELAN writes it: sound beside the video, and a tier without times of its own."""
    slots, written = "", ""
    number = 0
    for name, aligned in tiers.items():
        inner = ""
        for start, end, text in aligned:
            for time in (start, end):
                number += 1
                value = "" if time is None else f' TIME_VALUE="{time}"'
                slots += f'<TIME_SLOT TIME_SLOT_ID="ts{number}"{value}/>'
            inner += (
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" TIME_SLOT_REF1="ts{number - 1}" '
                f'TIME_SLOT_REF2="ts{number}"><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION>'
                "</ANNOTATION>"
            )
        written += f'<TIER TIER_ID="{name}" PARTICIPANT="Ann" LINGUISTIC_TYPE_REF="default">{inner}</TIER>'
    remark = (
        '<TIER TIER_ID="remarks" PARENT_REF="x"><ANNOTATION><REF_ANNOTATION ANNOTATION_ID="r1" ANNOTATION_REF="a1">'
        "<ANNOTATION_VALUE>of an annotation</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION></TIER>"
    )
    described = f'<MEDIA_DESCRIPTOR MEDIA_URL="file:///sound.wav"/><MEDIA_DESCRIPTOR {media}/>' if media else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{doctype}<ANNOTATION_DOCUMENT AUTHOR="{author}" FORMAT="3.0">'
        f'<HEADER MEDIA_FILE="" TIME_UNITS="{units}">{described}</HEADER><TIME_ORDER>{slots}</TIME_ORDER>'
        f"{written}{remark}</ANNOTATION_DOCUMENT>"
    )


def test_annotations_of_elan(tmp_path: Path) -> None:
    write(tmp_path / "my film.mp4")
    spans = [
        (250, 1500, "run  fast"),
        (1500, None, "run"),
        (2000, 2000, "run"),
        (2500, 3000, " "),
        (3000, 4000, "fall"),
    ]
    file = write(tmp_path / "one.eaf", elan({"action": spans, "empty": []}))
    (data,) = load_segments(file).values()
    assert facts(data) == [
        ("my film.mp4@0.25-1.5", "run fast", 0.25, 1.5),
        ("my film.mp4@1.5-1.75", "run", 1.5, 1.75),
        ("my film.mp4@3.0-4.0", "fall", 3.0, 4.0),
    ]
    assert {(each.path, each.video_id, each.participant) for each in data.samples} == {
        (tmp_path / "my film.mp4", "my film", "Ann")
    }
    assert [row.reason for row in data.unused] == [
        "its span is empty, reversed, or begins before the video",
        "its text is empty",
    ]


def test_several_tiers_need_a_choice(tmp_path: Path) -> None:
    write(tmp_path / "1.eaf", elan({"hands": [(0, 10, "up")], "feet": [(5, 20, "jump"), (20, 30, "rest")]}))
    write(tmp_path / "2.eaf", elan({"feet": [(0, 10, "rest")]}, media='MEDIA_URL="file:///other.mp4"'))
    write(tmp_path / ".hidden.eaf", "no annotations")
    with pytest.raises(UsageError, match=r"several tiers .*'feet' \(3\), 'hands' \(1\)"):
        load_segments(tmp_path)
    (data,) = load_segments(tmp_path, tier="hands").values()
    assert facts(data) == [("my film.mp4@0.0-0.01", "up", 0.0, 0.01)]
    assert tuple(map(str, data.remarks)) == ("2.eaf has no tier 'hands'",)
    assert len(load_segments(tmp_path, tier="feet")[""].samples) == 3
    with pytest.raises(UsageError, match="no tier 'head'") as failed:
        load_segments(tmp_path, tier="head")
    assert failed.value.hint == "its tiers are 'feet', 'hands'"
    with pytest.raises(UsageError, match="has no tiers"):
        load_segments(write(tmp_path / "own.csv", "video,label\na,b\n"), tier="feet")


@pytest.mark.parametrize(
    ("media", "there", "found"),
    [
        ('MEDIA_URL="file:///C:/x/a.mp4"', "root/a.mp4", "a.mp4"),
        ('MEDIA_URL="file:///x/y/a.mp4" RELATIVE_MEDIA_URL="./sub/a.mp4"', "root/sub/a.mp4", "sub/a.mp4"),
        ('MEDIA_URL="file:///x/y/a.mp4"', "root/videos/a.mp4", "videos/a.mp4"),
        ('MEDIA_URL="file:///x/renamed.mp4"', "root/one.MOV", "one.MOV"),
        ("", "root/one.avi", "one.avi"),
        ('MEDIA_URL="file:///x/gone.mp4"', "elsewhere/gone.mp4", None),
    ],
)
def test_the_video_of_a_document_is_found_by_name(tmp_path: Path, media: str, there: str, found: str | None) -> None:
    write(tmp_path / there)
    file = write(tmp_path / "eafs/one.eaf", elan({"t": [(0, 1000, "run")]}, media=media))
    (tmp_path / "root").mkdir(exist_ok=True)
    (sample,) = load_segments(file, data_root=tmp_path / "root")[""].samples
    assert sample.path == (None if found is None else tmp_path / "root" / found)
    assert sample.id == f"{found or 'gone.mp4'}@0.0-1.0"


def test_an_offset_of_the_media_is_added(tmp_path: Path) -> None:
    media = 'MEDIA_URL="file:///a.mp4" TIME_ORIGIN="1500"'
    (data,) = load_segments(write(tmp_path / "a.eaf", elan({"t": [(0, 1000, "run")]}, media=media))).values()
    assert facts(data) == [("a.mp4@1.5-2.5", "run", 1.5, 2.5)]
    assert tuple(map(str, data.remarks)) == ("a.eaf: its media start at 1500 ms, which is added to all times",)


def test_documents_that_detect_wrote_and_a_person_mended(tmp_path: Path) -> None:
    found = ((1.0, 2.0, "run (far)", 1), (1.5, 3.0, "run (far)", 1), (4.0, 5.5, "fall", 0))
    segments = tuple(LabelledSegment(*each, score=0.75) for each in found)
    mended = (
        eaf(LabelledVideo("x/a.mp4", segments)).decode().replace(">fall</ANNOTATION_VALUE>", ">sit</ANNOTATION_VALUE>")
    )
    (data,) = load_segments(write(tmp_path / "a.eaf", mended)).values()
    assert sorted(facts(data)) == [
        ("a.mp4@1.0-2.0", "run (far)", 1.0, 2.0),
        ("a.mp4@1.5-3.0", "run (far)", 1.5, 3.0),
        ("a.mp4@4.0-5.5", "sit", 4.0, 5.5),
    ]
    spans = read_annotations(tmp_path / "a.eaf").spans
    assert [(span.label, span.score) for span in spans] == [("sit", 0.75), ("run (far)", 0.75), ("run (far)", 0.75)]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
FINE = {"t": [(0, 1000, "run")]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (elan(FINE, doctype=BOMB).replace("run", "&b;"), "declares a document type"),
        (elan(FINE, doctype=OUTSIDE).replace("run", "&a;"), "declares a document type"),
        (elan(FINE)[:-30], "is not XML"),
        ("<html><HEADER/></html>", "no annotation document"),
        (elan(FINE, units="PAL-frames"), "counts time in PAL-frames"),
        (elan(FINE).replace('TIME_VALUE="1000"', 'TIME_VALUE="soon"'), "'soon' is not a whole number"),
        (elan(FINE).replace("TIER_ID", "TIER"), "lacks TIER_ID"),
    ],
)
def test_documents_that_cannot_be_read(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_segments(write(tmp_path / "a.eaf", text))
