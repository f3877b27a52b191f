"""The page and the video with its labels drawn in that `tada detect` writes besides its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tadacli.detection.detecting import Found
from tadacli.detection.settings import SegmentSettings
from tadacli.errors import UsageError, VideoError
from tadacli.files import check_new_files, write_new
from tadacli.formats.rows import DetectionRow
from tadacli.reports.detection_page import detection_report
from tadacli.reports.rendering import render_segments
from tadacli.video.boundary import VideoBoundary
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD, local_path


@dataclass(frozen=True)
class DetectionFiles:
    """The files asked for, None where one was not.

    With `replace` those that are there already are made anew. For a URL at most `max_download` bytes are fetched.
    """

    report: Path | None = None
    render: Path | None = None
    replace: bool = False
    max_download: int = DEFAULT_MAX_DOWNLOAD

    def check(self, videos: Sequence[str]) -> None:
        """Raise `UsageError` or `OutputError` for files that cannot be written, before any work."""
        wanted = [(self.report, "--report", ".html"), (self.render, "--render", ".mp4")]
        named = [(file, option, suffix) for file, option, suffix in wanted if file is not None]
        for file, option, suffix in named:
            if len(videos) > 1:
                raise UsageError(f"{option} shows one video, and these are {len(videos)}")
            if file.suffix.lower() != suffix:
                raise UsageError(f"{option} {file} has another ending", hint=f"name it {file.with_suffix(suffix)}")
        check_new_files([file for file, _, _ in named], replace=self.replace)

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
        drawn, of how many. Nothing is written of a video that could not be read. Raises `OutputError` for a file that
        cannot be written.
        """
        notes: tuple[str, ...] = ()
        if found.result.status == "error":
            return notes
        if self.report is not None:
            curves = found.curves(settings)
            page, notes = detection_report(
                found.result,
                row,
                curves,
                page_path=self.report,
                labels=labels,
                max_download=self.max_download,
            )
            write_new(self.report, page, replace=self.replace)
        if self.render is not None:
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
