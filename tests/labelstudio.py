"""What is written for Label Studio, held to its own SDK, which pins numpy and so has an environment of its own.

`make test-labelstudio` runs this file three times: it writes tasks, the SDK checks them and exports them in its short
form, and what it exported is read again. A step that finds something wrong fails.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CONFIG = (
    '<View><TimelineLabels name="videoLabels" toName="video"><Label value="walk"/><Label value="fall, far"/>'
    '</TimelineLabels><Video name="video" value="$video" frameRate="$fps"/></View>'
)
FPS = 25
EVENTS = [("walk", 0.0, 0.6, 0.75), ("walk", 0.4, 1.0, 0.5), ("fall, far", 0.52, 2.0, 0.125)]


def write(folder: Path) -> None:
    """Tasks with what a model found, and tasks with what people labelled."""
    from tadacli.formats.labelled import LabelledSegment, LabelledVideo
    from tadacli.formats.labelstudio import labelstudio

    for name in ("predictions", "annotations"):
        segments = tuple(
            LabelledSegment(start, end, label, 0, score if name == "predictions" else None)
            for label, start, end, score in EVENTS
        )
        videos = [LabelledVideo(f"in {video}/{video}.mp4", segments, fps=FPS) for video in ("a", "ü")]
        (folder / f"{name}.json").write_bytes(labelstudio(videos))


def check(folder: Path) -> None:
    """The SDK takes all tasks, and exports those of people in the short form."""
    from label_studio_sdk.converter import Converter  # type: ignore[import-not-found]
    from label_studio_sdk.label_interface import LabelInterface  # type: ignore[import-not-found]

    interface = LabelInterface(CONFIG)
    for name in ("predictions", "annotations"):
        for task in json.loads((folder / f"{name}.json").read_bytes()):
            assert interface.validate_task({"data": task["data"]}), task
            for each in task[name]:
                validate = interface.validate_prediction if name == "predictions" else interface.validate_annotation
                assert validate(each), (name, each)
    unknown = json.loads((folder / "predictions.json").read_bytes())[0]["predictions"][0]
    unknown["result"][0]["value"]["timelinelabels"] = ["none of them"]
    assert not interface.validate_prediction(unknown)
    converter = Converter(CONFIG, str(folder))
    converter.convert_to_json_min(str(folder / "annotations.json"), str(folder / "short"), is_dir=False)


def read(folder: Path) -> None:
    """The short form that the SDK exported has the labels that were written."""
    from tadacli.datasets.annotations import read_annotations

    (file,) = (folder / "short").glob("*.json")
    spans = read_annotations(file, fps=FPS).spans
    assert [span.reason for span in spans] == [""] * len(spans)
    found = sorted((span.label, span.start_seconds, span.end_seconds) for span in spans)
    assert found == sorted(2 * [(label, start, end) for label, start, end, _ in EVENTS]), found


if __name__ == "__main__":
    {"write": write, "check": check, "read": read}[sys.argv[1]](Path(sys.argv[2]))
