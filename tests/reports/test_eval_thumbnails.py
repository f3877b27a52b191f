"""Thumbnails of the worst items show the middle of their span, and are left out where there is nothing to show."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from tadacli.evaluation.report import Accuracies, EvalReport, HeadResult, ItemResult, Precisions
from tadacli.reports.thumbnails import thumbnails, worst_thumbnails
from tadacli.results import Segment
from tadacli.video.reading import open_video
from tests import media


def test_each_shows_the_middle_of_its_span_or_of_its_video(tmp_path: Path) -> None:
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


def test_without_heads_there_are_none() -> None:
    assert worst_thumbnails(EvalReport("ek100-detection", "", "videos", 1, 1, Precisions({}))) == {}
