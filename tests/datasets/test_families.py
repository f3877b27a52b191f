"""Files that annotators and data sets write, known by their content alone, or by what the caller says they are."""

from __future__ import annotations

import csv
import json
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tadacli.datasets import AnnotationFormat
from tadacli.datasets.annotations import read_annotations
from tadacli.datasets.label_table import holds_labels, label_table
from tadacli.datasets.label_videos import label_videos
from tadacli.datasets.own_data import WantedSplits, own_data
from tadacli.datasets.spans import Annotations
from tadacli.errors import UsageError
from tests.media import render

Fact = tuple[str, str, float | None, float | None, float | None]


def found_in(tmp_path: Path, content: str | bytes | Any, *, kind: AnnotationFormat | None = None) -> Annotations:
    """Under a name that says nothing."""
    file = tmp_path / "labels"
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_annotations(file, kind=kind)


def facts(found: Annotations) -> list[Fact]:
    return [
        (span.video, span.label, span.start_seconds, span.end_seconds, span.score)
        for span in found.spans
        if not span.reason
    ]


def remarks(found: Annotations) -> list[str]:
    return list(map(str, found.remarks))


# --- data sets --------------------------------------------------------------------------------------


def test_charades_as_a_table(tmp_path: Path) -> None:
    table = (
        'id,subject,script,actions,length\nAB12C,S,"a person, who",c092 11.90 21.20;c147 0.00 12.60,33\nEMPTY,S,x,,5\n'
    )
    assert facts(found_in(tmp_path, table)) == [
        ("AB12C", "c092", 11.9, 21.2, None),
        ("AB12C", "c147", 0.0, 12.6, None),
    ]
    with pytest.raises(UsageError, match=r"line 2: action 0 is 'c092 11.90', not a class, a start and an end"):
        found_in(tmp_path, "id,actions\nAB12C,c092 11.90\n")


def test_ava_becomes_stretches_of_seconds(tmp_path: Path) -> None:
    box = "0.1,0.1,0.5,0.5"
    rows = [
        f"v,{second},{box},{action},{person}"
        for second, action, person in ((902, 12, 0), (903, 12, 0), (903, 80, 0), (903, 12, 1), (905, 12, 0))
    ]
    found = found_in(tmp_path, "\n".join([*rows, f"v,0906,{box},,"]) + "\n")
    assert facts(found) == [
        ("v", "12", 901.5, 903.5, None),
        ("v", "12", 904.5, 905.5, None),
        ("v", "80", 902.5, 903.5, None),
        ("v", "12", 902.5, 903.5, None),
    ]
    assert [(span.place, span.participant) for span in found.spans][::3] == [("line 1", "0"), ("line 4", "1")]
    with pytest.raises(UsageError, match=r"line 2: not a video, a second"):
        found_in(tmp_path, f"{rows[0]}\nv,902\n")


def test_captions_are_labels_as_far_as_they_have_any(tmp_path: Path) -> None:
    captions = {
        "v_x": {"duration": 9.0, "timestamps": [[0.5, 2], [2, 9.0]], "sentences": [" A man runs.", "He falls."]}
    }
    found = found_in(tmp_path, captions)
    assert facts(found) == [("v_x", "A man runs.", 0.5, 2.0, None), ("v_x", "He falls.", 2.0, 9.0, None)]
    assert remarks(found) == ["labels are sentences, 2 different ones"]
    captions["v_x"]["sentences"] = ["A man runs."]
    with pytest.raises(UsageError, match="video v_x: 2 timestamps and 1 sentences"):
        found_in(tmp_path, captions)


def test_predictions_of_activitynet(tmp_path: Path) -> None:
    results = {"x": [{"label": "run", "score": 0.25, "segment": [1, 2.5]}], "y": []}
    found = found_in(tmp_path, {"version": "VERSION 1.3", "results": results, "external_data": {}})
    assert facts(found) == [("x", "run", 1.0, 2.5, 0.25)]
    assert remarks(found) == ["the labels are predictions of a model"]


