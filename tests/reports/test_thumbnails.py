"""Thumbnails show the frame on screen at the middle of their segment, and cost one decode of it."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tadacli.evaluation.report import Accuracies, EvalReport, HeadResult, ItemResult, Precisions
from tadacli.reports.thumbnails import thumbnails, worst_thumbnails
from tadacli.results import Gap, Segment
from tadacli.video.reading import open_video
from tadacli.video.source import Unreadable
from tests import media


def number_on(jpeg: bytes) -> int:
    return media.number_in(np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")))


class Counting:
    """A source that notes which frames are asked for, and cannot read some of them."""

    def __init__(self, source: Any, *, unreadable: Iterable[int] = ()) -> None:
        self._source, self._unreadable = source, set(unreadable)
        self.info, self.times, self.read = source.info, source.times, []

    def iter_frames(self, indices: Iterable[int], *, skip_unreadable: bool) -> Any:
        assert skip_unreadable
        for frame in self._source.require_frames(indices):
            self.read.append(frame.index)
            is_lost = frame.index in self._unreadable
            yield Unreadable(frame.index, frame.time_seconds, "is lost") if is_lost else frame


@pytest.fixture
def source(tmp_path: Path) -> Any:
    """Thirty frames at uneven times from 2 s on."""
    path = tmp_path / "in.mkv"
    media.render(path, 30, pts=[2000 + 100 * i + 30 * (i % 2) for i in range(30)], time_base=Fraction(1, 1000))
    with open_video(path) as opened:
        yield opened


def test_each_shows_the_frame_on_screen_at_the_middle(source: Any) -> None:
    middles = [*source.times + 0.01, *source.times[1:] - 0.01]
    segments = [Segment(middle - 0.4, middle + 0.4, "wave", 0, 0.5) for middle in middles]
    counting = Counting(source)
    pictures = thumbnails(counting, segments, width=160)
    expected = [max(i for i, time in enumerate(source.times) if time <= middle) for middle in middles]
    assert [number_on(pictures[number]) for number in range(len(segments))] == expected
    assert counting.read == sorted(set(expected))


def test_the_best_segments_have_one(source: Any) -> None:
    scores = [0.2, 0.9, 0.5, 0.9, 0.1]
    segments = [Segment(2 + i / 2, 2.4 + i / 2, "wave", 0, score) for i, score in enumerate(scores)]
    assert list(thumbnails(source, segments, max_thumbnails=3)) == [1, 2, 3]
    assert thumbnails(source, []) == {}


def test_a_frame_that_cannot_be_read_costs_only_its_own(source: Any) -> None:
    segments = [Segment(at, at + 0.02, "wave", 0, 0.5) for at in source.times[[3, 8, 12, 20]]]
    counting = Counting(source, unreadable=[8])
    assert list(thumbnails(counting, segments)) == [0, 2, 3]
    gap = Gap(source.times[11], source.times[13], "damaged")
    assert list(thumbnails(source, segments, gaps=[gap])) == [0, 1, 3]


def test_pictures_have_the_shape_that_the_video_is_shown_in(tmp_path: Path) -> None:
    media.render(tmp_path / "in.mp4", 3, aspect=Fraction(4, 3))
    with open_video(tmp_path / "in.mp4") as opened:
        (jpeg,) = thumbnails(opened, [Segment(0, 0.1, "wave", 0, 1.0)], width=200).values()
    assert Image.open(io.BytesIO(jpeg)).size == (200, 90)


# --- the worst items of an evaluation --------------------------------------------------------------------


def test_the_worst_items_show_the_middle_of_their_span_or_of_their_video(tmp_path: Path) -> None:
    path = tmp_path / "in.mkv"
    media.render(path, 31, pts=[2000 + 100 * n for n in range(31)], time_base=Fraction(1, 1000))
    whole = ItemResult("whole", str(path), 0, 1, 0.1, 0.9, 1)
    span = replace(whole, id="span", start_seconds=0.3, end_seconds=0.98)
    (tmp_path / "broken.mkv").write_bytes(path.read_bytes()[:40])
    none = [replace(whole, id=name, path=str(tmp_path / name)) for name in ("broken.mkv", "missing.mkv")]
    unknown = replace(whole, id="unknown", path="")
    matrix = np.ones((2, 2), dtype=np.int64)
    heads = {
        "verb": HeadResult(("a", "b"), matrix, worst=(whole, *none, unknown)),
        "noun": HeadResult(("a", "b"), matrix, worst=(span, whole)),
    }
    pictures = worst_thumbnails(EvalReport("ek100", "", "actions", 4, 4, Accuracies({}), heads))
    with open_video(path) as source:
        shown = [Segment(2 + number / 10, 2 + number / 10 + 0.01, "", 0, 0.5) for number in range(31)]
        frames = thumbnails(source, shown)
    assert len(set(frames.values())) == 31
    number_of = {picture: number for number, picture in frames.items()}
    assert {name: number_of[picture] for name, picture in pictures.items()} == {"whole": 15, "span": 6}


def test_the_worst_items_of_a_folder_of_frames_are_shown_at_its_stated_rate(tmp_path: Path) -> None:
    for number in range(31):
        Image.fromarray(media.picture(number)).save(tmp_path / f"{number:05}.png")
    span = ItemResult("span", str(tmp_path), 0, 1, 0.1, 0.9, 1, start_seconds=1.0, end_seconds=1.2, fps=10.0)
    heads = {"": HeadResult(("a", "b"), np.ones((2, 2), dtype=np.int64), worst=(span,))}
    pictures = worst_thumbnails(EvalReport("own", "", "clips", 1, 1, Accuracies({}), heads))
    with open_video(tmp_path, fps=10) as source:
        assert pictures == {"span": thumbnails(source, [Segment(1.1, 1.1, "", 0, 0.5)])[0]}
    image = np.asarray(Image.open(io.BytesIO(pictures["span"])).resize((160, 96)))
    assert media.number_in(image) == 11


def test_a_report_without_heads_has_no_worst_items() -> None:
    assert worst_thumbnails(EvalReport("ek100-detection", "", "videos", 1, 1, Precisions({}))) == {}
