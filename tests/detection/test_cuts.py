"""Shots: nothing that is found reaches across a cut, whether cuts are named or looked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import tadacli
from tadacli.camera_motion.virtual_camera import write_video
from tadacli.detection.cuts import parse_cuts
from tadacli.detection.detecting import detection_job
from tadacli.detection.jobs import iter_detections
from tadacli.detection.score_file import encode_scores, read_scores, write_scores
from tadacli.detection.segments import class_curves
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.window_scores import score_windows
from tadacli.errors import UsageError
from tadacli.sampling.settings import window_settings
from tadacli.sampling.windows import WindowPlan
from tadacli.video.reading import open_video
from tests.detection.test_detecting import looking_at_one_frame

FPS = 10
SHOTS = (1.5, 1.2, 1.8, 1.5, 0.7, 2.3)  # 9 seconds
CUTS = tuple(np.cumsum(SHOTS)[:-1].round(6).tolist())


def pictures(shots: Sequence[float]) -> Iterator[np.ndarray]:
    """Shots of bright pictures that stand still, none like the one before."""
    rng = np.random.default_rng(3)
    for seconds in shots:
        colours = rng.integers(150, 250, (6, 8, 3))
        yield from [np.kron(colours, np.ones((16, 16, 1))).astype(np.uint8)] * round(seconds * FPS)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shots") / "six shots.mp4"
    write_video(path, pictures(SHOTS), fps=FPS, height=96, width=128)
    return path


def test_no_window_sees_two_shots(film: Path) -> None:
    spec = tadacli.load_model("r2plus1d_tiny.camera_motion", device="cpu").spec
    with open_video(film) as source:
        plan = WindowPlan(source, spec.input, window_settings(window="1s", stride="300ms"), cuts=CUTS)
        times = source.times
    assert plan.cuts == pytest.approx(CUTS)
    edges = [0.0, *CUTS, 9.0]
    windows = list(plan)
    for start, end in pairwise(edges):
        inside = [window for window in windows if start - 1e-6 <= window.start_seconds < end - 1e-6]
        assert min(window.start_seconds for window in inside) == pytest.approx(start)
        assert max(window.end_seconds for window in inside) == pytest.approx(end)
        seen = times[[frame for window in inside for clip in window.clips for frame in clip]]
        assert start - 1e-6 <= seen.min()
        assert seen.max() < end - 1e-6
    assert len(plan) == plan.num_laid


def test_a_cut_is_where_the_nearest_frame_appears_and_counts_once(film: Path) -> None:
    spec = looking_at_one_frame().spec.input
    with open_video(film) as source:
        plan = WindowPlan(source, spec, window_settings(), cuts=(1.52, 1.5, 4.44, 0.0, 9.0, 100.0))
    assert plan.cuts == pytest.approx((1.5, 4.4))


def test_a_label_that_goes_on_after_a_cut_is_another_segment(film: Path, tmp_path: Path) -> None:
    model, shots = looking_at_one_frame(), list(pairwise([0.0, *CUTS, 9.0]))
    settings = window_settings(window="1s", stride="250ms", cuts=CUTS)
    for segments in (SegmentSettings(), SegmentSettings(exclusive=True), SegmentSettings(smooth_seconds=2.0)):
        (whole,) = tadacli.detect(film, model=model, windows=window_settings(window="1s"), segments=segments)
        assert [(each.start_seconds, each.end_seconds) for each in whole.segments] == [(0.0, 9.0)]
        assert whole.cuts is None
        (found,) = tadacli.detect(film, model=model, windows=settings, segments=segments)
        ends = [(each.start_seconds, each.end_seconds) for each in found.segments]
        assert np.array(ends) == pytest.approx(np.array(shots))
        assert found.cuts == pytest.approx(CUTS)
    scores = score_windows(film, model=model, settings=settings)
    write_scores(tmp_path / "kept.npz", scores)
    kept = read_scores(tmp_path / "kept.npz")
    assert kept.cuts == scores.cuts
    assert encode_scores(kept) == encode_scores(scores)
    curves = class_curves(
        kept.spans,
        kept.scale,
        kept.scores,
        kept.spec.heads,
        settings=SegmentSettings(),
        video_seconds=kept.range_seconds,
        cuts=kept.cuts,
        segments=found.segments,
        num_classes=1,
    )
    assert np.array([curve.edges[[0, -1]] for curve in curves]) == pytest.approx(np.array(shots))


def test_a_journal_of_other_cuts_is_begun_anew_and_one_of_the_same_goes_on(film: Path, tmp_path: Path) -> None:
    model, journal = looking_at_one_frame(), tmp_path / "journal"

    def begun(cuts: tuple[float, ...], *, num_groups: int) -> list[float]:
        reached: list[float] = []

        class StoppedError(Exception):
            pass

        def on_progress(_start: float, _end: float, until: float) -> None:
            reached.append(until)
            if len(reached) == num_groups:
                raise StoppedError

        windows = window_settings(window="1s", cuts=cuts)
        job = detection_job([str(film)], model=model, windows=windows, segments=SegmentSettings())
        with contextlib.suppress(StoppedError):
            list(iter_detections(job, journal=journal, on_progress=on_progress))
        return reached

    first = begun(CUTS, num_groups=3)
    assert begun((4.0,), num_groups=1) == [1.0]
    assert begun(CUTS, num_groups=3) == first
    assert begun(CUTS, num_groups=1)[0] > first[-1]


def test_times_are_read_from_a_text_or_the_first_column_of_a_table(tmp_path: Path) -> None:
    file = tmp_path / "cuts.csv"
    file.write_text("seconds,kind\n1.5,cut\n# a remark\n\n0:12.25,cut\n1.5,again\n00:00:03,cut\n", encoding="utf-8-sig")
    assert parse_cuts(str(file)) == (1.5, 3.0, 12.25)
    file.write_text("")
    assert parse_cuts(str(file)) == parse_cuts("none") == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1.5\nsoon\n", "line 2: soon is no time"),
        (b"1\n\x1b[2J\n", r"\\u001b\[2J is no time"),
        (b"1\n-2\n", "line 2: -2"),
        (b"-2\n1\n", "line 1: -2 is no time"),
        (b"1;5\n2\n", "line 1: 1;5 is no time"),
        (b"nan\n", "line 1: nan is no time"),
        (b"\xff\xd8\xff\xe0\n", "is no text"),
    ],
)
def test_a_line_without_a_time_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "cuts.txt"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=message) as raised:
        parse_cuts(str(file))
    assert raised.value.hint
    with pytest.raises(UsageError, match="cannot be read"):
        parse_cuts(str(tmp_path / "none.txt"))
