"""Features and class scores of others: folders with a file for every five seconds of video, as published.

The layout is that of "A Stronger Baseline for Ego-Centric Action Detection" (arXiv 2106.06942). A file such as
`P01_13_0005000_0010000.pkl` holds the rows of the snippets whose centres lie in that time, which the name gives in
milliseconds; one snippet comes every 8 frames of 60 per second, so that files have 37 and 38 rows in turn. Features are
an array (rows, channels); class scores a dictionary of `verb_class` and `noun_class`, the logits of three crops one
beside the other. No file runs code when it is read, and none is read before its rows are asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tadacli.errors import UsageError, VideoError
from tadacli.formats.safe_pickle import load_torch
from tadacli.strict_tables import in_one_line, refusing

SNIPPET_SECONDS, FIRST_CENTRE_SECONDS = 8 / 60, 7 / 60
LENGTHS_FILE = "epic_videos_len.txt"  # NAME.MP4,SECONDS for each video
NUM_CROPS = 3
_CLIP_MS, _LEAST_MS = 5000, 200  # a piece of less than this at the end of a video has no file
_NAME = re.compile(r"(.{1,200})_(\d{7,9})_(\d{7,9})\.pkl", re.DOTALL)
_FLOATS = ("f2", "f4", "f8")
_MOST_BYTES, _MOST_SHOWN = 1 << 26, 3
_CLIPS_IN_MEMORY = 16  # of a window of 53.3 s there are 11 or 12


@dataclass(frozen=True, order=True)
class Clip:
    """A piece of a video that has a file of its own, in milliseconds."""

    start_ms: int
    end_ms: int

    @property
    def num_rows(self) -> int:
        """Snippets whose centre, 7 + 8 i frames of 60 per second after the start of the video, lies in the clip."""
        return num_snippets(self.end_ms) - num_snippets(self.start_ms)

    def file_name(self, video: str) -> str:
        """The name of its file."""
        return f"{video}_{self.start_ms:07d}_{self.end_ms:07d}.pkl"


def num_snippets(end_ms: int) -> int:
    """How many snippets have their centre up to this time of a video."""
    return max(0, (3 * end_ms - 350) // 400 + 1)


def last_ms_of(count: int) -> int:
    """The latest time up to which there are no more than so many snippets."""
    return (400 * count + 349) // 3


def clips_until(end_ms: int) -> Iterator[Clip]:
    """The clips of a video of this length, in order; a piece at its end that is too short has none."""
    for start_ms in range(0, end_ms, _CLIP_MS):
        clip = Clip(start_ms, min(start_ms + _CLIP_MS, end_ms))
        if clip.end_ms - clip.start_ms >= _LEAST_MS:
            yield clip


@dataclass(frozen=True)
class ClipFolder:
    """A folder of such files: the clips of each video in order of time, and the length of each in seconds, if known."""

    path: Path
    clips: Mapping[str, tuple[Clip, ...]]
    lengths: Mapping[str, float]

    def duration_seconds(self, video: str) -> float:
        """The length of a video, of an unlisted one up to the end of its last clip."""
        return self.lengths.get(video, self.clips[video][-1].end_ms / 1000)


def open_clip_folder(path: Path) -> ClipFolder:
    """What a folder holds, by the names of its files; their content is not looked at.

    Args:
        path: The folder. If `epic_videos_len.txt` lies in it, it gives the lengths of the videos.

    Returns:
        Its videos.

    Raises:
        UsageError: There is no such folder, no such file in it, one with another name, or a damaged list of lengths.
    """
    try:
        names = sorted(each.name for each in path.iterdir() if each.suffix == ".pkl")
    except OSError as error:
        raise UsageError(f"the folder {path} cannot be read: {error.strerror}", hint="check the path") from error
    found: dict[str, list[Clip]] = {}
    for name in names:
        parts = _NAME.fullmatch(name)
        if parts is None:
            raise UsageError(
                f"{path} holds {in_one_line(name)}, which is not named VIDEO_STARTms_ENDms.pkl",
                hint="a file holds 5 seconds, such as P01_13_0005000_0010000.pkl; move others away",
            )
        found.setdefault(parts[1], []).append(Clip(int(parts[2]), int(parts[3])))
    if not found:
        raise UsageError(
            f"{path} holds no feature files", hint="they are named VIDEO_STARTms_ENDms.pkl, one for every 5 seconds"
        )
    return ClipFolder(path, {video: tuple(sorted(clips)) for video, clips in found.items()}, _read_lengths(path))


def _read_lengths(folder: Path) -> dict[str, float]:
    file = folder / LENGTHS_FILE
    if not file.is_file():
        return {}
    with refusing(file, UsageError):
        lines = _read(file).decode().split("\n")
        pairs = [line.strip().split(",") for line in lines if line.strip()]
        lengths = {name.removesuffix(".MP4"): float(seconds) for name, seconds in pairs}
    if bad := [name for name, seconds in lengths.items() if not 0 < seconds < float("inf")]:
        raise UsageError(f"{file}: the length of {in_one_line(bad[0])} is no positive number")
    return lengths


def clips_of(video: str, folders: Sequence[ClipFolder]) -> tuple[Clip, ...]:
    """The clips of a video, which every folder has, without a hole from its start to its end.

    Args:
        video: Its name.
        folders: The folders; the first one says what the others need to have, and how long the video is.

    Returns:
        The clips in order of time.

    Raises:
        VideoError: A file is missing, or is there that contradicts the others.
    """
    first = folders[0]
    clips = first.clips[video]
    for before, clip in pairwise((Clip(0, 0), *clips)):
        if clip.start_ms != before.end_ms:
            what = "lacks the time" if clip.start_ms > before.end_ms else "has twice the time"
            raise VideoError(
                f"{first.path} {what} from {min(before.end_ms, clip.start_ms)} to "
                f"{max(before.end_ms, clip.start_ms)} ms of {in_one_line(video)}",
                hint="there is one file for every 5 seconds",
            )
        if clip.end_ms - clip.start_ms > _CLIP_MS or (clip.end_ms - clip.start_ms < _CLIP_MS and clip is not clips[-1]):
            name = in_one_line(clip.file_name(video))
            raise VideoError(f"{first.path}: {name} is not of 5 seconds, and not the last one")
    length_ms = first.lengths.get(video, clips[-1].end_ms / 1000) * 1000
    if abs(length_ms - clips[-1].end_ms) >= _LEAST_MS:
        raise VideoError(
            f"the files of {in_one_line(video)} in {first.path} end at {clips[-1].end_ms} ms, and {LENGTHS_FILE} says "
            f"that it lasts {length_ms:.0f} ms",
            hint="get the files that are missing, or correct the list",
        )
    for other in folders[1:]:
        there = set(other.clips.get(video, ()))
        if missing := [in_one_line(clip.file_name(video)) for clip in clips if clip not in there]:
            shown = ", ".join(missing[:_MOST_SHOWN]) + (", ..." if len(missing) > _MOST_SHOWN else "")
            raise VideoError(f"{len(missing)} of {len(clips)} files of it are not in {other.path}: {shown}")
    return clips


class ClipRows:
    """Values (N, ...) of the snippets of a video, read from the files of its clips when they are asked for.

    Args:
        clips: The clips of the video.
        shape: That of the values of one snippet.
        dtype: Of the values.
        load: Gives the values (rows, ...) of a clip.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        shape: tuple[int, ...],
        *,
        dtype: torch.dtype,
        load: Callable[[Clip], NDArray[np.floating]],
    ) -> None:
        self._clips, self.dtype = clips, dtype
        self.shape = (num_snippets(clips[-1].end_ms), *shape)
        self._load = lru_cache(maxsize=_CLIPS_IN_MEMORY)(load)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Tensor:
        """The values of some snippets that follow each other."""
        first, last, _ = rows.indices(len(self))
        parts = []
        for clip in self._clips:
            start = num_snippets(clip.start_ms)
            if start < last and start + clip.num_rows > first:
                values = self._load(clip)[max(first - start, 0) : last - start]
                parts.append(torch.from_numpy(values).to(self.dtype))
        return torch.cat(parts) if parts else torch.zeros(0, *self.shape[1:], dtype=self.dtype)


