"""The layouts that features are written in: our own file, and what other programs read.

In the layouts of others rows are counted: row i stands for one time, so that none may be missing between others. Beside
them lies a JSON file with all that our own file says, and with what the other program needs to know. "actionformer"
and "opentad" are one array (N, C) a video, "epic-5s" the folders of five seconds each of the published pipeline for
EPIC-KITCHENS-100 (see `clip_folders`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from typing_extensions import TypedDict

from tadacli.detection.array_files import shown
from tadacli.detection.clip_folders import FIRST_CENTRE_SECONDS, SNIPPET_SECONDS, clips_until, last_ms_of
from tadacli.detection.feature_file import (
    VALUES,
    Columns,
    StoredType,
    decode_facts,
    facts_of,
    read_feature_facts,
    write_columns,
)
from tadacli.detection.features import FeatureContract, VideoFeatures
from tadacli.errors import OutputError, UsageError, VideoError
from tadacli.files import check_new_files, name_with, new_file, not_written, require_folder, write_new
from tadacli.formats.video_names import output_names
from tadacli.results.json_ready import Count, Number
from tadacli.sampling.settings import Length
from tadacli.sampling.snippets import SnippetSettings
from tadacli.scoring.provenance import run_of
from tadacli.specs import InputSpec
from tadacli.strict_tables import decode_table, parse_json, refusing

FeatureLayout = Literal["tada", "actionformer", "opentad", "epic-5s"]
_UNFINISHED = ".unfinished"
_MOST_RECORD_BYTES = 1 << 26
_MOST_ROWS = 1 << 26
_SAME_STEP = 1e-3  # of a stride
# So far apart, two strides in seconds are those of the same number of frames: a person gives few digits.
_SAME_LENGTH = 1e-4


class FeatureStore:
    """A folder of features in one layout: which file is whose, which are whole, and how one is written.

    Attributes:
        files: The file of each video, by path; of layouts with more files for a video, the one that describes them.

    Raises:
        OutputError: A file is there already and may not be, or the folder cannot be.
    """

    def __init__(
        self, videos: Sequence[str], folder: Path, *, layout: FeatureLayout = "tada", resume: bool = False
    ) -> None:
        self._layout = layout
        if not folder.exists():
            require_folder(folder)
        elif not folder.is_dir():
            raise OutputError(f"{folder} is a file", hint="name a folder, which need not exist")
        suffix = ".npz" if layout == "tada" else ".json"
        self.files = {video: folder / name for video, name in output_names(videos, suffix).items()}
        has_array = layout in ("actionformer", "opentad")
        arrays = [file.with_suffix(".npy") for file in self.files.values() if has_array]
        hint = "--resume keeps the files that are whole, and makes the others; or give another --output"
        check_new_files([*self.files.values(), *arrays], may_be_made=folder, replace=resume, hint=hint)
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise not_written(folder, error) from error

    @classmethod
    def of_one(cls, video: str, file: Path, *, layout: FeatureLayout = "tada") -> FeatureStore:
        """The part of a store that is one video's, in a folder that is there already, for who knows its `file`."""
        store = cls.__new__(cls)
        store._layout, store.files = layout, {video: file}
        return store

    def journal_of(self, video: str) -> Path:
        """Where the snippets of a video that are done are kept until its file is whole."""
        file = self.files[video]
        return file.with_name(name_with(file.name, _UNFINISHED))

    def held(self, video: str, run_id: str, *, size_bytes: int | None) -> tuple[VideoFeatures, int] | None:
        """What is known of the features of a video that are there, without their columns, and how many there are.

        Args:
            video: Its path.
            run_id: The run that they must belong to.
            size_bytes: The size that the video must have.

        Returns:
            None if there are none yet, not all of them any more, or the video has changed.

        Raises:
            OutputError: They were made with other settings, or of another video.
            UsageError: The file is none of ours, or damaged.
        """
        file = self.files[video]
        if not file.exists():
            return None
        layout: str = "tada"
        if self._layout == "tada":
            facts, num_columns = read_feature_facts(file)
        else:
            facts, own = _read_record(file)
            layout, num_columns = own["layout"], own["num_columns"]
            if not all((file.parent / name).is_file() for name in own["files"]):
                return None
        contract = facts.contract
        if contract is None or (layout, _run_id(contract)) != (self._layout, run_id):
            raise OutputError(
                f"{file} was made with other settings",
                hint="resume with the same model, weights, options, version and number of threads (OMP_NUM_THREADS), "
                "or give another --output",
            )
        if facts.path != video:
            raise OutputError(
                f"{file} has the features of another video, {facts.path!r}",
                hint=f"give another --output for {video}, or remove the file",
            )
        return (facts, num_columns) if facts.size_bytes == size_bytes else None

    def write(self, video: str, facts: VideoFeatures, columns: Columns, *, stored: StoredType) -> None:
        """Write the features of a video, over what is there of them.

        Args:
            video: Its path.
            facts: Everything but the arrays that come in pieces.
            columns: Those.
            stored: The type they are rounded to.

        Raises:
            VideoError: The layout has no place for what is missing.
            OutputError: A file cannot be written.
        """
        file = self.files[video]
        if self._layout == "tada":
            write_columns(file, facts, columns, stored=stored, replace=True)
            return
        _require_every_row(facts, self._layout)
        if self._layout == "epic-5s":
            files = _write_clips(file, facts, columns, stored)
        else:
            files = [file.with_suffix(".npy").name]
            with new_file(file.with_suffix(".npy"), replace=True) as stream:
                columns.write_npy(stream, VALUES, stored)
        record = {
            **facts_of(facts),
            "layout": self._layout,
            "files": files,
            "num_rows": columns.num_rows,
            "num_columns": columns.pieces[VALUES][0],
            "for_reader": _FOR_READER[self._layout](facts),
        }
        write_new(file, (json.dumps(record, indent=1) + "\n").encode(), replace=True)


