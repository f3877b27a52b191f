"""Progress on stderr: bars that come with the first step, and never share a line with text."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from tadacli.cli.printable import printable

_LONGEST_NAME = 30
_are_shown = True
_left: Any = None  # tqdm's bar that is over, and still stands where the cursor is
_drawing: Progress | None = None  # the one that goes on


def show_bars(shown: bool) -> None:
    """Whether bars are shown from now on, where stderr is a terminal that can draw them."""
    global _are_shown
    _are_shown = shown


def end_line() -> None:
    """What is printed next begins a line of its own, below the bar, if there is one."""
    if _left is not None:
        _close_left(leave=True)
    elif _drawing is not None and _drawing.stands:
        _drawing.stands = False
        sys.stderr.write("\n")
        sys.stderr.flush()


def redraw() -> None:
    """The bar that was left for a line of text goes on below it."""
    if _drawing is not None:
        _drawing.draw()


def _close_left(*, leave: bool) -> None:
    global _left
    if _left is not None:
        bar, _left = _left, None
        bar.leave = leave
        bar.close()


class Progress:
    """A bar on stderr, which comes with the first step; none with --quiet or where stderr is no terminal that can draw.

    The next bar takes the place of one that is over; text ends its line and leaves it there.
    """

    def __init__(self, name: str = "", *, unit: str = "it", is_scaled: bool = False, layout: str | None = None) -> None:
        self._name, self._unit, self._is_scaled, self._layout = name, unit, is_scaled, layout
        self._bar: Any = None
        self.stands = False  # where the cursor is

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rename(self, name: str) -> None:
        """The bar has this name from now on."""
        self._name = name
        if self._bar is not None:
            self._bar.set_description(name)

    def reach(self, done: float, total: float | None, *, begun_at: float = 0, more: str = "") -> None:
        """So many steps of the total are done, and all but `begun_at` of them in this run; `more` stands beside it."""
        if self._bar is None:
            self._open(total, begun_at)
        if more:
            self._bar.set_postfix_str(more, refresh=False)
        if self._bar.update(done - self._bar.n):  # it was drawn anew
            self.stands = True

    def _open(self, total: float | None, begun_at: float) -> None:
        global _drawing
        from tqdm import tqdm

        _close_left(leave=False)
        is_dumb = os.environ.get("TERM") == "dumb"
        self._bar = tqdm(
            desc=self._name or None,
            total=total,
            initial=begun_at,
            unit=self._unit,
            unit_scale=self._is_scaled,
            bar_format=self._layout,
            file=sys.stderr,
            disable=True if is_dumb or not _are_shown else None,  # None: only on a terminal
            dynamic_ncols=True,
        )
        self.stands = not self._bar.disable
        _drawing = self

    def draw(self) -> None:
        """Draw the bar where the cursor is, if it is shown at all."""
        if self._bar is not None and not self._bar.disable:
            self._bar.refresh()
            self.stands = True

    def close(self, *, is_kept: bool = True) -> None:
        """The bar is over, until there is another step; it stays above the text that follows if it `is_kept`."""
        global _drawing, _left
        if self._bar is None:
            return
        if self.stands and is_kept:
            self._bar.refresh()
            _left = self._bar
        else:
            self._bar.leave = False
            self._bar.close()
        self._bar, self.stands = None, False
        if _drawing is self:
            _drawing = None


class ViewsProgress(Progress):
    """A bar over the views of all videos, with the time left."""

    def __init__(self, num_videos: int, views_per_video: int) -> None:
        super().__init__(unit="view")
        self._num_videos, self._number = num_videos, 0
        self._views, self._done = views_per_video, 0

    def start(self, path: str) -> None:
        """The next video begins."""
        self._number += 1
        self.rename(_place(self._number, self._num_videos, path))
        self.advance(0)

    def advance(self, views: int) -> None:
        """This many more views of the video are scored."""
        self._done += views
        self.reach(self._done, self._num_videos * self._views)

    def end(self) -> None:
        """The video is done, whether all its views could be scored or not."""
        self.advance(self._number * self._views - self._done)


class TimelineProgress(Progress):
    """A bar along the timeline of each video: time reached, how much faster than real time, time left."""

    def __init__(self, videos: Sequence[str]) -> None:
        super().__init__(layout="{desc} {bar}{postfix} [{elapsed}<{remaining}]")
        self._videos = videos
        self._first, self._started = 0.0, 0.0

    def start(self, path: str) -> None:
        """The next video begins, one of those in the list."""
        self.rename(_place(self._videos.index(path) + 1, len(self._videos), path))
        self._started = 0.0

    def reach_time(self, start_seconds: float, end_seconds: float, reached_seconds: float) -> None:
        """The range from start to end is scored up to here."""
        if not self._started:
            self._first, self._started = reached_seconds, time.perf_counter()
        done, whole = min(reached_seconds, end_seconds) - start_seconds, end_seconds - start_seconds
        elapsed = time.perf_counter() - self._started
        factor = (reached_seconds - self._first) / elapsed if elapsed > 0 else 0.0
        self.reach(
            done,
            whole,
            begun_at=self._first - start_seconds,
            more=f"{clock(done)[:-4]} of {clock(whole)[:-4]}, {factor:.1f}x real time",
        )


class FramesProgress(Progress):
    """A bar over the frames of each video that are written."""

    def __init__(self, num_videos: int) -> None:
        super().__init__(unit="frame")
        self._num_videos, self._number = num_videos, 0

    def start(self, path: str) -> None:
        """The next video begins."""
        self.close(is_kept=False)
        self._number += 1
        self.rename(_place(self._number, self._num_videos, path))

    def reach_frame(self, done: int, total: int) -> None:
        """So many frames of the total are done."""
        self.reach(done, total)


def _place(number: int, num_videos: int, path: str) -> str:
    return f"{number}/{num_videos} {printable(os.path.basename(path))[:_LONGEST_NAME]}"


def clock(seconds: float) -> str:
    """A time as h:mm:ss.mmm."""
    whole = round(seconds * 1000)
    sign = "-" if whole < 0 else ""
    minutes, milliseconds = divmod(abs(whole), 60_000)
    return f"{sign}{minutes // 60}:{minutes % 60:02}:{milliseconds / 1000:06.3f}"
