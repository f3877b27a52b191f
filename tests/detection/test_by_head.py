"""Videos searched by a head: each in one pass that goes on where it was stopped, with nothing of it whole in memory."""

from __future__ import annotations

import importlib.util
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tadacli.detection.by_head import head_segments, job_by_head, job_by_head_in_features
from tadacli.detection.extraction import features
from tadacli.detection.feature_file import write_features
from tadacli.detection.features import VideoFeatures
from tadacli.detection.head_decoding import ScoredSpans
from tadacli.detection.jobs import DetectionJob, iter_detections
from tadacli.detection.long_sequences import MOST_AT_ONCE
from tadacli.detection.settings import SegmentSettings
from tadacli.errors import UsageError
from tadacli.models import build
from tadacli.models.bmn_head import BMNHead
from tadacli.models.temporal_head import TemporalHead
from tadacli.profiling import Profile, profiled
from tadacli.results import Detection
from tadacli.sampling.snippets import snippet_settings
from tadacli.specs import FeatureSteps, HeadSpec, InputSpec
from tadacli.zoo.loading import HeadModel, Model
from tadacli.zoo.manifest import manifest
from tests import media

SIDE, STRIDE_SECONDS, SNIPPET_SECONDS = 32, 0.25, 0.5
ANY = SegmentSettings(threshold=0.0)


def small_trunk() -> Model:
    """The built-in network with random weights, small pictures and few of them."""
    torch.manual_seed(1)
    look = InputSpec("interval", 4, 4, 30.0, SIDE, SIDE, (0.45,) * 3, (0.225,) * 3)
    spec = replace(manifest()["r2plus1d_tiny.camera_motion"], name="small", input=look, heads={"": ("one", "other")})
    network = build("r2plus1d_tiny", num_classes=spec.num_classes).eval()
    return Model(spec, network, torch.device("cpu"), torch.float32, Path("none"), "0" * 64)


def small_head(num_channels: int, stride_seconds: float = STRIDE_SECONDS) -> HeadModel:
    torch.manual_seed(2)
    arguments = {"in_channels": num_channels, "num_classes": 2, "width": 8}
    network = TemporalHead(**arguments).eval()  # type: ignore[arg-type]
    for layer in (network.scaling.deviation, network.head.weight):
        torch.nn.init.normal_(layer, 0.0, 3.0)
    spec = HeadSpec(
        name="head",
        task="detection",
        dataset="none",
        architecture="temporal",
        arguments=arguments,
        heads={"": ("jump", "run")},
        steps=FeatureSteps(num_channels, stride_seconds, snippet_seconds=SNIPPET_SECONDS),
    )
    return HeadModel(spec, network, torch.device("cpu"), torch.float32, Path("none"), "1" * 64, None)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("by head") / "numbered.mp4"
    media.render(path, 120, noise=60)
    return path


@pytest.fixture(scope="module")
def job(video: Path) -> DetectionJob:
    return job_by_head([str(video)], head=small_head(192), trunk=small_trunk(), segments=ANY)


class StoppedError(Exception):
    """Stands for being killed."""


def search(job: DetectionJob, journal: Path | None = None, *, stop_after: int | None = None) -> Detection:
    """The result of one video; with `stop_after`, of a run that stops after so many groups of snippets."""
    num_done = 0

    def count(*_: float) -> None:
        nonlocal num_done
        num_done += 1
        if num_done == stop_after:
            raise StoppedError

    with closing(iter_detections(job, journal=journal, on_progress=count)) as results:
        (found,) = results
    return found.result


def test_a_search_that_was_stopped_goes_on_to_the_same_result(job: DetectionJob, tmp_path: Path) -> None:
    expected = search(job)
    assert expected.status == "ok"
    assert len(expected.segments) > 2
    for stop_after in (1, 7, 15):
        journal = tmp_path / f"stopped {stop_after}"
        with pytest.raises(StoppedError):
            search(job, journal, stop_after=stop_after)
        journal.write_bytes(journal.read_bytes()[:-7])  # within the last line
        profile = Profile()
        with profiled(profile):
            assert search(job, journal) == expected
        assert profile.report().num_views == 16 - (stop_after - 1)  # none that was done is worked out again
        assert not journal.exists()


