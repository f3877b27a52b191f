"""Windows over a whole video: the right frames, the right times, each once; scores that can be kept and taken up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import tadacli
from tadacli.camera_motion.virtual_camera import CameraMove, KnownMove, render_sequence
from tadacli.classification import classify
from tadacli.detection.detecting import detect, detection_job
from tadacli.detection.jobs import detection_of, iter_detections
from tadacli.detection.journal import WindowJournal
from tadacli.detection.score_file import KIND, encode_scores, read_scores
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.window_pass import Group
from tadacli.detection.window_scores import score_windows
from tadacli.errors import UsageError, VideoError
from tadacli.models import build
from tadacli.profiling import Profile, Stage, profiled
from tadacli.results import Segment
from tadacli.sampling.plan import Part
from tadacli.sampling.settings import window_settings
from tadacli.sampling.windows import WindowPlan
from tadacli.specs import InputSpec, ModelSpec
from tadacli.transforms import preprocess
from tadacli.video.reading import open_video, probe, read_frames
from tadacli.zoo.loading import Model
from tadacli.zoo.manifest import manifest
from tests import media


class Brightness(nn.Module):
    """Logits of (dark, bright) from the mean of the upper left block of every frame of a clip."""

    def forward(self, clips: Tensor) -> Tensor:
        bright = clips.mean(dim=(1, 2, 3, 4)) * 50
        return torch.stack([-bright, bright], dim=1)


def looking_at_one_frame() -> Model:
    """A model that sees one frame at a time, and tells a dark one from a bright one."""
    spec = manifest()["tada2d_r50.ssv2_8f"]
    look = InputSpec("segment", 1, 1, 30.0, 32, 32, (0.5,) * 3, (0.5,) * 3)
    spec = replace(spec, name="brightness", input=look, heads={"": ("dark", "bright")})
    return Model(spec, Brightness().eval(), torch.device("cpu"), torch.float32, Path("none"), "0" * 64)


@pytest.fixture(scope="module")
def model() -> Model:
    """The built-in network with random weights."""
    torch.manual_seed(1)
    spec = manifest()["r2plus1d_tiny.camera_motion"]
    network = build(spec.architecture, num_classes=spec.num_classes).eval()
    return Model(spec, network, torch.device("cpu"), torch.float32, Path("none"), "0" * 64)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight seconds whose pixels number the frames."""
    path = tmp_path_factory.mktemp("detection") / "numbered.mp4"
    media.render(path, 240, options={"g": "24", "bf": "2"})
    return path


# --- times ------------------------------------------------------------------------------------------


