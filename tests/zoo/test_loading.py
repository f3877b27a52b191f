"""Which model a name or a path gives, and what is said when it gives none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

import tadacli
from tadacli.errors import CheckpointError, SpecError, UsageError
from tadacli.models import BUILDERS, build, build_over_features
from tadacli.models.inference import inference_form
from tadacli.specs import FeatureSteps, HeadSpec, ModelSpec, WeightsSource
from tadacli.zoo.checkpoints import write_checkpoint
from tadacli.zoo.conversion import convert
from tadacli.zoo.loading import (
    find_any_spec,
    find_spec,
    load_head_model,
    load_proposal_model,
    resolve_device,
    usable_models,
)
from tadacli.zoo.manifest import cards, manifest
from tadacli.zoo.store import hash_file, put
from tests import media


def test_a_published_checkpoint_loads_by_name_and_file(tmp_path: Path) -> None:
    network = build("tada2d_r50", num_classes=174)
    torch.save({"model_state": network.state_dict()}, tmp_path / "ssv2.pyth")
    model = tadacli.load_model("tada2d_r50.ssv2_8f", weights=tmp_path / "ssv2.pyth", device="cpu")
    assert model.spec.heads[""][0] == "Approaching something with your camera"
    clip = torch.randn(1, 3, 8, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model.network(clip), inference_form(network.eval())(clip))


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    spec = manifest()["r2plus1d_tiny.camera_motion"]
    state = build(spec.architecture, num_classes=9).state_dict()
    renamed = dataclasses.replace(spec, heads={"": tuple("abcdefghi")})
    write_checkpoint(tmp_path / "other.safetensors", state, renamed)
    with pytest.raises(CheckpointError, match=r"holds r2plus1d_tiny\.camera_motion, not"):
        tadacli.load_model("tada2d_r50.k400_8x8", weights=tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="holds"):
        tadacli.load_model(spec.name, weights=tmp_path / "other.safetensors")


@pytest.fixture
def tuned(tmp_path: Path) -> tuple[Path, ModelSpec]:
    """A file with the built-in model's network, labels and clips, and temperatures and thresholds of its own."""
    known = manifest()["r2plus1d_tiny.camera_motion"]
    state = build(known.architecture, num_classes=9, **known.arguments).state_dict()
    thresholds = {"": tuple(number / 10 for number in range(9))}
    spec = dataclasses.replace(known, name="r2plus1d_tiny.mine", temperatures={"": 2.5}, thresholds=thresholds)
    write_checkpoint(tmp_path / "tuned.safetensors", state, spec)
    return tmp_path / "tuned.safetensors", spec


def test_what_was_fitted_to_the_weights_of_a_known_name_is_used(tuned: tuple[Path, ModelSpec], tmp_path: Path) -> None:
    path, own = tuned
    known = manifest()["r2plus1d_tiny.camera_motion"]
    by_name = tadacli.load_model(known.name, weights=path, device="cpu")
    assert by_name.spec == dataclasses.replace(known, temperatures=own.temperatures, thresholds=own.thresholds)
    media.render(tmp_path / "v.mp4", 40)
    named, at_path, as_it_is = (
        tadacli.classify(tmp_path / "v.mp4", model=model, views="1x1", topk=9)[0].heads
        for model in (by_name, tadacli.load_model(path, device="cpu"), dataclasses.replace(by_name, spec=known))
    )
    assert named == at_path
    assert named[""][0].score != pytest.approx(as_it_is[""][0].score)


def test_weights_of_other_clips_do_not_pass_for_those_of_a_known_name(tuned: tuple[Path, ModelSpec]) -> None:
    path, own = tuned
    state = build(own.architecture, num_classes=9, **own.arguments).state_dict()
    write_checkpoint(path, state, dataclasses.replace(own, input=dataclasses.replace(own.input, clip_frames=16)))
    with pytest.raises(CheckpointError, match="clip_frames 16, not 8") as caught:
        tadacli.load_model("r2plus1d_tiny.camera_motion", weights=path)
    assert caught.value.hint == f"use --model {path}, which has its own settings"
    assert tadacli.load_model(path, device="cpu").spec.input.clip_frames == 16


def test_fetched_weights_load_by_name_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))
    spec = manifest()["tada2d_r50.ssv2_8f"]
    network = build(spec.architecture, num_classes=spec.num_classes)
    write_checkpoint(tmp_path / "a.safetensors", network.state_dict(), spec)
    sha256 = hash_file(tmp_path / "a.safetensors")
    put(tmp_path / "a.safetensors", name=spec.name, original=sha256, source="here")
    model = tadacli.load_model(spec.name, device="cpu")
    assert (model.spec, model.weights_sha256) == (spec, sha256.sha256)
    expected = inference_form(network.eval()).state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in model.network.state_dict().items())


def test_a_model_is_usable_or_refused_with_reasons() -> None:
    for name, card in cards().items():
        if name in usable_models():
            assert find_spec(name) == manifest()[name]
        elif card.takes_features:
            assert find_any_spec(name) == card.spec
        else:
            with pytest.raises(SpecError, match="cannot be used yet"):
                find_spec(name)


