"""Snippets of a video that go by once, as windows of a network that proposes spans ask for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tadacli.detection.row_files import RowFile
from tadacli.models.bmn_head import BMNHead


class PassingSnippets:
    """Scaled features (N, C) of a video in order, of which no more is in memory than a window and a piece.

    Rows are asked for by slices whose starts do not fall. What a piece says of the classes is kept in a temporary file
    when the piece comes by.

    Args:
        head: In eval mode.
        pieces: The features of the steps in order.
        known: (N,), which of them are there.
    """

    def __init__(self, head: BMNHead, pieces: Iterable[NDArray[np.float32]], known: NDArray[np.bool_]) -> None:
        self._head, self._pieces, self._known = head, iter(pieces), known
        first = next(head.parameters())
        self._device, self.dtype = first.device, first.dtype
        self.shape: Sequence[int] = (len(known), len(head.scaling.mean))
        self._held: list[Tensor] = []
        self._first = self._end = 0  # of the rows that are held
        self._files = ExitStack()
        self._logits = {name: self._files.enter_context(RowFile()) for name in head.num_classes}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Tensor:
        """Features (n, C) of the rows from the start to before the end of a slice, as many as there are."""
        start, end = rows.start, min(rows.stop, len(self))
        while self._end < end:
            self._take()
        while self._held and self._first + len(self._held[0]) <= start:
            self._first += len(self._held.pop(0))
        if start < self._first:
            raise ValueError(f"row {start} has gone by")
        return torch.cat(self._held)[start - self._first : end - self._first]

    def logits(self) -> Mapping[str, KeptRows]:
        """Logits (N, 1, K) by head, of all snippets."""
        while self._end < len(self):
            self._take()
            self._first += sum(map(len, self._held))
            self._held.clear()
        return {name: KeptRows(file, self._head.num_classes[name]) for name, file in self._logits.items()}

    def _take(self) -> None:
        values = next(self._pieces, None)
        if values is None:
            raise ValueError(f"{self._end} features are not those of {len(self)} steps")
        x = torch.from_numpy(np.ascontiguousarray(values.T)[None]).to(self._device)
        known = torch.from_numpy(self._known[None, self._end : self._end + len(values)]).to(self._device)
        with torch.inference_mode():
            scaled = self._head.scaled(x, known)
            for name, logits in self._head.logits(scaled).items():
                self._logits[name].append(logits[0].t().float().cpu().numpy())
        self._held.append(scaled[0].t())
        self._end += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()


class KeptRows:
    """Rows (N, 1, K) in a file, as tensors."""

    dtype = torch.float32

    def __init__(self, file: RowFile, num_columns: int) -> None:
        self._file, self.shape = file, (len(file), 1, num_columns)

    def __len__(self) -> int:
        return len(self._file)

    def __getitem__(self, rows: slice) -> Tensor:
        """Those from the start to before the end of a slice, as many as there are."""
        return torch.from_numpy(self._file.rows(rows.start, rows.stop))[:, None]