def feature_rows(
    video: str, folders: Sequence[ClipFolder], clips: Sequence[Clip], *, num_channels: int, dtype: torch.dtype
) -> ClipRows:
    """The features (N, C) of a video; those of several folders stand beside each other.

    Args:
        video: Its name.
        folders: The folders, in the order of the channels.
        clips: The clips of the video.
        num_channels: C, how many there need to be together.
        dtype: Of the values.

    Returns:
        The rows. Asking for some raises `VideoError` where a file is missing or damaged, or has other than
        the rows of its clip, other channels, or values that are not finite.
    """

    def load(clip: Clip) -> NDArray[np.floating]:
        files = [folder.path / clip.file_name(video) for folder in folders]
        arrays = [_rows(_value(file), clip, file, is_last=clip == clips[-1]) for file in files]
        counts = [array.shape[1] for array in arrays]
        if sum(counts) != num_channels:
            text = " + ".join(map(str, counts)) + (f" = {sum(counts)}" if len(counts) > 1 else "")
            raise VideoError(
                f"{_shown(files[0])} has {text} channels, and the model takes {num_channels}",
                hint="give the folder, or all folders, of the features that the model was trained on",
            )
        return np.concatenate(arrays, axis=1)

    return ClipRows(clips, (num_channels,), dtype=dtype, load=load)


