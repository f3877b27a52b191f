"""Weights files: what loads, what is refused, and that a refusal loads nothing."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tadacli.errors import CheckpointError
from tadacli.models import build
from tadacli.zoo.checkpoints import load_weights, read_checkpoint, write_checkpoint
from tadacli.zoo.loading import load_model
from tadacli.zoo.manifest import manifest

SMALL = {"stage_depths": (1, 1, 1, 1), "stem_width": 4}


def small_network(seed: int = 0, *, num_classes: int = 6) -> nn.Module:
    torch.manual_seed(seed)
    return build("tada2d_r50", num_classes=num_classes, **SMALL)


@pytest.mark.parametrize(
    ("suffix", "wrap"),
    [
        (
            ".pyth",
            lambda state: {"model_state": state, "epoch": 3, "optimizer_state": {"lr": 0.1}, "cfg": "{}"},
        ),
        (".pt", lambda state: {"model_state": {f"module.{name}": tensor for name, tensor in state.items()}}),
        (".pth", lambda state: {"state_dict": state}),
        (".pt", lambda state: state),
    ],
    ids=["published", "data-parallel", "state_dict", "bare"],
)
def test_published_layouts_load(tmp_path: Path, suffix: str, wrap) -> None:
    network, other = small_network(0), small_network(1)
    torch.save(wrap(network.state_dict()), tmp_path / f"weights{suffix}")
    load_weights(other, read_checkpoint(tmp_path / f"weights{suffix}"))
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_our_own_file_carries_its_spec_and_loads_by_path(tmp_path: Path) -> None:
    spec = manifest()["r2plus1d_tiny.camera_motion"]
    network = build(spec.architecture, num_classes=spec.num_classes)
    write_checkpoint(tmp_path / "mine.safetensors", network.state_dict(), spec)
    model = load_model(tmp_path / "mine.safetensors", device="cpu")
    assert model.spec == spec
    assert not model.network.training
    assert [path.name for path in tmp_path.iterdir()] == ["mine.safetensors"]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("}", "", "delimiter"),
        ("{", '{"colour": "red", ', "unknown key colour"),
        ('"num_clips": 5', '"num_clips": 5, "num_clips": 4', "the key 'num_clips' stands there twice"),
        ('"clip_frames": 8', '"clip_frames": "8"', "input.clip_frames has the wrong type"),
        ('"clip_frames": 8', f'"clip_frames": {"9" * 5000}', "digits"),
        ('"clip_frames": 8', '"clip_frames": 99999999', "more than 65536 frames"),
        ('"note": "', f'"note": "{"x" * 2**24}', "it is larger than"),
    ],
)
def test_a_spec_that_is_not_right_is_refused_with_its_key(tmp_path: Path, old: str, new: str, reason: str) -> None:
    text = json.dumps(manifest()["r2plus1d_tiny.camera_motion"].to_dict())
    assert old in text
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"tada_spec": text.replace(old, new, 1)})
    with pytest.raises(CheckpointError, match=f"carries a damaged model specification: .*{reason}"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    spec = manifest()["r2plus1d_tiny.camera_motion"]
    state = build(spec.architecture, num_classes=spec.num_classes).state_dict()
    write_checkpoint(tmp_path / "a.safetensors", state, spec)
    write_checkpoint(tmp_path / "b.safetensors", dict(reversed(state.items())), spec)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_every_disagreeing_key_is_named_and_nothing_is_loaded(tmp_path: Path) -> None:
    network = small_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = {name: tensor + 1 for name, tensor in before.items()}
    del state["backbone.conv1.a.weight"]
    state["head.out.weight"] = torch.zeros(7, 128)
    state["extra.weight"] = torch.zeros(2)
    torch.save({"model_state": state}, tmp_path / "w.pyth")
    with pytest.raises(CheckpointError) as caught:
        load_weights(network, read_checkpoint(tmp_path / "w.pyth"))
    for words in ("3 keys disagree", "missing backbone.conv1.a.weight", "unexpected extra.weight"):
        assert words in caught.value.message
    assert "wrong shape head.out.weight: [7, 128] in the file, [6, 128] in the network" in caught.value.message
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_another_number_of_classes_says_so(tmp_path: Path) -> None:
    torch.save({"model_state": small_network(num_classes=174).state_dict()}, tmp_path / "w.pyth")
    with pytest.raises(CheckpointError) as caught:
        load_weights(small_network(num_classes=400), read_checkpoint(tmp_path / "w.pyth"))
    assert "for 174 classes, the model for 400" in caught.value.hint


def test_values_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    state = small_network().state_dict()
    state["head.out.bias"] = state["head.out.bias"].clone()
    state["head.out.bias"][0] = float("nan")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"not numbers, in head\.out\.bias"):
        load_weights(small_network(), read_checkpoint(tmp_path / "w.pt"))


class _Malicious:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("owned",)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": _Malicious()}, "evil.pyth")
    Path("plain.pt").write_bytes(pickle.dumps({"model_state": _Malicious()}))
    for name in ("evil.pyth", "plain.pt"):
        with pytest.raises(CheckpointError, match="not a plain weights file"):
            read_checkpoint(name)
    assert not Path("owned").exists()


@pytest.mark.parametrize("suffix", [".pyth", ".safetensors"])
def test_a_file_cut_anywhere_is_a_named_error(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    state = small_network().state_dict()
    if suffix == ".pyth":
        torch.save({"model_state": state}, whole)
    else:
        save_file(state, whole)
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    for tenth in range(10):
        cut.write_bytes(content[: len(content) * tenth // 10])
        with pytest.raises(CheckpointError):
            read_checkpoint(cut)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("none.pyth", None, "there is no weights file"),
        ("empty.pt", b"", "is empty"),
        ("page.pyth", b"<!DOCTYPE html><html>quota exceeded</html>", "not a plain weights file"),
        ("page.safetensors", b"<!DOCTYPE html><html>quota exceeded</html>", "not a whole safetensors file"),
        ("weights.zip", b"PK", "not a weights file by its name"),
    ],
)
def test_what_is_no_weights_file_says_why(tmp_path: Path, name: str, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        read_checkpoint(tmp_path / name)


@pytest.mark.parametrize("content", [[1, 2], {"model_state": {}}, {"model_state": {"a": 1}}])
def test_a_pickle_without_weights_is_named(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"holds no weights|no weights:"):
        read_checkpoint(tmp_path / "w.pt")