@pytest.mark.parametrize("kind", ["text", "pickle"])
def test_predictions_of_numbered_classes(tmp_path: Path, kind: str) -> None:
    columns = {
        "video-id": ["x", "y"],
        "t-start": np.array([1.0, 0.5]),
        "t-end": np.array([2.5, 1.0]),
        "label": np.array([7, 0]),
        "score": np.array([0.25, 0.5]),
    }
    text = "x 1.0 2.5 7 0.25\ny\t0.5 1 0 0.5\n"
    found = found_in(tmp_path, pickle.dumps(columns, protocol=4) if kind == "pickle" else text)
    assert facts(found) == [("x", "7", 1.0, 2.5, 0.25), ("y", "0", 0.5, 1.0, 0.5)]
    assert remarks(found) == ["classes are numbers", "the labels are predictions of a model"]


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    content = b"\x80\x04cbuiltins\nprint\n(Vran\ntR."
    with pytest.raises(UsageError, match=r"is refused: it names builtins.print, which could run a program"):
        found_in(tmp_path, content)


def test_lists_of_frame_folders(tmp_path: Path) -> None:
    found = found_in(tmp_path, "a b/v1 120 3\nv2 90 0\n")
    assert facts(found) == [("a b/v1", "3", None, None, None), ("v2", "0", None, None, None)]
    with pytest.raises(UsageError, match="line 2: not a folder"):
        found_in(tmp_path, "v1 120 3\nv2 ninety 0\n")


# --- programs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Tier\tBegin Time - ss.msec\tEnd Time - ss.msec\tAnnotation\nacts\t0.5\t61.25\trun, far\n",
        "Begin Time - hh:mm:ss.ms\tEnd Time - hh:mm:ss.ms\tDuration - hh:mm:ss.ms\tacts\n"
        "00:00:00.500\t00:01:01.250\t00:01:00.750\trun, far\n",
        "Begin Time - msec\tEnd Time - msec\tacts\tFile Path\n500\t61250\trun, far\tC:\\films\\labels.eaf\n",
        "acts\t\t00:00:00.500\t00:01:01.250\t00:01:00.750\trun, far\n",
        "acts\tAnn\t00:00:00.500\t0.5\t00:01:01.250\t61.25\t00:01:00.750\t60.75\trun, far\n",
    ],
    ids=["tier in a column", "a column for each tier", "milliseconds", "no header", "no header, times twice"],
)
def test_tab_delimited_text_of_elan(tmp_path: Path, text: str) -> None:
    assert facts(found_in(tmp_path, text)) == [("labels", "run, far", 0.5, 61.25, None)]


def test_tiers_of_tab_delimited_text_are_told_apart(tmp_path: Path) -> None:
    text = "Begin Time - ss.msec\tEnd Time - ss.msec\tacts\tmood\n0\t1\trun\t\n1\t2\t\tglad\n"
    with pytest.raises(UsageError, match=r"labels of several kinds: 'acts' \(1\), 'mood' \(1\)"):
        found_in(tmp_path, text)
    found = read_annotations(tmp_path / "labels", tiers=["mood"])
    assert facts(found) == [("labels", "glad", 1.0, 2.0, None)]
    with pytest.raises(UsageError, match=r"line 2: begin time - ss\.msec is 'soon', not a time"):
        found_in(tmp_path, text.replace("\n0\t", "\nsoon\t"))
    with pytest.raises(UsageError, match=r"no column end time in seconds.*, but end time - frames"):
        found_in(tmp_path, text.replace("End Time - ss.msec", "End Time - frames"))


VIA_HEADER = (
    "# Exported using VGG Image Annotator\n"
    '# ATTRIBUTE = {"1":{"aname":"act","options":{"0":"run","1":"fall"}},"2":{"aname":"score","options":{}}}\n'
    "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n"
)


