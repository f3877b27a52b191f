"""Running `tada` in this process, with a small untrained model and a few rendered videos at hand."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tadacli.cli.app import run
from tadacli.models import build
from tadacli.specs import ModelSpec
from tadacli.zoo.checkpoints import read_checkpoint, write_checkpoint
from tadacli.zoo.manifest import manifest
from tests import media

Tada = Callable[..., tuple[int, bytes, str]]


def heed_interrupts() -> None:
    """For `preexec_fn`: what is started in the background of a script is otherwise deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def tada(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Tada:
    """`tada(*arguments, stdin="")` -> (exit code, stdout, stderr)."""

    def call(*arguments: object, stdin: str = "") -> tuple[int, bytes, str]:
        monkeypatch.setattr(sys, "argv", ["tada", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run()
        out, err = capfdbinary.readouterr()
        return code, out, err.decode()

    return call


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    """The end to write to of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of our own with random weights; what it answers means nothing. Each label is by itself."""
    spec = replace(manifest()["r2plus1d_tiny.camera_motion"], exclusive_labels=False)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "untrained.safetensors"
    write_checkpoint(path, build(spec.architecture, num_classes=spec.num_classes).state_dict(), spec)
    return path


def with_thresholds(model: Path, path: Path, thresholds: list[float]) -> Path:
    """The model of a weights file of our own with thresholds for its classes, written to `path`."""
    checkpoint = read_checkpoint(model)
    assert checkpoint.spec is not None
    write_checkpoint(path, checkpoint.state_dict, replace(checkpoint.spec, thresholds={"": tuple(thresholds)}))
    return path


@pytest.fixture(scope="session")
def exclusive(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as of a model whose labels exclude each other."""
    checkpoint = read_checkpoint(untrained)
    assert isinstance(checkpoint.spec, ModelSpec)
    path = tmp_path_factory.mktemp("model") / "exclusive.safetensors"
    write_checkpoint(path, checkpoint.state_dict, replace(checkpoint.spec, exclusive_labels=True))
    return path


@pytest.fixture(scope="session")
def multi_label(untrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as of a model whose labels hold independently of each other."""
    checkpoint = read_checkpoint(untrained)
    assert isinstance(checkpoint.spec, ModelSpec)
    path = tmp_path_factory.mktemp("model") / "multi_label.safetensors"
    write_checkpoint(path, checkpoint.state_dict, replace(checkpoint.spec, multi_label=True))
    return path


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten short videos and one that is none."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(10):
        media.render(folder / f"clip {number}.mp4", 36 + number)
    (folder / "broken.mp4").write_text("not a video")
    return folder