@pytest.mark.parametrize(
    ("arguments", "error", "message", "hint"),
    [
        ({"name_or_path": "tada2d_r50.k400"}, SpecError, "unknown model", "did you mean tada2d_r50.k400_"),
        ({"name_or_path": "nothing/like/it"}, SpecError, "unknown model", "known models: r2plus1d_tiny"),
        (
            {"name_or_path": "tada2d_r50.k400_8x8"},
            CheckpointError,
            "are not on this machine",
            "tada fetch tada2d_r50.k400_8x8 (about 110 MB), or give the file with --weights FILE",
        ),
        (
            {"name_or_path": "tadaconvnextv2_tiny.k400_32f"},
            SpecError,
            "its settings come with its file",
            "tada fetch tadaconvnextv2_tiny.k400_32f (about 184 MB), or give the file with --weights FILE",
        ),
        (
            {"name_or_path": "tadaconvnextv2_tiny.k400_32f", "weights": "any.pyth"},
            CheckpointError,
            "there is no weights file any.pyth",
            "--weights",
        ),
        ({"name_or_path": "bmn.ek100_vivit"}, SpecError, "takes features, not video", "tada detect --features FOLDER"),
        ({"device": "gpu7"}, UsageError, "device 'gpu7'", "--device"),
        ({"device": "cuda:99"}, UsageError, "device 'cuda:99'", "--device"),
        ({"dtype": "float8"}, UsageError, "unknown dtype", "bfloat16"),
    ],
)
def test_what_cannot_be_loaded_says_what_to_do(
    arguments, error, message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path))
    with pytest.raises(error, match=message) as caught:
        tadacli.load_model(**arguments)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("cuda", "mps", "device", "expected"),
    [
        (True, True, "gpu", "cuda"),
        (False, True, "gpu", "mps"),
        (False, True, "auto", "mps"),
        (False, False, "auto", "cpu"),
    ],
)
def test_devices_by_the_words_people_use(
    cuda: bool, mps: bool, device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device(device) == torch.device(expected)


def test_a_gpu_that_is_not_there_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError, match="finds no GPU here") as caught:
        resolve_device("gpu")
    assert "--device cpu" in caught.value.hint


def test_a_network_that_is_not_built_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(BUILDERS, "tadaformer_l14")
    with pytest.raises(SpecError, match="tadaformer_l14, is not built into this version") as caught:
        tadacli.load_model("tadaformer_l14.ssv2_16f")
    assert "tada models tadaformer_l14.ssv2_16f" in caught.value.hint


def test_a_pickle_alone_does_not_say_its_model(tmp_path: Path) -> None:
    torch.save({"model_state": {"a": torch.zeros(1)}}, tmp_path / "w.pyth")
    with pytest.raises(CheckpointError) as caught:
        tadacli.load_model(tmp_path / "w.pyth")
    assert "--model NAME --weights" in caught.value.hint


@pytest.fixture
def bmn_file(tmp_path: Path) -> Path:
    """Weights of a boundary-matching network as published, with its table of sampling points but for its values."""
    torch.manual_seed(0)
    state = build_over_features("bmn", in_channels=6144).state_dict()
    table = torch.zeros(1).expand(200, 32 * 100 * 200)
    torch.save({"model_state": {**state, "head.sample_mask": table}}, tmp_path / "bmn.pyth")
    return tmp_path / "bmn.pyth"


def test_the_published_table_of_sampling_points_is_dropped(bmn_file: Path, tmp_path: Path) -> None:
    model = load_proposal_model("bmn.ek100_tada2d", weights=bmn_file, device="cpu")
    assert (model.spec.features.num_channels, model.network.training) == (6144, False)
    assert sum(each.numel() for each in model.network.state_dict().values()) == 6_081_412
    convert(bmn_file, tmp_path / "own.safetensors", spec=model.spec, original=hash_file(bmn_file))
    assert (tmp_path / "own.safetensors").stat().st_size < 25e6
    own = load_proposal_model(tmp_path / "own.safetensors", device="cpu")
    assert own.spec.features == model.spec.features
    with torch.inference_mode():
        found, again = (each.network(torch.ones(1, 6144, 200)) for each in (model, own))
    assert all(torch.equal(found[name], again[name]) for name in found)


def test_features_and_video_are_not_mistaken_for_each_other(bmn_file: Path) -> None:
    with pytest.raises(SpecError, match="takes video, not features"):
        load_proposal_model("r2plus1d_tiny.camera_motion")
    with pytest.raises(CheckpointError, match=r"wrong shape backbone\.conv_layer\.0\.weight"):
        load_proposal_model("bmn.ek100_vivit", weights=bmn_file)
    state = torch.load(bmn_file)["model_state"]
    torch.save({"model_state": {**state, "head.sample_mask": torch.zeros(1).expand(100, 640000)}}, bmn_file)
    with pytest.raises(CheckpointError, match=r"wrong shape head\.sample_mask: \[100, 640000\] in the file"):
        load_proposal_model("bmn.ek100_tada2d", weights=bmn_file)


@pytest.mark.parametrize(
    ("architecture", "arguments", "said"),
    [
        ("temporal", {"width": "wide"}, 'width has the wrong type or value, got "wide"'),
        ("pyramid", {"num_levels": [4]}, "num_levels has the wrong type or value, got [4]"),
        ("pyramid", {"levels": 4}, "unknown key levels"),
    ],
)
def test_a_head_whose_arguments_are_none_says_which(
    architecture: str, arguments: dict[str, object], said: str, tmp_path: Path
) -> None:
    spec = HeadSpec(
        name=f"{architecture}.mine",
        architecture=architecture,
        task="action",
        dataset="mine",
        heads={"": ("a", "b")},
        arguments={"in_channels": 8, **arguments},
        source=WeightsSource(),
        steps=FeatureSteps(8, 0.5),
    )
    write_checkpoint(tmp_path / "head.safetensors", {"a": torch.zeros(1)}, spec)
    with pytest.raises(SpecError) as error:
        load_head_model(tmp_path / "head.safetensors", device="cpu")
    assert said in error.value.message
    assert "it takes in_channels, num_classes" in error.value.hint
