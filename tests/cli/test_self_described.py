"""Weights files that say what model they are for: someone's own training, and settings that a person trusts or not."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import tadacli
from tadacli.errors import CheckpointError, UndecidedError
from tadacli.models import build
from tadacli.specs import ModelSpec
from tadacli.training.starting_point import starting_point
from tadacli.zoo import store
from tadacli.zoo.checkpoints import read_checkpoint, settings_of, write_checkpoint
from tadacli.zoo.fetching import fetch, fetch_file
from tadacli.zoo.loading import find_spec
from tadacli.zoo.manifest import ModelCard, cards
from tadacli.zoo.stated import Decided
from tests import media
from tests.cli.conftest import Tada
from tests.zoo.configurations import changed, tables_for

SMALL = {"NUM_FILTERS": [8, 32, 64, 128, 256], "NUM_OUT_FEATURES": 256}
PARTLY = "tada2d_r50.partly"


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))


def own_tables(**data: Any) -> dict[str, Any]:
    tables = tables_for("tada2d_r50", num_classes=4)
    tables["VIDEO"]["BACKBONE"] |= SMALL
    tables["DATA"] |= {"NUM_INPUT_FRAMES": 4, "TEST_SCALE": 32, "TEST_CROP_SIZE": 32, **data}
    return tables


def save(path: Path, tables: Any, *, num_classes: int = 4) -> Path:
    torch.manual_seed(0)
    content: dict[str, Any] = {"model_state": build("tada2d_r50", num_classes=num_classes, stem_width=8).state_dict()}
    if tables is not None:
        content["cfg"] = tables if isinstance(tables, str) else json.dumps(tables)
    torch.save({**content, "epoch": 99, "optimizer_state": {"lr": 0.1}}, path)
    return path


@pytest.fixture
def partly(monkeypatch: pytest.MonkeyPatch) -> ModelCard:
    """A card of a small network whose rate is not known."""
    full = cards()["tada2d_r50.k400_8x8"]
    settings = {**full.input, "clip_frames": 4, "short_side": 32, "crop_size": 32}
    del settings["frame_stride"]
    card = dataclasses.replace(
        full,
        name=PARTLY,
        arguments={"stem_width": 8},
        heads={"": ("a", "b", "c", "d")},
        num_classes=4,
        input=settings,
        unknown={"input.frame_stride": "nobody published it"},
    )
    known = {**cards(), PARTLY: card}
    for module in ("manifest", "loading", "names"):
        monkeypatch.setattr(f"tadacli.zoo.{module}.cards", lambda: known)
    for module in ("starting_point", "default_recipe"):
        monkeypatch.setattr(f"tadacli.training.{module}.cards", lambda: known)
    return card


def test_a_file_of_the_authors_code_is_a_model_by_itself(tmp_path: Path, tada: Tada) -> None:
    path = save(tmp_path / "mine.pyth", own_tables())
    media.render(tmp_path / "v.mp4", 60)
    code, out, err = tada("classify", tmp_path / "v.mp4", "--weights", path, "--format", "jsonl", "--topk", 4)
    assert code == 0, err
    assert {f"class {index}" for index in range(4)} <= set(re.findall(r"class \d+", out.decode()))
    assert "tada2d_r50.mine" in out.decode()
    assert "the classes of tada2d_r50.mine have no names here: they are class 0 and so on" in err
    assert "nobody says how many views tada2d_r50.mine was measured with: one is taken; --views takes more" in err
    assert "a-secret" not in out.decode() + err
    for model in (tadacli.load_model(path, device="cpu"), tadacli.load_model(weights=path, device="cpu")):
        assert (model.spec.name, model.spec.input.clip_frames) == ("tada2d_r50.mine", 4)
    with pytest.raises(CheckpointError, match="does not say what model it is for"):
        tadacli.load_model(save(tmp_path / "silent.pyth", None), device="cpu")


def test_it_is_a_start_for_training(tmp_path: Path) -> None:
    start = starting_point(save(tmp_path / "mine.pyth", own_tables()), heads={"": ("x", "y")}, name="new", dataset="d")
    assert (start.spec.arguments["stem_width"], start.spec.input.frame_stride) == (8, 5)


@pytest.mark.usefixtures("partly")
def test_training_starts_from_settings_that_a_person_trusts(tmp_path: Path, tada: Tada) -> None:
    other = save(tmp_path / "other.pyth", own_tables(TEST_SCALE=40))
    for number, label in enumerate(["one", "two", "one", "two"]):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        media.render(tmp_path / "data" / label / f"{number}.mp4", 30 + number)
    words = ("finetune", "--data", tmp_path / "data", "--model", PARTLY, "--weights", other, "--validation-share", 0.5)
    run = (*words, "--output", tmp_path / "run", "--epochs", 1, "--workers", 0)
    code, _, err = tada(*run)
    assert (code, "--trust file takes the file's" in err) == (1, True)
    for trust, side in (("file", 40), ("manifest", 32)):
        start = starting_point(PARTLY, weights=other, trust=trust, heads={"": ("x", "y")}, name="new", dataset="d")
        assert start.spec.input.short_side == side
    code, _, err = tada(*run, "--trust", "file")
    assert (code, err) == (0, err)
    assert tadacli.load_model(tmp_path / "run", device="cpu").spec.input.short_side == 40
    code, _, err = tada(*words, "--output", tmp_path / "no", "--init", "random", "--trust", "file")
    assert (code, "leave out --trust" in err) == (2, True)


def test_settings_that_disagree_with_the_weights_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "mine.pyth", own_tables(), num_classes=5)
    with pytest.raises(CheckpointError, match=r"wrong shape head\.out\.weight"):
        tadacli.load_model(path, device="cpu")


def test_the_kept_file_says_what_the_original_stated(tmp_path: Path, partly: ModelCard) -> None:
    fetch_file(partly, save(tmp_path / "f.pyth", own_tables()))
    spec, stated = settings_of(store.weights_path(PARTLY))
    assert isinstance(spec, ModelSpec)
    assert (spec.input.frame_stride, spec.heads) == (5, partly.heads)
    assert (stated.values["DATA.SAMPLING_RATE"], stated.kind, len(stated.sha256)) == (5, "cfg", 64)
    assert "a-secret" not in store.weights_path(PARTLY).read_bytes().decode("latin-1")
    assert find_spec(PARTLY) == spec == tadacli.load_model(PARTLY, device="cpu").spec
    by_file = tadacli.load_model(PARTLY, weights=tmp_path / "f.pyth", device="cpu").spec
    assert dataclasses.replace(by_file, source=spec.source) == spec
    kept_twice = tmp_path / "again.safetensors"
    write_checkpoint(kept_twice, read_checkpoint(store.weights_path(PARTLY)).state_dict, spec, stated=stated)
    assert kept_twice.read_bytes() == store.weights_path(PARTLY).read_bytes()


@pytest.mark.parametrize(
    "tables",
    ["a: 1", "[]", json.dumps({"pad": "x" * 10_000_000}), changed(own_tables(), "DATA.SAMPLING_RATE", "often")],
    ids="yaml list 10-MB wrong-type".split(),
)
def test_nothing_of_a_broken_file_is_stored(tmp_path: Path, partly: ModelCard, tables: Any) -> None:
    with pytest.raises(CheckpointError, match="cfg"):
        fetch_file(partly, save(tmp_path / "f.pyth", tables))
    assert not [file for file in store.store_folder().rglob("*") if file.is_file() and file.suffix != ".lock"]


@pytest.mark.usefixtures("partly")
def test_a_rate_can_be_given_and_trust_decides(tmp_path: Path, tada: Tada) -> None:
    silent = save(tmp_path / "silent.pyth", None)
    code, _, err = tada("fetch", "--from", silent, PARTLY)
    assert (code, "frame_stride is not known" in err, "tada fetch --frame-stride 2" in err) == (1, True, True)
    assert tada("fetch", "--from", silent, "--frame-stride", 3, PARTLY)[0] == 0
    assert find_spec(PARTLY).input.frame_stride == 3
    for file in (store.weights_path(PARTLY), store.lock_file()):
        file.unlink()
    other = save(tmp_path / "other.pyth", own_tables(TEST_SCALE=40))
    code, _, err = tada("fetch", "--from", other, PARTLY)
    assert (code, "short_side 40 in the file, 32 in the manifest" in err) == (1, True)
    assert "--trust file takes the file's" in err
    for trust, side in (("file", 40), ("manifest", 32)):
        assert tada("fetch", "--from", other, "--trust", trust, PARTLY)[0] == 0
        assert find_spec(PARTLY).input.short_side == side
    media.render(tmp_path / "v.mp4", 60)
    classify = ("classify", tmp_path / "v.mp4", "--model", PARTLY, "--weights", other, "--format", "jsonl")
    assert tada(*classify)[0] == 1
    code, out, _ = tada(*classify, "--trust", "file")
    assert (code, '"short_side":40' in out.decode().replace(" ", "")) == (0, True)


def test_what_was_decided_for_a_model_whose_settings_are_known_stays(tmp_path: Path, partly: ModelCard) -> None:
    known = dataclasses.replace(partly, input={**partly.input, "frame_stride": 8}, unknown={})
    cards_now = {PARTLY: known}
    with pytest.MonkeyPatch.context() as patch:
        for module in ("manifest", "loading"):
            patch.setattr(f"tadacli.zoo.{module}.cards", lambda: cards_now)
        file = save(tmp_path / "f.pyth", own_tables())
        with pytest.raises(UndecidedError):
            fetch_file(known.spec, file)
        fetch_file(known.spec, file, decided=Decided("file"))
        assert find_spec(PARTLY).input.frame_stride == 5
        assert tadacli.load_model(PARTLY, device="cpu").spec.input.frame_stride == 5
        source = dataclasses.replace(known.spec.source, google_drive="", url=file.as_uri())
        spec = dataclasses.replace(known.spec, source=source)
        assert fetch(spec).how == "stored"
        assert fetch(spec, decided=Decided("manifest")).how == "downloaded"
        assert find_spec(PARTLY).input.frame_stride == 8


def test_a_download_waits_for_a_person_s_word(tmp_path: Path, partly: ModelCard) -> None:
    file = save(tmp_path / "f.pyth", own_tables(TEST_SCALE=40))
    card = dataclasses.replace(partly, source=dataclasses.replace(partly.source, google_drive="", url=file.as_uri()))
    with pytest.raises(UndecidedError):
        fetch(card)
    assert [each.suffix for each in (store.store_folder() / "downloads").glob("*.part")] == [".part"]
    file.unlink()  # what arrived is not asked for again
    assert fetch(card, decided=Decided("manifest")).how == "downloaded"
