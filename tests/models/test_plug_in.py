"""TAdaConv added to existing networks: nothing changes at first, and a slow reading of the definition agrees later."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from tadacli import UsageError
from tadacli.models import tada2d
from tadacli.models.plug_in import CalibratedConv2d, CalibratedConv3d, FrameNetwork, add_tadaconv

TOLERANCE = 2e-5


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """These layers are so small that threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def close(actual: Tensor, expected: Tensor) -> bool:
    return bool((actual - expected).norm() <= TOLERANCE * expected.norm())


def randomise_routing(network: nn.Module) -> None:
    """Give the routing functions something to say, as training would."""
    for module in network.modules():
        if isinstance(module, CalibratedConv2d | CalibratedConv3d):
            nn.init.normal_(module.routing.b.weight, std=0.5)


class Pictures(nn.Module):
    """A small 2-D network: stem, dense, depthwise and strided convolutions, batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleDict(
            {
                "dense": nn.Sequential(nn.Conv2d(8, 12, 3, padding=1, stride=2), nn.BatchNorm2d(12), nn.ReLU()),
                "depthwise": nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.Conv2d(12, 8, 1)),
            }
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks.values():
            x = block(x)
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


class Clips(nn.Module):
    """A small 3-D network with a temporally strided convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(3, 8, 3, padding=1),
            nn.Conv3d(8, 8, 3, padding=1, stride=2),
            nn.BatchNorm3d(8),
            nn.ReLU(),
            nn.Conv3d(8, 6, (1, 3, 3)),
            nn.Conv3d(6, 6, (3, 1, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out.mean(dim=(2, 3, 4))


def assert_same_outputs(original: nn.Module, network: nn.Module, input: Tensor, clips: Tensor) -> None:
    """Both modes give the same logits; dropout draws from the same seed. Frames are compared as one batch."""
    for training in (True, False):
        with torch.no_grad():
            torch.manual_seed(1)
            expected = original.train(training)(input)
            torch.manual_seed(1)
            actual = network.train(training)(clips)
        assert (actual.view_as(expected) - expected).norm() <= 1e-6 * expected.norm()


# The counts are by hand from the architectures: convolutions changed, and others.
VIDEO_NETWORKS = [
    ("r3d_18", 4, 16, 4),  # two 3x3x3 in each of eight blocks; the stem and three 1x1x1 shortcuts
    ("mc3_18", 2, 16, 4),  # 1x3x3 in the last three stages
    ("r2plus1d_18", 2, 16, 21),  # each 1x3x3 has a 3x1x1 after it, the stem's, too
    ("s3d", 14, 19, 59),  # 1x3x3 after the stem and two in each of nine blocks; others are 1x1x1 or 3x1x1
]


@pytest.mark.parametrize(("name", "num_frames", "changed", "others"), VIDEO_NETWORKS)
def test_a_3d_network_computes_the_same_at_first(name: str, num_frames: int, changed: int, others: int) -> None:
    torch.manual_seed(0)
    original = getattr(torchvision.models.video, name)(weights=None, num_classes=7)
    if name == "s3d":
        original.avgpool = nn.AdaptiveAvgPool3d(1)  # its own needs pictures of 224 x 224
    network, report = add_tadaconv(original)
    assert type(network) is type(original)
    assert (len(report.changed), len(report.not_chosen), report.left) == (changed, others, {})
    clips = torch.randn(3, 3, num_frames, 24, 24)
    assert_same_outputs(original, network, clips, clips)


FRAME_NETWORKS = [
    ("resnet50", 16, 37),  # the 3x3 of each block; the stem and the 1x1 are not
    ("convnext_tiny", 21, 1),  # 18 depthwise 7x7 and three 2x2 between the stages; its 1x1 are linear layers
]


@pytest.mark.parametrize(("name", "changed", "others"), FRAME_NETWORKS)
def test_a_2d_network_computes_the_same_for_every_frame_at_first(name: str, changed: int, others: int) -> None:
    torch.manual_seed(0)
    original = getattr(torchvision.models, name)(weights=None, num_classes=7)
    network, report = add_tadaconv(original, average=False)
    assert (len(report.changed), len(report.not_chosen), report.left) == (changed, others, {})
    clips = torch.randn(2, 3, 2, 32, 32)
    assert_same_outputs(original, network, clips.transpose(1, 2).flatten(0, 1), clips)


@pytest.mark.parametrize("name", ["resnet18", "resnetv2_50"])
def test_resnets_of_timm_compute_the_same_at_first(name: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    original = timm.create_model(name, num_classes=7)
    network, report = add_tadaconv(original, average=False)
    clips = torch.randn(2, 3, 2, 32, 32)
    assert len(report.changed) == 16
    assert_same_outputs(original, network, clips.transpose(1, 2).flatten(0, 1), clips)


def calibrated_3d(conv: nn.Conv3d, seed: int) -> CalibratedConv3d:
    torch.manual_seed(seed)
    network, _ = add_tadaconv(nn.Sequential(conv), choose=lambda *_: True, ratio=2)
    randomise_routing(network)
    assert isinstance(network[0], CalibratedConv3d)  # type: ignore[index]
    return network.eval()[0]  # type: ignore[index, no-any-return]


def one_kernel_per_output_frame(conv: CalibratedConv3d, clips: Tensor, padding: int) -> Tensor:
    """The definition: out of the taps of an output frame, the middle one says which calibration its kernel gets."""
    alpha = conv.routing(clips)[..., 0, 0]
    by_output_channel = conv.groups > 1 and conv.in_channels == conv.out_channels
    per_group = conv.in_channels // conv.groups
    samples = []
    for clip, calibrations in zip(clips, alpha, strict=True):
        frames: list[Tensor] = []
        first = -padding
        while first + conv.dilation[0] * (conv.kernel_size[0] - 1) < clip.shape[1] + padding:
            taps = [first + conv.dilation[0] * tap for tap in range(conv.kernel_size[0])]
            centre = min(max(taps[(len(taps) - 1) // 2], 0), clip.shape[1] - 1)
            inside = [tap for tap in taps if 0 <= tap < clip.shape[1]]
            total = conv.bias[:, None, None] if conv.bias is not None else torch.zeros(conv.out_channels, 1, 1)
            for tap in inside:
                kernel = conv.weight[:, :, taps.index(tap)].clone()
                for out_channel in range(conv.out_channels):
                    group = out_channel // (conv.out_channels // conv.groups)
                    for channel in range(per_group):
                        source = out_channel if by_output_channel else group * per_group + channel
                        kernel[out_channel, channel] *= calibrations[source, centre]
                sizes = (conv.stride[1:], conv.padding[1:], conv.dilation[1:])
                total = total + F.conv2d(clip[None, :, tap], kernel, None, *sizes, conv.groups)[0]
            frames.append(total.expand(-1, *frames[0].shape[1:]) if frames and not inside else total)
            first += conv.stride[0]
        samples.append(torch.stack(frames, dim=1))
    return torch.stack(samples)


@settings(max_examples=40, deadline=None)
@given(
    num_frames=st.integers(3, 7),
    extent=st.sampled_from([1, 2, 3, 4]),
    stride=st.sampled_from([(1, 1, 1), (2, 1, 1), (2, 2, 2), (3, 1, 2)]),
    dilation=st.sampled_from([(1, 1, 1), (2, 1, 1), (1, 2, 2)]),
    full_padding=st.booleans(),
    channels=st.sampled_from([(4, 6, 1), (6, 6, 3), (4, 4, 4), (4, 8, 2)]),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
@torch.no_grad()
def test_3d_equals_one_kernel_per_output_frame(
    num_frames, extent, stride, dilation, full_padding, channels, bias, seed
) -> None:
    reach = dilation[0] * (extent - 1)
    padding = (reach + 1) // 2 if full_padding or reach >= num_frames else 0
    options = {"stride": stride, "padding": (padding, 1, 1), "dilation": dilation, "bias": bias}
    conv = nn.Conv3d(channels[0], channels[1], (extent, 3, 3), groups=channels[2], **options)
    conv = calibrated_3d(conv, seed)
    clips = torch.randn(2, channels[0], num_frames, 7, 5)
    assert close(conv(clips), one_kernel_per_output_frame(conv, clips, padding))


@torch.no_grad()
def test_padding_by_name_is_padding_by_number() -> None:
    torch.manual_seed(0)
    clips = torch.randn(2, 4, 5, 7, 7)
    by_name = calibrated_3d(nn.Conv3d(4, 6, 3, padding="same", dilation=2), 3)
    by_number = copy.deepcopy(by_name)
    by_number.padding = (2, 2, 2)
    assert close(by_name(clips), one_kernel_per_output_frame(by_number, clips, 2))
    assert calibrated_3d(nn.Conv3d(4, 6, 3, padding="valid"), 3)(clips).shape == (2, 6, 3, 5, 5)


@pytest.mark.parametrize(("out_channels", "groups"), [(6, 1), (4, 4), (8, 2)])
@pytest.mark.parametrize("channels_last", [False, True])
@torch.no_grad()
def test_2d_equals_one_kernel_per_frame(out_channels: int, groups: int, channels_last: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, out_channels, 3, padding=1, stride=2, groups=groups)
    network, _ = add_tadaconv(nn.Sequential(conv), choose=lambda *_: True, ratio=2, average=False)
    randomise_routing(network.eval())
    clips = torch.randn(2, 4, 5, 8, 6)
    if channels_last:
        clips = clips.contiguous(memory_format=torch.channels_last_3d)
    alpha = network.get_submodule("network.0.routing")(clips)[..., 0, 0]
    for sample in range(2):
        for frame in range(5):
            scale = alpha[sample, :, frame]
            if groups == 4:
                kernel = conv.weight * scale[:, None, None, None]
            else:  # channel c of group g is input channel g * (Cin / groups) + c
                of_group = scale.view(groups, 4 // groups).repeat_interleave(out_channels // groups, dim=0)
                kernel = conv.weight * of_group[:, :, None, None]
            expected = F.conv2d(clips[sample, None, :, frame], kernel, conv.bias, 2, 1, 1, groups)[0]
            assert close(network(clips)[sample, frame], expected)


def test_the_frames_of_a_2d_network_are_averaged() -> None:
    original, clips = Pictures().eval(), torch.randn(2, 3, 4, 9, 9)
    averaged, per_frame = add_tadaconv(original)[0], add_tadaconv(original, average=False)[0]
    assert per_frame(clips).shape == (2, 4, 5)
    assert torch.equal(averaged(clips), per_frame(clips).mean(dim=1))


class Outputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 3))

    def forward(self, x: Tensor) -> Any:
        maps = self.body(x)
        return {"maps": maps, "pair": (maps.mean(dim=(2, 3)), None)}


def test_outputs_of_several_tensors_are_folded_back() -> None:
    network, _ = add_tadaconv(Outputs(), average=False)
    out = network(torch.randn(2, 4, 3, 6, 6))
    assert out["maps"].shape == (2, 3, 4, 4, 4)
    assert out["pair"][0].shape == (2, 3, 4)
    assert out["pair"][1] is None


class Regroups(Outputs):
    def forward(self, x: Tensor) -> Any:
        return self.body(x[1:])


class ReturnsOneNumber(Outputs):
    def forward(self, x: Tensor) -> Any:
        return self.body(x).mean()


@pytest.mark.parametrize("kind", [Regroups, ReturnsOneNumber])
def test_a_network_that_mixes_its_batch_is_refused_not_misread(kind: type[nn.Module]) -> None:
    network, _ = add_tadaconv(kind())
    with pytest.raises(ValueError, match="frames"):
        network(torch.randn(2, 4, 3, 6, 6))


@pytest.mark.parametrize("kind", [Pictures, Clips])
def test_one_step_of_the_routing_alone_changes_what_the_network_says(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    original = kind()
    network, report = add_tadaconv(original)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(".routing." in name)
    clips, labels = torch.randn(4, 3, 6, 10, 10), torch.arange(4)
    optimiser = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=1.0)
    before = network(clips)
    F.cross_entropy(before, labels).backward()
    optimiser.step()
    changed = [module for module in network.modules() if isinstance(module, CalibratedConv2d | CalibratedConv3d)]
    assert len(changed) == len(report.changed)
    assert all(module.routing.b.weight.abs().max() > 0 for module in changed)
    assert not close(network(clips), before)
    F.cross_entropy(network(clips), labels).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters() if p.requires_grad)
    base = original.state_dict()
    kept = {name.removeprefix("network."): value for name, value in network.state_dict().items()}
    assert all(torch.equal(kept[name], value) for name, value in base.items() if name.endswith("weight"))


@pytest.mark.parametrize("kind", [Pictures, Clips])
def test_a_trained_network_is_saved_copied_and_loaded(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    original = kind().eval()
    before = {name: value.clone() for name, value in original.state_dict().items()}
    network, _ = add_tadaconv(original)
    randomise_routing(network)
    fresh, _ = add_tadaconv(kind().eval())
    fresh.load_state_dict(network.state_dict())
    copied = copy.deepcopy(network)
    clips = torch.randn(2, 3, 6, 10, 10)
    assert torch.equal(fresh(clips), network(clips))
    copied(torch.randn(1, 3, 9, 10, 10))  # clips of another length do not reach the original
    assert torch.equal(copied(clips), network(clips))
    # The names of the original stand as they were, and what is new says so.
    inner = network.network if isinstance(network, FrameNetwork) else network
    assert {name for name in inner.state_dict() if ".routing." not in name} == set(before)
    # The model that was given is as it was.
    assert all(torch.equal(value, before[name]) for name, value in original.state_dict().items())
    assert not any(isinstance(module, CalibratedConv2d | CalibratedConv3d) for module in original.modules())


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_recomputing_in_the_backward_pass_gives_the_same_gradients(use_reentrant: bool) -> None:
    class Frugal(Outputs):
        def forward(self, x: Tensor) -> Any:
            return checkpoint(self.body, x, use_reentrant=use_reentrant)

    torch.manual_seed(0)
    frugal, _ = add_tadaconv(Frugal().eval())
    randomise_routing(frugal)
    plain = copy.deepcopy(frugal)
    plain.network.forward = plain.network.body.forward
    clips = torch.randn(2, 4, 3, 6, 6, requires_grad=True)
    frugal(clips).square().sum().backward()
    plain(clips).square().sum().backward()
    for actual, expected in zip(frugal.parameters(), plain.parameters(), strict=True):
        assert actual.grad is not None
        assert close(actual.grad, expected.grad)


def test_a_convolution_that_the_network_holds_in_a_plain_list_is_changed_there_too() -> None:
    class Lists(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv3d(4, 4, 1), nn.Conv3d(4, 4, 3)
            self.order = [self.first, self.second]

        def forward(self, x: Tensor) -> Any:
            for conv in self.order:
                x = conv(x)
            return x

    torch.manual_seed(0)
    network, _ = add_tadaconv(Lists().eval(), ratio=1)
    clips = torch.randn(2, 4, 5, 6, 6)
    before = network(clips)
    randomise_routing(network)
    assert not close(network(clips), before)


class Standardised(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super()._conv_forward(input, self.weight - self.weight.mean(), self.bias)


class Difficult(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        shared = nn.Conv2d(8, 8, 3)
        tied = nn.Conv2d(8, 8, 3)
        tied.weight = shared.weight
        self.stem = nn.Conv2d(3, 8, 3)
        self.good = nn.Conv2d(8, 8, 3)
        self.subclass = type("Renamed", (nn.Conv2d,), {})(8, 8, 3)
        self.one = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(8, 8, 3)
        self.reflecting = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.standardised = Standardised(8, 8, 3)
        self.normed = parametrizations.weight_norm(nn.Conv2d(8, 8, 3))
        self.spectral = nn.utils.spectral_norm(nn.Conv2d(8, 8, 3))
        self.narrow = nn.Conv2d(3, 8, 3)
        self.lazy = nn.LazyConv2d(8, 3)
        self.lop_sided = nn.Conv2d(8, 8, 2, padding="same")
        self.first, self.second, self.tied = shared, shared, tied


LEFT = {
    "up": "transposed",
    "reflecting": "padding mode is 'reflect'",
    "standardised": "Standardised computes in a way of its own",
    "normed": "computed from other parameters",
    "spectral": "computed from other parameters",
    "narrow": "3 input channels",
    "lazy": "not known before the first forward pass",
    "lop_sided": "even kernel",
    "first": "several places",
    "second": "several places",
    "tied": "several places",
}


def test_the_report_says_what_could_not_be_changed_and_why() -> None:
    network, report = add_tadaconv(Difficult())
    assert report.changed == ("good", "subclass")
    assert set(report.not_chosen) == {"stem", "one"}
    assert set(report.left) == set(LEFT)
    for name, reason in LEFT.items():
        assert reason in report.left[name], name
        assert name in str(report)
    assert "2 of 15 convolutions became TAdaConv: good, subclass" in str(report)
    assert isinstance(network.get_submodule("network.up"), nn.ConvTranspose2d)


def test_a_2d_convolution_of_a_3d_network_is_left() -> None:
    model = nn.Sequential(nn.Conv3d(3, 8, 3), nn.Conv3d(8, 8, 3), nn.Conv2d(8, 8, 3))
    _, report = add_tadaconv(model)
    assert report.changed == ("1",)
    assert "2-D convolution among 3-D ones" in report.left["2"]


def test_the_choice_is_by_name_and_module() -> None:
    model = Clips()
    seen: dict[str, nn.Module] = {}

    def choose(name: str, module: nn.Module) -> bool:
        seen[name] = module
        return name == "body.5"

    _, report = add_tadaconv(model, choose=choose)
    assert report.changed == ("body.5",)
    assert seen == {f"body.{index}": model.body[index] for index in (0, 1, 4, 5)}


def test_routing_follows_its_convolution() -> None:
    model = Clips().double().eval()
    network, _ = add_tadaconv(model)
    routing = network.get_submodule("body.1.routing")
    assert not routing.training
    assert {parameter.dtype for parameter in routing.parameters()} == {torch.float64}
    with torch.device("meta"):
        empty = Clips()
    network, _ = add_tadaconv(empty)
    assert all(parameter.is_meta for parameter in network.parameters())


def already_adapted() -> nn.Module:
    with torch.device("meta"):
        return tada2d.tada2d_r50(5)


@pytest.mark.parametrize(
    ("model", "choose", "message"),
    [
        (lambda: nn.Linear(3, 4), None, "none of the 0 convolutions of this Linear"),
        (lambda: nn.Conv2d(3, 4, 3), None, "none of the 1 convolutions of this Conv2d"),
        (Clips, lambda *_: False, "none of the 4 convolutions of this Clips"),
        (lambda: add_tadaconv(Clips())[0], None, "has TAdaConv already"),
        (already_adapted, None, "has TAdaConv already"),
    ],
)
def test_a_network_without_anything_to_change_is_an_error(model: Any, choose: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        add_tadaconv(model(), choose=choose)


@pytest.mark.parametrize("kind", [Pictures, Clips])
def test_a_clip_without_its_batch_is_refused(kind: type[nn.Module]) -> None:
    network, _ = add_tadaconv(kind().eval())
    with pytest.raises(ValueError, match="expected clips"):
        network(torch.randn(3, 6, 10, 10))


@torch.no_grad()
def test_3d_keeps_the_memory_order_of_its_clips() -> None:
    conv = calibrated_3d(nn.Conv3d(4, 6, 3, padding=1), 0)
    clips = torch.randn(2, 4, 5, 6, 7)
    assert conv(clips).is_contiguous()
    assert conv(clips.contiguous(memory_format=torch.channels_last_3d)).is_contiguous(
        memory_format=torch.channels_last_3d
    )
