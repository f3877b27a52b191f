"""The published schemas hold what is written: files of real runs are valid, and no key of theirs is unknown."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from tadacli.reports.schemas import schemas, write_schemas
from tests.cli.conftest import Tada

EARLIER = Path(__file__).parents[1] / "earlier_files"


def closed(schema: Any) -> Any:
    """A schema that allows no keys but those that it names."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    extra = {"additionalProperties": False} if "properties" in schema else {}
    return {**{key: closed(each) for key, each in schema.items()}, **extra}


def check(name: str, value: Any) -> None:
    Draft202012Validator(closed(schemas()[name])).validate(value)


@pytest.fixture
def clips(videos: Path, tmp_path: Path) -> Path:
    """A data set of two classes, of which one video cannot be read."""
    for label, name in (("pan left", "clip 0.mp4"), ("static", "clip 1.mp4")):
        (tmp_path / "clips" / label).mkdir(parents=True)
        (tmp_path / "clips" / label / name).symlink_to(videos / name)
    (tmp_path / "clips" / "static" / "none.mp4").write_bytes(b"none")
    return tmp_path / "clips"


def test_what_commands_write_is_valid(tada: Tada, tmp_path: Path, videos: Path, untrained: Path, clips: Path) -> None:
    named = (videos / "clip 0.mp4", "none.mp4", "--model", untrained)
    for command in ("classify", "detect"):
        quick = ("--views", "1x1") if command == "classify" else ("--threshold", "0.1", "--cuts", "none")
        for line in tada(command, *named, *quick, "--format", "jsonl")[1].splitlines():
            assert json.loads(line)["schema_version"] == 1
            check(command, json.loads(line))
        check(command, json.loads(tada(command, *named, *quick, "--format", "json")[1]))
    tada("detect", *named, "-o", tmp_path / "a.csv")
    check("meta", json.loads((tmp_path / "a.csv.meta.json").read_bytes()))
    rows = tada("features", *named, "-o", tmp_path / "features", "--format", "jsonl")[1].splitlines()
    assert len(rows) == 2
    for line in rows:
        check("features", json.loads(line))
    tada("detect", *named, "--threshold", "0.1", "-o", tmp_path / "found.jsonl")
    excerpts = tada("clip", tmp_path / "found.jsonl", "-o", tmp_path / "excerpts", "--images", "jpg")[1].splitlines()
    assert len(excerpts) >= 2
    for line in excerpts:
        check("clip", json.loads(line))
    kept = tmp_path / "kept.jsonl"
    measured = ("--dataset", "folder", "--data-root", clips, "--model", untrained, "--views", "1x1")
    report = json.loads(tada("eval", *measured, "--save-predictions", kept, "--format", "json")[1])
    assert (report["schema_version"], report["num_items"]) == (1, 3)
    check("eval", report)
    for line in kept.read_bytes().splitlines():
        check("predictions", json.loads(line))


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        ("classified.jsonl", "classify"),
        ("classified.json", "classify"),
        ("found.jsonl", "detect"),
        ("found.json", "detect"),
        ("predictions.jsonl", "predictions"),
        ("report.json", "eval"),
    ],
)
def test_what_earlier_versions_wrote_is_valid(file: str, schema: str) -> None:
    text = (EARLIER / file).read_text()
    for value in map(json.loads, text.splitlines() if file.endswith(".jsonl") else [text]):
        Draft202012Validator(schemas()[schema]).validate(value)


def test_what_is_not_so_is_not_valid() -> None:
    (row, *_) = map(json.loads, (EARLIER / "found.jsonl").read_text().splitlines())
    check("detect", row)
    for key, value in (("segments", [{"label": "a"}]), ("status", "fine"), ("windows", "many")):
        wrong = {**copy.deepcopy(row), key: value}
        with pytest.raises(ValidationError):
            Draft202012Validator(schemas()["detect"]).validate(wrong)


def test_the_schemas_are_written_as_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tadacli.reports.schemas", str(tmp_path / "new" / "schemas")],
        capture_output=True,
        text=True,
        check=True,
    )
    files = [Path(line) for line in done.stdout.splitlines()]
    assert [file.name for file in files] == [f"{name}.schema.json" for name in schemas()]
    for file, schema in zip(files, schemas().values(), strict=True):
        assert json.loads(file.read_bytes()) == schema
        Draft202012Validator.check_schema(schema)
    assert [file.read_bytes() for file in write_schemas(tmp_path)] == [file.read_bytes() for file in files]