def settings_for(layout: FeatureLayout, settings: SnippetSettings, spec: InputSpec) -> SnippetSettings:
    """The settings with what the layout fixes.

    Args:
        layout: `epic-5s` fixes the stride and where the first snippet lies, as published; in `opentad` both are whole
            numbers of frames.
        settings: What was asked for.
        spec: How the model takes clips.

    Returns:
        The settings to make features with.

    Raises:
        UsageError: The layout has no place for the stride.
    """
    if layout == "opentad":
        stride = settings.stride_seconds(spec) * spec.target_fps
        if round(stride) < 1 or abs(stride - round(stride)) > _SAME_STEP:
            raise UsageError(
                f"a stride of {stride:g} frames at {spec.target_fps:g} a second has no place in the layout opentad",
                hint="it counts whole frames: give --stride 8f, for example",
            )
        return replace(settings, first_centre_seconds=round(stride) // 2 / spec.target_fps)
    if layout != "epic-5s":
        return settings
    if settings.stride is not None and abs(settings.stride_seconds(spec) - SNIPPET_SECONDS) > _SAME_LENGTH:
        raise UsageError(
            "the layout epic-5s has snippets every 8 frames of 60 a second, no others", hint="leave --stride out"
        )
    return replace(settings, stride=Length(SNIPPET_SECONDS), first_centre_seconds=FIRST_CENTRE_SECONDS)


def _run_id(contract: FeatureContract) -> str:
    return run_of(
        contract.spec,
        settings=contract.settings,
        weights_sha256=contract.weights_sha256,
        tool_version=contract.tool_version,
    ).id


def check_layout(layout: FeatureLayout, *, with_scores: bool) -> None:
    """Raises `UsageError` where the layout has no place for what is to be kept."""
    if with_scores and layout != "tada":
        raise UsageError(f"the layout {layout} has no place for scores", hint="leave --with-scores or --layout out")


def _require_every_row(facts: VideoFeatures, layout: str) -> None:
    """Raises `VideoError` unless the rows follow each other by one stride from the first snippet of the video on."""
    contract = facts.contract
    assert contract is not None  # of what was made here
    count = len(facts.centres)
    expected = facts.start_seconds + contract.first_centre_seconds + np.arange(count) * facts.stride_seconds
    if not bool((np.abs(facts.centres - expected) <= _SAME_STEP * facts.stride_seconds).all()):
        raise VideoError(
            f"only {count} of {facts.num_planned} snippets of {facts.path} can be read, and the layout {layout} has "
            "no place for the gaps between them",
            hint="use --layout tada, whose rows have times",
        )


def _actionformer(facts: VideoFeatures) -> dict[str, float]:
    """`feat_stride` and `num_frames` as its configurations have them: row i stands for (i stride + num_frames / 2)."""
    fps, stride, offset = _in_frames(facts)
    return {"fps": fps, "feat_stride": stride, "num_frames": 2 * offset}


def _opentad(facts: VideoFeatures) -> dict[str, float]:
    """`feature_stride` and `offset_frames` as its data sets have them: row i stands for (i stride + offset)."""
    fps, stride, offset = _in_frames(facts)
    return {"fps": fps, "feature_stride": stride, "sample_stride": 1, "offset_frames": offset}


def _in_frames(facts: VideoFeatures) -> tuple[float, float, float]:
    """The model's own rate; the stride and the first centre in frames of it."""
    contract = facts.contract
    assert contract is not None  # of what was made here
    counts = (contract.stride_seconds * contract.fps, contract.first_centre_seconds * contract.fps)
    whole = [round(count) if abs(count - round(count)) < _SAME_STEP else round(count, 6) for count in counts]
    return contract.fps, whole[0], whole[1]


def _epic(facts: VideoFeatures) -> dict[str, float]:
    """What the layout fixes; the published code has these numbers in it."""
    fps, stride, offset = _in_frames(facts)
    return {"fps": fps, "stride": stride, "first_centre": offset}


_FOR_READER: Mapping[str, Callable[[VideoFeatures], dict[str, float]]] = {
    "actionformer": _actionformer,
    "opentad": _opentad,
    "epic-5s": _epic,
}


def _write_clips(file: Path, facts: VideoFeatures, columns: Columns, stored: StoredType) -> list[str]:
    """Write the rows of each clip of a video as a tensor of torch.save, up to the last row that there is.

    Returns the names of the files.
    """
    import torch  # of no use where files are only planned

    length_ms = round(1000 * (facts.duration_seconds - facts.start_seconds))
    clips = list(clips_until(min(length_ms, last_ms_of(columns.num_rows))))
    num_columns, pieces = columns.pieces[VALUES][0], columns.rounded(VALUES, stored)
    waiting = np.empty((0, num_columns), stored)
    for clip in clips:
        while len(waiting) < clip.num_rows:
            waiting = np.concatenate([waiting, next(pieces)])
        buffer = io.BytesIO()
        torch.save(torch.from_numpy(waiting[: clip.num_rows].copy()), buffer)
        write_new(file.with_name(clip.file_name(file.stem)), buffer.getvalue(), replace=True)
        waiting = waiting[clip.num_rows :]
    return [clip.file_name(file.stem) for clip in clips]


def _read_record(file: Path) -> tuple[VideoFeatures, _Record]:
    with refusing(shown(file), UsageError):
        if file.stat().st_size > _MOST_RECORD_BYTES:
            raise ValueError("it is larger than what describes features")
        record = parse_json(file.read_bytes())
        own = {name: record.pop(name) for name in _Record.__annotations__}
        said = decode_table(_Record, own, where=shown(file), error=UsageError)
        if not 0 < said["num_rows"] <= _MOST_ROWS or said["num_columns"] <= 0:
            raise ValueError("it describes no features")
        times = np.zeros(said["num_rows"])  # those of the rows are in no such file, as they count
        nothing = np.zeros((said["num_rows"], 0), np.float32)
        return decode_facts(record, np.stack([times, times], axis=1), times, nothing), said


class _Record(TypedDict):
    """What the JSON beside the files of other layouts says besides the facts of our own."""

    layout: str
    files: list[str]
    num_rows: Count
    num_columns: Count
    for_reader: dict[str, Number]
