"""The layers around TAdaConv against PyTorch's own, and what they do to memory and gradients."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.grouped import grouped_form
from tadacli.models import build, layers

TOLERANCE = 2e-5


def close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    return bool((actual - expected).norm() <= TOLERANCE * expected.norm())


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
@pytest.mark.parametrize("channels_last", [False, True])
def test_sum_of_neighbours_and_its_derivatives(frames: int, channels_last: bool) -> None:
    x = torch.randn(2, 3, frames, 2, 2, dtype=torch.float64)
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last_3d)
    before = x.clone()
    out = layers.sum_of_neighbours(x)
    assert torch.allclose(out, F.pad(x, (0, 0, 0, 0, 1, 1)).unfold(2, 3, 1).sum(-1))
    assert out.stride() == x.stride()
    assert torch.equal(x, before)
    x.requires_grad_()
    assert torch.autograd.gradcheck(layers.sum_of_neighbours, x)
    assert torch.autograd.gradgradcheck(layers.sum_of_neighbours, x)


def test_relu_leaves_what_autograd_needs_and_makes_no_copy_of_a_gradient() -> None:
    frames = torch.randn(6, 4, 5, 5, requires_grad=True)
    residual = torch.randn(2, 4, 3, 5, 5, requires_grad=True)
    x = layers.unfold_time(frames * 2, 2)
    kept = x.detach().clone()
    out = layers.relu(x, residual=residual)
    assert torch.equal(x, kept)
    assert torch.equal(out, (kept + residual).clamp(min=0))
    out.sum().backward()
    assert torch.equal(residual.grad, (kept + residual > 0).float())
    assert torch.equal(frames.grad, 2 * layers.fold_time(residual.grad))
    assert "CopySlices" not in _operations(layers.relu(layers.unfold_time(frames * 2, 2)).sum())
    with torch.no_grad():
        assert torch.equal(layers.relu(x, residual=residual), out)


@pytest.mark.parametrize("architecture", ["tada2d_r50", "r2plus1d_tiny", "tadaconvnext_tiny", "tadaconvnextv2_tiny"])
def test_a_training_step_changes_no_view_in_place(architecture: str) -> None:
    """Each such change copies a whole gradient: a third of the time of a step of TAda2D."""
    with torch.device("meta"):
        network = build(architecture, num_classes=3).train()
        loss = network(torch.empty(2, 3, 4, 32, 32)).sum()
    assert "CopySlices" not in _operations(loss)


def _operations(loss: torch.Tensor) -> set[str]:
    """Names of the steps of the backward pass."""
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        step = waiting.pop()
        if step is not None and step not in seen:
            seen.add(step)
            waiting += [before for before, _ in step.next_functions]
    return {step.name() for step in seen}


def test_layers_around_quick_gelu() -> None:
    torch.manual_seed(0)
    first, second, x = nn.Linear(4, 12), nn.Linear(12, 6), torch.randn(2, 3, 4)
    wide = first(x)
    expected = second(wide * torch.sigmoid(1.702 * wide))
    assert close(layers.quick_gelu_layers(x, first, second), expected)
    assert close(second(layers.quick_gelu(wide)), expected)
    with torch.inference_mode():
        assert close(layers.quick_gelu_layers(x, first, second), expected)


@pytest.mark.parametrize("shape", [(2, 6, 5), (2, 6, 5, 4, 3)])
def test_channel_norm(shape: tuple[int, ...]) -> None:
    norm, x = layers.ChannelNorm(6, eps=1e-3), torch.randn(shape)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    centred = x - x.mean(dim=1, keepdim=True)
    scale, shift = (values.view(-1, *[1] * (len(shape) - 2)) for values in (norm.weight, norm.bias))
    expected = centred / (x.var(dim=1, unbiased=False, keepdim=True) + 1e-3).sqrt() * scale + shift
    assert close(norm(x), expected)
    assert close(grouped_form(norm)(x), expected)


@pytest.mark.parametrize("frames", [1, 2, 3, 8])
def test_aggregation_in_evaluation_equals_the_norms_it_folds(frames: int) -> None:
    torch.manual_seed(0)
    norm, average_norm = layers.FrameBatchNorm(6), layers.FrameBatchNorm(6)
    for each in (norm, average_norm):
        nn.init.normal_(each.weight)
        nn.init.normal_(each.bias)
        each.running_mean.normal_()
        each.running_var.uniform_(0.5, 2)
        each.eval()
    x = torch.randn(2, 6, frames, 4, 4)
    average = F.pad(x, (0, 0, 0, 0, 1, 1)).unfold(2, 3, 1).mean(-1)
    norms = [nn.BatchNorm3d(6).eval() for _ in range(2)]
    for target, source in zip(norms, (norm, average_norm), strict=True):
        target.load_state_dict(source.state_dict())
    expected = norms[0](x) + norms[1](average)
    assert close(layers.aggregate_over_time(x, norm, average_norm), expected)
    with torch.no_grad():
        for clip in (x, x.contiguous(memory_format=torch.channels_last_3d)):
            assert close(layers.aggregate_over_time(clip, norm, average_norm), expected)
            assert close(layers.aggregate_over_time(clip, norm, average_norm, with_relu=True), expected.clamp(min=0))


def test_batch_norm_trains_like_the_3d_one() -> None:
    torch.manual_seed(0)
    ours, theirs = layers.FrameBatchNorm(4).train(), nn.BatchNorm3d(4).train()
    x = torch.randn(2, 4, 3, 5, 5)
    assert close(ours(x), theirs(x))
    assert close(ours.running_var, theirs.running_var)


@pytest.mark.parametrize("with_residual", [False, True])
def test_fewer_passes_in_training_give_the_same_bits(with_residual: bool) -> None:
    torch.manual_seed(0)
    x, other = (torch.randn(2, 8, 3, 6, 5).contiguous(memory_format=torch.channels_last_3d) for _ in range(2))

    def found(fewer: bool) -> list[torch.Tensor]:
        norm = layers.FrameBatchNorm(8)
        own, residual = x.clone().requires_grad_(), other.clone().requires_grad_()
        out = own * 1.5  # what is not a leaf may be written over
        if fewer:
            out = norm.with_relu(out, residual=residual if with_residual else None)
            means = layers.frame_descriptors(out)
        else:
            out = norm(out)
            out = F.relu(out + residual if with_residual else out)
            means = F.adaptive_avg_pool2d(layers.fold_time(out), 1).view(2, 3, 8).transpose(1, 2)
        ((out * means[..., None, None]).square().sum() + means.sum()).backward()
        gradients = [own.grad, residual.grad if with_residual else None, norm.weight.grad, norm.bias.grad]
        return [out, means, norm.running_var, *(each for each in gradients if each is not None)]

    assert all(torch.equal(one, plain) for one, plain in zip(found(True), found(False), strict=True))


def test_means_of_frames_in_bfloat16_are_kept_in_single_precision() -> None:
    x = (1 + torch.rand(2, 5, 3, 40, 40)).to(torch.bfloat16).contiguous(memory_format=torch.channels_last_3d)
    means = layers.frame_descriptors(x)
    assert means.dtype == torch.bfloat16
    # Sums of so many numbers of eight bits would be off by tens of percent.
    assert torch.allclose(means.float(), x.float().mean(dim=(3, 4)), rtol=2**-7)


@pytest.mark.parametrize("batch", [1, 3])
def test_time_as_height_says_its_memory_order(batch: int) -> None:
    x = layers.unfold_time(torch.randn(batch * 4, 6, 5, 3).contiguous(memory_format=torch.channels_last), batch)
    pixels = layers.time_as_height(x)
    assert pixels.data_ptr() == x.data_ptr()
    assert torch.equal(pixels, x.flatten(3))
    assert pixels.stride() == (6 * 15 * 4, 1, 6 * 15, 6)


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_what_follows_a_convolution_is_the_same_in_one_pass(size, dtype, memory_format) -> None:
    torch.manual_seed(0)
    x, residual = torch.randn(3, 16, size, size), torch.randn(3, 32, size, size)
    weight, bias = torch.randn(32, 16, 1, 1) / 4, torch.randn(32)
    x, residual, weight, bias = (each.to(dtype) for each in (x, residual, weight, bias))
    x, residual = x.contiguous(memory_format=memory_format), residual.contiguous(memory_format=memory_format)
    plain = F.conv2d(x.double(), weight.double(), bias.double())
    expected, grown = plain.clamp(min=0), (plain + residual.double()).clamp(min=0)
    tolerance = 0.02 if dtype == torch.bfloat16 else 1e-5
    with torch.no_grad():
        for found, wanted in (
            (layers.conv2d(x, weight, bias), plain),
            (layers.conv2d(x, weight, bias, with_relu=True), expected),
            (layers.conv2d(x, weight, bias, with_relu=True, residual=residual.clone()), grown),
        ):
            assert found.dtype == dtype
            assert (found.double() - wanted).norm() <= tolerance * wanted.norm()
    kept = residual.clone()
    layers.conv2d(x, weight.requires_grad_(), bias, with_relu=True, residual=residual).sum().backward()
    assert torch.equal(residual, kept), "autograd may need it"


GRADIENTS = """
import torch
from tadacli.models.layers import conv2d

torch.set_num_threads(1)
for channels in (1, 3, 4, 7, 8):
    x = torch.randn(8, channels, 32, 32).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(8, channels, 1, 1, requires_grad=True)
    for _ in range(3):
        (gradient,) = torch.autograd.grad(conv2d(x, weight, None, stride=(2, 2)).square().sum(), weight)
    out = torch.einsum("nchw,oc->nohw", x[:, :, ::2, ::2].double(), weight.detach().double()[:, :, 0, 0])
    expected = 2 * torch.einsum("nohw,nchw->oc", out, x[:, :, ::2, ::2].double())
    assert (gradient.double()[:, :, 0, 0] - expected).norm() <= 1e-5 * expected.norm(), channels
"""


def test_a_short_cut_of_few_channels_learns_on_processors_without_avx_512() -> None:
    """There oneDNN writes past its memory; so it is tried in a process that may crash or hang."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", GRADIENTS], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
