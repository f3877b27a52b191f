"""The operator against its literal definition, and the properties that make it usable."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from benchmarks.grouped import grouped_tadaconv2d, grouped_tadaconv3d
from tadacli.models import ops

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
    assert close(conv(x, alpha), grouped_tadaconv3d(conv, x, alpha))


def test_3d_calibration_belongs_to_the_output_frame() -> None:
    """Scaling each input frame by its own calibration, the easy mistake, gives something else."""
    torch.manual_seed(0)
    conv = ops.TAdaConv3d(4, 6, (3, 3, 3), padding=(1, 1, 1))
    x, alpha = torch.randn(1, 4, 5, 6, 6), 1 + 0.3 * torch.randn(1, 4, 5, 1, 1)
    mistaken = nn.functional.conv3d(x * alpha, conv.weight[0, 0], padding=1)
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


@pytest.mark.parametrize("routing", [ops.RouteFuncMLP(8), ops.RouteFuncwTransformer(8, head_dim=4)])
def test_fresh_routing_calibrates_by_exactly_one(routing: nn.Module) -> None:
    assert torch.equal(routing(torch.randn(2, 8, 5, 4, 4)), torch.ones(2, 8, 5, 1, 1))


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
def test_aggregation_in_evaluation_equals_the_norms_it_folds(frames: int) -> None:
    torch.manual_seed(0)
    norm, average_norm = ops.FrameBatchNorm(6), ops.FrameBatchNorm(6)
    for each in (norm, average_norm):
        nn.init.normal_(each.weight)
        nn.init.normal_(each.bias)
        each.running_mean.normal_()
        each.running_var.uniform_(0.5, 2)
        each.eval()
    x = torch.randn(2, 6, frames, 4, 4)
    average = nn.functional.pad(x, (0, 0, 0, 0, 1, 1)).unfold(2, 3, 1).mean(-1)
    norms = [nn.BatchNorm3d(6).eval() for _ in range(2)]
    for target, source in zip(norms, (norm, average_norm), strict=True):
        target.load_state_dict(source.state_dict())
    expected = norms[0](x) + norms[1](average)
    assert close(ops.aggregate_over_time(x, norm, average_norm), expected)


def test_batch_norm_trains_like_the_3d_one() -> None:
    torch.manual_seed(0)
    ours, theirs = ops.FrameBatchNorm(4).train(), nn.BatchNorm3d(4).train()
    x = torch.randn(2, 4, 3, 5, 5)
    assert close(ours(x), theirs(x))
    assert close(ours.running_var, theirs.running_var)


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
