"""Windows of sequences as the boundary-matching network is trained on them: even ones, in which whole actions lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tadacli.errors import UsageError
from tadacli.results import out_of
from tadacli.training.clips import derived_seed
from tadacli.training.heads.proposal_objective import WHOLE
from tadacli.training.heads.sequences import FeatureWindow, LabelledSequence


def too_long(sequences: Sequence[LabelledSequence], *, max_duration_steps: int) -> tuple[str, ...]:
    """What to say of segments that are longer than any proposal; nothing where there are none."""
    lengths = np.concatenate([(each.spans[:, 1] - each.spans[:, 0]) / each.grid.stride_seconds for each in sequences])
    count = int((lengths > max_duration_steps).sum())
    if not count:
        return ()
    seconds = max_duration_steps * sequences[0].grid.stride_seconds
    return (
        f"{out_of(count, len(lengths), 'segments', f'last longer than {seconds:.3g} s')}, which is as much as the head "
        "finds: max_duration_bins and num_bins, twice as many, change that",
    )


class ProposalWindows:
    """Windows with an action that lies within them, and all windows of sequences without any action.

    As published, windows begin at even steps, the same ones in every epoch.

    Args:
        sequences: To train on.
        num_steps: Of a window; the last one of a sequence may have fewer.
        stride_steps: From one window to the next.
        seed: Of the network's noise.

    Raises:
        UsageError: No action lies within a window.
    """

    def __init__(self, sequences: Sequence[LabelledSequence], *, num_steps: int, stride_steps: int, seed: int) -> None:
        self._num_steps, self._seed = num_steps, seed
        every = [(each, first) for each in sequences for first in range(0, len(each.grid), stride_steps)]
        kept = [
            (each, first, is_whole)
            for each, first in every
            for is_whole in [bool((self._cut(each, first).inside > WHOLE).any())]
            if is_whole or not len(each.spans)
        ]
        if not any(is_whole for _, _, is_whole in kept):
            seconds = num_steps * sequences[0].grid.stride_seconds
            raise UsageError(
                f"no segment of the training videos lies within a window of {seconds:.3g} s",
                hint="make longer ones, of twice the longest segments: --set num_bins=400 --set max_duration_bins=200",
            )
        self._places = [(each, first) for each, first, _ in kept]

    def __len__(self) -> int:
        return len(self._places)

    def at(self, epoch: int, number: int) -> tuple[FeatureWindow, int]:
        """A window, and the seed of the network's noise for it in an epoch."""
        sequence, first = self._places[number]
        return self._cut(sequence, first), derived_seed(self._seed, epoch, number, "noise")

    def _cut(self, sequence: LabelledSequence, first: int) -> FeatureWindow:
        grid, end = sequence.grid, first + self._num_steps
        # A step reaches half-way to its neighbours; what lies beyond the steps of a video lies in none of its windows.
        places = np.clip(grid.steps_of(sequence.spans).reshape(-1, 2), -0.5, len(grid) - 0.5)
        cut = np.clip(places, first - 0.5, end - 0.5)
        lengths = places[:, 1] - places[:, 0]
        inside = np.divide(cut[:, 1] - cut[:, 0], lengths, out=np.zeros(len(cut)), where=lengths > 0)
        there = inside > 0
        return FeatureWindow(
            grid.values[first:end].T,
            grid.known[first:end],
            cut[there] - first,
            inside[there],
            {head: numbers[there] for head, numbers in sequence.classes.items()},
            grid.steps_of(sequence.ignored).reshape(-1, 2) - first,
        )
