"""Adding a network is one new file, one line in the table of builders, and its entries in the manifest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from tadacli import classify, load_model, models
from tadacli.specs import EvalProtocol, InputSpec, ModelSpec
from tadacli.training.starting_point import starting_point
from tadacli.zoo.checkpoints import write_checkpoint
from tests import media

TOY = """
from torch import nn
from tadacli.models.heads import ClipClassifier


def toy(num_classes, *, width=4):
    return ClipClassifier(nn.Sequential(nn.Conv3d(3, width, 1), nn.BatchNorm3d(width)), width, num_classes, dropout=0.1)
"""


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The new file in the folder of the networks, and its line in the table."""
    (tmp_path / "toy_family.py").write_text(TOY)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    monkeypatch.setitem(models.BUILDERS, "toy", "toy_family")
    yield "toy"
    sys.modules.pop("tadacli.models.toy_family", None)


def test_a_network_is_added_by_a_file_and_a_line(added: str, tmp_path: Path) -> None:
    spec = ModelSpec(
        name="toy.mine",
        architecture=added,
        task="action",
        dataset="mine",
        input=InputSpec("segment", 2, 1, 30.0, 32, 32, (0.45,) * 3, (0.225,) * 3),
        heads={"": ("one", "two")},
        protocol=EvalProtocol(1, 1),
        arguments={"width": 6},
    )
    torch.manual_seed(0)
    network = models.build(added, num_classes=2, width=6)
    write_checkpoint(tmp_path / "toy.safetensors", network.state_dict(), spec)
    media.render(tmp_path / "in.mp4", 8)
    model = load_model(tmp_path / "toy.safetensors", device="cpu")
    (result,) = classify(tmp_path / "in.mp4", model=model)
    assert result.status == "ok"
    assert {prediction.label for prediction in result.heads[""]} == {"one", "two"}
    start = starting_point(tmp_path / "toy.safetensors", heads={"": ("two", "three")}, name="more", dataset="mine")
    assert (start.heads[""].kept, start.heads[""].new) == (("two",), ("three",))
    assert start.network.layers() == ["backbone.0", "backbone.1"]
