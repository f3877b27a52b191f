"""Heads over sequences of any length in bounded memory, with what they say of the whole sequence at once.

A sequence goes through layer by layer, and through each layer piece by piece, with as many steps on both sides of a
piece as the layer looks at; what lies between two layers is in temporary files. What a layer takes of the whole
sequence, a mean or the moments of a norm, is worked out first, in double precision. So nothing depends on where pieces
begin but the last digits of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tadacli.detection.row_files import RowFile
from tadacli.models.ensemble import mean_scores, together
from tadacli.models.pyramid import EMBEDDING_REACH, AtPoints, Pyramid, SgpBlock
from tadacli.models.sequence_layers import halved, joined_moments
from tadacli.models.temporal_head import TemporalHead

# A sequence of so many steps goes through at once, and a longer one in pieces of so many; at 8 frames of 60 a second,
# as published, these are nine and two minutes. Small pieces: what is longer takes less memory than what goes at once.
MOST_AT_ONCE, STEPS_IN_PIECE = 4096, 1024

Rows = NDArray[np.float32]
Known = NDArray[np.bool_]


def piece_size(num_steps: int) -> int:
    """How many steps of a sequence go through together."""
    return num_steps if num_steps <= MOST_AT_ONCE else STEPS_IN_PIECE


@dataclass(frozen=True, eq=False)
class LevelPiece:
    """What points of one level that follow each other say: (n,) of `known` and, by head, n points of `said`.

    The first of them is number `first` of its level.
    """

    level: int
    first: int
    said: dict[str, AtPoints]
    known: Tensor


def score_steps(heads: Sequence[TemporalHead], pieces: Iterable[Rows], known: Known) -> RowFile:
    """The scores of each step, of several heads their mean.

    Args:
        heads: Of one shape, in eval mode.
        pieces: The features of the steps in order, `STEPS_IN_PIECE` in each but the last one.
        known: (T,), which of them are there.

    Returns:
        Rows (T, K), to be closed by the caller.
    """
    layers, reach = _Layers(heads[0], known), heads[0].reach
    scores = RowFile()
    try:
        with torch.inference_mode(), layers.files:
            embedded = layers.stored(pieces, [head.embedded for head in heads], reach=0)
            windows = [layers.windows(each.pieces(max(STEPS_IN_PIECE, reach)), reach=reach) for each in embedded]
            for of_heads in zip(*windows, strict=True):
                found = [
                    head.scores_of(head.logits(window.x, window.known), window.known)[:, :, window.core()]
                    for head, window in zip(heads, of_heads, strict=True)
                ]
                scores.append(_rows(mean_scores(found)))
    except BaseException:
        scores.close()
        raise
    return scores


def pieces_of_levels(
    heads: Sequence[Pyramid], pieces: Iterable[Rows], known: Known
) -> Generator[LevelPiece, None, None]:
    """What the points of a pyramid say, or of several together, level after level, each in order of time.

    Args:
        heads: Of one shape, in eval mode.
        pieces: The features of the steps in order, `STEPS_IN_PIECE` in each but the last one.
        known: (T,), which of them are there; T is a multiple of the heads' `step_multiple`.

    Yields:
        The points of a level, piece by piece.
    """
    layers = _Layers(heads[0], known)
    with layers.files:
        with torch.inference_mode():
            of_heads = layers.stored(pieces, [head.embedded for head in heads], reach=EMBEDDING_REACH)
            for blocks in zip(*(head.stem for head in heads), strict=True):
                of_heads = layers.through(blocks, of_heads)
        yield from _points(heads, 0, layers, of_heads)
        for level, blocks in enumerate(zip(*(head.branch for head in heads), strict=True), start=1):
            with torch.inference_mode():
                of_heads = layers.through(blocks, layers.halved(of_heads))
            yield from _points(heads, level, layers, of_heads)


def _points(heads: Sequence[Pyramid], level: int, layers: _Layers, x: Sequence[RowFile]) -> Iterator[LevelPiece]:
    first = 0
    windows = [layers.windows(each.pieces(STEPS_IN_PIECE), reach=heads[0].point_reach) for each in x]
    for of_heads in zip(*windows, strict=True):
        core = of_heads[0].core()
        said = []
        with torch.inference_mode():
            for head, window in zip(heads, of_heads, strict=True):
                at_level = head.at_level(level, window.x, window.known).items()
                said.append({name: AtPoints(*(part[0, core].float().cpu() for part in at)) for name, at in at_level})
        yield LevelPiece(level, first, together(said), of_heads[0].known[0, core].cpu())
        first += of_heads[0].count


@dataclass(frozen=True, eq=False)
class _Window:
    """Steps (1, C, n) with which of them are known (1, n): `count` of them after `before` others that lie around."""

    x: Tensor
    known: Tensor
    before: int
    count: int

    def core(self, *, stride: int = 1) -> slice:
        """Where the steps themselves are, in what has one of `stride` steps."""
        return slice(self.before // stride, (self.before + self.count) // stride)


class _Layers:
    """Takes one sequence through layers of several heads; `known` are the steps of what went through last.

    `files` are those in use.
    """

    def __init__(self, head: torch.nn.Module, known: Known) -> None:
        self.known, self.files = known, ExitStack()
        self._device = next(head.parameters()).device

    def windows(self, pieces: Iterable[Rows], *, reach: int = 0) -> Iterator[_Window]:
        """Each piece with up to `reach` steps before and after it; none but the last has fewer steps than that."""
        first = 0
        for rows, before, count in _with_neighbours(pieces, reach):
            known = self.known[first - before : first - before + len(rows)]
            x = torch.from_numpy(np.ascontiguousarray(rows.T)[None]).to(self._device)
            yield _Window(x, torch.from_numpy(known[None]).to(self._device), before, count)
            first += count

    def stored(
        self,
        pieces: Iterable[Rows],
        layers: Sequence[Callable[[Tensor, Tensor], Tensor]],
        *,
        reach: int,
        stride: int = 1,
    ) -> list[RowFile]:
        """What each of the layers makes of the same steps, one of every `stride`, in new files."""
        kept = [self.files.enter_context(RowFile()) for _ in layers]
        for window in self.windows(pieces, reach=reach):
            for file, layer in zip(kept, layers, strict=True):
                file.append(_rows(layer(window.x, window.known)[:, :, window.core(stride=stride)]))
        return kept

    def halved(self, of_heads: Sequence[RowFile]) -> list[RowFile]:
        """Every other step; closes what there was."""
        found = []
        for x in of_heads:
            pieces = x.pieces(STEPS_IN_PIECE)
            found += self.stored(pieces, [lambda x, known: halved(x, known)[0]], reach=2, stride=2)
            x.close()
        self.known = self.known[::2]
        return found

    def through(self, blocks: Sequence[torch.nn.Module], of_heads: Sequence[RowFile]) -> list[RowFile]:
        """What the block of each head makes of its steps; closes what there was."""
        return [self._through(block, x) for block, x in zip(blocks, of_heads, strict=True)]  # type: ignore[arg-type]

    def _through(self, block: SgpBlock, x: RowFile) -> RowFile:
        total: Tensor | float = 0.0
        for window in self.windows(x.pieces(STEPS_IN_PIECE)):
            total = total + block.normed(window.x, window.known).double().sum(dim=2, keepdim=True)
        mean = torch.as_tensor(total / max(int(self.known.sum()), 1)).float()

        def first_half(x: Tensor, known: Tensor) -> Tensor:
            return block.with_surroundings(x, block.normed(x, known), known, mean)

        (mixed,) = self.stored(x.pieces(STEPS_IN_PIECE), [first_half], reach=block.reach)
        x.close()
        each = (block.gn.moments(window.x, window.known) for window in self.windows(mixed.pieces(STEPS_IN_PIECE)))
        moments = joined_moments(list(each))
        (found,) = self.stored(mixed.pieces(STEPS_IN_PIECE), [lambda x, _: block.by_step(x, moments)], reach=0)
        mixed.close()
        return found


def _with_neighbours(pieces: Iterable[Rows], reach: int) -> Iterator[tuple[Rows, int, int]]:
    """(rows, before, count): each piece as `count` rows after `before` of the rows that come before it."""
    held: Rows | None = None
    last: Rows | None = None
    for piece in pieces:
        if held is None:
            held, last = piece[:0], piece
            continue
        assert last is not None
        yield np.concatenate([held, last, piece[:reach]]), len(held), len(last)
        held = np.concatenate([held, last])[len(held) + len(last) - reach :] if reach else piece[:0]
        last = piece
    if last is not None and held is not None:
        yield np.concatenate([held, last]), len(held), len(last)


def _rows(found: Tensor) -> Rows:
    """(1, C, n) as rows (n, C)."""
    rows: Rows = found[0].T.float().cpu().numpy()
    return rows
