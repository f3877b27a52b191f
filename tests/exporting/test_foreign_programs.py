"""Files of torch.export from elsewhere: what PyTorch would run as code is found before PyTorch sees it."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tadacli.errors import CheckpointError
from tadacli.runtimes import networks
from tadacli.runtimes.pt2_file import METADATA_MEMBER
from tadacli.zoo.loading import load_model

GRAPH, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"


class _Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, clips: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": torch.relu(self.layer(clips.mean(dim=(2, 3, 4))))}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with what ours have; its metadata come last, and are none here."""
    file = tmp_path_factory.mktemp("programs") / "whole.pt2"
    clips = torch.zeros(2, 3, 4, 8, 8)
    program = torch.export.export(_Small(), (clips,), dynamic_shapes={"clips": {0: torch.export.Dim("batch", min=1)}})
    program.example_inputs = None
    for node in program.graph.nodes:
        node.meta = {"val": node.meta["val"]} if "val" in node.meta else {}
    torch.export.save(program, file, extra_files={METADATA_MEMBER: "{}"})
    return file


def changed(whole: Path, file: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The file with other members."""
    with zipfile.ZipFile(whole) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return file


def in_json(name: str, change: Callable[[Any], object]) -> Callable[[dict[str, bytes]], object]:
    """A change of a member that is JSON."""

    def apply(members: dict[str, bytes]) -> None:
        values = json.loads(members[name])
        change(values)
        members[name] = json.dumps(values).encode()

    return apply


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this file ran code",))


def _nodes(program: Any) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = program["graph_module"]["graph"]["nodes"]
    return nodes


def _first_weight(config: Any) -> dict[str, Any]:
    weight: dict[str, Any] = next(iter(config["config"].values()))
    return weight


CODE = "__import__('os').system('true')"
CHANGES: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "pickled weights": (in_json(WEIGHTS, lambda config: _first_weight(config).update(use_pickle=True)), "pickled"),
    "weights elsewhere": (in_json(WEIGHTS, lambda config: _first_weight(config).update(path_name="../x")), "pickled"),
    "weights too large": (
        in_json(WEIGHTS, lambda config: _first_weight(config)["tensor_meta"].update(sizes=[{"as_int": 10**12}])),
        "larger than the file",
    ),
    "sample inputs": (lambda members: members.update({"data/sample_inputs/model.pt": pickle.dumps(_Bomb())}), "sample"),
    "compiled code": (lambda members: members.update({"data/aotinductor/model/x.so": b"x"}), "aotinductor"),
    "an object": (lambda members: members.update({"data/constants/custom_obj_0": b"x"}), "custom_obj_0"),
    "older weights": (lambda members: members.update({"data/weights/model.pt": b"x"}), "model.pt"),
    "guards": (in_json(GRAPH, lambda program: program.update(guards_code=[CODE])), "guards"),
    "another operation": (
        in_json(GRAPH, lambda program: _nodes(program)[0].update(target="torch.ops.aten.from_file.default")),
        "from_file",
    ),
    "a function of torch": (
        in_json(GRAPH, lambda program: _nodes(program)[0].update(target="torch.hub.load")),
        "torch.hub.load",
    ),
    "a name of code": (
        in_json(GRAPH, lambda program: _nodes(program)[0].update(name=f"x={CODE}")),
        "a name that is none",
    ),
    "an input of code": (
        in_json(
            GRAPH,
            lambda program: program["graph_module"]["graph"]["inputs"][-1]["as_tensor"].update(name=f"x={CODE}"),
        ),
        "a name that is none",
    ),
    "a weight of code": (
        in_json(WEIGHTS, lambda config: config["config"].update({f'x"],{CODE}': _first_weight(config)})),
        "whose name is none",
    ),
    "a size of code": (
        in_json(GRAPH, lambda program: _nodes(program)[0].update(metadata={}, x={"expr_str": CODE})),
        "a size that is an expression",
    ),
    "a size that grows": (
        in_json(GRAPH, lambda program: _nodes(program)[0].update(x={"expr_str": "9**9**9**9"})),
        "a size that is an expression",
    ),
    "a range of code": (
        in_json(GRAPH, lambda program: program["range_constraints"].update({CODE: {"min_val": 1, "max_val": None}})),
        "a size that is an expression",
    ),
    "a type of its own": (
        in_json(
            GRAPH,
            lambda program: program["graph_module"]["module_call_graph"][0]["signature"].update(
                in_spec='[1, {"type": "collections.OrderedDict", "context": "[]", "children_spec": []}]'
            ),
        ),
        "neither tuples nor tables",
    ),
    "an enumeration": (
        in_json(
            GRAPH,
            lambda program: program["graph_module"]["module_call_graph"][0]["signature"].update(
                out_spec='[1, {"__enum__": true, "fqn": "antigravity:x", "name": "y"}]'
            ),
        ),
        "damaged",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_could_run_code_is_refused_unopened(
    what: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    change, reason = CHANGES[what]
    monkeypatch.setattr(torch.export, "load", lambda *_: pytest.fail("PyTorch has opened it"))
    with pytest.raises(CheckpointError, match=reason):
        load_model(changed(whole, tmp_path / "changed.pt2", change), device="cpu")
    assert "this file ran code" not in capfd.readouterr().out


def test_members_that_are_compressed_or_doubled_are_refused(whole: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    file = tmp_path / "packed.pt2"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match=r"larger than the file|compressed"):
        load_model(file, device="cpu")
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, content in [*members.items(), *members.items()]:
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match="there twice"):
        load_model(file, device="cpu")


def test_one_that_holds_nothing_else_is_run(whole: Path) -> None:
    content, text = networks.checked_content(whole)
    assert text == "{}"
    run = networks.pt2_runner(content, None, torch.device("cpu"), file=whole)  # type: ignore[arg-type]
    clips = torch.rand(3, 3, 4, 8, 8)
    found = run({"clips": clips}, ["logits"])["logits"]
    with torch.no_grad():
        program = torch.export.load(whole).module()
        assert torch.equal(found, program(clips)["logits"])
