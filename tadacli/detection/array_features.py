"""Features of other programs: an array (N, C) a video, as ActionFormer and OpenTAD take it, with times by counting.

Such a file does not say when its rows are: row i stands for frame `i * stride + offset`, at so many frames a second.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.array_files import read_arrays, shown
from tadacli.detection.features import VideoFeatures
from tadacli.errors import UsageError
from tadacli.strict_tables import refusing

_MEMBER = "feats"  # of a .npz, as both programs name it
_FLOATS = ("f2", "f4", "f8")


def read_array_features(
    path: str | os.PathLike[str],
    *,
    fps: float,
    stride_frames: float,
    window_frames: float,
    offset_frames: float | None = None,
    duration_seconds: float | None = None,
) -> VideoFeatures:
    """The features in a .npy, or in the array `feats` of a .npz, with the times that their settings say.

    Args:
        path: The file; it is read without running code.
        fps: Frames a second that the other numbers count.
        stride_frames: From one row to the next: `feat_stride` of ActionFormer, `feature_stride` of OpenTAD.
        window_frames: What one row was made of: `num_frames` of ActionFormer.
        offset_frames: The frame that the first row stands for: `offset_frames` of OpenTAD; by default the middle of the
            first window, as ActionFormer has it.
        duration_seconds: Length of the video; by default up to the end of the last window.

    Returns:
        The features (N, C), as float32; without a contract, as the file has none.

    Raises:
        UsageError: The numbers are none, or the file is missing, damaged, or holds something else.
    """
    offset = window_frames / 2 if offset_frames is None else offset_frames
    if not all(0 < each < np.inf for each in (fps, stride_frames, window_frames)) or not 0 <= offset < np.inf:
        raise UsageError(
            f"features of {window_frames:g} frames, every {stride_frames:g} from {offset:g} on, at {fps:g} a second "
            "cannot be laid out",
            hint="give the numbers of the program that made them, all above zero",
        )
    values = _values(Path(path))
    centres: NDArray[np.float64] = (np.arange(len(values), dtype=np.float64) * stride_frames + offset) / fps
    half = window_frames / fps / 2
    spans = np.stack([np.maximum(centres - half, 0), centres + half], axis=1)
    end = float(spans[-1, 1]) if len(spans) else 0.0
    with refusing(shown(path), UsageError):
        return VideoFeatures(
            path=os.fspath(path),
            values=values,
            spans=spans,
            centres=centres,
            stride_seconds=stride_frames / fps,
            duration_seconds=end if duration_seconds is None else duration_seconds,
            gaps=(),
            contract=None,
        )


def _values(path: Path) -> NDArray[np.float32]:
    if path.suffix.lower() == ".npz":
        with read_arrays(path, content="features", made_by="a program that writes an array `feats`") as arrays:
            return _rows(arrays[_MEMBER])
    try:
        with path.open("rb") as stream, refusing(shown(path), UsageError):
            # The header alone says how much memory is asked for: as much as there are bytes, or it is not believed.
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            if int(np.prod(shape, dtype=object)) * dtype.itemsize > os.fstat(stream.fileno()).st_size:
                raise ValueError(f"its header promises more than it holds: {dtype} {shape}")
            stream.seek(0)
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
            return _rows(array)
    except OSError as error:
        raise UsageError(f"{shown(path)} cannot be read: {error.strerror or error}") from error


def _rows(array: NDArray[Any]) -> NDArray[np.float32]:
    if array.ndim != 2 or array.dtype.str[1:] not in _FLOATS:
        raise ValueError(f"it holds {array.dtype} {array.shape}, not floating-point numbers (rows, columns)")
    return np.ascontiguousarray(array, dtype=np.float32)
