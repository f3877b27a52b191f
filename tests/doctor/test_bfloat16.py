"""What the doctor says of a processor that computes wrong values in bfloat16."""

from __future__ import annotations

import torch

from tadacli.doctor.bfloat16 import check_bfloat16


def convolved(clips: torch.Tensor, kernels: torch.Tensor, stride: int) -> torch.Tensor:
    return torch.nn.functional.conv3d(clips.float(), kernels.float(), stride=(1, stride, stride), padding=1)


def test_wrong_values_are_told_by_their_shapes() -> None:
    """As PyTorch computes them where the output of a strided 3-D convolution is one pixel wide."""

    def spoiled(clips: torch.Tensor, kernels: torch.Tensor, stride: int) -> torch.Tensor:
        found = convolved(clips, kernels, stride)
        return found * 2 if found.shape[-1] == 1 else found

    (finding,) = check_bfloat16(spoiled)
    assert (finding.group, finding.name, finding.status) == ("devices", "bfloat16", "note")
    assert "2x2 with stride 2, 1x1 with stride 1, 1x1 with stride 2" in finding.found
    assert "7x7" not in finding.found
    assert "--dtype float32" in finding.fix


def test_right_values_are_no_finding() -> None:
    assert list(check_bfloat16(convolved)) == []


def test_numbers_that_are_none_are_wrong() -> None:
    (finding,) = check_bfloat16(lambda *arguments: convolved(*arguments) * float("nan"))
    assert "14x14 with stride 2" in finding.found
