"""What `--dtype auto` comes to: measured once, kept, and the same ever after."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tadacli.errors import OutputError
from tadacli.zoo import DEFAULT_MODEL
from tadacli.zoo import dtype as dtype_choice
from tadacli.zoo import loading as zoo
from tadacli.zoo.dtype import choose_dtype

CPU = torch.device("cpu")


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """What the next measurements give, in an empty store, on a processor that has bfloat16."""
    coming: list[float] = []
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(dtype_choice, "has_bfloat16", lambda _: True)
    monkeypatch.setattr(dtype_choice, "measured_speed", lambda *_: coming.pop(0))
    return coming


def test_is_measured_once_for_each_network(speeds: list[float], tmp_path: Path) -> None:
    tiny, other = zoo.find_spec(DEFAULT_MODEL), zoo.find_spec("tada2d_r50.k400_8x8")
    speeds += [1.1, 2.5]
    first = choose_dtype(nn.Identity(), tiny, CPU)
    assert (first.dtype, first.speed) == ("float32", 1.1)
    assert choose_dtype(nn.Identity(), other, CPU).dtype == "bfloat16"
    assert choose_dtype(nn.Identity(), tiny, CPU) == first
    assert "1.10 times" in str(first)
    kept = json.loads((tmp_path / "store/dtypes.json").read_text())
    assert sorted(kept.values()) == [1.1, 2.5]


@pytest.mark.parametrize("content", ["", "[1]", '{"r2plus1d_tiny": "fast"}', "\xff"])
def test_a_spoiled_file_is_measured_anew(speeds: list[float], tmp_path: Path, content: str) -> None:
    speeds += [2.0]
    (tmp_path / "store").mkdir()
    (tmp_path / "store/dtypes.json").write_bytes(content.encode("latin-1"))
    assert choose_dtype(nn.Identity(), zoo.find_spec(DEFAULT_MODEL), CPU).dtype == "bfloat16"


def test_without_bfloat16_nothing_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path))
    choice = choose_dtype(nn.Identity(), zoo.find_spec(DEFAULT_MODEL), torch.device("meta"))
    assert (choice.dtype, list(tmp_path.iterdir())) == ("float32", [])
    assert "no fast bfloat16" in str(choice)


@pytest.mark.usefixtures("speeds")
def test_where_nothing_can_be_kept_the_type_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "file" / "store"))
    with pytest.raises(OutputError, match="cannot be kept") as caught:
        choose_dtype(nn.Identity(), zoo.find_spec(DEFAULT_MODEL), CPU)
    assert "--dtype float32" in str(caught.value.hint)
    assert "TADA_HOME" in str(caught.value.hint)


def test_a_full_disk_is_told(speeds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        raise OutputError(f"{path} cannot be written: No space left on device", hint="free some space")

    speeds += [2.0]
    monkeypatch.setattr(dtype_choice, "write_new", full)
    with pytest.raises(OutputError, match="No space left on device"):
        choose_dtype(nn.Identity(), zoo.find_spec(DEFAULT_MODEL), CPU)


def test_what_is_kept_needs_no_store_that_can_be_written(speeds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    speeds += [2.0]
    spec = zoo.find_spec(DEFAULT_MODEL)
    first = choose_dtype(nn.Identity(), spec, CPU)
    monkeypatch.setattr(dtype_choice, "FileLock", None)
    assert choose_dtype(nn.Identity(), spec, CPU) == first


def test_another_number_of_threads_is_measured_by_itself(speeds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    speeds += [2.0, 1.0]
    spec = zoo.find_spec(DEFAULT_MODEL)
    assert choose_dtype(nn.Identity(), spec, CPU).dtype == "bfloat16"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    assert choose_dtype(nn.Identity(), spec, CPU).dtype == "float32"


def test_a_model_says_what_was_chosen(speeds: list[float]) -> None:
    speeds += [1.5]
    model = zoo.load_model(dtype="auto")
    assert model.dtype == torch.bfloat16
    assert all(parameter.dtype == torch.bfloat16 for parameter in model.network.parameters())
    assert model.notes == ("dtype auto: bfloat16, since bfloat16 is 1.50 times as fast as float32 here",)


def test_what_is_measured_is_a_ratio_and_leaves_the_network_alone() -> None:
    model = zoo.load_model()
    speed = dtype_choice.measured_speed(model.network, model.spec, CPU)
    assert 0 < speed < 100
    assert all(parameter.dtype == torch.float32 for parameter in model.network.parameters())


class Wrong(nn.Module):
    """A network that computes other values in bfloat16, as some versions of PyTorch do for some shapes."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        logits = clips.mean(dim=(2, 3, 4))
        return logits.flip(1) if clips.dtype == torch.bfloat16 else logits


def test_a_speed_is_not_believed_where_the_scores_are_wrong(speeds: list[float], tmp_path: Path) -> None:
    speeds += [4.0, 1.1]
    spec = zoo.find_spec(DEFAULT_MODEL)
    choice = choose_dtype(Wrong(), spec, CPU)
    assert (choice.dtype, choice.speed, choice.is_right) == ("float32", 4.0, False)
    assert "the scores in bfloat16 are wrong here" in str(choice)
    assert choose_dtype(Wrong(), spec, CPU) == choice  # as kept, which earlier versions take for slow
    assert list(json.loads((tmp_path / "store/dtypes.json").read_text()).values()) == [-4.0]


def test_what_is_kept_is_of_one_processor_and_one_torch(
    speeds: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds += [2.0, 1.0]
    spec = zoo.find_spec(DEFAULT_MODEL)
    choose_dtype(nn.Identity(), spec, CPU)
    (key,) = json.loads((tmp_path / "store/dtypes.json").read_text())
    assert f"torch {torch.__version__}" in key
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file() and "model name" in cpuinfo.read_text():
        assert cpuinfo.read_text().partition("model name")[2].splitlines()[0].strip("\t :") in key
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert choose_dtype(nn.Identity(), spec, CPU).dtype == "float32"


def test_right_scores_in_bfloat16_agree() -> None:
    model = zoo.load_model(device="cpu")
    assert dtype_choice.scores_agree(model.network, model.spec, CPU)
    assert not dtype_choice.scores_agree(Wrong(), model.spec, CPU)
