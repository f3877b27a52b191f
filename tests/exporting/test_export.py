"""Exported files: proven, kept only then, and used in the place of the network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper

import tadacli
from tadacli.errors import CheckpointError, OutputError, SpecError, TadaError, UsageError
from tadacli.exporting import MOST_RELATIVE_ERROR, graphs
from tadacli.exporting.output import report_file
from tadacli.exporting.proof import BATCH_SIZES, NotProvenError, proof_clips
from tadacli.exporting.writing import export
from tadacli.models import build, build_over_features
from tadacli.models.ensemble import members_of
from tadacli.runtimes.metadata import FORMAT, KEY, ExportFacts, Proof, facts_in
from tadacli.runtimes.networks import open_exported
from tadacli.runtimes.onnx_file import metadata_text
from tadacli.runtimes.pt2_file import checked_content
from tadacli.specs import EvalProtocol, FeatureSteps, HeadSpec, InputSpec, ModelSpec
from tadacli.zoo.checkpoints import read_checkpoint, write_checkpoint
from tadacli.zoo.loading import load_head_model, load_model
from tests import media
from tests.cli.conftest import Tada
from tests.cli.conftest import tada as tada

# Shallow networks of each kind: arguments, and frames and pixels of their clips.
NETWORKS: dict[str, tuple[dict[str, Any], int, int]] = {
    "r2plus1d_tiny": ({"widths": (8, 16)}, 8, 32),
    "tada2d_r50": ({"stage_depths": (1, 1), "stem_width": 8}, 4, 32),
    "tadaconvnextv2_tiny": ({"stage_depths": (1, 1), "stem_width": 16, "route_head_dim": 8}, 8, 32),
    "tadaformer_b16": (
        {"width": 256, "num_layers": 1, "crop_size": 32, "double_tada": True, "temporal_enhance": True},
        4,
        32,
    ),
}
SUFFIXES = (".onnx", ".pt2")
HEADS = {"verb": ("cut", "peel", "wash"), "noun": ("knife", "egg")}


def write_model(folder: Path, architecture: str) -> Path:
    """A weights file of a shallow network in which nothing is zero, so that each operation counts."""
    arguments, frames, size = NETWORKS[architecture]
    look = InputSpec("interval", frames, 2, 30.0, size, size, (0.45,) * 3, (0.225,) * 3)
    is_tiny = architecture == "r2plus1d_tiny"
    spec = ModelSpec(
        f"{architecture}.shallow", architecture, "action", "shallow", look,
        {"": ("left", "right", "up")} if is_tiny else HEADS, EvalProtocol(2, 1), arguments,
        temperatures={"": 0.5} if is_tiny else {"verb": 2.0},
        thresholds={"": (0.1, 0.2, 0.3)} if is_tiny else {},
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(architecture, num_classes=spec.num_classes, **arguments)
    with torch.no_grad():
        for name, values in network.state_dict().items():
            if name.endswith("running_mean"):
                values.normal_(0, 0.1, generator=generator)
            elif name.endswith("running_var"):
                values.uniform_(0.5, 2, generator=generator)
            elif not values.any() and values.is_floating_point():
                values.normal_(0, 0.1, generator=generator)
    file = folder / f"{architecture}.safetensors"
    write_checkpoint(file, network.state_dict(), spec)
    return file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of all shallow networks, two videos and what is exported."""
    folder = tmp_path_factory.mktemp("exported")
    for architecture in NETWORKS:
        write_model(folder, architecture)
    (folder / "videos").mkdir()
    media.render(folder / "videos" / "a.mp4", 40)
    media.render(folder / "videos" / "b.mp4", 25)
    (folder / "videos" / "not_one.mp4").write_bytes(b"no video")
    return folder


