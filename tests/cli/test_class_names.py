"""Classes that nobody has named: numbers until a person names them, from then on with the model."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tadacli.models import build
from tadacli.specs import WeightsSource
from tadacli.zoo import store
from tadacli.zoo.checkpoints import read_checkpoint
from tadacli.zoo.manifest import cards
from tests import media
from tests.cli.conftest import Tada
from tests.file_server import FileServer, serving

NAME = "small.unnamed"
NAMES = [f"shape {letter}" for letter in "abcdefghi"]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server of a model of nine classes without names, as those of Kinetics-710 are known."""
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))
    built_in, stream = cards()["r2plus1d_tiny.camera_motion"], io.BytesIO()
    torch.manual_seed(0)
    torch.save({"model_state": build("r2plus1d_tiny", num_classes=9).state_dict()}, stream)
    with serving(stream.getvalue()) as files:
        unnamed = dataclasses.replace(
            built_in,
            name=NAME,
            heads={},
            num_classes=9,
            exclusive_labels=False,
            unknown={"heads": "nobody published them"},
            source=WeightsSource(url=files.url, licence="Apache-2.0"),
        )
        known = {built_in.name: built_in, NAME: unnamed}
        for module in ("names", "loading", "manifest"):  # what is imported here takes the real ones
            monkeypatch.setattr(f"tadacli.zoo.{module}.cards", lambda: known)
        yield files


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    media.render(tmp_path / "clip.mp4", 40)
    return tmp_path / "clip.mp4"


def names_in(path: Path, names: list[str]) -> Path:
    path.write_text("\n".join(names) + "\n")
    return path


def labels_of(out: bytes) -> set[str]:
    return {each["label"] for each in json.loads(out)["topk"]}


def test_numbers_stand_for_names_until_there_are_some(
    tada: Tada, server: FileServer, clip: Path, tmp_path: Path
) -> None:
    code, out, err = tada("classify", clip, "--model", NAME, "--fetch", "--topk", "9")
    assert (code, labels_of(out)) == (0, {f"class {index}" for index in range(9)})
    assert "have no names here: they are class 0 and so on" in err
    named = names_in(tmp_path / "names.txt", NAMES)
    code, out, err = tada("classify", clip, "--model", NAME, "--topk", "9", "--labels", named)
    assert (code, labels_of(out)) == (0, set(NAMES))
    assert "have no names here" not in err
    assert labels_of(tada("classify", clip, "--model", NAME)[1]) < {f"class {index}" for index in range(9)}
    code, out, _ = tada("detect", clip, "--model", NAME, "--labels", named, "--threshold", "0.01", "--window", "0.5s")
    assert code == 0
    assert {each["label"] for each in json.loads(out)["segments"]} <= set(NAMES)
    assert len(server.requests) == 1


@pytest.mark.parametrize("when", ["at once", "afterwards", "again"])
def test_names_are_kept_with_the_model(tada: Tada, server: FileServer, clip: Path, tmp_path: Path, when: str) -> None:
    named = names_in(tmp_path / "names.txt", NAMES)
    if when == "afterwards":
        tada("fetch", NAME)
    if when == "again":
        tada("fetch", NAME, "--labels", names_in(tmp_path / "others.txt", NAMES[::-1]))
    code, _, err = tada("fetch", NAME, "--labels", named)
    assert code == 0, err
    kept = store.stored(NAME)
    assert kept is not None
    store.verify(kept)
    inside: Any = read_checkpoint(kept.path)
    assert inside.spec.heads == {"": tuple(NAMES)}
    torch.manual_seed(0)
    for name, value in build("r2plus1d_tiny", num_classes=9).state_dict().items():
        assert torch.equal(inside.state_dict[name], value)
    code, out, err = tada("classify", clip, "--model", NAME, "--topk", "9")
    assert (code, labels_of(out), "have no names" in err) == (0, set(NAMES), False)
    assert tada("models", NAME, "--labels")[1].decode().splitlines() == NAMES
    assert tada("fetch", NAME)[0] == 0  # and leaves the names
    assert store.stored(NAME) == kept
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("names", "model", "says"),
    [
        (NAMES[:-1], NAME, "8 labels are given, and small.unnamed has 9 classes"),
        ([*NAMES[:-1], NAMES[0]], NAME, "is no list of classes"),
        (NAMES, "r2plus1d_tiny.camera_motion", "have names of their own"),
    ],
)
def test_names_that_do_not_belong_are_refused_before_anything_is_fetched(
    tada: Tada, server: FileServer, clip: Path, tmp_path: Path, names: list[str], model: str, says: str
) -> None:
    named = names_in(tmp_path / "names.txt", names)
    for command in (["fetch", model], ["classify", clip, "--model", model, "--fetch"]):
        code, out, err = tada(*command, "--labels", named)
        assert (code, out) == (2, b"")
        assert says in err
    assert server.requests == []


def test_labels_are_those_of_one_model(tada: Tada, server: FileServer, tmp_path: Path) -> None:
    named = names_in(tmp_path / "names.txt", NAMES)
    code, _, err = tada("fetch", NAME, "r2plus1d_tiny.camera_motion", "--labels", named)
    assert (code, "--labels are those of one model" in err, server.requests) == (2, True, [])