def logit_rows(
    video: str, folder: ClipFolder, clips: Sequence[Clip], *, head: str, num_classes: int, dtype: torch.dtype
) -> ClipRows:
    """The logits (N, 3, K) of a classifier for the three crops of each snippet of a video.

    Args:
        video: Its name.
        folder: The folder of class scores.
        clips: The clips of the video.
        head: "verb" or "noun".
        num_classes: K.
        dtype: Of the values.

    Returns:
        The rows. Asking for some raises `VideoError` as for `feature_rows`.
    """

    def load(clip: Clip) -> NDArray[np.floating]:
        file, key = folder.path / clip.file_name(video), f"{head}_class"
        value = _value(file)
        if not isinstance(value, dict) or key not in value:
            raise VideoError(
                f"{_shown(file)} holds no {key}", hint="files of class scores hold `verb_class` and `noun_class`"
            )
        rows = _rows(value[key], clip, file, is_last=clip == clips[-1])
        if rows.shape[1] != NUM_CROPS * num_classes:
            raise VideoError(
                f"{_shown(file)} has {rows.shape[1]} values of {key}, not {NUM_CROPS} crops x {num_classes} classes"
            )
        return rows.reshape(len(rows), NUM_CROPS, num_classes)

    return ClipRows(clips, (NUM_CROPS, num_classes), dtype=dtype, load=load)


def _rows(value: object, clip: Clip, file: Path, *, is_last: bool) -> NDArray[np.floating]:
    """The values (rows, columns) of a clip; as published, a last clip may have a row too many, which is left out."""
    array = value.numpy() if isinstance(value, Tensor) and value.dtype != torch.bfloat16 else value
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.str[1:] not in _FLOATS:
        raise VideoError(f"{_shown(file)} holds no array (rows, columns) of floating-point numbers")
    num_rows = clip.num_rows
    if is_last and len(array) == num_rows + 1:
        array = array[:num_rows]
    if len(array) != num_rows:
        raise VideoError(
            f"{_shown(file)} has {len(array)} rows, and {num_rows} snippets have their centre in its time",
            hint="there is a snippet every 8 frames of 60 per second, so that files have 37 and 38 rows in turn",
        )
    if not np.isfinite(array).all():
        raise VideoError(f"{_shown(file)} holds values that are not finite")
    return np.array(array, dtype=array.dtype.newbyteorder("="))  # as PyTorch takes it: native, and to be written to


def _value(file: Path) -> object:
    with refusing(_shown(file), VideoError):
        return load_torch(_read(file))


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it is larger than {_MOST_BYTES >> 20} MiB")
    return content


def _shown(file: Path) -> str:
    return in_one_line(str(file), most=200)
