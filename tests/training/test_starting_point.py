"""What fine-tuning starts from: kept and new rows of the head, image weights, and checkpoints that do not fit."""

from __future__ import annotations

import dataclasses
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tadacli.errors import CheckpointError, SpecError, UsageError
from tadacli.models import build, tadaformer
from tadacli.specs import EvalProtocol, InputSpec, ModelSpec, WeightsSource, count_classes
from tadacli.training.starting_point import HeadChange, StartingPoint, base_spec, image_weights_for, starting_point
from tadacli.zoo import store
from tadacli.zoo.checkpoints import read_checkpoint, write_checkpoint
from tadacli.zoo.image_weights import IMAGE_WEIGHTS
from tadacli.zoo.manifest import manifest
from tests.file_server import FileServer, Reply, serving

GREY, SPREAD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
INPUT = InputSpec("interval", 4, 2, 30.0, 40, 32, GREY, SPREAD)
TADA = {"stage_depths": [1, 1, 1, 1], "stem_width": 8}
TINY = {"widths": [4, 4, 4, 4]}


def write_model(path: Path, heads: dict[str, tuple[str, ...]], **changes: Any) -> Path:
    """A file of our own with random weights; `changes` are tensors to put in, or None to leave out."""
    spec = ModelSpec(
        "r2plus1d_tiny.base", "r2plus1d_tiny", "action", "none", INPUT, heads, EvalProtocol(2, 1), arguments=TINY
    )
    torch.manual_seed(3)
    network = build(spec.architecture, num_classes=count_classes(heads), **TINY)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.1)
    state = {**network.state_dict(), **changes}
    write_checkpoint(path, {name: tensor for name, tensor in state.items() if tensor is not None}, spec)
    return path


def start(path: Path | str, heads: dict[str, tuple[str, ...]], **options: Any) -> StartingPoint:
    return starting_point(path, heads=heads, name="mine", dataset="clips", **options)


def trunk(state: Any) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("head.")}


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


# --- classes ------------------------------------------------------------------------------------------------


def test_classes_of_the_same_name_keep_their_rows(tmp_path: Path) -> None:
    path = write_model(tmp_path / "base.safetensors", {"": ("sit", "stand", "fall", "run")})
    found = start(path, {"": ("jump", "run", "sit")})
    assert found.heads == {"": HeadChange(kept=("run", "sit"), new=("jump",), gone=("stand", "fall"))}
    old, new = read_checkpoint(path), found.network.state_dict()
    assert_same(trunk(new), trunk(old.state_dict))
    for name in ("head.out.weight", "head.out.bias"):
        assert torch.equal(new[name][1], old.state_dict[name][3])
        assert torch.equal(new[name][2], old.state_dict[name][0])
    fresh = start(path, {"": ("jump", "run", "sit")}, init="random").network.state_dict()
    assert torch.equal(new["head.out.weight"][0], fresh["head.out.weight"][0])
    assert (found.origin, found.weights_sha256, found.fresh) == ("r2plus1d_tiny.base", old.sha256, ())
    assert found.spec.name == "r2plus1d_tiny.mine"
    assert (found.spec.task, found.spec.dataset, dict(found.spec.heads)) == (
        "action",
        "clips",
        {"": ("jump", "run", "sit")},
    )


def test_rows_are_kept_within_heads_of_the_same_name_wherever_they_stand(tmp_path: Path) -> None:
    path = write_model(tmp_path / "base.safetensors", {"verb": ("open", "close"), "noun": ("door", "box", "open")})
    found = start(path, {"noun": ("box", "jar"), "verb": ("shake", "close")})
    assert found.heads == {
        "noun": HeadChange(kept=("box",), new=("jar",), gone=("door", "open")),
        "verb": HeadChange(kept=("close",), new=("shake",), gone=("open",)),
    }
    old, new = read_checkpoint(path).state_dict, found.network.state_dict()
    assert torch.equal(new["head.linear1.weight"][0], old["head.linear2.weight"][1])
    assert torch.equal(new["head.linear2.bias"][1], old["head.linear1.bias"][1])
    single = start(path, {"": ("open", "close")})
    assert single.heads == {"": HeadChange(kept=(), new=("open", "close"), gone=())}


