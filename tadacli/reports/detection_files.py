"""The page and the video with its labels drawn in that `tada detect` writes besides its results.

A page of several videos is put together at the end, of a part for each. The parts wait in a folder beside it, each
written when its video is done, so that memory does not grow, and a run that was stopped goes on with them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.detection.jobs import Found
from tadacli.detection.settings import SegmentSettings
from tadacli.errors import OutputError, UsageError, VideoError
from tadacli.evaluation.agreement import LabelledTime, VideoLabels
from tadacli.files import check_new_files, held_folder, name_with, new_file, not_written, write_new
from tadacli.formats.rows import DetectionRow
from tadacli.results import out_of
from tadacli.video.boundary import VideoBoundary
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD, local_path

if TYPE_CHECKING:
    from tadacli.reports.truth import Truth

_PART = ".part"
_PART_NAME = re.compile(r"[0-9a-f]{32}-[0-9a-f]{12}\.part")


@dataclass(frozen=True)
class DetectionFiles:
    """The files asked for of these videos, None where one was not.

    With `replace` those that are there already are made anew, and parts of a page that an earlier run left are used.
    With `keep_parts` they stay where the run ends early. For a URL at most `max_download` bytes are fetched. `truth` is
    shown on the page.
    """

    videos: Sequence[str] = ()
    report: Path | None = None
    render: Path | None = None
    replace: bool = False
    keep_parts: bool = False
    max_download: int = DEFAULT_MAX_DOWNLOAD
    truth: Truth | None = None
    _compared: list[VideoLabels] = field(default_factory=list)
    _inline: set[str] = field(default_factory=set)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps the files for this run while the context lasts, to be entered before any work.

        Parts of a page that was not put together are removed in the end, unless a later run can go on with them.

        Raises:
            UsageError: Files are asked for that cannot be made of these videos.
            OutputError: One is there and may not be, cannot be written, or another run has it.
        """
        self._check()
        if self.report is None or len(self.videos) < 2:
            yield
            return
        folder = self._folder()
        try:
            if folder.is_symlink():
                raise OutputError(f"{folder} is a link, and parts of {self.report} go there", hint="remove the link")
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise not_written(folder, error) from error
        with held_folder(folder):
            if not self.replace:
                self._remove_parts()  # the folder stays: it is what this run holds
            try:
                yield
            finally:
                if not self.keep_parts:
                    self._remove_parts()
                with contextlib.suppress(OSError):
                    folder.rmdir()  # if it is empty

    def _check(self) -> None:
        wanted = [(self.report, "--report", ".html"), (self.render, "--render", ".mp4")]
        named = [(file, option, suffix) for file, option, suffix in wanted if file is not None]
        for file, option, suffix in named:
            if file.suffix.lower() != suffix:
                raise UsageError(f"{option} {file} has another ending", hint=f"name it {file.with_suffix(suffix)}")
        if self.render is not None and len(self.videos) > 1:
            raise UsageError(f"--render shows one video, and these are {len(self.videos)}")
        check_new_files([file for file, _, _ in named], replace=self.replace)
        if self.report is not None:
            self._inline.update(first_small(self.videos))

    def write(
        self,
        found: Found,
        row: DetectionRow,
        settings: SegmentSettings,
        *,
        labels: Sequence[str] = (),
        on_frames: Callable[[int, int], None] | None = None,
    ) -> tuple[str, ...]:
        """Write the files of a video; returns what a person should know about them.

        `labels` are those of the model, which a person may choose from. `on_frames` is called with how many frames are
        drawn, of how many. Of a video that could not be read nothing is drawn, and a page of several says so. Raises
        `OutputError` for a file that cannot be written.
        """
        notes: tuple[str, ...] = ()
        has_failed = found.result.status == "error"
        if self.report is not None and not (has_failed and len(self.videos) == 1):
            # With libraries that results alone do not need.
            from tadacli.reports.detection_page import TruthOnPage, detection_part, page_of
            from tadacli.reports.score_data import MAX_SCORE_BYTES, score_data
            from tadacli.reports.video_links import MAX_INLINE_BYTES

            inputs = found.threshold_inputs(settings, max_bytes=MAX_SCORE_BYTES // len(self.videos))
            truth = None if self.truth is None else self.truth.of(row)
            if truth is not None:
                self._compared.append(_compared(row, truth))
            part, notes = detection_part(
                found.result,
                row,
                found.curves(settings),
                page_path=self.report,
                labels=labels,
                truth=None if self.truth is None else TruthOnPage(self.truth.name, truth),
                scores=None if inputs is None else score_data(inputs, settings),
                max_inline=MAX_INLINE_BYTES if found.result.path in self._inline else 0,
                max_download=self.max_download,
            )
            if len(self.videos) == 1:
                write_new(self.report, page_of(part, row), replace=self.replace)
            else:
                kept = self._part(row["path"], row["run"])
                write_new(kept, part.encode("utf-8", "replace"), replace=True)
        if self.render is not None and not has_failed:
            from tadacli.reports.rendering import render_segments

            if self.replace:
                self.render.unlink(missing_ok=True)
            try:
                path = found.result.path
                with VideoBoundary(path), local_path(path, max_bytes=self.max_download) as file:
                    segments, info = found.result.segments, found.result.video
                    fps = None if info is None else info.fps
                    notes += render_segments(file, self.render, segments, fps=fps, on_progress=on_frames)
            except VideoError as error:
                notes += (f"{self.render} was not made: {error.message}",)
        return notes

    def finish(self, run: str) -> tuple[str, ...]:
        """Put the page of several videos together; returns what a person should know about it, and the agreement.

        Args:
            run: The id of the run whose parts it is made of.

        Raises:
            OutputError: The page cannot be written.
        """
        notes = self._put_together(run)
        if self.truth is None or not self._compared:
            return notes
        from tadacli.reports.truth import agreement_note

        return (*notes, agreement_note(self.truth, self._compared))

    def _put_together(self, run: str) -> tuple[str, ...]:
        if self.report is None or len(self.videos) < 2:
            return ()
        parts = [part for video in self.videos if (part := self._part(video, run)).is_file()]
        from tadacli.reports.detection_page import page_around

        if not parts and self.report.is_file():
            return ()  # nothing came since it was put together
        before, after = page_around(len(parts))
        if parts:
            with new_file(self.report, replace=self.replace) as page:
                page.write(before)
                for part in parts:
                    with part.open("rb") as stream:
                        shutil.copyfileobj(stream, page)
                page.write(after)
        self._remove_parts()
        if len(parts) == len(self.videos):
            return ()
        shown = out_of(len(parts), len(self.videos), "videos", "are on the page")
        return (f"{shown}; the others were done before it was asked for",)

    def _part(self, video: str, run: str) -> Path:
        what = os.fsencode(video) + (b"" if self.truth is None else self.truth.id.encode())
        name = hashlib.sha256(what).hexdigest()[:32]
        return self._folder() / f"{name}-{run}{_PART}"

    def _folder(self) -> Path:
        assert self.report is not None
        return self.report.with_name(name_with(self.report.name, ".parts"))

    def _remove_parts(self) -> None:
        """Removes the parts, and nothing else."""
        with contextlib.suppress(OSError):
            for part in self._folder().iterdir():
                if _PART_NAME.fullmatch(part.name):
                    part.unlink(missing_ok=True)


def _compared(row: DetectionRow, truth: Sequence[LabelledTime]) -> VideoLabels:
    found = [LabelledTime(each["start_seconds"], each["end_seconds"], each["label"]) for each in row["segments"]]
    start = row["start_seconds"] or 0.0
    return VideoLabels(found, truth, (start, start + (row["duration_seconds"] or 0.0)))


def first_small(videos: Sequence[str]) -> list[str]:
    """The first of some videos, those that a page holds inside: together they are small."""
    from tadacli.reports.video_links import MAX_INLINE_BYTES

    found, total = [], 0
    for video in videos:
        try:
            size = os.stat(video).st_size
        except (OSError, ValueError):
            continue
        if total + size <= MAX_INLINE_BYTES:
            total += size
            found.append(video)
    return found