def test_the_table_of_via(tmp_path: Path) -> None:
    rows = (
        '"1_a","[""x, y.mp4""]",0,"[1.5,2]","[]","{""1"":""1"",""2"":""0.25""}"\n'
        '"1_b","[""x, y.mp4""]",0,"[2.4]","[2,1,1,5,5]","{""1"":""0""}"\n'
    )
    found = found_in(tmp_path, VIA_HEADER + rows)
    assert facts(found) == [("x, y.mp4", "fall", 1.5, 2.0, 0.25)]
    assert remarks(found) == ["1 of 2 entries are no segments in time"]
    for bad, said in (("[oops]", r"line 4: '\[oops\]' is not JSON"), ("{}", "line 4: file_list is no list of files")):
        with pytest.raises(UsageError, match=said):
            found_in(tmp_path, VIA_HEADER + rows.replace('[""x, y.mp4""]', bad))


def test_predictions_of_label_studio_are_read_where_nobody_annotated(tmp_path: Path) -> None:
    value = {"start": 0.5, "end": 2, "labels": ["run"], "channel": 0}
    result = {"type": "labels", "from_name": "label", "value": value}
    task = {
        "data": {"audio": "/data/x.mp4"},
        "annotations": [],
        "predictions": [{"score": 0.25, "result": [result, {**result, "score": 0.5}]}],
    }
    found = found_in(tmp_path, [task])
    assert facts(found) == [("/data/x.mp4", "run", 0.5, 2.0, 0.25), ("/data/x.mp4", "run", 0.5, 2.0, 0.5)]
    assert "the labels are predictions: no task has an annotation" in remarks(found)
    task["annotations"] = [{"result": [result]}]  # type: ignore[list-item]
    task["predictions"] = [17]  # as exports without them have it
    assert facts(found_in(tmp_path, [task])) == [("/data/x.mp4", "run", 0.5, 2.0, None)]


def test_regions_of_text_are_no_labels_in_time(tmp_path: Path) -> None:
    value = {"start": 3, "end": 8, "labels": ["Person"], "text": "Maria"}
    task = {"data": {"video": "x.mp4"}, "annotations": [{"result": [{"type": "labels", "value": value}]}]}
    found = found_in(tmp_path, [task])
    assert (facts(found), remarks(found)) == ([], ["1 results of type 'labels' are no labels in time"])


EARLIER = (
    "Observation id\tobs 1\n\nMedia file(s)\n\tx.mp4\n\n"
    "Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\tComment\tStatus\n"
    "0.5\tC:/films/x.mp4\t13\t25\tCat\trun\t\t\tSTART\n"
    "1.0\tC:/films/x.mp4\t13\t25\tCat\tfall\t\t\tSTART\n"
    "2.0\tC:/films/x.mp4\t13\t25\tCat\trun\t\t\tSTOP\n"
)


def test_tables_of_earlier_versions_of_boris(tmp_path: Path) -> None:
    found = found_in(tmp_path, EARLIER)
    assert facts(found) == [("C:/films/x.mp4", "run", 0.5, 2.0, None)]
    assert [(span.place, span.reason) for span in found.spans if span.reason] == [("line 8", "it never stops")]


def test_a_table_of_labels_says_who_is_seen(tmp_path: Path) -> None:
    events = [
        [1.0, "Cat", "run", "", ""],
        [2.0, "Cat", "run", "", ""],
        [2.5, "", "fall", "", ""],
        [3, "", "fall", "", ""],
    ]
    project = {"behaviors_conf": {}, "observations": {"o": {"file": {"1": ["x.mp4"]}, "events": events}}}
    table = label_table(found_in(tmp_path, project))
    assert table.splitlines()[0] == b"path,label,start_seconds,end_seconds,participant"
    again = found_in(tmp_path, table)
    assert [(span.label, span.participant) for span in again.spans] == [("run", "Cat"), ("fall", "")]


