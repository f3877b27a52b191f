"""What a format cannot hold is said with counts, and nothing is said of what it keeps."""

from __future__ import annotations

import json
import urllib.parse
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tadacli.datasets.annotations import read_annotations
from tadacli.errors import OutputError, UsageError
from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.losses import losses
from tadacli.formats.registry import SEGMENT_FORMATS
from tests.formats.detections import require_installed
from tests.media import render

SEGMENTS = (
    LabelledSegment(0.0, 0.4, "run", 1, 0.5, "Cat"),
    LabelledSegment(0.41, 1.0, "fall", 0, 0.75, "Cat"),
)
VIDEO = LabelledVideo("a.mp4", SEGMENTS, fps=25, split="train")
PEOPLES = replace(VIDEO, split="", segments=tuple(replace(each, score=None, subject="") for each in SEGMENTS))
NUMBERED = "labels are numbers: 0 fall, 1 run"
SCORES, SUBJECTS, SPLITS = "scores of 2 segments", "subjects of 2 segments", "splits of 1 video"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("eaf", [f"not kept: {SUBJECTS}, {SPLITS}"]),
        ("boris", [f"not kept: {SCORES}, {SPLITS}"]),
        ("actionformer", [f"not kept: {SCORES}, {SUBJECTS}"]),
        ("cvat", [f"not kept: {SCORES}, {SUBJECTS}, {SPLITS}, fractions of frames of 1 segment"]),
        ("thumos", [f"not kept: {SUBJECTS}, {SPLITS}", NUMBERED]),
        ("charades-json", [f"not kept: {SCORES}, {SUBJECTS}", NUMBERED]),
        ("createml", [f"not kept: {SCORES}, {SUBJECTS}"]),
        ("ego4d", [f"not kept: {SCORES}, {SUBJECTS}"]),
        ("ava", [f"not kept: {SCORES}, {SUBJECTS}, {SPLITS}, fractions of seconds of 2 segments", NUMBERED]),
    ],
)
def test_what_is_not_kept(name: str, said: list[str]) -> None:
    assert losses(SEGMENT_FORMATS[name], [VIDEO]) == said


@pytest.mark.parametrize(
    "name", [name for name, form in SEGMENT_FORMATS.items() if not form.holds.frames and name != "epic"]
)
def test_nothing_is_said_where_all_is_kept(name: str) -> None:
    said = losses(SEGMENT_FORMATS[name], [PEOPLES])
    got_one = "2 segments without a score got 1"
    besides = {"activitynet": [got_one], "thumos": [NUMBERED, got_one], "charades-json": [NUMBERED]}
    besides["ava"] = ["not kept: fractions of seconds of 2 segments", NUMBERED]
    assert said == besides.get(name, [])


def test_characters_that_a_format_has_no_place_for() -> None:
    segments = (
        LabelledSegment(0, 1, "run, far", 0),
        LabelledSegment(1, 2, "fall", 1),
        LabelledSegment(2, 3, "a\tb", 2),
    )
    video = LabelledVideo("a.mp4", segments)
    (said,) = losses(SEGMENT_FORMATS["charades"], [video])
    assert said == "2 labels got other characters, such as 'run__far' for 'run, far'"
    (said,) = losses(SEGMENT_FORMATS["eaf"], [video])
    assert said == "1 label got other characters, such as 'a b' for 'a\\tb'"
    same = replace(video, segments=(*segments, LabelledSegment(3, 4, "run__far", 3)))
    with pytest.raises(OutputError, match=r"'run, far', 'run__far' would all be 'run__far'"):
        SEGMENT_FORMATS["charades"].encode_labelled([same])


@pytest.mark.parametrize("name", [name for name, form in SEGMENT_FORMATS.items() if form.holds.frames])
def test_frames_need_a_rate(name: str) -> None:
    require_installed(name)
    with pytest.raises(UsageError, match=r"nothing says how many frames a\.mp4 has a second"):
        SEGMENT_FORMATS[name].encode_labelled([replace(VIDEO, fps=None)])


def test_labels_of_people_are_no_submission() -> None:
    with pytest.raises(UsageError, match="epic holds what a model found"):
        SEGMENT_FORMATS["epic"].encode_labelled([PEOPLES])


# --- what the files look like -----------------------------------------------------------------------


