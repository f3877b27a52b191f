"""Thresholds for segments: the best F1 on windows, no label over far more time than shows it, and what detect takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import tadacli
from tadacli.datasets.samples import Dataset, Sample
from tadacli.detection.jobs import detection_of
from tadacli.detection.scored_windows import WindowScores
from tadacli.detection.settings import SegmentSettings
from tadacli.distributed import Processes
from tadacli.results import VideoInfo
from tadacli.sampling.settings import window_settings
from tadacli.specs import EvalProtocol, InputSpec, ModelSpec, spec_from_dict
from tadacli.training.segment_thresholds import (
    SearchedVideo,
    fit_segment_thresholds,
    search_videos,
    segments_line,
)
from tadacli.zoo.loading import load_model
from tests.media import render

INPUT = InputSpec("interval", 2, 1, 30.0, 32, 32, (0.45,) * 3, (0.225,) * 3)
HEADS = {"": ("wave", "nod")}
SPEC = ModelSpec("tiny.mine", "r2plus1d_tiny", "action", "mine", INPUT, HEADS, EvalProtocol(1, 1))


def searched(waves: Sequence[float], truth: Sequence[tuple[float, float, int]]) -> SearchedVideo:
    """A video whose windows of one second, side by side, show waves with these scores, and nothing else but nods."""
    number = len(waves)
    starts = np.arange(number, dtype=np.float64)
    spans = np.stack([starts, starts + 1], axis=1)
    column = np.array(waves, dtype=np.float32)
    info = VideoInfo("video.mp4", 30 * number, Fraction(30), float(number), 32, 32, 0, "h264")
    windows = {"window": "1s", "stride": "1s"}
    scores = WindowScores(
        "video.mp4",
        None,
        SPEC,
        "",
        "1.0",
        windows,  # type: ignore[arg-type]
        info,
        (0.0, float(number)),
        spans,
        spans,
        np.zeros(number, dtype=np.int64),
        {"": np.stack([column, 1 - column], axis=1)},
        (),
        number,
        number,
    )
    return SearchedVideo(
        scores, np.array([each[:2] for each in truth]).reshape(-1, 2), np.array([each[2] for each in truth], dtype=int)
    )


def test_the_threshold_lies_between_what_is_right_and_what_is_not() -> None:
    """Waves are right at 0.8 and wrong at 0.5; a trimmed item of each would put the threshold wherever it likes."""
    waves = [0.1, 0.8, 0.1, 0.5, 0.1, 0.1, 0.8, 0.1, 0.5, 0.1, 0.8, 0.1, 0.1, 0.8, 0.1]
    truth = [(float(second), second + 1.0, 0) for second, score in enumerate(waves) if score == 0.8]
    found = fit_segment_thresholds([searched(waves, truth)], HEADS)
    assert found is not None
    wave, _ = found.thresholds[""]
    assert 0.5 < wave <= 0.8
    assert (found.num_videos, found.num_segments) == (1, 4)
    assert "1 of 2 classes" in found.notes[0]


def test_the_share_of_its_threshold_that_a_segment_holds_is_fitted_too() -> None:
    """Between waves of 0.9 the score falls to 0.6: no threshold parts them while half of it is held."""
    waves = [0.1, *[0.9, 0.6] * 6, 0.1, 0.1]
    truth = [(float(second), second + 1.0, 0) for second, score in enumerate(waves) if score == 0.9]
    found = fit_segment_thresholds([searched(waves, truth)], HEADS)
    assert found is not None
    assert found.low_share > 0.6
    assert f"hold {100 * found.low_share:g} % of their threshold" in segments_line(found)
    for share, number in ((found.low_share, 6), (0.5, 1)):
        spec = replace(SPEC, segment_thresholds=found.thresholds, segment_low_share=share)
        assert spec_from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
        assert ("segment_low_share" in spec.to_dict()) == (share != 0.5)
        scores = replace(searched(waves, truth).scores, spec=spec)
        segments = detection_of(scores, SegmentSettings(threshold="auto")).segments
        assert sum(each.label == "wave" for each in segments) == number


def test_what_is_found_in_negatives_is_wrong() -> None:
    """Waves of 0.7 are right, and in a video without any of the classes they are not; those of 0.9 still are."""
    waves, truth = [0.1, 0.7, 0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1], [(1.0, 2.0, 0), *((n, n + 1.0, 0) for n in (3, 5, 7))]
    labelled, negative = searched(waves, truth), searched([0.1, 0.7] * 6 + [0.1], [])
    short = searched([0.95, 0.1, 0.1], [])  # most of it would be a wave, and that does not rule a threshold out
    plain, taught = (fit_segment_thresholds(videos, HEADS) for videos in ([labelled], [labelled, negative, short]))
    assert plain is not None
    assert taught is not None
    assert plain.thresholds[""][0] <= 0.7 < taught.thresholds[""][0] <= 0.9
    assert (taught.num_videos, taught.num_negatives, taught.num_segments) == (1, 2, 4)
    assert "4 segments of 1 held-out video and in 2 negatives they were" in segments_line(taught)
    assert "negatives" not in segments_line(plain)


def test_negatives_are_searched_as_videos_without_a_segment(tmp_path: Path) -> None:
    for number in range(2):
        render(tmp_path / f"{number}.mp4", 45, size=(48, 48), noise=1 + number, time_base=Fraction(1, 15))
    model = load_model(device="cpu")
    heads = {"": (*model.spec.heads[""], "background")}
    model = replace(model, spec=replace(model.spec, background=model.spec.heads[""][-1]))
    samples = (
        Sample("0", tmp_path / "0.mp4", {"": 0}, 1.0, 2.0, "0"),
        Sample("1", tmp_path / "0.mp4", {"": 8}, 2.0, 3.0, "0"),
        Sample("2", tmp_path / "1.mp4", {"": 8}, 0.0, 2.0, "1"),
    )
    (labelled, negative), unread = search_videos(Dataset("mine", heads, samples), model, Processes())
    assert unread == []
    assert labelled.spans.tolist() == [pytest.approx([1.0, 2.0])]
    assert (len(negative.spans), len(negative.classes)) == (0, 0)


@pytest.mark.parametrize("others", [[], [searched([0.01] * 20, [(1.0, 18.0, 0)])]])
def test_no_label_covers_far_more_of_a_video_than_shows_it(others: list[SearchedVideo]) -> None:
    """One segment over all is right about one of three, the best F1 there is: but it is 11 of 20 seconds too long.

    That another video shows more than is found in it makes up for none of this.
    """
    waves = [0.9] * 4 + [0.46] * 16
    short = [(0.0, 8.0, 0), (16.5, 17.0, 0), (18.0, 18.5, 0)]
    found = fit_segment_thresholds([searched(waves, short), *others], HEADS)
    assert found is not None
    settings = replace(SPEC, segment_thresholds=found.thresholds, segment_low_share=found.low_share)
    scores = replace(searched(waves, short).scores, spec=settings)
    segments = detection_of(scores, SegmentSettings(threshold="auto")).segments
    assert sum(each.end_seconds - each.start_seconds for each in segments if each.label == "wave") <= 9 + 0.1 * 20


def test_a_threshold_that_right_segments_hardly_reach_is_not_taken() -> None:
    """At 0.3 alone all is right; a little higher nothing is found, and a little lower two of ten are wrong."""
    waves = [0.05, 0.305] * 8 + [0.05, 0.285] * 2 + [0.05] * 25
    truth = [(float(second), second + 1.0, 0) for second, score in enumerate(waves) if score == 0.305]
    found = fit_segment_thresholds([searched(waves, truth)], HEADS)
    assert found is not None
    assert 0.05 < found.thresholds[""][0] <= 0.26


def test_of_equal_thresholds_the_highest_is_taken() -> None:
    waves = [0.0, 1.0] * 5 + [0.0]
    truth = [(float(second), second + 1.0, 0) for second, score in enumerate(waves) if score]
    found = fit_segment_thresholds([searched(waves, truth)], HEADS)
    assert found is not None
    assert found.thresholds[""][0] == 0.98


def test_one_hard_video_of_many_rules_no_threshold_out() -> None:
    """Waves are right at 0.6, but in one of ten videos nearly all else looks like one, by no more than a high wave."""
    easy, hard = [0.1, 0.6, 0.1, 0.6] * 5, [0.1, 0.6, *[0.65] * 18]
    right = [(float(second), second + 1.0, 0) for second, score in enumerate(easy) if score == 0.6]
    videos = [*(searched(easy, right) for _ in range(9)), searched(hard, [(1.0, 2.0, 0)])]
    found = fit_segment_thresholds(videos, HEADS)
    assert found is not None
    assert 0.1 < found.thresholds[""][0] <= 0.6


@pytest.mark.parametrize(("num_nods", "is_its_own"), [(1, False), (30, True)])
def test_a_class_with_few_segments_has_about_the_threshold_of_all(num_nods: int, is_its_own: bool) -> None:
    """Waves of 0.5 are right, and of nods only those of 0.9, beside which stand others of 0.6."""
    waves, nods = np.full((2, 128), 0.05, dtype=np.float32)
    waves[1::4] = 0.5
    nods[2 : 4 * num_nods : 4] = 0.9
    nods[4 : 4 * num_nods + 4 : 4] = 0.6
    truth = [(second, second + 1.0, 0) for second in np.flatnonzero(waves > 0.4)]
    truth += [(second, second + 1.0, 1) for second in np.flatnonzero(nods > 0.8)]
    video = searched(waves.tolist(), truth)
    scores = replace(video.scores, scores={"": np.stack([waves, nods], axis=1)})
    found = fit_segment_thresholds([replace(video, scores=scores)], HEADS)
    assert found is not None
    wave, nod = found.thresholds[""]
    assert 0.05 < wave <= 0.5
    assert (nod > 0.6) == is_its_own
    assert is_its_own or nod == pytest.approx(wave, abs=0.1)


def test_without_segments_there_is_nothing_to_fit() -> None:
    assert fit_segment_thresholds([], HEADS) is None
    assert fit_segment_thresholds([searched([0.1, 0.2], [])], HEADS) is None
    two = {"verb": ("take",), "noun": ("cup",)}
    assert fit_segment_thresholds([searched([0.1], [(0.0, 1.0, 0)])], two) is None


def test_segments_have_thresholds_of_their_own_and_other_windows_are_noted() -> None:
    scores = searched([0.3, 0.7, 0.3], []).scores
    spec = replace(SPEC, thresholds={"": (0.1, 0.9)}, segment_thresholds={"": (0.6, 0.9)})
    scores = replace(scores, spec=spec)
    found = detection_of(scores, SegmentSettings(threshold="auto"))
    assert [each.label for each in found.segments] == ["wave"]
    assert "fitted on windows of 2s every 1s" in found.notes[0].text
    usual = replace(scores, settings={"window": "2s", "stride": "1s"})
    assert detection_of(usual, SegmentSettings(threshold="auto")).notes == ()
    lower = replace(scores, spec=replace(spec, segment_thresholds={}, thresholds={"": (0.8, 0.9)}))
    assert detection_of(lower, SegmentSettings(threshold="auto")).segments == ()


def test_annotations_count_from_the_first_frame(tmp_path: Path) -> None:
    """Of a video whose first frame appears at 10 s, seconds 1 to 2 are 11 to 12 in the time of its windows."""
    file = tmp_path / "late.mkv"
    render(file, 45, pts=[150 + number for number in range(45)], size=(48, 48), time_base=Fraction(1, 15))
    model = load_model(device="cpu")
    samples = tuple(Sample(f"{start}", file, {"": 0}, start, end, "late") for start, end in ((1.0, 2.0), (2.0, None)))
    videos, unread = search_videos(Dataset("mine", model.spec.heads, samples), model, Processes())
    assert unread == []
    (video,) = videos
    assert video.scores.range_seconds == pytest.approx((10.0, 13.0), abs=0.05)
    assert video.spans.tolist() == [pytest.approx([11.0, 12.0]), pytest.approx([12.0, 13.0], abs=0.05)]


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    """Three videos of 6 s with two labels each."""
    lines = ["video,start,end,label"]
    for number in range(3):
        render(tmp_path / f"{number}.mp4", 90, size=(48, 48), noise=1 + number, time_base=Fraction(1, 15))
        lines += [f"{number}.mp4,0,2.5,first", f"{number}.mp4,3,6,second"]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "labels.csv"


def test_a_run_on_segments_leaves_thresholds_for_segments(annotated: Path, tmp_path: Path) -> None:
    settings = {"epochs": 1, "batch_size": 2, "warmup_epochs": 0}
    clip = {"clip_frames": 4, "frame_stride": 2, "short_side": 32, "crop_size": 32}
    result = tadacli.finetune(
        annotated, output=tmp_path / "mine", settings=settings, clip=clip, views="1x1", device="cpu", workers=0
    )
    assert result.segments is not None
    assert (result.segments.num_videos, result.segments.num_segments) == (1, 2)
    spec = tadacli.load_model(tmp_path / "mine", device="cpu").spec
    assert spec.segment_thresholds == result.segments.thresholds
    assert spec.segment_low_share == result.segments.low_share
    assert len(spec.segment_thresholds[""]) == 2
    assert "threshold for segments" in (tmp_path / "mine" / "README.md").read_text()
    found = tadacli.detect(
        tmp_path / "0.mp4",
        model=tmp_path / "mine",
        windows=window_settings(),
        segments=SegmentSettings(threshold="auto"),
        device="cpu",
    )
    assert found[0].status == "ok"
    assert json.loads((tmp_path / "mine" / "eval.json").read_text())["num_items"] == 2