def test_modifiers_of_boris_are_told(tmp_path: Path) -> None:
    events = [[1.0, "Cat", "run", "fast", ""], [2.0, "Cat", "run", "fast", ""]]
    project = {"behaviors_conf": {}, "observations": {"o": {"file": {"1": ["x.mp4"]}, "events": events}}}
    found = found_in(tmp_path, project)
    assert facts(found) == [("x.mp4", "run", 1.0, 2.0, None)]
    assert remarks(found) == ["2 events have modifiers, which are no part of their labels"]
    table = "Observation id,Subject,Behavior,Modifier #1,Start (s),Stop (s),Media file name\no,Cat,run,fast,1,2,x.mp4\n"
    assert facts(found_in(tmp_path, table)) == [("x.mp4", "run", 1.0, 2.0, None)]
    assert remarks(found_in(tmp_path, table)) == ["1 events have modifiers, which are no part of their labels"]


def test_tags_of_cvat_in_a_row_are_one_span(tmp_path: Path) -> None:
    render(tmp_path / "x.mp4", 30)
    images = "".join(
        f'<image id="{frame}" name="frame_{frame:06d}"><tag label="{label}" source="manual"/></image>'
        for frame, label in ((3, "run"), (4, "run"), (5, "run"), (5, "fall"), (9, "run"))
    )
    task = "<task><id>1</id><size>30</size><stop_frame>29</stop_frame><source>x.mp4</source></task>"
    found = found_in(tmp_path, f"<annotations><meta>{task}</meta>{images}</annotations>")
    assert [(label, start, end) for _, label, start, end, _ in facts(found)] == [
        ("run", 0.1, 0.2),
        ("run", 0.3, pytest.approx(1 / 3)),
        ("fall", pytest.approx(5 / 30), 0.2),
    ]
    assert remarks(found)[0] == "tags of frames in a row are one span"


@pytest.mark.parametrize(
    "text",
    [
        VIA_HEADER + '1_a,"[""x""]",0,"[1,2]",[],"{""1"":""' + "x" * 200_000 + '""}"\n',
        "acts\t\t00:00:00.500\t00:01:01.250\trun\nacts\t" + "x" * 200_000,
        EARLIER + "3.0\tx.mp4\t13\t25\tCat\t" + "x" * 200_000 + "\t\t\tSTART\n",
        "v,902,0.1,0.1,0.5,0.5,12,0\nv,903,0.1,0.1,0.5,0.5,12," + "x" * 200_000,
    ],
    ids=["VIA", "ELAN", "BORIS", "AVA"],
)
def test_cells_beyond_all_measure_are_named(tmp_path: Path, text: str) -> None:
    before = csv.field_size_limit(1 << 17)  # as it is unless something in this process raised it
    try:
        _refused(tmp_path, text)
    finally:
        csv.field_size_limit(before)


def _refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(
        UsageError, match=r"line (?!1:)\d+: not (comma|tab) separated values \(field larger than field limit"
    ):
        found_in(tmp_path, text)


def test_scores_that_are_no_numbers_are_none(tmp_path: Path) -> None:
    text = '{"results": {"x": [{"label": "run", "score": NaN, "segment": [1, 2]}]}}'
    assert facts(found_in(tmp_path, text)) == [("x", "run", 1.0, 2.0, None)]


# --- what it is said to be, and what it is not ------------------------------------------------------


