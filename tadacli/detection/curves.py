"""Curves of scores over time, for drawing, with so few cells that a long video's are as small as a short one's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

MAX_CURVE_CELLS = 1500

Number = TypeVar("Number", np.float32, np.float64)


@dataclass(frozen=True, eq=False)
class ClassCurve:
    """What was thresholded for one class and one window length (`scale`), or what a head said of it, for drawing.

    `values` (N,) hold in the cells [edges[i], edges[i + 1]), in seconds; NaN where nothing is known of the cell.
    `levels` are the scores that a segment of the class reaches somewhere and, where that matters, holds throughout;
    none where segments are not made of the curve itself.
    """

    label: str
    index: int
    scale: int
    edges: NDArray[np.float64]
    values: NDArray[np.float64]
    levels: tuple[float, ...]


def thinned(edges: NDArray[np.float64], values: NDArray[Number]) -> tuple[NDArray[np.float64], NDArray[Number]]:
    """Curves with at most `MAX_CURVE_CELLS` cells, each as high as the highest it stands for.

    Args:
        edges: (N + 1,), rising.
        values: (N,), or (K, N) of K curves; NaN where nothing is known.

    Returns:
        The edges and values of the cells; one is NaN if all that it stands for are.
    """
    num_cells = values.shape[-1]
    group = -(-num_cells // MAX_CURVE_CELLS)
    if group <= 1:
        return edges, values
    starts = np.arange(0, num_cells, group)
    highest: NDArray[Number] = np.fmax.reduceat(values, starts, axis=-1)  # fmax passes NaN over
    return edges[np.append(starts, num_cells)], highest
