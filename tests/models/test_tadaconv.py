"""The operator against its literal definition, and the properties that make it usable."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.grouped import grouped_form, grouped_tadaconv2d, grouped_tadaconv3d
from tadacli.models import tadaconv as ops

TOLERANCE = 2e-5


def close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((actual - expected).norm() <= TOLERANCE * expected.norm())


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(1, 6),
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    stride=st.sampled_from([1, 2]),
    kernel=st.sampled_from([1, 3]),
    bias=st.booleans(),
    cal_dim=st.sampled_from(["cin", "cout"]),
    channels_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_2d_equals_one_kernel_per_frame(
    batch, frames, size, stride, kernel, bias, cal_dim, channels_last, seed
) -> None:
    torch.manual_seed(seed)
    conv = ops.TAdaConv2d(
        6,
        8,
        (1, kernel, kernel),
        stride=(1, stride, stride),
        padding=(0, kernel // 2, kernel // 2),
        bias=bias,
        cal_dim=cal_dim,
    )
    x = torch.randn(batch, 6, frames, *size)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    alpha = 1 + 0.5 * torch.randn(batch, 6 if cal_dim == "cin" else 8, frames, 1, 1)
    assert close(conv(x, alpha), grouped_tadaconv2d(conv, x, alpha))


@settings(max_examples=30, deadline=None)
@given(
    frames=st.integers(1, 6),
    extent=st.sampled_from([1, 3, 5]),
    stride=st.sampled_from([1, 2]),
    bias=st.booleans(),
    cal_dim=st.sampled_from(["cin", "cout"]),
    seed=st.integers(0, 1000),
)
def test_3d_equals_one_kernel_per_output_frame(frames, extent, stride, bias, cal_dim, seed) -> None:
    torch.manual_seed(seed)
    conv = ops.TAdaConv3d(
        4,
        6,
        (extent, 3, 3),
        stride=(1, stride, stride),
        padding=(extent // 2, 1, 1),
        bias=bias,
        cal_dim=cal_dim,
    )
    x = torch.randn(2, 4, frames, 7, 5)
    alpha = 1 + 0.5 * torch.randn(2, 4 if cal_dim == "cin" else 6, frames, 1, 1)
    expected = grouped_tadaconv3d(conv, x, alpha)
    assert close(conv(x, alpha), expected)
    assert close(grouped_form(conv)(x, alpha), expected)  # what the benchmarks time


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 3),
    frames=st.integers(1, 5),
    size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    kernel=st.sampled_from([1, 3, 7]),
    channels_last=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_depthwise_equals_one_kernel_and_bias_per_frame(batch, frames, size, kernel, channels_last, seed) -> None:
    torch.manual_seed(seed)
    conv = ops.DepthwiseTAdaConv2d(6, kernel)
    x = torch.randn(batch, 6, frames, *size)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    alpha, bias_alpha = 1 + 0.5 * torch.randn(2, batch, 6, frames, 1, 1)
    expected = torch.empty_like(x)
    for clip in range(batch):
        for t in range(frames):
            weight = conv.weight[0, 0] * alpha[clip, :, t, :, :, None]
            bias = conv.bias[0, 0] * bias_alpha[clip, :, t, 0, 0]
            expected[clip, :, t] = F.conv2d(x[clip, :, t], weight, bias, padding=kernel // 2, groups=6)
    assert close(conv(x, alpha, bias_alpha), expected)
    assert close(grouped_form(conv)(x, alpha, bias_alpha), expected)
    assert close(conv(x, alpha), conv(x, alpha, torch.ones_like(alpha)))


def test_depthwise_keeps_channels_last_order() -> None:
    conv, x = (
        ops.DepthwiseTAdaConv2d(6, 7),
        torch.randn(2, 6, 3, 5, 4).contiguous(memory_format=torch.channels_last_3d),
    )
    alpha, bias_alpha = torch.randn(2, 2, 6, 3, 1, 1)
    assert conv(x, alpha, bias_alpha).is_contiguous(memory_format=torch.channels_last_3d)


def test_depthwise_refuses_a_calibration_that_would_broadcast() -> None:
    conv, x, alpha = ops.DepthwiseTAdaConv2d(6, 7), torch.zeros(2, 6, 3, 8, 8), torch.ones(2, 6, 3, 1, 1)
    for wrong in (alpha[:1], alpha[:, :, :1], alpha[:, :1]):
        with pytest.raises(ValueError, match="calibration has shape"):
            conv(x, wrong, alpha)
        with pytest.raises(ValueError, match="calibration has shape"):
            conv(x, alpha, wrong)


def test_3d_calibration_belongs_to_the_output_frame() -> None:
    """Scaling each input frame by its own calibration, the easy mistake, gives something else."""
    torch.manual_seed(0)
    conv = ops.TAdaConv3d(4, 6, (3, 3, 3), padding=(1, 1, 1))
    x, alpha = torch.randn(1, 4, 5, 6, 6), 1 + 0.3 * torch.randn(1, 4, 5, 1, 1)
    mistaken = F.conv3d(x * alpha, conv.weight[0, 0], padding=1)
    assert not close(conv(x, alpha), mistaken)


def test_gradients_equal_those_of_the_definition() -> None:
    torch.manual_seed(0)
    conv = ops.TAdaConv2d(5, 7, (1, 3, 3), padding=(0, 1, 1))
    x, alpha = torch.randn(2, 5, 4, 6, 6), 1 + 0.3 * torch.randn(2, 5, 4, 1, 1)
    gradients = []
    for compute in (conv, lambda *inputs: grouped_tadaconv2d(conv, *inputs)):
        leaves = [x.clone().requires_grad_(), alpha.clone().requires_grad_()]
        loss = compute(*leaves).square().sum()
        gradients.append(torch.autograd.grad(loss, [*leaves, conv.weight]))
    assert all(close(ours, theirs) for ours, theirs in zip(*gradients, strict=True))


def test_fresh_routing_calibrates_by_exactly_one() -> None:
    assert torch.equal(ops.RouteFuncMLP(8)(torch.randn(2, 8, 5, 4, 4)), torch.ones(2, 8, 5, 1, 1))


@pytest.mark.parametrize(("options", "start"), [({}, 1.0), ({"start": 0.0}, 0.0)])
def test_attention_routing_calibrates_by_what_it_starts_with(options: dict[str, float], start: float) -> None:
    for alpha in ops.RouteFuncwTransformer(8, head_dim=4, **options)(torch.randn(2, 8, 5, 4, 4)):
        assert torch.equal(alpha, torch.full((2, 8, 5, 1, 1), start))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"kernel_size": (3, 3, 3), "padding": (1, 1, 1)}, "temporal extent"),
        ({"kernel_size": (1, 3, 3), "stride": 2}, "temporal stride"),
        ({"kernel_size": (1, 3, 3), "padding": (1, 1, 1)}, "pads half of it"),
        ({"kernel_size": (1, 3, 3), "groups": 3}, "groups"),
        ({"kernel_size": (1, 3, 3), "cal_dim": "both"}, "cal_dim"),
    ],
)
def test_settings_without_meaning_are_refused(arguments: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ops.TAdaConv2d(4, 8, **arguments)


def test_calibration_of_another_clip_is_refused() -> None:
    conv = ops.TAdaConv2d(4, 8, (1, 3, 3), padding=(0, 1, 1))
    with pytest.raises(ValueError, match="calibration has shape"):
        conv(torch.zeros(2, 4, 3, 5, 5), torch.ones(1, 4, 3, 1, 1))