def test_a_format_that_is_said_decides(tmp_path: Path) -> None:
    ambiguous = "v 10 20 3 1\n"
    assert facts(found_in(tmp_path, ambiguous)) == [("v", "3", 10.0, 20.0, 1.0)]
    assert facts(found_in(tmp_path, ambiguous, kind="tsm")) == [("v 10 20", "1", None, None, None)]
    with pytest.raises(UsageError, match="is text, and files of cvat are XML"):
        found_in(tmp_path, ambiguous, kind="cvat")
    with pytest.raises(UsageError, match="read as a file of VIA: file is missing; metadata is missing"):
        found_in(tmp_path, {"observations": {}, "behaviors_conf": {}}, kind="via")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"_via_settings": {}, "_via_img_metadata": {}}, "a project of VIA 2, which labels regions of images"),
        ({"images": [], "annotations": [], "categories": []}, "a file of COCO, which labels images"),
        ({"shapes": [], "imagePath": "x.jpg"}, "a file of LabelMe, which labels images"),
        ("<annotation><filename>x</filename></annotation>", "a file of Pascal VOC, which labels images"),
    ],
)
def test_files_of_other_tools_are_named(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        found_in(tmp_path, content)


# --- a text for each class ---------------------------------------------------------------------------


def test_a_folder_of_lists_has_a_class_for_each(tmp_path: Path) -> None:
    (tmp_path / "Run.txt").write_text("video_validation_0000051 1.5 2.25\n\nvideo_test_0000004\t0 10\n")
    (tmp_path / "Jump_val.txt").write_text("video_validation_0000051  0.50  1.00\r\n")
    (tmp_path / "Ambiguous_val.txt").write_text("video_validation_0000051 3.0 4.0\n")
    (tmp_path / "class_list.txt").write_text("1 Jump\n2 Run\n")
    found = read_annotations(tmp_path)
    assert facts(found) == [
        ("video_validation_0000051", "Jump", 0.5, 1.0, None),
        ("video_validation_0000051", "Run", 1.5, 2.25, None),
        ("video_test_0000004", "Run", 0.0, 10.0, None),
    ]
    assert [span.reason for span in found.spans if span.reason] == ["it is ambiguous"]
    assert [span.split for span in found.spans] == ["train", "train", "train", "validation"]
    assert remarks(found)[0] == "classes are the names of the files"
    assert holds_labels(tmp_path)
    assert facts(read_annotations(tmp_path / "Run.txt")) == facts(found)[1:]
    data = own_data(tmp_path, None, None, None, WantedSplits())
    assert {split: len(each.samples) for split, each in data.parts.items()} == {"train": 2, "validation": 1}
    with pytest.raises(UsageError, match=r"class_list.txt, line 1: not a video, and its start and end in seconds"):
        read_annotations(tmp_path, kind="multithumos")


def test_other_texts_in_a_folder_are_no_lists_of_classes(tmp_path: Path) -> None:
    (tmp_path / "val_videofolder.txt").write_text("a/v1 120 3\nv2 90 0\n")
    (tmp_path / "notes.txt").write_text("nothing of 1.5 or 2.5\n")
    assert not holds_labels(tmp_path)
    with pytest.raises(UsageError, match=r"holds no \.eaf"):
        read_annotations(tmp_path)
    (tmp_path / "val_videofolder.txt").unlink()
    (tmp_path / "notes.txt").write_text("video 1 2\n")  # it could be a folder of frames
    assert not holds_labels(tmp_path)
    found = read_annotations(tmp_path, kind="multithumos")
    assert facts(found) == [("video", "notes", 1.0, 2.0, None)]
    assert [span.split for span in found.spans] == [""]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match=r"holds no \.txt"):
        read_annotations(empty, kind="multithumos")
    with pytest.raises(UsageError, match="is a folder, and ava is a file"):
        read_annotations(empty, kind="ava")


def test_a_second_of_ava_ends_with_its_video(tmp_path: Path) -> None:
    render(tmp_path / "v.mp4", 6, time_base=Fraction(1, 5))
    rows = "".join(f"v,{second},0,0,1,1,1,0\n" for second in (0, 1))
    found = read_annotations(_file(tmp_path, rows))
    assert facts(found) == [("v", "1", 0.0, 1.5, None)]
    (video,) = label_videos(found).videos
    assert [(each.start_seconds, each.end_seconds) for each in video.segments] == [(0.0, video.duration_seconds)]
    assert video.duration_seconds == pytest.approx(1.0, abs=0.3)
    beyond = label_videos(read_annotations(_file(tmp_path, rows.replace("v,1,", "v,2,"))))
    assert [span.reason for span in beyond.left_out] == ["it ends at 2.50 s, and the video lasts 1.03 s"]


def _file(folder: Path, text: str) -> Path:
    file = folder / "labels.csv"
    file.write_text(text)
    return file
