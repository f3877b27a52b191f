"""Window scores on disk: the score file, from which segments can be made again."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.array_files import Arrays, about_array, read_arrays
from tadacli.detection.scored_windows import WindowScores
from tadacli.errors import UsageError
from tadacli.files import check_new_files, not_written, require_folder, write_new
from tadacli.formats.video_names import output_names
from tadacli.results import Gap, Note, NoteKind, VideoInfo
from tadacli.specs import spec_from_dict
from tadacli.strict_tables import decode_table

SUFFIX = ".npz"
KIND = "tada window scores 1"
_INTERPOLATED = "interpolated"
_MOST = 1e12  # of a count or a time
_LATER_FACTS = ("notes", "start_timecode", "variable_rate")


def encode_scores(scores: WindowScores) -> bytes:
    """A score file as bytes: a zip of NumPy arrays, and what is known besides as JSON in the array `about`.

    `spans` and `used` are (W, 2) float64 in seconds, `scale` (W,) int64, `scores` or, of a named head,
    `scores_NAME` (W, num_classes) float32; of an adaptive stride `interpolated` (W,) bool.
    """
    about = {
        "kind": KIND,
        "path": scores.path,
        "size_bytes": scores.size_bytes,
        "spec": scores.spec.to_dict(),
        "weights_sha256": scores.weights_sha256,
        "tool_version": scores.tool_version,
        "settings": dict(scores.settings),
        "video": _video_facts(scores.info),
        "range_seconds": list(scores.range_seconds),
        "gaps": [asdict(gap) for gap in scores.gaps],
        "num_windows_planned": scores.num_windows_planned,
        "num_frames_used": scores.num_frames_used,
    }
    if scores.cuts:
        about["cuts"] = list(scores.cuts)
    arrays: dict[str, NDArray[Any]] = {
        f"scores_{name}" if name else "scores": values for name, values in scores.scores.items()
    }
    if scores.interpolated is not None:
        arrays[_INTERPOLATED] = scores.interpolated
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        about=about_array(about),
        spans=scores.spans,
        used=scores.used,
        scale=scores.scale,
        allow_pickle=False,
        **arrays,
    )
    return buffer.getvalue()


def plan_score_files(videos: Sequence[str], target: Path | None, *, replace: bool = False) -> dict[str, Path]:
    """The score file of each video, by path: `target` itself if it names one, else files in that folder.

    Args:
        videos: Paths or URLs of the videos.
        target: A .npz file or a folder, which need not exist; None for no files.
        replace: Whether files that are there already are to be made anew.

    Raises:
        UsageError: Where one file is named for several videos.
        OutputError: For a file that is there already, and for one in a folder that is not there.
    """
    if target is None:
        return {}
    if target.suffix.lower() == SUFFIX and not target.is_dir():
        if len(videos) > 1:
            raise UsageError(
                f"--save-scores {target} is one file, and these are {len(videos)} videos", hint="name a folder"
            )
        files = dict.fromkeys(videos, target)
    else:
        if not target.exists():
            require_folder(target)
        files = {video: target / name for video, name in output_names(videos, SUFFIX).items()}
    check_new_files([*files.values()], may_be_made=target, replace=replace)
    return files


def write_scores(path: Path, scores: WindowScores, *, replace: bool = False) -> None:
    """Write a score file whole, in a folder that is made if need be. Raises `OutputError` as `write_new` does."""
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise not_written(path, error) from error
    write_new(path, encode_scores(scores), replace=replace)


def read_scores(path: str | os.PathLike[str]) -> WindowScores:
    """The window scores of a score file. Raises `UsageError` for a file that is missing or is none."""
    with read_arrays(path, content="scores", made_by="tada detect --save-scores") as arrays:
        return _decode(arrays)


def _decode(arrays: Arrays) -> WindowScores:
    about = arrays.about
    if about["kind"] != KIND:
        raise ValueError(f"it holds {about['kind']!r}")
    spec = spec_from_dict(about["spec"])
    scores = WindowScores(
        path=about["path"],
        size_bytes=about["size_bytes"],
        spec=spec,
        weights_sha256=about["weights_sha256"],
        tool_version=about["tool_version"],
        settings=about["settings"],
        info=_video(about["video"]),
        range_seconds=(about["range_seconds"][0], about["range_seconds"][1]),
        spans=arrays["spans"],
        used=arrays["used"],
        scale=arrays["scale"],
        scores={name: arrays[f"scores_{name}" if name else "scores"] for name in spec.heads},
        gaps=tuple(Gap(**gap) for gap in about["gaps"]),
        num_windows_planned=about["num_windows_planned"],
        num_frames_used=about["num_frames_used"],
        cuts=tuple(about.get("cuts", ())),
        interpolated=arrays.get(_INTERPOLATED),
    )
    _check(scores)
    return scores


def _check(scores: WindowScores) -> None:
    """Raises `ValueError` for values of another type or shape than those that are written, and for absurd ones."""
    decode_table(_Facts, {name: getattr(scores, name) for name in _Facts.__annotations__}, where="about")
    info, count = scores.info, len(scores.scale)
    whole = [info.num_frames, info.height, info.width, scores.num_windows_planned, scores.num_frames_used]
    whole += [] if scores.size_bytes is None else [scores.size_bytes]
    seconds = [info.duration_seconds, info.start_seconds, *scores.range_seconds]
    seconds += scores.cuts
    seconds += [each for gap in scores.gaps for each in (gap.start_seconds, gap.end_seconds)]
    if not all(type(each) is int and 0 <= each <= _MOST for each in whole):
        raise ValueError("it has a number that is not whole, or absurd")
    if not all(type(each) in (int, float) and abs(each) <= _MOST for each in seconds) or not 0 < info.fps <= _MOST:
        raise ValueError("it has a time or a rate that is none")
    expected = {"spans": (count, 2), "used": (count, 2), "scale": (count,)}
    if not all(type(each) is str for each in (info.codec, info.pixel_format, info.start_timecode)):
        raise ValueError("it has a text that is none")
    arrays = {name: (getattr(scores, name), shape) for name, shape in expected.items()}
    arrays |= {f"scores {name}": (scores.scores[name], (count, len(each))) for name, each in scores.spec.heads.items()}
    for name, (values, shape) in arrays.items():
        if values.shape != shape or values.dtype.kind != ("i" if name == "scale" else "f"):
            raise ValueError(f"its arrays do not fit together: {name} is {values.dtype} {values.shape}, not {shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds values that are not numbers")
    between = scores.interpolated
    if between is not None and (between.shape != (count,) or between.dtype != np.bool_):
        raise ValueError(f"its arrays do not fit together: {_INTERPOLATED} is {between.dtype} {between.shape}")
    if list(scores.cuts) != sorted(set(scores.cuts)):
        raise ValueError("its cuts are not in order")
    if count > scores.num_windows_planned:
        raise ValueError("it has more windows than were planned")


@dataclass(frozen=True)
class _Facts:
    """The values of a score file of which the type says all."""

    path: str
    weights_sha256: str
    tool_version: str
    settings: dict[str, Any]
    num_windows_planned: int
    num_frames_used: int


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Fraction) else value


def _video_facts(info: VideoInfo) -> dict[str, object]:
    """The facts as JSON has them; without those that earlier versions did not write, where they say nothing."""
    facts = {key: _plain(value) for key, value in asdict(info).items()}
    return {key: value for key, value in facts.items() if value or key not in _LATER_FACTS}


def _video(values: Mapping[str, Any]) -> VideoInfo:
    fractions = {key: Fraction(values[key]) for key in ("fps", "sample_aspect_ratio")}
    notes = tuple(Note(NoteKind(note["kind"]), str(note["text"])) for note in values.get("notes", ()))
    return VideoInfo(**{**values, **fractions, "notes": notes})
