"""The excerpts of one video: it is opened once, what can be copied is, and one pass over its frames does the rest."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from tadacli.errors import VideoError
from tadacli.excerpts.contact_sheet import SheetCell
from tadacli.excerpts.excerpt_files import Encoding, ExcerptFile, SoundFiles
from tadacli.excerpts.extents import Extent, extent_of
from tadacli.excerpts.frame_pass import Taker, give_frames
from tadacli.excerpts.jobs import ExcerptJob, PlannedSegment
from tadacli.excerpts.marks import Mark
from tadacli.excerpts.middles import Middle
from tadacli.excerpts.wanted import WantedVideo
from tadacli.formats.captions import one_line
from tadacli.results.excerpts import Excerpt
from tadacli.video.boundary import VideoBoundary
from tadacli.video.copying import PacketReader
from tadacli.video.inputs import file_size, is_pictures, local_path
from tadacli.video.reading import open_video
from tadacli.video.source import VideoSource

_LONGEST_TITLE = 200


class Work:
    """One segment on its way: what there is of its files, and what is still to come.

    Args:
        video: The video, as it was named.
        planned: The segment with its files, of which those that are held are there.
        has_sheet: Whether a contact sheet is made.
    """

    def __init__(self, video: str, planned: PlannedSegment, *, has_sheet: bool) -> None:
        self.video, self.planned, self.segment = video, planned, planned.segment
        self.needs_file = planned.file is not None and planned.file.held is None
        self.needs_image = planned.image is not None and planned.image.held is None
        self.needs_thumbnail = has_sheet and planned.on_sheet
        self._mark = None if planned.file is None else planned.file.held
        self._thumbnail: bytes | None = None
        self._has_image = planned.image is not None and planned.image.held is not None
        self._errors: list[str] = []
        if self.segment.reason:
            self.fail(self.segment.reason)

    @property
    def needs_picture(self) -> bool:
        """Whether the frame at its middle is still to come."""
        return self.needs_image or self.needs_thumbnail

    @property
    def is_done(self) -> bool:
        """Whether nothing is still to come."""
        return not (self.needs_file or self.needs_picture)

    def fail(self, reason: str) -> None:
        """What is still to come does not come."""
        self.needs_file = self.needs_image = self.needs_thumbnail = False
        self._errors.append(reason)

    def told_file(self, found: Mark | str) -> None:
        """What its file says, or why there is none."""
        self.needs_file = False
        if isinstance(found, str):
            self._errors.append(found)
        else:
            self._mark = found

    def told_picture(self, reason: str) -> None:
        """Its picture is there, or the reason why not."""
        is_asked_for = self.needs_image
        self.needs_image = self.needs_thumbnail = False
        self._has_image |= is_asked_for and not reason
        if reason and is_asked_for:
            self._errors.append(f"no picture: {reason}")

    def keep_thumbnail(self, picture: bytes) -> None:
        """The thumbnail for the contact sheet."""
        self._thumbnail = picture

    def excerpt(self) -> Excerpt:
        """What became of the segment."""
        file, image, mark = self.planned.file, self.planned.image, self._mark
        has_failed = bool(self._errors)
        return Excerpt(
            video=self.video,
            label=self.segment.label,
            start_seconds=self.segment.start_seconds,
            end_seconds=self.segment.end_seconds,
            score=self.segment.score,
            status="error" if has_failed else "ok",
            error="; ".join(self._errors),
            file=None if file is None or mark is None else file.path,
            how=None if mark is None else mark["how"],
            image=None if image is None or not self._has_image else image.path,
            shown_from=None if mark is None else mark["shown_from"],
            shown_until=None if mark is None else mark["shown_until"],
            num_frames=None if mark is None else mark["num_frames"],
            notes=() if mark is None else tuple(mark["notes"]),
        )

    def cell(self) -> SheetCell:
        """Its place on the contact sheet."""
        segment = self.segment
        return SheetCell(
            self.video, segment.label, segment.start_seconds, segment.end_seconds, segment.score, self._thumbnail
        )


def make(works: Sequence[Work], video: WantedVideo, job: ExcerptJob) -> Generator[tuple[int, int], None, None]:
    """Write the files of all segments of a video; each of the works says what became of it.

    Args:
        works: The segments; those that are done stay as they are.
        video: The video.
        job: What is to be done.

    Yields:
        How many frames are done, and of how many.

    Raises:
        OutputError: A file cannot be written.
    """
    if all(work.is_done for work in works):
        return
    try:
        with VideoBoundary(video.path) as boundary:
            size = file_size(video.path)
            if video.size_bytes is not None and size is not None and size != video.size_bytes:
                raise VideoError(_changed(video.path, f"{video.size_bytes} bytes", f"{size}"))
            with local_path(video.path, max_bytes=job.max_download) as file:
                rate = video.fps if is_pictures(file) else None
                with open_video(boundary.reads(file), fps=rate) as source:
                    found = source.info.num_frames
                    if size is None and video.num_frames not in (None, found):
                        raise VideoError(_changed(video.path, f"{video.num_frames} frames", f"{found}"))
                    yield from _make([work for work in works if not work.is_done], video, job, source)
    except VideoError as error:
        for work in works:
            if not work.is_done:
                work.fail(error.reason)


def _changed(path: str, before: str, now: str) -> str:
    return f"{path} has changed since it was searched: it had {before}, and has {now} now"


def _make(
    works: Sequence[Work], video: WantedVideo, job: ExcerptJob, source: VideoSource
) -> Generator[tuple[int, int], None, None]:
    path = source.info.path
    extents: list[tuple[Work, Extent]] = []
    for work in works:
        try:
            extent = extent_of(
                source, work.segment, pad_seconds=job.pad_seconds, from_first_frame=video.from_first_frame
            )
        except VideoError as error:
            work.fail(error.reason)
        else:
            extents.append((work, extent))
    total = sum(extent.num_frames * work.needs_file + work.needs_picture for work, extent in extents)
    done, takers = 0, list[Taker]()
    with SoundFiles(path) as sounds, PacketReader(path) as packets:
        for work, extent in extents:
            if work.needs_file:
                file = _file(work, extent, source, sounds)
                mark = None if _is_in_gap(extent, video) else file.copied(packets)
                if mark is None:
                    takers.append(Encoding(file, work.told_file))
                else:
                    work.told_file(mark)
                    done += extent.num_frames
            if work.needs_picture:
                takers.append(_middle(work, extent, source))
            yield done, total
        for num_taken in give_frames(source, takers):
            done += num_taken
            yield done, total


def _file(work: Work, extent: Extent, source: VideoSource, sounds: SoundFiles) -> ExcerptFile:
    planned = work.planned.file
    assert planned is not None  # as it is needed
    return ExcerptFile(
        planned.path,
        extent,
        source,
        sounds,
        origin_id=planned.origin_id,
        title=one_line(work.segment.label)[:_LONGEST_TITLE],
    )


def _middle(work: Work, extent: Extent, source: VideoSource) -> Middle:
    planned = work.planned.image if work.needs_image else None
    return Middle(
        extent.middle,
        image=None if planned is None else (planned.path, planned.origin_id),
        small=work.keep_thumbnail if work.needs_thumbnail else None,
        info=source.info,
        done=work.told_picture,
    )


def _is_in_gap(extent: Extent, video: WantedVideo) -> bool:
    """Whether frames of it could not be read: what is copied would be damaged, and nobody would know."""
    return any(start < extent.end_seconds and end > extent.start_seconds for start, end in video.gaps)