def test_the_same_classes_in_the_same_order_change_nothing(tmp_path: Path) -> None:
    path = write_model(tmp_path / "base.safetensors", {"": ("sit", "stand")})
    found = start(path, {"": ("sit", "stand")})
    assert found.heads == {"": HeadChange(kept=("sit", "stand"), new=(), gone=())}
    assert_same(dict(found.network.state_dict()), dict(read_checkpoint(path).state_dict))


def test_random_numbers_are_those_of_the_seed(tmp_path: Path) -> None:
    path = write_model(tmp_path / "base.safetensors", {"": ("sit", "stand")})
    before = torch.get_rng_state()
    one, same, other = (start(path, {"": ("a", "b")}, init="random", seed=seed) for seed in (4, 4, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert (one.origin, one.weights_sha256) == ("random weights", "")
    assert_same(dict(one.network.state_dict()), dict(same.network.state_dict()))
    assert not torch.equal(one.network.state_dict()["head.out.weight"], other.network.state_dict()["head.out.weight"])


def test_a_published_checkpoint_keeps_its_trunk_and_the_classes_it_knows(tmp_path: Path) -> None:
    """A full-size stand-in for the published file, in the published layout."""
    spec = manifest()["tada2d_r50.k400_8x8"]
    torch.manual_seed(5)
    state = build(spec.architecture, num_classes=400).state_dict()
    torch.save({"model_state": state}, tmp_path / "k400.pyth")
    known = spec.heads[""]
    heads = {"": ("my own", known[7])}
    found = start(spec.name, heads, weights=tmp_path / "k400.pyth", arguments={"dropout": 0.7})
    assert_same(trunk(found.network.state_dict()), trunk(state))
    assert torch.equal(found.network.state_dict()["head.out.weight"][1], state["head.out.weight"][7])
    assert found.heads[""].kept == (known[7],)
    assert found.heads[""].new == ("my own",)
    assert len(found.heads[""].gone) == 399
    assert (found.spec.published, found.spec.source) == ({}, WeightsSource())


# --- image weights ------------------------------------------------------------------------------------------


def image_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights under torchvision's names, for a ResNet with one block in each of four stages, eight wide."""
    generator = torch.Generator().manual_seed(seed)

    def conv(name: str, out: int, into: int, size: int) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": torch.randn(out, into, size, size, generator=generator)}

    def norm(name: str, width: int) -> dict[str, torch.Tensor]:
        values = {key: torch.rand(width, generator=generator) + 0.5 for key in ("weight", "bias", "running_mean")}
        values["running_var"] = torch.rand(width, generator=generator) + 0.5
        values["num_batches_tracked"] = torch.tensor(3)
        return {f"{name}.{key}": value for key, value in values.items()}

    state = {**conv("conv1", 8, 3, 7), **norm("bn1", 8)}
    width_in = 8
    for stage in range(1, 5):
        width, block = 8 * 2 ** (stage - 1), f"layer{stage}.0"
        state |= conv(f"{block}.conv1", width, width_in, 1) | norm(f"{block}.bn1", width)
        state |= conv(f"{block}.conv2", width, width, 3) | norm(f"{block}.bn2", width)
        state |= conv(f"{block}.conv3", 4 * width, width, 1) | norm(f"{block}.bn3", 4 * width)
        state |= conv(f"{block}.downsample.0", 4 * width, width_in, 1) | norm(f"{block}.downsample.1", 4 * width)
        width_in = 4 * width
    state["fc.weight"], state["fc.bias"] = torch.randn(1000, width_in), torch.randn(1000)
    return state


def write_tada(path: Path) -> Path:
    spec = ModelSpec(
        "tada2d_r50.small", "tada2d_r50", "action", "none", INPUT, {"": ("a", "b")}, EvalProtocol(1, 1), TADA
    )
    torch.manual_seed(6)
    write_checkpoint(path, build("tada2d_r50", num_classes=2, **TADA).state_dict(), spec)
    return path


def test_image_weights_make_a_network_that_starts_as_the_image_network_on_every_frame(tmp_path: Path) -> None:
    """The routing says 1 everywhere and the second batch norm adds nothing: that is TSN with the same weights."""
    path, file = write_tada(tmp_path / "base.safetensors"), tmp_path / "resnet.pth"
    torch.save(image_state(), file)
    found = start(path, {"": ("x", "y", "z")}, init="imagenet", weights=file)
    assert found.origin == "resnet.pth (ImageNet)"
    assert found.weights_sha256 == read_checkpoint(file).sha256
    assert found.heads[""].new == ("x", "y", "z")
    assert found.fresh
    assert all("_rf." in name or "_avgpool_bn." in name for name in found.fresh), found.fresh
    plain = build("tsn_r50", num_classes=3, **TADA)
    plain.load_state_dict(plain.from_image_weights(image_state()), strict=False)
    clips = torch.randn(2, 3, 4, 32, 32)
    with torch.inference_mode():
        expected = plain.eval().forward_features(clips)
        assert torch.allclose(found.network.eval().forward_features(clips), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server that has image weights, a store that has none, and a folder of torch that has none."""
    torch.save(image_state(), tmp_path / "image.pth")
    content = (tmp_path / "image.pth").read_bytes()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))
    known, digest = IMAGE_WEIGHTS["resnet50.imagenet"], hashlib.sha256(content).hexdigest()
    with serving(content) as server:
        source = dataclasses.replace(known.source, url=server.url)
        changed = dataclasses.replace(known, file=f"image-{digest[:8]}.pth", hash_begin=digest[:8], source=source)
        monkeypatch.setitem(IMAGE_WEIGHTS, known.name, changed)
        yield server


def test_image_weights_are_fetched_once_into_the_store(published: FileServer, tmp_path: Path) -> None:
    path, digest = write_tada(tmp_path / "base.safetensors"), hashlib.sha256(published.content).hexdigest()
    published.replies.append(Reply(status=503, body=b"", headers={"Retry-After": "0"}))
    first, second = (start(path, {"": ("x",)}, init="imagenet") for _ in range(2))
    assert (first.weights_sha256, first.origin) == (digest, f"image-{digest[:8]}.pth (ImageNet)")
    assert len(published.requests) == 2
    kept = store.stored("resnet50.imagenet")
    assert kept is not None
    store.verify(kept)
    assert store.locked("resnet50.imagenet") == store.FileHash(len(published.content), digest)
    of_file = start(path, {"": ("x",)}, init="imagenet", weights=tmp_path / "image.pth")
    for found in (second, of_file):
        assert_same(trunk(first.network.state_dict()), trunk(found.network.state_dict()))


def test_image_weights_are_held_to_the_hash_in_their_name(
    published: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, known = write_tada(tmp_path / "base.safetensors"), IMAGE_WEIGHTS["resnet50.imagenet"]
    monkeypatch.setitem(IMAGE_WEIGHTS, known.name, dataclasses.replace(known, hash_begin="00000000"))
    with pytest.raises(CheckpointError, match=r"cannot be fetched: .*does not begin with 00000000") as error:
        start(path, {"": ("x",)}, init="imagenet")
    assert "tada fetch --from FILE resnet50.imagenet" in str(error.value.hint)
    assert store.stored("resnet50.imagenet") is None
    assert store.locked("resnet50.imagenet") is None
    assert len(published.requests) == 1


def test_what_torch_has_already_is_not_downloaded_unless_it_is_damaged(published: FileServer, tmp_path: Path) -> None:
    path, file = write_tada(tmp_path / "base.safetensors"), IMAGE_WEIGHTS["resnet50.imagenet"].file
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / file).write_bytes(published.content[:-1])
    start(path, {"": ("x",)}, init="imagenet")
    assert len(published.requests) == 1
    for kept in (tmp_path / "home" / "models").iterdir():
        kept.unlink()
    (folder / file).write_bytes(published.content)
    start(path, {"": ("x",)}, init="imagenet")
    assert len(published.requests) == 1


class ImageTransformer(nn.Module):
    """CLIP's image encoder as its paper describes it: the class token after the last layer and its norm."""

    def __init__(self, width: int, layers: int, patch: int, grid: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(1 + grid * grid, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.resblocks = nn.ModuleList(ImageBlock(width) for _ in range(layers))
        self.proj = nn.Parameter(torch.randn(width, 8))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        patches = self.conv1(pictures).flatten(2).transpose(1, 2)
        x = torch.cat((self.class_embedding.expand(len(patches), 1, -1), patches), dim=1)
        x = self.ln_pre(x + self.positional_embedding)
        for block in self.transformer.resblocks:
            x = block(x)
        return self.ln_post(x[:, 0])


class ImageBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, width // 64, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        y = self.mlp.c_fc(self.ln_2(x))
        return x + self.mlp.c_proj(y * torch.sigmoid(1.702 * y))


class Clip(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = ImageTransformer(256, 2, 16, 2)
        self.token_embedding = nn.Embedding(10, 8)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.visual(pictures)


FORMER = {"width": 256, "num_layers": 2, "patch_size": 16, "crop_size": 32}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Clip]:
    """A small CLIP, and its TorchScript archive in float16, as the published ones are."""
    torch.manual_seed(7)
    network, path = Clip().half().eval(), tmp_path_factory.mktemp("clip") / "ViT-small.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network.float(), torch.zeros(1, 3, 32, 32), check_trace=False).half().save(str(path))
    return path, network.float()


def write_former(path: Path) -> Path:
    clips = InputSpec("segment", 3, 1, 30.0, 32, 32, GREY, SPREAD)
    spec = ModelSpec(
        "tadaformer_b16.small", "tadaformer_b16", "action", "none", clips, {"": ("a", "b")}, EvalProtocol(1, 1), FORMER
    )
    torch.manual_seed(6)
    write_checkpoint(path, build("tadaformer_b16", num_classes=2, **FORMER).state_dict(), spec)
    return path


def test_a_tadaformer_starts_as_clip_sees_the_middle_frame(clip: tuple[Path, Clip], tmp_path: Path) -> None:
    found = start(write_former(tmp_path / "base.safetensors"), {"": ("x", "y")}, init="clip", weights=clip[0])
    assert found.origin == "ViT-small.pt (CLIP)"
    assert found.fresh
    assert all(".tada." in name for name in found.fresh)
    pictures = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        features = found.network.eval().forward_features(pictures[:, :, None])
        assert torch.allclose(features, clip[1](pictures), rtol=1e-3, atol=1e-3)


def test_clip_comes_through_the_store_and_its_texts_stay_outside(
    clip: tuple[Path, Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TADA_HOME", str(tmp_path / "home"))
    content, known = clip[0].read_bytes(), IMAGE_WEIGHTS["vit_b16.clip"]
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(tadaformer._CLIP_WEIGHTS, (256, 2, 16), known.name)
    with serving(content) as server:
        source = dataclasses.replace(known.source, url=server.url, sha256=digest)
        monkeypatch.setitem(IMAGE_WEIGHTS, known.name, dataclasses.replace(known, hash_begin=digest, source=source))
        found = start(write_former(tmp_path / "base.safetensors"), {"": ("x",)}, init="clip")
    assert (found.origin, found.weights_sha256) == ("ViT-B-16.pt (CLIP)", digest)
    kept = store.stored(known.name)
    assert kept is not None
    names = set(read_checkpoint(kept.path).state_dict)
    assert "visual.class_embedding" in names
    assert not [name for name in names if not name.startswith("visual.")]


def test_clip_and_imagenet_belong_to_their_networks(clip: tuple[Path, Clip], tmp_path: Path) -> None:
    former, tada = write_former(tmp_path / "former.safetensors"), write_tada(tmp_path / "tada.safetensors")
    heads = {"": ("x",)}
    with pytest.raises(SpecError, match="TAdaFormer has no image network of ImageNet") as error:
        start(former, heads, init="imagenet")
    assert "--init clip" in str(error.value.hint)
    with pytest.raises(SpecError, match="has no image network of CLIP") as error:
        start(tada, heads, init="clip", weights=clip[0])
    assert "--init imagenet" in str(error.value.hint)
    with pytest.raises(SpecError, match="no published CLIP weights fit this TAdaFormer"):
        start(former, heads, init="clip")
    torch.save(image_state(), tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match="no image encoder of CLIP"):
        start(former, heads, init="clip", weights=tmp_path / "resnet.pth")
    assert image_weights_for("tadaformer_l14", init="clip").file == "ViT-L-14.pt"
    assert image_weights_for("tadaformer_b16.k400_16f", init="clip").file == "ViT-B-16.pt"
    assert image_weights_for("tadaconvnextv2_small", init="imagenet").name == "convnext_small.imagenet"
    assert base_spec("tadaformer_b16")[0].input.crop_size == 224


def test_image_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path, file = write_tada(tmp_path / "base.safetensors"), tmp_path / "resnet.pth"
    heads = {"": ("x", "y")}
    wide = {**image_state(), "conv1.weight": torch.zeros(16, 3, 7, 7)}
    torch.save(wide, file)
    with pytest.raises(CheckpointError, match="does not fit into"):
        start(path, heads, init="imagenet", weights=file)
    torch.save({"encoder.patch.weight": torch.zeros(3)}, file)
    with pytest.raises(CheckpointError, match="not the image network") as error:
        start(path, heads, init="imagenet", weights=file)
    assert "resnet50" in error.value.hint
    torch.save({name: tensor for name, tensor in image_state().items() if "layer3" not in name}, file)
    with pytest.raises(CheckpointError, match=r"missing backbone\.conv4"):
        start(path, heads, init="imagenet", weights=file)


# --- what does not fit --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone.0.spatial.weight": torch.zeros(5, 3, 1, 3, 3)}, "is .5, 3, 1, 3, 3. instead of"),
        ({"backbone.0.spatial.weight": None}, "missing backbone.0.spatial.weight"),
        ({"backbone.9.weight": torch.zeros(2)}, "unexpected backbone.9.weight"),
        ({"backbone.0.spatial_bn.bias": torch.full((4,), torch.nan)}, "not numbers, in backbone.0.spatial_bn.bias"),
        ({"head.out.weight": torch.zeros(1, 4)}, "head.out.weight is .1, 4. instead of .2, 4."),
        ({"head.out.bias": None}, "head.out.bias is not there"),
        ({"head.out.bias": torch.full((2,), torch.inf)}, "not numbers, in head.out.bias"),
    ],
)
def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = write_model(tmp_path / "base.safetensors", {"": ("sit", "stand")}, **changes)
    with pytest.raises(CheckpointError, match=said):
        start(path, {"": ("sit", "run")})


def test_what_cannot_be_meant_is_said(tmp_path: Path) -> None:
    path, heads = write_model(tmp_path / "base.safetensors", {"": ("sit", "stand")}), {"": ("a", "b")}
    for error, said, name, options in (
        (UsageError, "need no file", path, {"init": "random", "weights": path}),
        (UsageError, "weights of its own", path, {"weights": path}),
        (SpecError, "no image network", path, {"init": "imagenet", "weights": path}),
        (SpecError, "unknown model", "r2plus1d_tinny", {}),
        (SpecError, "has no model.safetensors", tmp_path, {}),
        (SpecError, "does not take these arguments", path, {"arguments": {"drop_path": 0.1}}),
        (UsageError, "does not fit into frames", path, {"clip": {"crop_size": 64}}),
        (UsageError, "cannot be like this", path, {"clip": {"clip_frames": 0}}),
        (CheckpointError, "not on this machine", "tada2d_r50.k400_8x8", {}),
    ):
        with pytest.raises(error, match=said) as found:
            start(name, heads, **options)
        assert found.value.hint or said == "does not take these arguments"
    assert start(path, heads, clip={"crop_size": 40, "sampling": "segment"}).spec.input.sampling == "segment"
