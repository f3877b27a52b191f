"""Files of other annotation programs and data sets, each as it writes them: the same labels come out of all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tadacli.datasets.annotations import read_annotations
from tadacli.datasets.spans import LabelledSpan
from tadacli.errors import UsageError
from tests.media import render

Fact = tuple[str, str, float | None, float | None]
# Frames 30 a second, so that numbers of frames and seconds say the same.
LABELS = [("a.mp4", "walk", 0.0, 0.5), ("a.mp4", "fall", 0.5, 0.9), ("b.mp4", "walk", 0.1, 0.4)]
VIDEOS = ("a.mp4", "b.mp4")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name in VIDEOS:
        render(folder / name, 30)
    return folder


def spans_of(tmp_path: Path, content: Any, videos: Path, **options: Any) -> tuple[LabelledSpan, ...]:
    """Under a name that says nothing, so that the content has to."""
    file = tmp_path / "labels.txt"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_annotations(file, data_root=videos, **options).spans


def facts(spans: tuple[LabelledSpan, ...]) -> list[Fact]:
    return [
        ("" if span.path is None else span.path.name, span.label, span.start_seconds, span.end_seconds)
        for span in spans
        if not span.reason
    ]


def same(found: list[Fact], expected: list[Fact] = LABELS) -> bool:  # type: ignore[assignment]
    """Whether the labels are these, times to a millionth of a second, in whatever order."""
    rounded = [(video, label, round(start or 0, 6), round(end or 0, 6)) for video, label, start, end in found]
    return sorted(rounded) == sorted(expected)


# --- Label Studio -----------------------------------------------------------------------------------


def task(number: int, video: str, **more: Any) -> dict[str, Any]:
    results = [
        {
            "id": f"r{number}",
            "type": "timelinelabels",
            "from_name": "actions",
            "value": {"ranges": [{"start": round(start * 30), "end": round(end * 30)}], "timelinelabels": [label]},
        }
        for name, label, start, end in LABELS
        if name == video
    ]
    return {"id": number, "data": {"video": f"/data/upload/1/{video}"}, "annotations": [{"result": results}], **more}


def test_label_studio(tmp_path: Path, videos: Path) -> None:
    tasks = [task(number, video, predictions=[], meta={}) for number, video in enumerate(VIDEOS)]
    assert same(facts(spans_of(tmp_path, tasks, videos)))


@pytest.mark.parametrize(
    "url",
    [
        "/data/upload/1/0a1b2c3d-a.mp4",
        "/data/local-files/?d=films/a.mp4",
        "https://example.org/films/a.mp4?token=x",
        "s3://bucket/films/a.mp4",
    ],
)
def test_label_studio_names_videos_in_many_ways(tmp_path: Path, videos: Path, url: str) -> None:
    one = task(0, "a.mp4", data={"note": "seen twice", "video_url": url})
    assert {path for path, *_ in facts(spans_of(tmp_path, [one], videos))} == {"a.mp4"}


def test_label_studio_in_its_short_form(tmp_path: Path, videos: Path) -> None:
    short = [
        {
            "id": 1,
            "video": f"/data/{video}",
            "actions": [each["value"] for each in task(0, video)["annotations"][0]["result"]],
        }
        for video in VIDEOS
    ]
    assert same(facts(spans_of(tmp_path, short, videos)))


def test_what_label_studio_has_besides_is_told(tmp_path: Path, videos: Path) -> None:
    one = task(0, "a.mp4")
    one["annotations"][0]["result"] += [{"type": "choices", "value": {"choices": ["x"]}}, {"type": "relation"}]
    one["annotations"].append({"was_cancelled": True, "result": task(0, "a.mp4")["annotations"][0]["result"]})
    file = tmp_path / "l.json"
    file.write_text(json.dumps([one]))
    found = read_annotations(file, data_root=videos)
    assert len(found.spans) == 2
    assert list(map(str, found.remarks)) == [
        "1 results of type 'choices' are no labels in time",
        "1 results of type 'relation' are no labels in time",
        "1 annotations are not read: they were cancelled",
        "times are numbers of frames at the rate of each video; "
        "`tada convert FILE --to csv --fps N` reads them at another",
    ]


def test_controls_of_label_studio_are_told_apart(tmp_path: Path, videos: Path) -> None:
    one = task(0, "a.mp4")
    one["annotations"][0]["result"][1]["from_name"] = "mood"
    with pytest.raises(UsageError, match=r"labels of several kinds: 'actions' \(1\), 'mood' \(1\)"):
        spans_of(tmp_path, [one], videos)
    assert same(facts(spans_of(tmp_path, [one], videos, tiers=["mood"])), LABELS[1:2])
    with pytest.raises(UsageError, match="no tier 'colour'"):
        spans_of(tmp_path, [one], videos, tiers=["colour"])


def test_frames_need_a_video_or_a_rate(tmp_path: Path, videos: Path) -> None:
    tasks = [task(0, "a.mp4"), task(1, "b.mp4", data={"video": "/data/gone.mp4"})]
    with pytest.raises(UsageError, match=r"counts frames, and 1 videos .* are not in .*: /data/gone\.mp4"):
        spans_of(tmp_path, tasks, videos)
    halved = facts(spans_of(tmp_path, tasks, videos, fps=15))
    assert same(halved, [("a.mp4", "walk", 0.0, 1.0), ("a.mp4", "fall", 1.0, 1.8), ("", "walk", 0.2, 0.8)])
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="no rate of a video"):
            spans_of(tmp_path, tasks, videos, fps=rate)


# --- BORIS ------------------------------------------------------------------------------------------


def boris_project(**more: Any) -> dict[str, Any]:
    observations = {
        video: {
            "file": {"1": [f"C:/films/{video}"], "2": []},
            "type": "MEDIA",
            "time offset": 0.0,
            # Starts and stops of different behaviors may be mixed.
            "events": sorted(
                [time, "", label, "", "", 0] for name, label, *times in LABELS if name == video for time in times
            ),
            **more,
        }
        for video in VIDEOS
    }
    behaviors = {"0": {"type": "State event", "code": "walk"}, "1": {"type": "Point event", "code": "sneeze"}}
    return {"project_format_version": "7.0", "observations": observations, "behaviors_conf": behaviors}


def test_boris_projects(tmp_path: Path, videos: Path) -> None:
    assert same(facts(spans_of(tmp_path, boris_project(), videos)))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"file": {"1": ["a.mp4", "b.mp4"]}}, "its observation plays several files, one after the other"),
        ({"file": {}}, "its observation has no video"),
        ({"time offset": 2.5}, "its observation has a time offset of 2.5 s"),
        ({"events": [[0.5, "", "walk", "", ""]]}, "it never stops"),
        ({"events": [[0.5, "", "sneeze", "", ""]]}, "a point in time is no span"),
        ({"events": [[0.5, "Ann", "walk", "", ""], [0.6, "Ben", "walk", "", ""]]}, "it never stops"),
        ({"events": [[0.5, "", "walk", "fast", ""], [0.6, "", "walk", "slow", ""]]}, "it never stops"),
    ],
)
def test_events_of_boris_that_are_no_span_of_a_video(
    tmp_path: Path, videos: Path, more: dict[str, Any], reason: str
) -> None:
    spans = spans_of(tmp_path, boris_project(**more), videos)
    assert {span.reason for span in spans} == {reason}


TABULAR = "Observation id;Media file name;Total length;FPS;Subject;Behavior;Modifier #1;Behavior type;Time"


def tabular(*events: tuple[str, str, float], subject: str = "No focal subject") -> str:
    return "".join(f"\no;player #1:a.mp4;1.0;30;{subject};{label};;{kind};{time}" for label, kind, time in events)


def test_tables_of_boris(tmp_path: Path, videos: Path) -> None:
    rows = tabular(("walk", "START", 0.0), ("walk", "STOP", 0.5), ("fall", "START", 0.5), ("fall", "STOP", 0.9))
    assert same(facts(spans_of(tmp_path, TABULAR + rows, videos)), LABELS[:2])
    broken = tabular(("walk", "STOP", 0.1), ("walk", "START", 0.2), ("walk", "START", 0.3), ("x", "POINT", 0.4))
    assert [span.reason for span in spans_of(tmp_path, TABULAR + broken, videos)] == [
        "it stops without having started",
        "it starts again before it stops",
        "it never stops",
        "a point in time is no span",
    ]
    two = tabular(("walk", "START", 0.0), subject="Ann") + tabular(("walk", "STOP", 0.5), subject="Ben")
    assert [span.participant for span in spans_of(tmp_path, TABULAR + two, videos)] == ["Ann", "Ben"]
    with pytest.raises(UsageError, match="line 2: the behavior type is 'STATE'"):
        spans_of(tmp_path, TABULAR + tabular(("walk", "STATE", 0.0)), videos)


def test_aggregated_events_of_boris(tmp_path: Path, videos: Path) -> None:
    head = "Observation id,Media file name,Subject,Behavior,Behavior type,Start (s),Stop (s),Duration (s)\n"
    rows = "".join(f"o,{video},Ann,{label},STATE,{start},{end},1\n" for video, label, start, end in LABELS)
    assert same(facts(spans_of(tmp_path, head + rows, videos)))


# --- VIA --------------------------------------------------------------------------------------------


def via_project() -> dict[str, Any]:
    metadata = {
        f"m{number}": {
            "vid": str(VIDEOS.index(video) + 1),
            "flg": 0,
            "z": [start, end],
            "xy": [],
            "av": {"1": label[0]},
        }
        for number, (video, label, start, end) in enumerate(LABELS)
    }
    return {
        "project": {"pid": "x"},
        "attribute": {
            "1": {"aname": "ACTION", "type": 4, "options": {"w": "walk", "f": "fall"}},
            "2": {"aname": "MOOD"},
        },
        "file": {str(number): {"fid": number, "fname": video, "src": ""} for number, video in enumerate(VIDEOS, 11)},
        "view": {str(number): {"fid_list": [number + 10]} for number in (1, 2)},
        "metadata": metadata,
    }


def test_via_projects(tmp_path: Path, videos: Path) -> None:
    project = via_project()
    assert same(facts(spans_of(tmp_path, project, videos)))
    # Older projects have no views.
    without = {key: value for key, value in project.items() if key != "view"}
    without["file"] = {str(number): {"fname": video} for number, video in enumerate(VIDEOS, 1)}
    assert same(facts(spans_of(tmp_path, without, videos)))
    project["metadata"]["box"] = {"vid": "1", "z": [0.5], "xy": [2, 1, 1, 5, 5], "av": {"1": "w"}}
    project["metadata"]["mood"] = {"vid": "1", "z": [0.1, 0.2], "av": {"2": "bored"}}
    with pytest.raises(UsageError, match=r"several kinds: 'ACTION' \(3\), 'MOOD' \(1\)"):
        spans_of(tmp_path, project, videos)
    file = tmp_path / "via.json"
    file.write_text(json.dumps(project))
    found = read_annotations(file, data_root=videos, tiers=["ACTION"])
    assert same(facts(found.spans))
    assert list(map(str, found.remarks)) == ["1 of 5 entries are no segments in time"]
    project["view"]["1"]["fid_list"] = [11, 12]
    spans = spans_of(tmp_path, project, videos, tiers=["ACTION"])
    assert [span.reason for span in spans] == ["its view shows 2 files"] * 2 + [""]


# --- CVAT -------------------------------------------------------------------------------------------


def cvat(tracks: str, *, meta: str = "<task><id>7</id><stop_frame>29</stop_frame><source>a.mp4</source></task>") -> str:
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><meta>{meta}</meta>{tracks}</annotations>'


def track(label: str, *shapes: tuple[int, int], more: str = "") -> str:
    inner = "".join(f'<box frame="{frame}" outside="{outside}" xtl="1"/>' for frame, outside in shapes)
    return f'<track id="0" label="{label}"{more}>{inner}</track>'


def test_tracks_of_cvat(tmp_path: Path, videos: Path) -> None:
    # A track may leave and come back, and one that never leaves lasts to the end.
    tracks = track("walk", (0, 0), (5, 0), (15, 1), (18, 0), (21, 1)) + track("fall", (24, 0), (25, 0))
    expected = [("a.mp4", "walk", 0.0, 0.5), ("a.mp4", "walk", 0.6, 0.7), ("a.mp4", "fall", 0.8, 1.0)]
    for meta in (
        "<task><id>7</id><stop_frame>29</stop_frame><source>a.mp4</source></task>",
        "<task><id>7</id><stop_frame>29</stop_frame></task><source>a.mp4</source>",
        "<job><id>7</id><stop_frame>29</stop_frame></job><source>a.mp4</source>",
    ):
        found = facts(spans_of(tmp_path, cvat(tracks, meta=meta), videos))
        assert same(found, expected)  # type: ignore[arg-type]


def test_tracks_of_a_project_of_cvat_know_their_task(tmp_path: Path, videos: Path) -> None:
    meta = "".join(f"<task><id>{number}</id><source>{video}</source></task>" for number, video in enumerate(VIDEOS))
    meta = f"<project><tasks>{meta}</tasks></project>"
    tracks = track("walk", (0, 0), (15, 1), more=' task_id="0"') + track("walk", (3, 0), (12, 1), more=' task_id="1"')
    tracks += track("lost", (3, 0), (12, 1))
    spans = spans_of(tmp_path, cvat(tracks, meta=meta), videos)
    assert same(facts(spans), [LABELS[0], LABELS[2]])
    assert [span.reason for span in spans] == ["", "", "the document does not name its video"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (cvat("<image id='0' name='a.jpg'/>"), "no tracks"),
        (cvat(track("walk", (0, 0)).replace('frame="0"', 'frame="x"')), "'x' is not the number of a frame"),
        (cvat("").replace("<annotations>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations>"), "declares a document type"),
        (cvat(track("walk", (0, 0)))[:-20], "is not XML"),
    ],
)
def test_documents_of_cvat_that_cannot_be_read(tmp_path: Path, videos: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        spans_of(tmp_path, text, videos)


# --- data sets --------------------------------------------------------------------------------------


def test_charades_in_the_form_of_i3d(tmp_path: Path, videos: Path) -> None:
    numbers = {"walk": 3, "fall": 12}
    content = {
        video.removesuffix(".mp4"): {
            "subset": "training" if video == "a.mp4" else "testing",
            "duration": 1.0,
            "actions": [[numbers[label], start, end] for name, label, start, end in LABELS if name == video],
        }
        for video in VIDEOS
    }
    spans = spans_of(tmp_path, content, videos)
    assert same(facts(spans), [(video, str(numbers[label]), *times) for video, label, *times in LABELS])  # type: ignore[misc]
    assert {(span.video, span.split) for span in spans} == {("a", "train"), ("b", "validation")}


@pytest.mark.parametrize("key", ["video", "path", "file"])
def test_lists_of_labels_with_clocks(tmp_path: Path, videos: Path, key: str) -> None:
    content = [
        {key: video, "label": label, "start": f"00:{start:05.2f}", "end": end} for video, label, start, end in LABELS
    ]
    assert same(facts(spans_of(tmp_path, content, videos)))
    content[1]["start"] = "00:61.00"
    with pytest.raises(UsageError, match=r"entry 1: '00:61\.00' is not a time"):
        spans_of(tmp_path, content, videos)


def test_moments_of_ego4d(tmp_path: Path, videos: Path) -> None:
    def moment(label: str, start: float, end: float, *, primary: bool) -> dict[str, Any]:
        # In the clip, which begins later, times are others.
        own = {"start_time": start - 0.1, "end_time": end - 0.1}
        return {"label": label, "primary": primary, "video_start_time": start, "video_end_time": end, **own}

    content = {
        "version": "v1",
        "videos": [
            {
                "video_uid": video.removesuffix(".mp4"),
                "split": "val",
                "clips": [
                    {"clip_uid": "c", "annotations": [{"annotator_uid": "x", "labels": [moment(*times, primary=True)]}]}
                    for name, *times in LABELS
                    if name == video
                ],
            }
            for video in VIDEOS
        ],
    }
    content["videos"][0]["clips"][0]["annotations"].append({"labels": [moment("x", 0.2, 0.3, primary=False)]})  # type: ignore[index]
    spans = spans_of(tmp_path, content, videos)
    assert same(facts(spans))
    assert {span.split for span in spans} == {"validation"}
    assert [span.reason for span in spans if span.reason] == ["it is not primary"]


# --- all of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(
            [task(0, "a.mp4", annotations=[{"result": {"a": 1}}])], "read as a file of Label Studio: 0", id="ls"
        ),
        pytest.param(
            [
                {
                    "data": {"video": "a.mp4"},
                    "annotations": [{"result": [{"type": "timelinelabels", "value": {"ranges": [{}]}}]}],
                }
            ],
            "ranges.0.start is missing",
            id="a range without a start",
        ),
        pytest.param(
            {**boris_project(), "observations": {"o": {"events": [["x"]]}}}, "observation o, event 1", id="boris"
        ),
        pytest.param(
            {**boris_project(), "observations": {"o": 3}}, "read as a file of BORIS: observations.o", id="boris 3"
        ),
        pytest.param({"file": {"1": {}}, "metadata": {}}, "file.1.fname is missing", id="via"),
        pytest.param({"videos": [{"clips": 3}]}, "read as a file of Ego4D: videos.0", id="ego4d"),
        pytest.param(
            {"v": {"subset": "training", "actions": [["walk", 0, 1]]}}, "v.actions.0.0 has the wrong", id="i3d"
        ),
        pytest.param([{"video": "a.mp4", "label": 3}], "0.label has the wrong type", id="createml"),
        pytest.param([{"video": "a.mp4", "label": "x\x1b[2J", "start": "\x1b]0;"}], r"entry 0: '\\x1b", id="escapes"),
        pytest.param([], "no object 'database'", id="nothing"),
        pytest.param('{"a": 1, "a": 2}', "the key 'a' stands there twice", id="a key twice"),
        pytest.param("[" * 100_000, "is not JSON: it is nested too deeply", id="depth"),
    ],
)
def test_what_is_not_as_a_program_writes_it_is_named(tmp_path: Path, videos: Path, content: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as failed:
        spans_of(tmp_path, content, videos)
    assert failed.value.hint


def test_times_that_are_no_numbers_are_told(tmp_path: Path, videos: Path) -> None:
    entry = '{"video": "a.mp4", "label": "x", "start": NaN, "end": 1}, {"video": "a.mp4", "label": "x", "end": 1e999}'
    spans = spans_of(tmp_path, f"[{entry}]", videos)
    assert [span.reason for span in spans] == ["its times are no finite numbers"] * 2


def test_times_that_are_no_span_are_told(tmp_path: Path, videos: Path) -> None:
    entries = [{"video": "a.mp4", "label": "x", "start": start, "end": end} for start, end in ((1, 1), (2, 1), (-1, 1))]
    spans = spans_of(tmp_path, [*entries, {"video": "a.mp4", "label": " "}, {"video": "", "label": "x"}], videos)
    empty = "its span is empty, reversed, or begins before the video"
    assert [span.reason for span in spans] == [empty, empty, empty, "it has no label", "its video is not named"]