def test_a_search_that_was_stopped_when_all_was_seen_sees_nothing_again(job: DetectionJob, tmp_path: Path) -> None:
    results = iter_detections(job, journal=tmp_path / "journal")
    expected = next(results).result
    results.close()  # the journal is there until the next result is asked for
    profile = Profile()
    with profiled(profile):
        assert search(job, tmp_path / "journal") == expected
    assert profile.report().num_views == 0


def test_features_that_are_there_give_the_same_segments(job: DetectionJob, video: Path, tmp_path: Path) -> None:
    snippets = snippet_settings(snippet=f"{SNIPPET_SECONDS}s", stride=f"{STRIDE_SECONDS}s")
    (made,) = features(video, model=small_trunk(), snippets=snippets)
    assert made.features is not None
    write_features(tmp_path / "numbered.npz", made.features)
    kept = search(job_by_head_in_features(tmp_path, head=small_head(192), segments=ANY))
    found = search(job)
    assert found.video is not None
    assert (kept.timeline, found.video.duration_seconds) == ((0.0, 4.0), 4.0)
    assert 16 < found.num_frames_used <= 16 * 4  # snippets of four frames, of which some are shared
    opened = {name: getattr(found, name) for name in ("path", "video", "timeline", "num_frames_used")}
    assert replace(kept, **opened) == found


def test_a_boundary_matching_head_searches_a_video_in_one_pass(video: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    arguments = {"in_channels": 192, "num_classes": 2, "num_bins": 6, "max_duration_bins": 3}
    network = BMNHead(**arguments).eval()  # type: ignore[arg-type]
    head = replace(small_head(192), network=network)
    head = replace(head, spec=replace(head.spec, architecture="bmn_head", arguments=arguments))
    job = job_by_head([str(video)], head=head, trunk=small_trunk(), segments=ANY)
    found = search(job)
    assert found.status == "ok"
    assert {segment.label for segment in found.segments} == {"jump", "run"}
    assert all(0 <= each.start_seconds < each.end_seconds <= 4.0 for each in found.segments)
    journal = tmp_path / "journal"
    with pytest.raises(StoppedError):
        search(job, journal, stop_after=7)
    assert search(job, journal) == found


def test_another_trunk_is_refused_before_a_video_is_opened() -> None:
    head = small_head(192)
    steps = replace(head.spec.steps, weights_sha256="2" * 64)
    other = replace(head, spec=replace(head.spec, steps=steps))
    with pytest.raises(UsageError, match=r"small is not the model that head .* weights_sha256 is 000"):
        job_by_head(["none.mp4"], head=other, trunk=small_trunk(), segments=ANY)


def test_snippets_keep_to_their_shots_as_those_of_the_training_did_or_are_refused(video: Path, tmp_path: Path) -> None:
    length = {"snippet": f"{SNIPPET_SECONDS}s", "stride": f"{STRIDE_SECONDS}s"}
    for name, cuts in (("across", ()), ("within", (1.5, 2.5))):
        (made,) = features(video, model=small_trunk(), snippets=snippet_settings(**length, cuts=cuts))
        assert made.features is not None
        write_features(tmp_path / f"{name}.npz", made.features)
    head = small_head(192)
    found = {}
    for trained_within in (False, True, None):
        steps = replace(head.spec.steps, within_shots=trained_within)
        own = replace(head, spec=replace(head.spec, steps=steps))
        with closing(iter_detections(job_by_head_in_features(tmp_path, head=own, segments=ANY))) as results:
            found[trained_within] = [each.result for each in results]
    assert [[each.status for each in results] for results in found.values()] == [
        ["ok", "error"],
        ["error", "ok"],
        ["ok", "ok"],  # a head of an earlier version, which does not say
    ]
    assert (
        "its snippets keep to their shots, and those that the head was trained on reach across" in found[False][1].error
    )
    assert "its snippets reach across cuts, and those that the head was trained on keep" in found[True][0].error
    assert [each.cuts for each in found[None]] == [None, (1.5, 2.5)]


def test_a_head_of_snippets_that_keep_to_their_shots_looks_for_cuts() -> None:
    head = small_head(192)
    within = replace(head, spec=replace(head.spec, steps=replace(head.spec.steps, within_shots=True)))
    words = {"trunk": small_trunk(), "segments": ANY}
    if importlib.util.find_spec("scenedetect") is None:
        with pytest.raises(UsageError, match="to find cuts needs a package"):
            job_by_head(["none.mp4"], head=within, **words)  # type: ignore[arg-type]
        return
    settings = job_by_head(["none.mp4"], head=within, **words).run.settings  # type: ignore[arg-type]
    assert settings["cuts"] == "auto"
    assert any("scenedetect" in package for package in settings["versions"])


def test_the_threshold_of_an_action_is_between_those_of_its_verb_and_its_noun() -> None:
    head = small_head(192).spec
    thresholds = {"verb": (0.25, 0.7), "noun": (0.49, 0.7, 1.0)}
    spec = replace(head, heads={"verb": ("open", "close"), "noun": ("door", "box", "jar")}, thresholds=thresholds)
    seconds = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]])
    scores = np.array([0.7, 0.69, 0.35, 0.34])
    found = ScoredSpans(seconds, np.array([4, 4, 0, 0]), scores, np.tile(scores[:, None], (1, 2)))
    kept = head_segments(found, spec, SegmentSettings(threshold="auto"))
    assert [(each.label, each.score) for each in kept] == [("open door", 0.35), ("close box", 0.7)][::-1]