def test_label_studio_gets_predictions_of_models_and_annotations_of_people() -> None:
    (task,) = json.loads(
        SEGMENT_FORMATS["labelstudio"].encode_labelled([replace(VIDEO, path="b b/é.mp4", made_with="m")])
    )
    assert urllib.parse.unquote(task["data"]["video"]) == "b b/é.mp4"
    (found,) = task["predictions"]
    assert (found["model_version"], found["score"]) == ("m", 0.625)
    assert [(each["score"], each["value"]) for each in found["result"]] == [
        (0.5, {"ranges": [{"start": 0, "end": 10}], "timelinelabels": ["run"]}),
        (0.75, {"ranges": [{"start": 10, "end": 25}], "timelinelabels": ["fall"]}),
    ]
    (task,) = json.loads(SEGMENT_FORMATS["labelstudio"].encode_labelled([PEOPLES]))
    assert ("predictions" in task, "score" in task["annotations"][0]["result"][0]) == (False, False)


def test_a_document_of_elan_names_the_way_to_its_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("videos", "elan"):
        (tmp_path / folder).mkdir()
    (tmp_path / "videos/a.mp4").touch()
    monkeypatch.chdir(tmp_path)
    for folder, way in (("elan", "../videos/a.mp4"), ("videos", "./a.mp4"), (".", "./videos/a.mp4")):
        content = SEGMENT_FORMATS["eaf"].encode_labelled([replace(VIDEO, path="videos/a.mp4")], folder=Path(folder))
        (media,) = ElementTree.fromstring(content).iter("MEDIA_DESCRIPTOR")
        assert media.attrib["RELATIVE_MEDIA_URL"] == way
        (tmp_path / folder / "x.eaf").write_bytes(content)
        assert {span.path for span in read_annotations(tmp_path / folder / "x.eaf").spans} != {None}


# --- frames at another rate -------------------------------------------------------------------------


def test_frames_counted_at_another_rate_than_the_video_has_are_refused(tmp_path: Path) -> None:
    render(tmp_path / "a.mp4", 30)
    file = tmp_path / "labels"
    counted = replace(VIDEO, fps=25, num_frames=25)
    for name, both in (("labelstudio", "25 a second, and a.mp4 has 30"), ("cvat", "25 a second, and a.mp4 has 30")):
        file.write_bytes(SEGMENT_FORMATS[name].encode_labelled([counted]))
        with pytest.raises(UsageError, match=both) as failed:
            read_annotations(file)
        assert "--fps" in failed.value.hint
        spans = read_annotations(file, fps=25).spans
        assert [(span.start_seconds, span.end_seconds) for span in spans] == [(0.0, 0.4), (0.4, 1.0)]
        file.write_bytes(SEGMENT_FORMATS[name].encode_labelled([replace(VIDEO, fps=30, num_frames=31)]))
        assert [span.reason for span in read_annotations(file).spans] == ["", ""]


def test_a_track_of_cvat_ends_with_its_video_or_outside() -> None:
    video = replace(VIDEO, num_frames=25)
    root = ElementTree.fromstring(SEGMENT_FORMATS["cvat"].encode_labelled([video]))
    boxes = [[(box.get("frame"), box.get("outside")) for box in track] for track in root.iter("track")]
    assert boxes == [[("0", "0"), ("10", "1")], [("10", "0")]]
    assert [root.findtext(f"meta/task/{name}") for name in ("size", "stop_frame")] == ["25", "24"]


def test_no_behaviour_of_boris_starts_when_it_stops() -> None:
    touching = replace(VIDEO, segments=(*SEGMENTS, LabelledSegment(1.0, 2.0, "fall", 0, subject="Cat")))
    project = json.loads(SEGMENT_FORMATS["boris"].encode_labelled([touching]))
    events = {name: [tuple(each[:3]) for each in one["events"]] for name, one in project["observations"].items()}
    assert events == {
        "a": [(0.0, "Cat", "run"), (0.4, "Cat", "run"), (0.41, "Cat", "fall"), (1.0, "Cat", "fall")],
        "a (2)": [(1.0, "Cat", "fall"), (2.0, "Cat", "fall")],
    }
    assert {one["file"]["1"][0] for one in project["observations"].values()} == {"a.mp4"}
    assert {each["type"] for each in project["behaviors_conf"].values()} == {"State event"}
