"""A long video whose windows several workers score: each its share, which together are the journal of one pass.

Who has the shares of all windows goes on after them as a run does that was stopped there: with the bytes of a pass
that nobody shared.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tadacli.detection.journal import WindowJournal
from tadacli.detection.window_pass import OnProgress, WindowPass
from tadacli.errors import VideoError
from tadacli.sampling.shares import Share
from tadacli.sampling.windows import Layout
from tadacli.video.boundary import VideoBoundary
from tadacli.video.inputs import file_size, is_kept, local_path
from tadacli.video.reading import open_video
from tadacli.zoo.addresses import address

MOST_SHARES = 10_000


@dataclass(frozen=True)
class Shared:
    """A pass over a video's windows that can be shared out.

    Attributes:
        layout: Gives the layout of a video's windows; raises `VideoError` where there can be none.
        score: Makes the pass of a video, with `journal`, `share` and `on_progress` as of `pass_over`.
        kind: What its journal is of.
        run_id: The run that its journal belongs to.
        fps: The rate of folders and tars of frames.
        max_download: The largest file in bytes that is fetched for a URL.
        index: A folder in which the frame tables of video files are kept.
        is_one: Whether a pass begins with something that needs all of the video, so that sharing gains nothing.
    """

    layout: Callable[[str], Layout]
    score: Callable[..., WindowPass]
    kind: str
    run_id: str
    fps: float | None
    max_download: int
    index: str | os.PathLike[str] | None = None
    is_one: bool = False

    def num_shares(self, video: str, *, share_seconds: float) -> int:
        """How many shares a video is scored in: one for a short one, and for what cannot be opened.

        Args:
            video: A path or URL.
            share_seconds: How much of its timeline is a share at most.
        """
        path = address(video)
        if self.is_one:
            return 1
        try:
            with VideoBoundary(path) as boundary, ExitStack() as opened:
                part = self.layout(path).part
                file = boundary.reads(opened.enter_context(local_path(path, max_bytes=self.max_download)))
                index = self.index if is_kept(file, path) else None
                start, end = part.within(opened.enter_context(open_video(file, fps=self.fps, index=index)).info)
        except VideoError:  # the pass says why
            return 1
        return max(1, min(MOST_SHARES, math.ceil((end - start) / share_seconds)))

    def journal_of(self, video: str, share: Share, *, on_progress: OnProgress | None = None) -> str:
        """The journal of one share of a video's windows.

        Args:
            video: A path or URL.
            share: Which of them.
            on_progress: Called as that of `pass_over`.

        Returns:
            Its text; empty where the windows may depend on what is read of the video before them: damage is read on
            from its start.

        Raises:
            TadaError: For scores that are not numbers.
        """
        with tempfile.TemporaryDirectory(prefix="tada-") as folder:
            file = Path(folder, "share")
            journal = WindowJournal(file, kind=self.kind, run_id=self.run_id, video=video, size_bytes=file_size(video))
            try:
                is_sound = self.score(video, journal=journal, share=share, on_progress=on_progress).is_sound
            except VideoError:
                is_sound = False
            finally:
                journal.close()
            return file.read_text(encoding="ascii") if is_sound else ""


def join_journals(journals: Iterable[str], file: Path) -> None:
    """Write the journal of a pass that was stopped after these shares, which are in order; at an empty one it ends."""
    with file.open("w", encoding="ascii", newline="\n") as stream:
        for number, journal in enumerate(journals):
            if not journal:
                break
            head, _, rest = journal.partition("\n")
            stream.write(rest if number else f"{head}\n{rest}")