def render_flash(
    path: Path, pts: Sequence[int], bright: range, *, time_base: Fraction, rotation: tuple[float, bool, bool] | None
) -> None:
    """A video that is dark, and bright for the frames of `bright`."""
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(30), options={"g": "12", "bf": "2"})
        stream.height, stream.width, stream.pix_fmt, stream.thread_count = 48, 80, "yuv420p", 1
        stream.codec_context.time_base = time_base
        if rotation is not None:
            stream.set_display_rotation(rotation[0], hflip=rotation[1], vflip=rotation[2])
        for number, when in enumerate(pts):
            picture = np.full((48, 80, 3), 220 if number in bright else 30, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = when, time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


EVEN = list(range(0, 120 * 20, 20))
UNEVEN = np.cumsum(np.random.default_rng(5).choice([10, 20, 20, 35, 60], 120)).tolist()


@pytest.mark.parametrize(
    ("name", "pts", "rotation"),
    [
        ("even.mp4", EVEN, None),
        ("variable rate.mp4", UNEVEN, None),
        ("non-zero start.mkv", [when + 2400 for when in EVEN], None),
        ("variable rate, non-zero start, on its side.mov", [when + 900 for when in UNEVEN], (90.0, False, False)),
    ],
)
def test_segment_times_are_presentation_times_within_a_frame(
    tmp_path: Path, name: str, pts: list[int], rotation: tuple[float, bool, bool] | None
) -> None:
    path = tmp_path / name
    render_flash(path, pts, range(40, 70), time_base=Fraction(1, 600), rotation=rotation)
    with open_video(path) as source:
        times = source.times
    offset = times[0] - pts[0] / 600  # a container may move the first frame to zero
    windows = window_settings(window="20ms", stride="10ms")
    settings = SegmentSettings(threshold=0.6, low_threshold=0.5, labels=("bright",))
    (found,) = detect(path, model=looking_at_one_frame(), windows=windows, segments=settings)
    (segment,) = found.segments
    frame = max(np.diff(pts)) / 600
    assert segment.start_seconds == pytest.approx(pts[40] / 600 + offset, abs=frame)
    assert segment.end_seconds == pytest.approx(pts[70] / 600 + offset, abs=frame)


def test_what_is_done_is_not_done_again(model: Model, video: Path, tmp_path: Path) -> None:
    """Nor opened: it may be gone."""
    gone, asked = str(tmp_path / "gone.mp4"), list[str]()
    job = detection_job([gone, str(video)], model=model, windows=window_settings(), segments=SegmentSettings())
    results = [found.result for found in iter_detections(job, done={gone}, on_video=asked.append)]
    assert [(result.path, result.status) for result in results] == [(str(video), "ok")]
    assert asked == [str(video)]


def test_nothing_found_is_a_result(model: Model, video: Path) -> None:
    (found,) = tadacli.detect(video, model=model, segments=SegmentSettings(threshold=0.99))
    assert (found.status, found.segments, found.gaps) == ("ok", (), ())
    assert found.num_windows == found.num_windows_planned == 7


# --- frames and scores ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampling", "window", "stride", "why"),
    [
        ("stretch", "2s", "1s", "as for segment-sampled models"),
        ("native", "2s", "1s", "two clips in each"),
        ("native", "500ms", "250ms", "clips longer than the window"),
        ("stretch", "1s,2s,4s", "1s", "three scales in one pass"),
        ("stretch", "70f", "35f", "a shorter window at the end"),
        ("native", "20s", None, "the video is shorter than a window"),
    ],
)
def test_a_window_has_the_scores_of_its_span_classified(
    model: Model, video: Path, sampling: str, window: str, stride: str | None, why: str
) -> None:
    settings = window_settings(window=window, stride=stride, sampling=sampling)  # type: ignore[arg-type]
    scored = score_windows(video, model=model, settings=settings)
    assert len(scored.spans) == scored.num_windows_planned
    assert scored.spans[:, 1].max() == pytest.approx(8.0)
    for span, row in zip(scored.spans.tolist(), scored.scores[""], strict=True):
        part = Part(*span, sampling=sampling)  # type: ignore[arg-type]
        (single,) = classify(video, model=model, part=part, topk=9, batch_size=1)
        found = {each.index: each.score for each in single.heads[""]}
        assert found == {index: float(f"{score:.7g}") for index, score in enumerate(row.astype(float))}, why


def test_scores_hardly_depend_on_the_batch_size(model: Model, video: Path) -> None:
    """A network adds up in another order for another place in a batch: the last digit may differ, no more."""
    one, three = (score_windows(video, model=model, settings=window_settings(batch_size=size)) for size in (1, 3))
    np.testing.assert_allclose(three.scores[""], one.scores[""], rtol=1e-6)


