"""Frames that are kept for later epochs: the same clips and weights to the byte, and never more memory than allowed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.datasets.samples import Sample
from tadacli.distributed import Resources
from tadacli.errors import UsageError, VideoError
from tadacli.evaluation.scoring import Decoded
from tadacli.profiling import Profile, Stage, profiled
from tadacli.training.clips import TrainingClips, batches
from tadacli.training.frame_cache import FrameCache, Span, identity_of
from tadacli.training.kept_views import KeptViews
from tadacli.training.run import Listener, run_finetuning
from tadacli.training.run_folder import RunFolder
from tadacli.training.validation import validate
from tests.media import render
from tests.training.test_clips import HEADS, INPUT, RICH, SIDE, same, samples, two_of_three
from tests.training.test_run import (
    CPU,
    InterruptedRunError,
    base,
    data_of,
    job_of,
    outcome,
)
from tests.training.test_run import clips as short_videos
from tests.trees import damage

__all__ = ["base", "samples", "short_videos"]
PLENTY = 10**8
NUM_EPOCHS = 40  # so many that all is worth keeping


def clips_of(samples: list[Sample], cache: FrameCache | None) -> TrainingClips:
    return TrainingClips(
        samples, heads=HEADS, input=INPUT, augmentation=RICH, seed=4, cache=cache, num_epochs=NUM_EPOCHS
    )


def span_of(num_frames: int) -> Span:
    return Span(7, 7 + num_frames, 30.0, np.arange(num_frames) / 30, 0.5)


# What happens to a place: how many frames of which size come, and how many of them are there.
events = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(1, 40), st.integers(1, 40), st.integers(0, 8)),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(events=events, num_bytes=st.integers(1, 40_000))
def test_never_more_is_used_than_allowed_and_what_is_found_is_what_was_put_there(events, num_bytes) -> None:
    kept: dict[int, np.ndarray] = {}
    with FrameCache(num_bytes, 5) as cache:
        for number, (place, num_frames, height, width, num_there) in enumerate(events):
            frames = np.random.default_rng(number).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
            wants = cache.wants(place, frames.nbytes)
            new = cache.reserve(place, b"%015d\1" % place, span_of(num_frames), height=height, width=width)
            assert wants or new is None
            if new is not None:
                assert cache.find(place, b"%015d\1" % place) is None  # until it is whole
                with new:
                    assert all(new.add(frame) for frame in frames[:num_there])
                if num_there >= num_frames:
                    kept[place] = frames
            use = cache.use
            assert use.num_samples == len(kept)
            assert sum(each.nbytes for each in kept.values()) <= use.used_bytes
            assert use.used_bytes <= num_bytes or not kept
            assert os.fstat(cache._file).st_size <= num_bytes
        for place in range(5):
            found = cache.find(place, b"%015d\1" % place)
            assert cache.find(place, b"another file..!\1") is None
            assert (found is not None) == (place in kept)
            if found is not None:
                assert found.span.first == 7
                assert np.array_equal(found.read([-1 + len(kept[place]), 0]), kept[place][[-1, 0]])


def taken_down(clips: TrainingClips, positions: range) -> tuple[list, Profile]:
    profile = Profile()
    with profiled(profile):
        return [clips.batch([position]) for position in positions], profile


@pytest.mark.parametrize("num_bytes", [1, 2_000_000, PLENTY])
def test_clips_are_the_same_and_later_epochs_decode_nothing_that_is_kept(samples, num_bytes) -> None:
    plain = clips_of(samples, None)
    with FrameCache(num_bytes, len(samples)) as cache:
        keeping = clips_of(samples, cache)
        for first in (0, 5, 10):
            found, profile = taken_down(keeping, range(first, first + 5))
            assert all(same(one, plain.batch([first + place])) for place, one in enumerate(found))
        assert cache.use.num_samples == {1: 0, 2_000_000: 4, PLENTY: 5}[num_bytes]
        assert (profile.report().num_decoded == 0) == (num_bytes == PLENTY)
        assert profile.report().stages.keys() >= {Stage.DECODE, Stage.AUGMENT}


def test_processes_share_what_is_kept_and_say_what_they_did(samples) -> None:
    plain, profile = clips_of(samples, None), Profile()
    with FrameCache(PLENTY, len(samples)) as cache, profiled(profile):
        made = list(batches(clips_of(samples, cache), two_of_three, first_step=0, num_steps=6, workers=2))
        assert cache.use.num_samples == 5
    for step, parts in enumerate(made):
        wanted = [plain.batch(positions) for positions in two_of_three(step)]
        assert all(same(one, other) for one, other in zip(parts, wanted, strict=True))
    found = profile.report()
    assert found.stages.keys() >= {Stage.OPEN, Stage.DECODE, Stage.AUGMENT, Stage.WAITING}
    # All of the 91 frames once or twice, as two may begin at the same time, and no more in any epoch.
    assert 91 <= found.num_decoded <= 91 + 3 * 91


def test_what_is_not_worth_it_is_not_kept(samples) -> None:
    with FrameCache(PLENTY, len(samples)) as cache:
        rare = TrainingClips(samples, heads=HEADS, input=INPUT, augmentation=RICH, seed=4, cache=cache, num_epochs=1)
        rare.batch(range(5))
        # The three spans: decoding begins at the start of their video, which takes longer than all of a span.
        assert cache.use.num_samples == 3


def test_damage_that_a_clip_does_not_meet_is_no_error_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "damaged.mp4"
    render(path, 60, size=(SIDE, SIDE), options={"g": "12", "bf": "0"}, noise=20)
    damage(path)
    sample = Sample("damaged.mp4", path, {"": 0})

    def outcomes(cache: FrameCache | None) -> list[object]:
        clips, found = clips_of([sample], cache), []
        for position in range(NUM_EPOCHS):
            try:
                found.append(clips.batch([position]).clips.sum().item())
            except VideoError as error:
                found.append(str(error))
        return found

    with FrameCache(PLENTY, 1) as cache:
        found = outcomes(cache)
        assert found == outcomes(None)
        assert {type(each) for each in found} == {float, str}
        assert cache.use.num_samples == 0


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path, other = tmp_path / "video.mp4", tmp_path / "other.mp4"
    render(path, 30, size=(SIDE, SIDE))
    render(other, 30, size=(SIDE, SIDE), noise=50)
    sample = Sample("video.mp4", path, {"": 0})
    with FrameCache(PLENTY, 1) as cache:
        clips_of([sample], cache).batch([0])
        assert cache.use.num_samples == 1
        other.replace(path)
        clips = clips_of([sample], cache)
        assert same(clips.batch([1]), clips_of([sample], None).batch([1]))
    missing = replace(sample, path=tmp_path / "missing.mp4")
    assert identity_of(missing) is None


# --- held-out items -----------------------------------------------------------------------------------------


def test_held_out_items_are_decoded_once_as_far_as_there_is_room(short_videos: list[Path], base: Path) -> None:
    job = job_of(data_of(short_videos), base)
    network, spec = job.start.network.eval(), job.start.spec
    plain = validate(network, spec, job.data.validation, Resources(CPU))
    item_bytes = 2 * 3 * 32 * 32 * 4
    for num_bytes, num_kept in ((0, 0), (2 * item_bytes, 2), (PLENTY, 3)):
        kept = KeptViews(num_bytes)
        for _ in range(2):
            found = validate(network, spec, job.data.validation, Resources(CPU), kept=kept)
            assert found.loss == plain.loss
            assert all(np.array_equal(found.table.scores[head], plain.table.scores[head]) for head in plain.labels)
        assert (len(kept), kept.used_bytes) == (num_kept, num_kept * item_bytes)


def test_an_item_that_cannot_be_read_is_tried_again(short_videos: list[Path]) -> None:
    kept, calls = KeptViews(PLENTY), []

    def decode(sample: Sample) -> Decoded:
        calls.append(sample.id)
        return None, VideoError("is busy")  # type: ignore[return-value]

    for _ in range(2):
        assert isinstance(kept.get(Sample("a", short_videos[0]), decode=decode)[1], VideoError)
    assert calls == ["a", "a"]
    assert len(kept) == 0


# --- a whole run --------------------------------------------------------------------------------------------


def test_weights_are_the_same_with_and_without_and_after_an_interruption(
    short_videos: list[Path], base: Path, tmp_path: Path
) -> None:
    def ended(name: str, *, cache_bytes: int, hear: Callable[..., object] = lambda _: None) -> list:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        job = job_of(data_of(short_videos), base, epochs=3.0, mixup=0.5)
        done = run_finetuning(
            job,
            RunFolder(folder),
            Resources(CPU, workers=0),
            cache_bytes=cache_bytes,
            save_every_seconds=-1.0,
            listener=Listener(on_step=hear, on_cache=uses.append),
        )
        return outcome(folder, done)

    uses: list = []
    expected = ended("without", cache_bytes=0)
    assert uses == []
    assert ended("with", cache_bytes=PLENTY) == expected
    assert uses[-1].num_samples > 0
    assert uses[-1].used_bytes <= uses[-1].num_bytes == PLENTY

    def stop(report: object) -> None:
        if report.step == 4:  # type: ignore[attr-defined]
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        ended("broken", cache_bytes=PLENTY, hear=stop)
    assert ended("broken", cache_bytes=10**6) == expected


def test_a_system_that_cannot_keep_frames_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv")  # as on Windows
    with pytest.raises(UsageError, match="cannot keep frames"):
        FrameCache(PLENTY, 1)
