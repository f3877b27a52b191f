"""Linear layers for inference: weights packed for oneDNN, and the wide tensor between two of them made in pieces."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tadacli.models.layers import QUICK_GELU

Activation = Literal["none", "gelu", "swish"]  # in oneDNN's words; "swish" is SiLU

PIECE = 2**22  # elements of the wide tensor that is made at a time: it stays in cache, its memory is used again
GPU_PIECE = 2**30  # there it only has to fit: many small products take longer than one


class PackedLinear(nn.Module):
    """A linear layer and an activation for inference.

    On a CPU with oneDNN the weight lies in oneDNN's own order and the activation is applied as products are written.
    Converting the module to another type or device packs it anew. `weight` is (D', D), `bias` (D',).
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, *, activation: Activation = "none") -> None:
        super().__init__()
        self.activation = activation
        self.register_buffer("weight", weight.detach().contiguous())
        self.register_buffer("bias", None if bias is None else bias.detach())
        self._pack()

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D')."""
        if self.weight.is_mkldnn:
            return self._packed_product(x, self.weight)
        out = F.linear(x, self.weight, self.bias)
        if self.activation == "gelu":
            torch.ops.aten.gelu_(out)
        elif self.activation == "swish":
            F.silu(out, inplace=True)
        return out

    def _packed_product(self, x: Tensor, weight: Tensor) -> Tensor:
        algorithm = "none" if self.activation == "gelu" else ""  # by the error function, not by tanh
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, self.bias, self.activation, [], algorithm)
        return out

    def _pack(self) -> None:
        if self.weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
            return
        # Private to torch, and not for every type on every processor: whether they work is found out by one row.
        try:
            packed = torch.ops.mkldnn._reorder_linear_weight(self.weight)
            self._packed_product(self.weight.new_zeros(1, self.weight.shape[1]), packed)
        except (AttributeError, RuntimeError):
            return
        self.weight = packed

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PackedLinear:
        if self.weight.is_mkldnn:
            self.weight = self.weight.to_dense()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._pack()
        return self

    # What oneDNN packed has no storage to copy or to write.

    def __getstate__(self) -> dict[str, object]:
        weight = self.weight.to_dense() if self.weight.is_mkldnn else self.weight
        return {**self.__dict__, "_buffers": {**self._buffers, "weight": weight}}

    def __setstate__(self, state: dict[str, object]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._pack()


class PointwiseLayers(nn.Module):
    """Two linear layers with an activation between for inference, by which a residual stream grows."""

    def __init__(self, first: PackedLinear, second: PackedLinear) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.width = first.weight.shape[0]

    def add_to(self, stream: Tensor, x: Tensor) -> Tensor:
        """Writes `stream` + layers of `x` over `stream`; both (..., D), `stream` contiguous."""
        rows, x = stream.view(-1, stream.shape[-1]), x.reshape(-1, x.shape[-1])
        pieces = num_pieces(len(rows), self.width, x.device)
        for some, of_x in zip(rows.chunk(pieces), x.chunk(pieces), strict=True):
            some.add_(self.second(self.first(of_x)))
        return stream


def quick_gelu_pointwise(first: nn.Linear, second: nn.Linear, *, scale: Tensor | None = None) -> PointwiseLayers:
    """`layers.quick_gelu_layers` for inference, `scale` (D,) times."""
    # QuickGELU(x) = SiLU(1.702 x) / 1.702; the weights take the factors.
    factor = torch.as_tensor(1 / QUICK_GELU) if scale is None else scale / QUICK_GELU
    return PointwiseLayers(
        PackedLinear(first.weight * QUICK_GELU, first.bias * QUICK_GELU, activation="swish"),
        PackedLinear(second.weight * factor[..., None], second.bias if scale is None else second.bias * scale),
    )


def num_pieces(num_rows: int, width: int, device: torch.device) -> int:
    """In how many pieces (num_rows, width) is made on a device."""
    return math.ceil(num_rows * width / (PIECE if device.type == "cpu" else GPU_PIECE))
