"""Segments of videos as files of their own, a video at a time: the function of the library, and what commands use."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from tadacli.excerpts import ImageFormat
from tadacli.excerpts.contact_sheet import SheetCell, contact_sheet
from tadacli.excerpts.jobs import ExcerptJob, excerpt_job
from tadacli.excerpts.making import Work, make
from tadacli.excerpts.wanted import wanted_in, wanted_of
from tadacli.files import held_folder, not_written, write_new
from tadacli.results import Detection, Progress
from tadacli.results.excerpts import Excerpt
from tadacli.results.progress import ProgressTeller

# How many frames of those of a video are done, of how many.
OnFrames = Callable[[int, int], object]


def clip(
    results: Detection | Iterable[Detection] | str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    label: str | Collection[str] | None = None,
    min_score: float | None = None,
    pad_seconds: float = 0.0,
    clips: bool = True,
    images: ImageFormat | None = None,
    sheet: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Callable[[Progress], object] | None = None,
) -> list[Excerpt]:
    """Cut segments out of their videos: an MP4 file for each, named after video, time and label.

    A file has the frames that are shown from the start of the segment on and before its end. Where these stand for
    themselves in the video, from a key frame on, they are copied with their sound; else both are encoded again, as
    H.264 and AAC. A segment that fails has status "error" and stops nothing.

    Args:
        results: What `detect` returned, or a file that `tada detect` wrote, or one of labels.
        output: The folder for the files; it need not exist. None where a contact sheet is all that is wanted.
        label: Only segments with this label, or one of these.
        min_score: Only segments with at least this score, 0 to 1; those without a score stay.
        pad_seconds: So much more at either side of a segment, as far as the video goes.
        clips: Whether the segments themselves are written, and not only pictures of them.
        images: "jpg" or "png": also write the frame at the middle of each segment.
        sheet: Also write one picture with a thumbnail of each segment, a .jpg or .png.
        resume: Whether files that are there are kept, where they are what would be written.
        progress: Called with a `Progress` when a video is begun, and as its frames are done.

    Returns:
        What became of each segment, in order; a video that could not be searched has one without a label.

    Raises:
        UsageError: Nothing would be written, a setting is out of range, or the file holds neither results nor labels.
        OutputError: A file is there already and may not be, or cannot be written.

    Example:
        >>> import tempfile, tadacli
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = render_sample(f"{folder}/video.mp4")
        ...     found = tadacli.detect(f"{folder}/video.mp4", device="cpu")
        ...     (excerpt,) = tadacli.clip(found, output=f"{folder}/clips")
        >>> excerpt.file.name, excerpt.how, excerpt.num_frames
        ('video_00h00m00.000s_pan_left.mp4', 'copied', 120)
    """
    if isinstance(results, (str, os.PathLike)):
        videos, _ = wanted_in(results)
    else:
        videos = wanted_of([results] if isinstance(results, Detection) else results)
    job = excerpt_job(
        videos,
        output=None if output is None else Path(output),
        label=label,
        min_score=min_score,
        pad_seconds=pad_seconds,
        clips=clips,
        images=images,
        sheet=None if sheet is None else Path(sheet),
        resume=resume,
    )
    teller = ProgressTeller(progress, len(job.videos))
    return list(iter_excerpts(job, on_video=teller.start, on_frames=lambda done, total: teller.reach(done / total)))


def iter_excerpts(
    job: ExcerptJob, *, on_video: Callable[[str], object] | None = None, on_frames: OnFrames | None = None
) -> Generator[Excerpt, None, None]:
    """Write the files of a job; what became of each segment, in order, as soon as it is known.

    Args:
        job: What is to be done.
        on_video: Called with the path of each video before it is opened.
        on_frames: Called with how many frames of a video are done, and of how many.

    Yields:
        An excerpt for each segment, and one without a label for a video that could not be searched.

    Raises:
        OutputError: A file cannot be written; what was written before stays.
    """
    cells: list[SheetCell] = []
    needs_sheet = job.sheet is not None and job.sheet.held is None
    with _held(job.folder):
        for planned in job.videos:
            if on_video is not None:
                on_video(planned.video.path)
            if planned.video.error:
                yield Excerpt(planned.video.path, None, None, None, status="error", error=planned.video.error)
            works = [Work(planned.video.path, each, has_sheet=needs_sheet) for each in planned.segments]
            yield from _finished(works, make(works, planned.video, job), on_frames)
            cells += [work.cell() for work in works if work.planned.on_sheet]
    if job.sheet is not None and needs_sheet:
        picture = contact_sheet(
            cells,
            num_segments=job.num_segments,
            origin_id=job.sheet.origin_id,
            is_png=job.sheet.path.suffix.lower() == ".png",
        )
        write_new(job.sheet.path, picture)


@contextmanager
def _held(folder: Path | None) -> Iterator[None]:
    """The folder, which is made, is this run's alone meanwhile."""
    if folder is None:
        yield
        return
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise not_written(folder, error) from error
    with held_folder(folder):
        yield


def _finished(
    works: Sequence[Work], steps: Generator[tuple[int, int], None, None], on_frames: OnFrames | None
) -> Iterator[Excerpt]:
    """The excerpts in order, each when it and those before are done, while the steps are taken."""
    number = 0
    with closing(steps):
        for done, total in steps:
            if on_frames is not None and total:
                on_frames(done, total)
            while number < len(works) and works[number].is_done:
                yield works[number].excerpt()
                number += 1
    for work in works[number:]:
        yield work.excerpt()