class Recording(nn.Module):
    """A network that keeps the clips it is given, and passes them on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.clips = network, list[Tensor]()

    def forward(self, clips: Tensor) -> Tensor:
        self.clips.extend(clips)
        return self.network(clips)


def test_the_model_sees_the_frames_of_the_plan(model: Model, video: Path) -> None:
    recording = Recording(model.network)
    settings = window_settings(window="1s,3s", sampling="native", batch_size=1)
    score_windows(video, model=replace(model, network=recording), settings=settings)
    spec = model.spec.input
    with open_video(video) as source:
        planned = [clip for window in WindowPlan(source, spec, settings) for clip in window.clips]
    assert len(recording.clips) == len(planned)
    for clip, frames in zip(recording.clips, planned, strict=True):
        pixels = read_frames(video, frames)
        assert [media.number_in(frame) for frame in pixels] == list(frames)
        size = {"short_side": spec.short_side, "crop_size": spec.crop_size}
        assert torch.equal(clip, preprocess(pixels, **size, num_crops=1, mean=spec.mean, std=spec.std)[0])


def test_every_needed_frame_is_decoded_once(model: Model, video: Path) -> None:
    profile = Profile()
    settings = window_settings(window="2s", stride="0.5s")
    with profiled(profile):
        scored = score_windows(video, model=model, settings=settings)
    report = profile.report()
    assert report.num_used == scored.num_frames_used <= report.num_decoded <= 240
    assert report.num_views == 2 * len(scored.spans)  # clips at the model's own rate
    assert report.stages.keys() >= {Stage.OPEN, Stage.DECODE, Stage.PREPARE, Stage.WAITING, Stage.NETWORK}
    assert report.stages[Stage.WAITING] + report.stages[Stage.NETWORK] <= report.wall_seconds


def test_what_was_decoded_counts_also_where_the_run_is_interrupted(model: Model, video: Path) -> None:
    def interrupt(*_: float) -> None:
        raise KeyboardInterrupt

    profile = Profile()
    with pytest.raises(KeyboardInterrupt), profiled(profile):
        score_windows(video, model=model, settings=window_settings(), on_progress=interrupt)
    report = profile.report()
    assert 0 < report.num_used <= report.num_decoded


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "0s"}, "no length"),
        ({"window": "2s", "stride": "3s"}, "leaves out"),
        ({"window": "2s,2s"}, "twice"),
        ({"window": "1s,2s,3s", "stride": "1s,2s"}, "do not fit"),
        ({"start_seconds": 5.0, "end_seconds": 5.0}, "empty or reversed"),
        ({"batch_size": 0}, "batch"),
    ],
)
def test_windows_that_cannot_be_meant_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        window_settings(**options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2


def test_a_range_outside_the_video_is_an_error_of_that_video(model: Model, video: Path) -> None:
    with pytest.raises(VideoError, match=r"lasts from 0\.00 s to 8\.00 s"):
        score_windows(video, model=model, settings=window_settings(start_seconds=9.0))


def test_a_range_is_laid_with_windows_from_its_start(model: Model, video: Path) -> None:
    settings = window_settings(window="2s", stride="1s", start_seconds=1.5, end_seconds=5.0)
    spans = score_windows(video, model=model, settings=settings).spans
    assert spans.tolist() == [[1.5, 3.5], [2.5, 4.5], [3.5, 5.0]]


def test_a_range_that_reaches_beyond_the_video_ends_with_it(model: Model, video: Path) -> None:
    settings = window_settings(window="2s", stride="1s", start_seconds=5.5, end_seconds=20.0)
    scored = score_windows(video, model=model, settings=settings)
    assert scored.spans.tolist() == [[5.5, 7.5], [6.5, 8.0]]
    assert scored.range_seconds == (5.5, 8.0)


def test_a_part_is_classified_as_a_video_of_its_own(model: Model, video: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.mp4"
    media.render(alone, 120)
    (part,) = classify(video, model=model, part=Part(2.0, 6.0))
    (whole,) = classify(alone, model=model)
    expected = [[frame.index + 60 for frame in clip] for clip in whole.clips]
    assert [[frame.index for frame in clip] for clip in part.clips] == expected


# --- what was fitted on validation ------------------------------------------------------------------


def test_temperature_and_thresholds_of_the_model_hold_in_windows_and_in_kept_scores(
    model: Model, video: Path, tmp_path: Path
) -> None:
    labels = model.spec.heads[""]
    plain = score_windows(video, model=model, settings=window_settings())
    sharp = replace(model, spec=replace(model.spec, temperatures={"": 0.25}))
    scored = score_windows(video, model=sharp, settings=window_settings())
    powers = plain.scores[""].astype(np.float64) ** 4
    np.testing.assert_allclose(scored.scores[""], powers / powers.sum(axis=1, keepdims=True), rtol=1e-4)
    (start, end), scores = scored.spans[2].tolist(), scored.scores[""][2].astype(float)
    (alone,) = classify(video, model=sharp, part=Part(start, end, "native"), topk=len(labels), batch_size=1)
    assert {each.index: each.score for each in alone.heads[""]} == {
        index: float(f"{score:.7g}") for index, score in enumerate(scores.tolist())
    }

    best = int(scored.scores[""].max(axis=0).argmax())
    limits = tuple(float(scored.scores[""][:, best].max()) if index == best else 1.0 for index in range(len(labels)))
    choosy = replace(sharp, spec=replace(sharp.spec, thresholds={"": limits}))
    settings = SegmentSettings(threshold="auto")
    (found,) = detect(video, model=choosy, segments=settings)
    assert {segment.index for segment in found.segments} == {best}
    (expected,) = detect(video, model=sharp, segments=SegmentSettings(threshold=limits[best], labels=(labels[best],)))
    assert found.segments == expected.segments

    (tmp_path / "s.npz").write_bytes(encode_scores(score_windows(video, model=choosy, settings=window_settings())))
    back = read_scores(tmp_path / "s.npz")
    assert (back.spec.temperatures, back.spec.thresholds) == ({"": 0.25}, {"": limits})
    assert detection_of(back, settings) == found


def test_auto_is_refused_for_a_model_without_thresholds_before_a_video_is_opened(model: Model) -> None:
    with pytest.raises(UsageError, match="carries no thresholds"):
        detect([], model=model, segments=SegmentSettings(threshold="auto"))


# --- score files and journals -----------------------------------------------------------------------


def test_a_score_file_gives_back_every_value(model: Model, video: Path, tmp_path: Path) -> None:
    scored = score_windows(video, model=model, settings=window_settings(window="1s,2s"))
    content = encode_scores(scored)
    assert content == encode_scores(scored)
    (tmp_path / "s.npz").write_bytes(content)
    back = read_scores(tmp_path / "s.npz")
    for name in ("path", "size_bytes", "spec", "settings", "info", "gaps", "range_seconds", "num_frames_used"):
        assert getattr(back, name) == getattr(scored, name), name
    for name in ("spans", "used", "scale"):
        np.testing.assert_array_equal(getattr(back, name), getattr(scored, name))
    np.testing.assert_array_equal(back.scores[""], scored.scores[""])
    settings = SegmentSettings(threshold=0.2, nms="soft")
    assert detection_of(back, settings) == detection_of(scored, settings)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut", b"\x93NUMPY"])
def test_what_is_no_score_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.npz").write_bytes(content)
    with pytest.raises(UsageError, match=r"not a score file|cannot be read"):
        read_scores(tmp_path / "s.npz")


def test_a_cut_score_file_is_refused_wherever_it_was_cut(model: Model, video: Path, tmp_path: Path) -> None:
    content = encode_scores(score_windows(video, model=model, settings=window_settings()))
    for end in range(0, len(content) - 1, 97):
        (tmp_path / "s.npz").write_bytes(content[:end])
        with pytest.raises(UsageError):
            read_scores(tmp_path / "s.npz")


class StoppedError(Exception):
    """Stands for being killed."""


@pytest.mark.parametrize("windows", [{"window": "1s,2s"}, {"window": "1s", "adaptive_stride": 6}])
def test_scoring_goes_on_behind_the_last_whole_line_of_the_journal(
    model: Model, video: Path, tmp_path: Path, windows: dict[str, Any]
) -> None:
    settings = window_settings(stride="500ms", batch_size=2, **windows)
    expected = encode_scores(score_windows(video, model=model, settings=settings))
    file = tmp_path / "journal"

    def run() -> bytes:
        journal = WindowJournal(file, kind=KIND, run_id="r", video="v", size_bytes=1)
        content = encode_scores(score_windows(video, model=model, settings=settings, journal=journal))
        journal.close()
        return content

    assert run() == expected
    whole = file.read_bytes()
    for end in np.linspace(0, len(whole), 23).astype(int).tolist():
        file.write_bytes(whole[:end])
        assert run() == expected, f"cut at byte {end} of {len(whole)}"
        assert file.read_bytes() == whole


def test_groups_in_the_journal_are_not_scored_again(model: Model, video: Path, tmp_path: Path) -> None:
    settings = window_settings(batch_size=2)
    journal = WindowJournal(tmp_path / "journal", kind=KIND, run_id="r", video="v", size_bytes=1)
    reached: list[float] = []

    def stop_after_two(*seconds: float) -> None:
        reached.append(seconds[2])
        if len(reached) == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        score_windows(video, model=model, settings=settings, journal=journal, on_progress=stop_after_two)
    journal.close()
    again = WindowJournal(tmp_path / "journal", kind=KIND, run_id="r", video="v", size_bytes=1)
    num_kept = sum(group.num_windows for group in again.saved())
    again.close()
    again = WindowJournal(tmp_path / "journal", kind=KIND, run_id="r", video="v", size_bytes=1)
    recording = Recording(model.network)
    scored = score_windows(video, model=replace(model, network=recording), settings=settings, journal=again)
    again.close()
    assert num_kept == 2
    assert len(recording.clips) == 2 * (scored.num_windows_planned - num_kept)


@pytest.mark.parametrize("changed", [{"run_id": "other"}, {"video": "w"}, {"size_bytes": 2}])
def test_a_journal_of_something_else_is_begun_anew(tmp_path: Path, changed: dict[str, object]) -> None:
    key = {"kind": KIND, "run_id": "r", "video": "v", "size_bytes": 1}
    group = Group(1, (), {"": np.ones((1, 9), np.float32)})
    first = WindowJournal(tmp_path / "j", **key)  # type: ignore[arg-type]
    first.saved()
    first.add(group)
    first.close()
    same = WindowJournal(tmp_path / "j", **key)  # type: ignore[arg-type]
    assert len(list(same.saved())) == 1
    same.close()
    other = WindowJournal(tmp_path / "j", **{**key, **changed})  # type: ignore[arg-type]
    assert list(other.saved()) == []
    other.close()


# --- damage -----------------------------------------------------------------------------------------


def damaged(video: Path, target: Path) -> None:
    """A copy with the middle fifth of its picture data overwritten."""
    data = bytearray(video.read_bytes())
    middle = len(data) * 2 // 5
    for at in range(middle, middle + len(data) // 5, 3):
        data[at] ^= 0x5A
    target.write_bytes(data)


def test_damage_in_the_middle_makes_a_gap_and_no_window_over_it_is_scored(
    model: Model, video: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.mp4"
    damaged(video, bad)
    settings = window_settings(window="1s", stride="500ms", sampling="stretch")
    whole = score_windows(video, model=model, settings=settings)
    scored = score_windows(bad, model=model, settings=settings)
    assert 0 < len(scored.spans) < scored.num_windows_planned == whole.num_windows_planned
    assert scored.gaps
    kept = [whole.spans.tolist().index(span) for span in scored.spans.tolist()]
    np.testing.assert_array_equal(scored.scores[""], whole.scores[""][kept])
    for gap in scored.gaps:
        assert gap.start_seconds < gap.end_seconds
        assert gap.reason
    lost = [span for span in whole.spans.tolist() if span not in scored.spans.tolist()]
    for start, end in lost:
        assert any(gap.start_seconds < end and gap.end_seconds > start for gap in scored.gaps)
    assert detection_of(scored, SegmentSettings()).status == "partial"


def test_a_gap_reaches_from_the_first_bad_frame_that_was_needed_to_the_next_good_one(tmp_path: Path) -> None:
    for number in range(20):
        bad = number in (7, 9, 13, 14)
        content = b"no picture" if bad else media.jpeg_bytes(number)
        (tmp_path / f"frame_{number + 1:010d}.jpg").write_bytes(content)
    rate = float(probe(tmp_path).fps)
    end = 14.4 / rate
    # Of every two frames the second is looked at, and of the last window, which is shorter, the one that there is.
    settings = window_settings(window="2f", stride="2f", sampling="stretch", end_seconds=end)
    found = score_windows(tmp_path, model=looking_at_one_frame(), settings=settings)
    spans = [(gap.start_seconds, gap.end_seconds) for gap in found.gaps]
    assert spans == [pytest.approx((7 / rate, 11 / rate)), pytest.approx((13 / rate, end))]
    assert found.num_frames_used == 4


def test_a_journal_keeps_the_gaps(model: Model, video: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    damaged(video, bad)
    settings = window_settings(window="1s", stride="500ms", sampling="stretch", batch_size=1)
    expected = encode_scores(score_windows(bad, model=model, settings=settings))
    file = tmp_path / "journal"
    journal = WindowJournal(file, kind=KIND, run_id="r", video="v", size_bytes=1)
    score_windows(bad, model=model, settings=settings, journal=journal)
    journal.close()
    lines = file.read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        file.write_bytes(b"".join(lines[:count]))
        again = WindowJournal(file, kind=KIND, run_id="r", video="v", size_bytes=1)
        assert encode_scores(score_windows(bad, model=model, settings=settings, journal=again)) == expected
        again.close()


@pytest.mark.parametrize("is_damaged", [False, True])
def test_scores_do_not_depend_on_how_many_threads_read(video: Path, tmp_path: Path, is_damaged: bool) -> None:
    path = tmp_path / "v.mp4"
    if is_damaged:
        damaged(video, path)
    else:
        path.write_bytes(video.read_bytes())
    found, settings, look = [], window_settings(window="400ms", stride="200ms"), looking_at_one_frame()
    for num_readers in (1, 2, 3):
        scored = score_windows(path, model=look, settings=settings, num_readers=num_readers)
        assert bool(scored.gaps) == is_damaged
        found.append(encode_scores(scored))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    ("name", "container_options", "has_gap"),
    [("cut.mp4", {"movflags": "faststart"}, True), ("cut.mkv", {}, False)],
)
def test_of_a_file_that_was_cut_short_what_is_left_is_scored(
    model: Model, tmp_path: Path, name: str, container_options: dict[str, str], has_gap: bool
) -> None:
    """An MP4 index tells how long the video was, so that the rest is a gap; Matroska does not."""
    whole, path = tmp_path / f"whole {name}", tmp_path / name
    media.render(whole, 240, options={"g": "24"}, container_options=container_options, noise=60)
    content = whole.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    (found,) = detect(path, model=model)
    assert found.status == "partial"
    assert found.num_windows >= 3
    assert bool(found.gaps) == has_gap
    if has_gap:
        assert found.gaps[-1].end_seconds == pytest.approx(8.0)
        assert "cut off" in found.gaps[-1].reason
    else:
        assert any("cut short" in note.text for note in found.notes)


# --- two heads --------------------------------------------------------------------------------------


def test_a_model_of_verbs_and_nouns_gives_actions(video: Path) -> None:
    torch.manual_seed(0)
    base = manifest()["r2plus1d_tiny.camera_motion"]
    verbs, nouns = tuple(f"verb{i}" for i in range(97)), tuple(f"noun{i}" for i in range(300))
    spec: ModelSpec = replace(base, name="two heads", heads={"verb": verbs, "noun": nouns})
    network = build(spec.architecture, num_classes=spec.num_classes).eval()
    two = Model(spec, network, torch.device("cpu"), torch.float32, Path("none"), "0" * 64)
    (found,) = detect(video, model=two, segments=SegmentSettings(threshold=1e-5, topk=5))
    assert len(found.segments) == 5
    for segment in found.segments:
        assert segment.verb is not None
        assert segment.noun is not None
        assert segment.action == f"{segment.verb.index},{segment.noun.index}"
        assert segment.index == segment.verb.index * 300 + segment.noun.index
        assert segment.label == f"{segment.verb.label} {segment.noun.label}"


# --- the built-in model on moves that are known -----------------------------------------------------

EVERY_MOVE = (
    "pan left",
    "static",
    "zoom in",
    "pan right",
    "zoom out",
    "roll clockwise",
    "tilt down",
    "roll counter-clockwise",
    "tilt up",
)


def average_precision(found: Sequence[Segment], truth: Sequence[KnownMove], *, iou: float) -> float:
    """Area under the interpolated precision-recall curve of one class, by the book."""
    free = list(truth)
    hits = []
    for segment in sorted(found, key=lambda segment: -segment.score):
        overlaps = [
            (min(segment.end_seconds, move.end_seconds) - max(segment.start_seconds, move.start_seconds))
            / (max(segment.end_seconds, move.end_seconds) - min(segment.start_seconds, move.start_seconds))
            for move in free
        ]
        best = max(range(len(free)), key=overlaps.__getitem__, default=None)
        is_hit = best is not None and overlaps[best] >= iou
        hits.append(is_hit)
        if is_hit:
            free.pop(best)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(sum(precision[i:].max() for i in range(len(hits)) if hits[i]) / len(truth))


def mean_average_precision(found: Sequence[Segment], truth: Sequence[KnownMove], *, iou: float) -> float:
    labels = {move.label for move in truth}
    return float(
        np.mean(
            [
                average_precision(
                    [segment for segment in found if segment.label == label],
                    [move for move in truth if move.label == label],
                    iou=iou,
                )
                for label in labels
            ]
        )
    )


def test_the_built_in_model_finds_known_moves(tmp_path: Path) -> None:
    moves = [(CameraMove(label, speed=0.2), 3.0) for label in EVERY_MOVE]
    truth = render_sequence(tmp_path / "moves.mp4", moves=moves, height=180, width=320, seed=1)
    (found,) = detect(tmp_path / "moves.mp4", windows=window_settings(window="1s", stride="250ms"))
    assert mean_average_precision(found.segments, truth, iou=0.5) >= 0.9


# --- plain arguments ------------------------------------------------------------------------------------------


def test_plain_arguments_are_the_settings_they_name(model: Model, tmp_path: Path) -> None:
    media.render(tmp_path / "a.mp4", 60)
    plain = detect(tmp_path / "a.mp4", model=model, window="1s", stride=0.5, threshold=0.1, labels=["static"])
    whole = detect(
        tmp_path / "a.mp4",
        model=model,
        windows=window_settings(window="1s", stride="0.5s"),
        segments=SegmentSettings(threshold=0.1, labels=("static",)),
    )
    assert plain == whole
    assert plain[0].num_windows == 3
    assert plain == detect(tmp_path / "a.mp4", model=model, window=1, threshold=0.1, labels=["static"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"window": "2s", "windows": window_settings()}, "window is given twice"),
        ({"stride": "1s", "windows": window_settings()}, "stride is given twice"),
        ({"threshold": 0.4, "segments": SegmentSettings()}, "threshold is given twice"),
        ({"labels": ["static"], "segments": SegmentSettings()}, "labels is given twice"),
        ({"window": "two"}, "no length of time"),
        ({"threshold": 40}, "not between 0 and 1"),
    ],
)
def test_a_setting_is_given_once(model: Model, given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        detect("a.mp4", model=model, **given)  # type: ignore[arg-type]
