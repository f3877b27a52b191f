"""The predictions among the shared cases, each against its row of truth.csv."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Tada, tada
from tests.media import shared_folder

__all__ = ["tada"]


def case(name: str) -> tuple[Path, list[str]]:
    """A file of the cases and the arguments that its row of truth.csv names, but the predictions."""
    folder = shared_folder() / "cases"
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        (command,) = [row["command"] for row in csv.DictReader(file) if row["file"] == f"predictions/{name}"]
    return folder / "predictions" / name, command.replace("annotations/", f"{folder}/annotations/").split()


def test_segments_that_end_before_they_start(tada: Tada) -> None:
    file, command = case("reversed.json")
    code, out, err = tada(*command, "--predictions", file, "--format", "json")
    report = json.loads(out)
    assert code == 0
    assert report["metrics"]["all"]["mAP"] == [1.0] * 10, "what the official evaluator says"
    (note,) = report["notes"]
    assert note.startswith("8 of 8 segments end before they start")
    assert f"note: {note}" in err


def test_ids_that_begin_otherwise(tada: Tada) -> None:
    file, command = case("vprefix.json")
    code, out, err = tada(*command, "--predictions", file)
    assert (code, out) == (2, b"")
    assert "v_v2 (v2?), v_v3 (v3?)" in err
    assert "hint: the annotations have v2 where the predictions have v_v2" in err


@pytest.mark.parametrize("name", ["actionformer.pkl", "thumos.txt"])
def test_numbers_of_classes_without_their_names(tada: Tada, name: str, tmp_path: Path) -> None:
    file, command = case(name)
    code, out, err = tada(*command, "--predictions", file)
    assert (code, out) == (2, b"")
    assert f"{name} names classes by number" in err
    truth = json.loads(Path(command[command.index("--annotations") + 1]).read_text())
    for entry in truth["database"].values():
        for annotation in entry["annotations"]:
            annotation["label_id"] = ["walk", "fall"].index(annotation["label"])
    (tmp_path / "numbered.json").write_text(json.dumps(truth))
    command[command.index("--annotations") + 1] = str(tmp_path / "numbered.json")
    code, out, _ = tada(*command, "--predictions", file, "--format", "json")
    report = json.loads(out)
    assert (code, report["num_scored"], report["num_items"]) == (0, 2, 2)
    assert report["metrics"]["all"]["avg_mAP"] == pytest.approx(1.0, abs=1e-9)
