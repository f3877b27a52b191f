"""Weights in TorchScript archives: read to the last bit, and nothing in the archive is run."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tadacli.zoo.torch_script import TorchScriptError, is_torch_script, read_torch_script


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attn, self.ln = nn.Linear(4, 6), nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 2, bias=False)
        self.blocks = nn.Sequential(Block(), Block())
        self.positions = nn.Parameter(torch.randn(6, 4).T[1:])  # neither contiguous nor at the begin of its numbers
        self.register_buffer("size", torch.tensor(224))
        self.empty = nn.Parameter(torch.empty(0, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """An archive and the weights in it, half of them in float16."""
    torch.manual_seed(0)
    network = Network()
    network.blocks.half()
    path = tmp_path_factory.mktemp("script") / "network.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network).save(str(path))
    return path, {name: tensor.detach() for name, tensor in network.state_dict().items()}


def rewritten(path: Path, target: Path, change: Callable[[str, bytes], bytes], *, packed: bool = False) -> Path:
    """The archive with changed members."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            new.writestr(name, change(name, old.read(name)), compress_type=kind)
    return target


def test_all_weights_are_read_to_the_last_bit(archive: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, expected = archive
    assert is_torch_script(path)
    found = read_torch_script(path)
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
        assert found[name].is_contiguous()


def test_other_files_are_no_torch_script(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, tmp_path / "plain.pt")
    (tmp_path / "text.pt").write_text("text")
    assert not is_torch_script(tmp_path / "plain.pt")
    assert not is_torch_script(tmp_path / "text.pt")
    for name in ("plain.pt", "text.pt"):
        with pytest.raises(TorchScriptError):
            read_torch_script(tmp_path / name)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("open('ran', 'w')",)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda name, old: pickle.dumps(Evil(), 2) if name.endswith("data.pkl") else old, "it names __builtin__.eval"),
        (lambda name, old: pickle.dumps({"a": 1}) if name.endswith("data.pkl") else old, "holds no module"),
        (lambda name, old: old[:-20] if name.endswith("data.pkl") else old, "is damaged"),
        (lambda name, old: old[:-4] if name.endswith("/data/0") else old, "its numbers 0 are"),
        (
            lambda name, old: old.replace(b"K\x04K\x03", b"K\xffK\xff") if name.endswith("data.pkl") else old,
            "than there",
        ),
        (
            lambda name, old: (
                old.replace(b"\x80\x02", b"\x80\x02Nr\xff\xff\xff\x7f0", 1) if name.endswith("data.pkl") else old
            ),
            None,  # a place to remember at that nothing makes room for
        ),
    ],
    ids="code no-module cut numbers shape places".split(),
)
def test_what_is_no_weights_is_refused_and_never_run(
    archive: tuple[Path, dict[str, torch.Tensor]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[str, bytes], bytes],
    says: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = rewritten(archive[0], tmp_path / "changed.pt", change)
    if says is None:
        assert set(read_torch_script(path)) == set(archive[1])
        return
    with pytest.raises(TorchScriptError, match=says):
        read_torch_script(path)
    assert not Path("ran").exists()


def test_packed_weights_are_refused(archive: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    path = rewritten(archive[0], tmp_path / "packed.pt", lambda _, content: content, packed=True)
    with pytest.raises(TorchScriptError, match="is compressed"):
        read_torch_script(path)


def test_code_in_the_archive_is_not_even_read(archive: tuple[Path, dict[str, torch.Tensor]], tmp_path: Path) -> None:
    path = rewritten(archive[0], tmp_path / "a.pt", lambda name, old: b"import os" if "/code/" in name else old)
    assert set(read_torch_script(path)) == set(archive[1])