@pytest.fixture(scope="module")
def exported(folder: Path) -> Callable[[str, str], Path]:
    """The file of a network of one kind, exported when it is first asked for."""

    def made(architecture: str, suffix: str) -> Path:
        file = folder / f"{architecture}{suffix}"
        if not file.exists():
            export(folder / f"{architecture}.safetensors", output=file)
        return file

    return made


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("architecture", NETWORKS)
def test_a_file_gives_what_the_network_gives(
    architecture: str, suffix: str, folder: Path, exported: Callable[[str, str], Path]
) -> None:
    file = exported(architecture, suffix)
    report = json.loads(report_file(file).read_text())
    assert [each["batch_size"] for each in report["batches"]] == list(BATCH_SIZES)
    assert report["proof"]["relative_error"] <= MOST_RELATIVE_ERROR
    assert report["proof"]["agreement"] == 1
    model, network = load_model(file, device="cpu"), load_model(folder / f"{architecture}.safetensors", device="cpu")
    assert (model.spec, model.weights_sha256) == (network.spec, network.weights_sha256)
    clips = torch.randn(3, 3, network.spec.input.clip_frames, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = model.network(clips), network.network(clips)
    if not isinstance(expected, dict):
        found, expected = {"": found}, {"": expected}
    assert list(found) == list(expected)
    for head, logits in expected.items():
        assert torch.allclose(found[head], logits, rtol=0, atol=MOST_RELATIVE_ERROR * float(logits.abs().max()))


def test_a_graph_has_no_sizes_to_work_out_and_writes_nothing_over(exported: Callable[[str, str], Path]) -> None:
    for architecture in NETWORKS:
        model = onnx.load(exported(architecture, ".onnx"))
        kinds = {node.op_type for node in model.graph.node}
        assert not kinds & {"Shape", "ScatterND", "Range", "Loop", "If"}
        assert "BatchNormalization" not in kinds
        assert {each.type.tensor_type.shape.dim[0].dim_param for each in model.graph.input} != {""}
        assert not any(node.metadata_props for node in model.graph.node)  # which would name files of this machine


def rows(tada: Tada, folder: Path, model: Path, *arguments: str) -> list[dict[str, Any]]:
    """The rows that `tada classify` writes of the folder of videos."""
    code, out, err = tada("classify", folder / "videos", "--model", model, "--format", "jsonl", *arguments)
    assert code == 3, err  # one file is no video
    return [json.loads(line) for line in out.splitlines()]


def same_but_scores(one: Any, other: Any) -> bool:
    """Whether two values of rows are the same but for scores, which may differ by 1e-4."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-4
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_but_scores, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_but_scores(one[key], other[key]) for key in one)
    return bool(one == other)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_is_classified_as_by_the_network(
    suffix: str, folder: Path, exported: Callable[[str, str], Path], tada: Tada
) -> None:
    file = exported("r2plus1d_tiny", suffix)
    expected = rows(tada, folder, folder / "r2plus1d_tiny.safetensors", "--min-score", "auto")
    found = rows(tada, folder, file, "--min-score", "auto")
    for one, other in zip(found, expected, strict=True):
        runtime = one["settings"].pop("runtime")
        assert runtime["name"] == {".onnx": "onnxruntime", ".pt2": "torch.export"}[suffix]
        assert one.pop("run") != other.pop("run")
        assert same_but_scores(one, other)
        assert [each["label"] for each in one["topk"]] == [each["label"] for each in other["topk"]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_segments_and_features_are_those_of_the_network(
    suffix: str, folder: Path, exported: Callable[[str, str], Path]
) -> None:
    video, network = folder / "videos" / "a.mp4", folder / "r2plus1d_tiny.safetensors"
    file = exported("r2plus1d_tiny", suffix)
    expected, found = (
        tadacli.detect(video, model=load_model(model, device="cpu"), window="0.5s", stride="0.25s", threshold=0.3)
        for model in (network, file)
    )
    spans = [
        [(each.start_seconds, each.end_seconds, each.label) for each in one[0].segments] for one in (expected, found)
    ]
    assert spans[0] == spans[1] != []
    made, given = (tadacli.features(video, model=model, device="cpu")[0].features for model in (network, file))
    assert given is not None
    assert made is not None
    assert abs(given.values - made.values).max() <= 1e-4 * abs(made.values).max()


def test_an_evaluation_is_that_of_the_network(
    folder: Path, labelled: Path, exported: Callable[[str, str], Path], tada: Tada
) -> None:
    found = []
    for model in (folder / "r2plus1d_tiny.safetensors", exported("r2plus1d_tiny", ".onnx")):
        code, out, err = tada("eval", "--dataset", "folder", "--data-root", labelled, "--model", model, "-q")
        assert code == 0, err
        found.append(json.loads(out))
    assert found[1]["run"]["settings"].pop("runtime")["name"] == "onnxruntime"
    assert found[0]["metrics"]
    assert same_but_scores(found[0]["metrics"], found[1]["metrics"])


def test_an_exported_file_is_neither_trained_nor_exported(exported: Callable[[str, str], Path], tmp_path: Path) -> None:
    file = exported("r2plus1d_tiny", ".onnx")
    with pytest.raises(CheckpointError, match="is not a weights file") as found:
        export(file, output=tmp_path / "again.onnx")
    assert "give the model it was made of" in found.value.hint


def test_bench_puts_runtimes_side_by_side(folder: Path, exported: Callable[[str, str], Path], tada: Tada) -> None:
    model, video, files = folder / "r2plus1d_tiny.safetensors", folder / "videos" / "a.mp4", []
    for suffix in SUFFIXES:
        files += ["--beside", exported("r2plus1d_tiny", suffix)]
    quick = ("--batch-size", "1", "--dtype", "float32", "--seconds", "0.02")
    code, out, err = tada("bench", video, *quick, "--model", model, *files, "--format", "json")
    assert code == 0, err
    report = json.loads(out)
    assert [each["file"] for each in report["exported"]] == ["r2plus1d_tiny.onnx", "r2plus1d_tiny.pt2"]
    assert all(each["speedup"] > 0 for each in report["exported"])
    assert [each["num_agreeing"] for each in report["agreement"]] == [each["num_clips"] for each in report["agreement"]]
    code, out, err = tada("bench", video, *quick, "--model", files[1], "--format", "table")
    assert "runtime   onnxruntime" in out.decode(), err
    for other, reason in ((exported("tada2d_r50", ".pt2"), "another network"), (model, "is no exported file")):
        code, _, err = tada("bench", video, *quick, "--model", model, "--beside", other)
        assert (code, reason in err) == (2, True)


def test_what_was_measured_is_told(folder: Path, tmp_path: Path, tada: Tada) -> None:
    file = tmp_path / "mine.pt2"
    code, out, err = tada(
        "export", folder / "r2plus1d_tiny.safetensors", "-o", file, "--clips", folder / "videos", "--quiet"
    )
    assert (code, out, err) == (0, b"", "")
    report = json.loads(report_file(file).read_text())
    assert report["proof"]["clips"] == "videos"
    assert [Path(name).name for name in report["clips"]] == ["a.mp4", "b.mp4"]
    assert "not_one.mp4" in report["left_out"][0]
    assert report["size_bytes"] == file.stat().st_size
    code, _, err = tada("export", folder / "r2plus1d_tiny.safetensors", "-o", file)
    assert (code, "exists and is not overwritten" in err) == (1, True)


def test_an_interrupted_export_says_that_nothing_is_written(
    tada: Tada, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tadacli.exporting.writing.export", interrupted)
    code, out, err = tada("export", folder / "r2plus1d_tiny.safetensors", "-o", tmp_path / "model.pt2")
    assert (code, out) == (130, b"")
    assert err == f"interrupted: {tmp_path / 'model.pt2'} is not written\n"


def with_another_operation(name: str, operation: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the first operation of a name another one, in each graph of its kind from now on."""
    made = {"onnx": graphs._onnx_program, "pt2": graphs.traced}["onnx" if isinstance(operation, str) else "pt2"]

    def wrong(*arguments: Any) -> Any:
        graph = made(*arguments)
        if isinstance(operation, str):
            next(node for node in graph.model.graph if node.op_type == name).op_type = operation
        else:
            next(node for node in graph.program.graph.nodes if name in str(node.target)).target = operation
        return graph

    monkeypatch.setattr(graphs if isinstance(operation, str) else sys.modules[export.__module__], made.__name__, wrong)


@pytest.mark.parametrize(
    ("suffix", "name", "operation"),
    [(".onnx", "Relu", "Abs"), (".pt2", "aten.relu", torch.ops.aten.sigmoid.default)],
)
def test_a_wrong_graph_is_caught_and_not_kept(
    suffix: str, name: str, operation: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_another_operation(name, operation, monkeypatch)
    with pytest.raises(NotProvenError, match=r"wrong\.\w+ was not kept, since it gives other values"):
        export(folder / "r2plus1d_tiny.safetensors", output=tmp_path / f"wrong{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_is_baked_in_is_caught(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = torch.export.export
    monkeypatch.setattr(graphs, "_EXAMPLES", 1)
    monkeypatch.setattr(torch.export, "export", lambda network, clips, **_: made(network, clips))
    with pytest.raises(NotProvenError, match=r"wrong\.onnx was not kept: .* cannot be run on inputs of \[2, 3, 8"):
        export(folder / "r2plus1d_tiny.safetensors", output=tmp_path / "wrong.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_the_extra_is_named_where_it_is_missing(
    library: str, exported: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = exported("r2plus1d_tiny", ".onnx")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=f"need {library}, which is not installed") as found:
        export(output=tmp_path / "model.onnx")
    assert 'pip install "tadacli[onnx]"' in found.value.hint
    if library == "onnxruntime":
        with pytest.raises(UsageError, match="need onnxruntime, which is not installed"):
            load_model(file)


def test_a_device_that_the_runtime_lacks_is_named(
    exported: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = exported("r2plus1d_tiny", ".onnx")
    gpu = torch.device("cuda")
    with pytest.raises(UsageError, match=r"cannot run .*r2plus1d_tiny.onnx on cuda") as found:
        open_exported(file, gpu, may_choose=False)
    assert "onnxruntime-gpu" in found.value.hint
    opened = open_exported(file, gpu, may_choose=True)
    assert opened.device.type == "cpu"
    assert "runs on the CPU" in opened.notes[0]
    asked: list[Any] = []
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda *arguments, providers: asked.extend(providers) or real(*arguments, providers=["CPUExecutionProvider"]),
    )
    assert open_exported(file, torch.device("cuda:1"), may_choose=False).device == torch.device("cuda:1")
    assert asked[0][0] == "CUDAExecutionProvider"
    assert asked[0][1]["device_id"] == 1


@pytest.mark.parametrize(("option", "value"), [("dtype", "bfloat16"), ("labels", ("a", "b", "c"))])
def test_what_an_exported_file_has_settled_is_not_taken(
    option: str, value: Any, exported: Callable[[str, str], Path]
) -> None:
    with pytest.raises(UsageError, match="is an exported file and takes no"):
        load_model(exported("r2plus1d_tiny", ".onnx"), **{option: value})


@pytest.mark.parametrize(
    ("output", "error", "reason"),
    [
        ("model.onnx.zip", UsageError, "no kind of exported file"),
        ("model", UsageError, "end its name|no kind of exported file"),
        ("none/model.pt2", OutputError, "no folder"),
    ],
)
def test_names_that_cannot_be_are_refused_first(
    output: str, error: type[TadaError], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=reason):
        export(tmp_path / "not there.safetensors", output=tmp_path / output)


def test_models_without_weights_or_of_features_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        export("nothing", output=tmp_path / "model.pt2")


# --- files from elsewhere -------------------------------------------------------------------------------


def facts_of(file: Path) -> ExportFacts:
    text = metadata_text(file) if file.suffix == ".onnx" else checked_content(file)[1]
    return facts_in(text, file=file)


def other_onnx(path: Path, metadata: str | None, *, sides: int = 32) -> Path:
    """A small ONNX file of another tool: clips to their mean, with metadata in the place of ours."""
    clips = helper.make_tensor_value_info("clips", TensorProto.FLOAT, [1, 3, 8, sides, sides])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    node = helper.make_node("ReduceMean", ["clips"], ["logits"], keepdims=1)
    model = helper.make_model(
        helper.make_graph([node], "g", [clips], [logits]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    if metadata is not None:
        helper.set_model_props(model, {"other": "1", KEY: metadata})
    onnx.save(model, path)
    return path


def test_a_file_of_another_tool_is_refused(tmp_path: Path, tada: Tada) -> None:
    for file in (other_onnx(tmp_path / "other.onnx", None), tmp_path / "other.pt2"):
        if file.suffix == ".pt2":
            torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.zeros(2),)), file)
        code, _, err = tada("classify", tmp_path / "video.mp4", "--model", file)
        first, *others = err.splitlines()
        assert code == 1
        assert first == f"error: {file} says nothing of the model it holds"
        assert others[0].startswith("hint: only files of tada export")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": FORMAT + 1}, r"newer version of tada \(format 2"),
        ({"format": "1"}, "format has the wrong type"),
        ({"weights_sha256": "../../x"}, "weights_sha256 is no SHA-256"),
        ({"spec": {}}, "damaged metadata"),
        ({"precision": "int4"}, "precision has the wrong type"),
        ({"more": 1}, "unknown key more"),
        ({"versions": {"x": "y" * 1000}}, "versions has too many"),
        ({"proof": {"relative_error": 1e999}}, "proof"),
    ],
)
def test_metadata_are_held_to_their_types(
    change: dict[str, Any], reason: str, exported: Callable[[str, str], Path], tmp_path: Path
) -> None:
    facts = json.loads(facts_of(exported("r2plus1d_tiny", ".onnx")).to_json())
    file = other_onnx(tmp_path / "changed.onnx", json.dumps({**facts, **change}))
    with pytest.raises(CheckpointError, match=reason):
        load_model(file)


def test_a_graph_that_does_not_fit_its_metadata_is_said_in_one_line(
    folder: Path, exported: Callable[[str, str], Path], tmp_path: Path, tada: Tada
) -> None:
    text = facts_of(exported("r2plus1d_tiny", ".onnx")).to_json()
    for sides, reason in ((64, "cannot be run on inputs of"), (32, "gives [1, 1, 1, 1, 1] for 1 clips")):
        file = other_onnx(tmp_path / f"{sides}.onnx", text, sides=sides)
        code, _, err = tada("classify", folder / "videos" / "a.mp4", "--model", file, "--views", "1x1")
        assert code == 1
        assert reason in next(line for line in err.splitlines() if line.startswith("error:"))
        assert "Traceback" not in err


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", ["empty", "noise", "half", "none"])
def test_damaged_files_are_known_errors(
    suffix: str, content: str, exported: Callable[[str, str], Path], tmp_path: Path
) -> None:
    whole, file = exported("r2plus1d_tiny", suffix).read_bytes(), tmp_path / f"damaged{suffix}"
    pieces = {"empty": b"", "noise": bytes(range(256)) * 20, "half": whole[: len(whole) // 2]}
    if content in pieces:
        file.write_bytes(pieces[content])
    with pytest.raises(CheckpointError):
        load_model(file)


def test_weights_outside_of_the_file_are_refused(exported: Callable[[str, str], Path], tmp_path: Path) -> None:
    model = onnx.load(exported("r2plus1d_tiny", ".onnx"))
    file = tmp_path / "model.onnx"
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=100)
    with pytest.raises(CheckpointError, match="has weights in other files"):
        load_model(file)


def test_the_proof_stands_in_the_file(exported: Callable[[str, str], Path]) -> None:
    for suffix in SUFFIXES:
        file = exported("tada2d_r50", suffix)
        facts, report = facts_of(file), json.loads(report_file(file).read_text())
        assert facts.proof == Proof(**{**report["proof"], "batch_sizes": tuple(report["proof"]["batch_sizes"])})
        assert facts.proof.num_clips == 5
        assert facts.versions["torch"] == torch.__version__


# --- heads over features ---------------------------------------------------------------------------------


HEADS_OVER_FEATURES: dict[str, dict[str, Any]] = {
    "temporal": {"width": 16, "num_blocks": 2},
    "pyramid": {"width": 16, "num_levels": 2, "num_stem_blocks": 0, "num_bins": 4},
    "bmn_head": {"num_bins": 20, "max_duration_bins": 10},
}


def write_head(folder: Path, architecture: str, **changes: int) -> Path:
    """The weights file of a small head over features."""
    arguments = {"in_channels": 16, **HEADS_OVER_FEATURES[architecture], **changes}
    spec = HeadSpec(
        name=f"{architecture}.mine", architecture=architecture, task="action", dataset="mine",
        heads={"": ("one", "two", "three")}, arguments=arguments, steps=FeatureSteps(16, 0.25),
    )  # fmt: skip
    torch.manual_seed(0)
    network = build_over_features(architecture, num_classes=spec.num_classes, **arguments)
    for each in members_of(network) if changes else ():  # as sure as a long training makes them
        last = each.head if architecture == "temporal" else each.heads[0].classes
        torch.nn.init.constant_(last.bias, -11.0)
        last.bias.data[0] = 11.0
    file = folder / f"{architecture}.safetensors"
    write_checkpoint(file, network.state_dict(), spec)
    return file


@pytest.mark.parametrize(
    ("architecture", "suffix", "changes"),
    [
        ("temporal", ".onnx", {}),
        ("pyramid", ".pt2", {}),
        ("temporal", ".pt2", {"members": 2}),
        ("temporal", ".onnx", {"members": 2}),
        ("pyramid", ".pt2", {"members": 2}),
        ("pyramid", ".onnx", {"members": 2, "num_bins": 0}),
    ],
)
def test_a_head_takes_features_of_any_length(
    architecture: str, suffix: str, changes: dict[str, int], tmp_path: Path, tada: Tada
) -> None:
    head, file = write_head(tmp_path, architecture, **changes), tmp_path / f"head{suffix}"
    code, out, err = tada("export", head, "-o", file)
    assert code == 0, err
    assert "(noise) at batch 1, 2 and 5" in out.decode()
    network = load_head_model(head, device="cpu").network
    opened = open_exported(file, torch.device("cpu"), may_choose=False)
    features, known = torch.randn(1, 16, 20), torch.ones(1, 20, dtype=torch.bool)
    with torch.inference_mode():
        expected = network(features, known)
        if changes:
            expected = network.combined(expected)
    if architecture == "pyramid":
        names, parts = ["logits", "distances"], list(expected[""])
    else:
        names, parts = ["logits"], [expected]
    found = opened.network.outputs({"features": features, "known": known}, names)
    for name, part in zip(names, parts, strict=True):
        assert torch.allclose(found[name], part, rtol=0, atol=1e-5 * float(part.abs().max()))
    assert facts_of(file).spec == load_head_model(head, device="cpu").spec
    with pytest.raises(SpecError, match="takes features, not video"):
        load_model(file)


def test_a_head_without_a_graph_says_so(tmp_path: Path) -> None:
    head = write_head(tmp_path, "bmn_head")
    with pytest.raises(UsageError, match=r"bmn_head\.mine cannot be exported"):
        export(head, output=tmp_path / "head.pt2")
    with pytest.raises(UsageError, match="is a head over features"):
        export(head, output=tmp_path / "head.pt2", clips=["video.mp4"])


# --- eight bits -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(folder: Path) -> Path:
    """Videos in folders with the names of labels."""
    for number in range(6):
        label = folder / "labelled" / ("left", "right", "up")[number % 3]
        label.mkdir(parents=True, exist_ok=True)
        media.render(label / f"{number}.mp4", 20 + number, noise=30)
    return folder / "labelled"


def test_eight_bits_say_what_they_cost(folder: Path, labelled: Path, tmp_path: Path, tada: Tada) -> None:
    file = tmp_path / "small.onnx"
    model = folder / "r2plus1d_tiny.safetensors"
    code, out, err = tada("export", model, "-o", file, "--int8", "--clips", labelled, "-r", "--min-agreement", "0.3")
    assert code == 0, err
    report = json.loads(report_file(file).read_text())
    proof, accuracy = report["proof"], report["accuracy"]
    assert f"same best class in {proof['agreement']:.1%}, accuracy {accuracy['model']:.1%}" in out.decode()
    assert (report["precision"], facts_of(file).precision) == ("int8", "int8")
    assert proof["relative_error"] > 1e-4  # they are eight bits indeed
    assert proof["num_clips"] == accuracy["num_clips"] == 6  # those that did not calibrate
    assert accuracy["change"] == accuracy["file"] - accuracy["model"]
    stored = {each.data_type for each in onnx.load(file).graph.initializer if len(each.dims) == 5}
    assert stored == {TensorProto.INT8}
    assert len(rows(tada, folder, file)) == 3


def test_eight_bits_that_change_too_much_are_not_kept(folder: Path, labelled: Path, tmp_path: Path, tada: Tada) -> None:
    videos, file = sorted(map(str, labelled.rglob("*.mp4"))), tmp_path / "small.onnx"
    bits = ("--int8", "--clips", labelled, "-r", "--min-agreement", 2)
    code, _, err = tada("export", folder / "r2plus1d_tiny.safetensors", "-o", file, *bits)
    assert (code, "a share of 2 is not between 0 and 1" in err) == (2, True)
    reason = r"small\.onnx was not kept: in int8 the best class is the same for \d of 6"
    with pytest.raises(NotProvenError, match=reason):
        export(write_close_model(tmp_path / "close", videos), output=file, clips=videos, int8=True, min_agreement=1.0)
    assert not file.exists()
    with pytest.raises(UsageError, match="only ONNX files can"):
        export(output=tmp_path / "small.pt2", clips=videos, int8=True)
    with pytest.raises(UsageError, match="videos to calibrate"):
        export(output=file, int8=True)


def write_close_model(folder: Path, videos: list[str]) -> Path:
    """A network whose classes are so close to each other on these videos that eight bits do not tell them apart."""
    folder.mkdir()
    file = write_model(folder, "r2plus1d_tiny")
    model, checkpoint = load_model(file, device="cpu"), read_checkpoint(file)
    clips = proof_clips(model, videos, least=12).clips
    with torch.inference_mode():
        logits = model.network(clips)
    weights = dict(checkpoint.state_dict)
    weights["head.out.bias"] = weights["head.out.bias"] - logits.median(dim=0).values
    assert isinstance(checkpoint.spec, ModelSpec)
    write_checkpoint(file, weights, checkpoint.spec)
    return file
