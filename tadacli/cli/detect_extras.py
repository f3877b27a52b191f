"""What `tada detect` writes besides its results: score files, a report page, a video with labels drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.cli.console import StepProgress
from tadacli.errors import OutputError, UsageError, VideoError

if TYPE_CHECKING:
    from tadacli.detection.scores import WindowScores
    from tadacli.detection.segments import SegmentSettings
    from tadacli.formats.rows import DetectionRow
    from tadacli.results import Detection

SCORES_SUFFIX = ".npz"


class Extras:
    """The files asked for; those that cannot be meant, or would be overwritten, are refused before any work.

    With `replace`, when an unfinished run is continued, files that it left are made anew.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        save_scores: Path | None,
        report: Path | None,
        render: Path | None,
        replace: bool,
        quiet: bool,
    ) -> None:
        from tadacli.files import refuse_existing

        for option, file, suffix in (("--report", report, ".html"), ("--render", render, ".mp4")):
            if file is not None and len(paths) > 1:
                raise UsageError(f"{option} shows one video, and these are {len(paths)}")
            if file is not None and file.suffix.lower() != suffix:
                raise UsageError(f"{option} {file} has another ending", hint=f"name it {file.with_suffix(suffix)}")
        self._report, self._render, self._replace, self._quiet = report, render, replace, quiet
        self._scores = _score_files(paths, save_scores)
        files = [*self._scores.values(), *(file for file in (report, render) if file is not None)]
        if not replace:
            refuse_existing(files)
        for file in files:
            if not file.parent.is_dir() and file.parent != save_scores:
                raise OutputError(f"{file} cannot be written: there is no folder {file.parent}")

    def write(
        self, result: Detection, row: DetectionRow, scores: WindowScores, settings: SegmentSettings
    ) -> tuple[str, ...]:
        """Write the files of one video; returns what a person should know about them."""
        notes: tuple[str, ...] = ()
        if result.path in self._scores:
            from tadacli.detection.score_file import encode_scores

            target = self._scores[result.path]
            target.parent.mkdir(exist_ok=True)
            self._put(target, encode_scores(scores))
        if self._report is not None:
            from tadacli.reports.detection_page import detection_report

            page, notes = detection_report(result, row, scores, settings, page_path=self._report)
            self._put(self._report, page)
        if self._render is not None:
            notes += self._draw(result, self._render)
        return notes

    def _put(self, path: Path, content: bytes) -> None:
        from tadacli.files import write_new

        write_new(path, content, replace=self._replace)

    def _draw(self, result: Detection, target: Path) -> tuple[str, ...]:
        from tadacli.reports.rendering import render_segments
        from tadacli.video.inputs import local_path

        if self._replace:
            target.unlink(missing_ok=True)
        try:
            with local_path(result.path) as file, StepProgress("render", unit="frame", quiet=self._quiet) as progress:
                return render_segments(file, target, result.segments, on_progress=progress.reach)
        except VideoError as error:
            return (f"{target} was not made: {error.message}",)


def _score_files(paths: Sequence[str], target: Path | None) -> dict[str, Path]:
    """The score file of each video: `target` itself if it names one, else files in that folder."""
    from tadacli.formats.video_names import output_names

    if target is None:
        return {}
    if target.suffix.lower() == SCORES_SUFFIX and not target.is_dir():
        if len(paths) > 1:
            raise UsageError(
                f"--save-scores {target} is one file, and these are {len(paths)} videos", hint="name a folder"
            )
        return {paths[0]: target}
    return {path: target / name for path, name in output_names(paths, SCORES_SUFFIX).items()}
