"""Where the features of videos come from when they are there already: folders of others, or files of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from tadacli.detection.boundary_matching import Rows
from tadacli.detection.clip_folders import (
    FIRST_CENTRE_SECONDS,
    LENGTHS_FILE,
    SNIPPET_SECONDS,
    ClipFolder,
    clips_of,
    feature_rows,
    logit_rows,
    open_clip_folder,
)
from tadacli.detection.feature_file import SUFFIX, read_features
from tadacli.detection.features import VideoFeatures
from tadacli.detection.settings import Heads, check_segment_heads
from tadacli.errors import UsageError, VideoError
from tadacli.models.bmn import SNIPPETS_PER_BIN
from tadacli.results import Note, NoteKind
from tadacli.specs import FeatureInput, label_list
from tadacli.strict_tables import in_one_line

# What a proposal is called where nothing says which action it is.
NO_CLASS: Heads = {"": ("action",)}
_CLOSE = 0.01  # so far may the stride of snippets be from that of the model, relatively
_LEAST_SCORE = 1e-30


@dataclass(frozen=True)
class Snippets:
    """What is known of one video, snippet by snippet from its start to its end.

    Attributes:
        features: (N, C).
        logits: (N, V, K) by head, of V views; none where no class scores were kept.
        origin_seconds: The time from which the snippets count, the first centre being `FIRST_CENTRE_SECONDS` later.
        length_seconds: The time that all bins of the axis together stand for.
        timeline: Where the video starts and ends.
        notes: What to know of it.
    """

    features: Rows
    logits: Mapping[str, Rows]
    origin_seconds: float
    length_seconds: float
    timeline: tuple[float, float]
    notes: tuple[Note, ...] = ()


def snippet_seconds(taken: FeatureInput) -> float:
    """From one snippet to the next, as a model takes them."""
    return taken.bin_frames / taken.fps / SNIPPETS_PER_BIN


class FeatureSource(Protocol):
    """Videos by name, and the labels by head that their logits are of; `NO_CLASS` where they have none."""

    @property
    def videos(self) -> Sequence[str]: ...

    @property
    def heads(self) -> Heads: ...

    def open(self, video: str) -> Snippets:
        """The snippets of a video. Raises `VideoError` where they cannot be had."""
        ...


def open_source(
    folders: Sequence[Path], class_scores: Path | None, *, taken: FeatureInput, dtype: torch.dtype
) -> FeatureSource:
    """The source that folders are.

    Args:
        folders: Folders of the published layout, whose channels stand beside each other, or one of our own files.
        class_scores: A folder of class scores in the published layout.
        taken: The features that the model takes.
        dtype: The type that values are given in.

    Raises:
        UsageError: The folders are neither, or class scores are given beside files that hold their own.
    """
    first = folders[0]
    own = sorted(first.glob(f"*{SUFFIX}"))
    if not own:
        if abs(snippet_seconds(taken) - SNIPPET_SECONDS) > _CLOSE * SNIPPET_SECONDS:
            raise UsageError(
                f"the model takes a snippet every {snippet_seconds(taken):.4g} s, and folders have 8 / 60 s"
            )
        opened = tuple(map(open_clip_folder, folders))
        return PublishedFolders(opened, None if class_scores is None else open_clip_folder(class_scores), taken, dtype)
    if len(folders) > 1 or class_scores is not None:
        raise UsageError(
            f"{first} holds files of tada features, which are used by themselves",
            hint="give one folder of these and no --class-scores: tada features --with-scores keeps the scores in them",
        )
    return OwnFiles({file.stem: file for file in own}, taken, dtype)


@dataclass(frozen=True)
class PublishedFolders:
    """The folders of features in the published layout, and that of class scores, if there is one."""

    features: tuple[ClipFolder, ...]
    scores: ClipFolder | None
    taken: FeatureInput
    dtype: torch.dtype

    @property
    def videos(self) -> Sequence[str]:
        """Those of the first folder."""
        return sorted(self.features[0].clips)

    @property
    def heads(self) -> Heads:
        """The verbs and nouns of EPIC-KITCHENS-100."""
        if self.scores is None:
            return NO_CLASS
        return {"verb": label_list("ek100_verbs"), "noun": label_list("ek100_nouns")}

    def open(self, video: str) -> Snippets:
        """The snippets of a video, whose files are read when their rows are asked for."""
        first, scores = self.features[0], self.scores
        clips = clips_of(video, self.features if scores is None else (*self.features, scores))
        notes = []
        if video not in first.lengths:
            text = f"the length of the video is taken to be the end of its last file: {LENGTHS_FILE} does not give it"
            notes.append(Note(NoteKind.TIMELINE, text))
        num_channels, duration = self.taken.num_channels, first.duration_seconds(video)
        logits: Mapping[str, Rows] = {}
        if scores is not None:
            logits = {
                head: logit_rows(video, scores, clips, head=head, num_classes=len(labels), dtype=self.dtype)
                for head, labels in self.heads.items()
            }
        return Snippets(
            feature_rows(video, self.features, clips, num_channels=num_channels, dtype=self.dtype),
            logits,
            origin_seconds=0.0,
            length_seconds=duration,  # as published, though the last bin may end up to a bin later
            timeline=(0.0, duration),
            notes=tuple(notes),
        )


@dataclass(frozen=True)
class OwnFiles:
    """Files of `tada features`, by the names of the videos that they are called after."""

    files: Mapping[str, Path]
    taken: FeatureInput
    dtype: torch.dtype
    heads: Heads = field(init=False)

    def __post_init__(self) -> None:
        """Raises `UsageError` for class scores of which no actions can be made."""
        object.__setattr__(self, "heads", self._first_heads())

    @property
    def videos(self) -> Sequence[str]:
        """In order of their names."""
        return sorted(self.files)

    def open(self, video: str) -> Snippets:
        """The snippets of a video."""
        try:
            found = read_features(self.files[video])
        except UsageError as error:
            raise VideoError(error.message, hint=error.hint) from error
        self._check(found)
        return Snippets(
            torch.from_numpy(found.values).to(self.dtype),
            {
                # As sampled logits of one view: they give these scores again, whatever is added to all of a snippet.
                head: torch.from_numpy(np.log(np.maximum(scores, _LEAST_SCORE))).to(self.dtype)[:, None]
                for head, scores in found.scores.items()
            },
            origin_seconds=float(found.centres[0]) - FIRST_CENTRE_SECONDS,
            length_seconds=-(-len(found.values) // SNIPPETS_PER_BIN) * SNIPPETS_PER_BIN * found.stride_seconds,
            timeline=(found.start_seconds, found.duration_seconds),
            notes=found.notes,
        )

    def _check(self, found: VideoFeatures) -> None:
        """Raises `VideoError` for features that the network was not made for, and where some are missing."""
        shown, taken = in_one_line(found.path, most=200), self.taken
        if not len(found.values):
            raise VideoError(f"there are no features of {shown}")
        if found.values.shape[1] != taken.num_channels:
            raise VideoError(
                f"the features of {shown} have {found.values.shape[1]} channels, and the model takes "
                f"{taken.num_channels}, those of {taken.network}"
            )
        stride = snippet_seconds(taken)
        if abs(found.stride_seconds - stride) > _CLOSE * stride:
            raise VideoError(
                f"the features of {shown} are {found.stride_seconds:.4g} s apart, and the model takes {stride:.4g} s",
                hint=f"make them with --stride {stride:.4g}s",
            )
        if found.gaps or np.abs(np.diff(found.centres) - found.stride_seconds).max(initial=0) > stride / 2:
            raise VideoError(f"of {shown} some features are missing, and this inference needs that of every snippet")
        if _heads_of(found) != self.heads:
            raise VideoError(f"the class scores of {shown} are of other classes than those of the first file")

    def _first_heads(self) -> Heads:
        """Those of the first file that can be read."""
        for video in self.videos:
            try:
                found = read_features(self.files[video])
            except UsageError:
                continue  # which is said when it is its turn
            heads = _heads_of(found)
            check_segment_heads(heads)
            return heads
        return NO_CLASS


def _heads_of(found: VideoFeatures) -> Heads:
    if not found.scores or found.contract is None:
        return NO_CLASS
    return {head: found.contract.spec.heads[head] for head in found.scores}