def test_a_video_that_fails_is_a_result(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("not a video")
    job = job_by_head([str(tmp_path / "broken.mp4")], head=small_head(192), trunk=small_trunk(), segments=ANY)
    found = search(job, tmp_path / "journal")
    assert found.status == "error"
    assert found.error.count("broken.mp4") == 1


# --- features of long videos -------------------------------------------------------------------------


def long_features(num_rows: int) -> VideoFeatures:
    values = np.random.default_rng(0).normal(size=(num_rows, 4)).astype(np.float32)
    centres = np.arange(num_rows) + 0.5
    spans = np.stack([centres - 0.5, centres + 0.5], axis=1)
    return VideoFeatures("v.mp4", values, spans, centres, 1.0, float(num_rows), (), None)


def test_features_of_more_steps_than_go_through_at_once(tmp_path: Path) -> None:
    """Every part of the video counts, also what is far from all others."""
    made = long_features(MOST_AT_ONCE + 1904)
    write_features(tmp_path / "v.npz", made)
    found = search(job_by_head_in_features(tmp_path, head=small_head(4, 1.0), segments=ANY))
    assert (found.status, found.num_windows) == ("ok", len(made.values))
    starts = np.array([segment.start_seconds for segment in found.segments])
    assert set(np.unique(starts // 2000)) == {0, 1, 2}
    write_features(tmp_path / "half.npz", made, stored="float16")
    assert search(job_by_head_in_features(tmp_path, head=small_head(4, 1.0), segments=ANY, videos=["half"])).segments


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (np.full((20, 4), np.nan, np.float32), "not finite"),
        (np.zeros((20, 4), np.int64), "no rows of numbers"),
        (np.asfortranarray(np.zeros((20, 4), np.float32)), "no rows of numbers"),
        (np.zeros((20, 4), np.float64), "type float64"),
        (np.zeros((20, 3), np.float32), "have 3 channels"),
        (np.zeros((19, 4), np.float32), "do not fit together"),
    ],
)
def test_features_that_are_none_are_a_result_that_says_so(values: np.ndarray, problem: str, tmp_path: Path) -> None:
    write_features(tmp_path / "v.npz", long_features(20))
    with np.load(tmp_path / "v.npz") as kept:
        arrays = dict(kept)
    np.savez(tmp_path / "v.npz", **{**arrays, "values": values})
    found = search(job_by_head_in_features(tmp_path, head=small_head(4, 1.0), segments=ANY))
    assert found.status == "error"
    assert problem in found.error
