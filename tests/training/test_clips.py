"""The clips of a training run: which frames, which labels, and the same bits however they are made."""

from __future__ import annotations

import io
import itertools
import multiprocessing
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tadacli.datasets.samples import Sample
from tadacli.errors import UsageError, VideoError
from tadacli.sampling.clips import training_indices
from tadacli.specs import InputSpec
from tadacli.training.batch_sheet import batch_sheet
from tadacli.training.clips import TrainingClips, balanced_sample_at, batches, derived_seed, sample_at
from tadacli.training.loop import TrainingBatch
from tadacli.training.settings import Augmentation
from tests.media import number_in, picture, render

SIDE = 96
INPUT = InputSpec(
    sampling="interval",
    clip_frames=3,
    frame_stride=2,
    target_fps=30.0,
    short_side=SIDE,
    crop_size=SIDE,
    mean=(0.45, 0.4, 0.5),
    std=(0.225, 0.25, 0.2),
)
HEADS = {"": ("left", "right", "up")}
WHOLE = Augmentation(crop_size=SIDE, short_sides=(SIDE, SIDE), flip="none")  # the picture as it is
MIRRORS = replace(WHOLE, flip="labels", flip_pairs=(("left", "right"),))
RICH = replace(MIRRORS, crop_size=64, short_sides=(64, 90), randaugment_ops=2, grayscale=0.2, erasing=0.2, mixup=0.8)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Two whole videos, and spans of a third that does not begin at time 0."""
    folder = tmp_path_factory.mktemp("videos")
    for number, num_frames in enumerate((30, 40)):
        render(folder / f"{number}.mp4", num_frames, size=(SIDE, SIDE))
    render(folder / "late.mkv", 60, size=(SIDE, SIDE), pts=[15 + number for number in range(60)])
    late = folder / "late.mkv"
    return [
        Sample("0.mp4", folder / "0.mp4", {"": 0}),
        Sample("1.mp4", folder / "1.mp4", {"": 2}),
        Sample("late 0.5-1", late, {"": 1}, 0.5, 1.0),
        Sample("late 1.5-", late, {"": 0}, 1.5, None),
        Sample("late between", late, {"": 2}, 0.34, 0.35),  # frame 10 is on screen
    ]


def clips_of(samples: Sequence[Sample], augmentation: Augmentation = WHOLE, *, seed: int = 0) -> TrainingClips:
    return TrainingClips(samples, heads=HEADS, input=INPUT, augmentation=augmentation, seed=seed)


def pixels(clip: torch.Tensor) -> np.ndarray:
    """(T, H, W, 3) in 0..255 of a normalised clip."""
    return (clip.permute(1, 2, 3, 0).numpy() * INPUT.std + INPUT.mean) * 255


def numbers_in(clip: torch.Tensor) -> list[int]:
    return [number_in(frame) for frame in pixels(clip)]


def position_of(number: int, epoch: int, *, num_samples: int, seed: int = 0) -> int:
    places = range(epoch * num_samples, (epoch + 1) * num_samples)
    return next(place for place in places if sample_at(place, num_samples=num_samples, seed=seed)[1] == number)


# --- the order --------------------------------------------------------------------------------------


def test_every_epoch_has_every_sample_once_in_an_order_of_its_own() -> None:
    found = [sample_at(position, num_samples=20, seed=4) for position in range(200)]
    assert [epoch for epoch, _ in found] == [position // 20 for position in range(200)]
    orders = [tuple(number for _, number in found[20 * epoch : 20 * epoch + 20]) for epoch in range(10)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len(set(orders)) == 10
    assert [sample_at(position, num_samples=20, seed=4) for position in reversed(range(200))] == found[::-1]
    assert [sample_at(position, num_samples=20, seed=5) for position in range(200)] != found


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_balanced_every_class_is_equally_frequent_and_its_samples_take_turns(sizes: list[int], seed: int) -> None:
    ends = list(itertools.accumulate(sizes))
    classes = [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    found = [balanced_sample_at(position, classes=classes, seed=seed) for position in range(12 * len(sizes))]
    assert len(set(found)) == len(found)  # so that no clip is made twice
    for turn in range(12):
        drawn = sorted(number for _, number in found[turn * len(sizes) : (turn + 1) * len(sizes)])
        assert all(number in members for number, members in zip(drawn, classes, strict=True))
    for members in classes:
        own = [pair for pair in found if pair[1] in members]
        for first in range(0, len(own) - len(members) + 1, len(members)):
            each = own[first : first + len(members)]
            assert sorted(each) == [(first // len(members), number) for number in members]
    again = [balanced_sample_at(place, classes=classes, seed=seed) for place in reversed(range(len(found)))]
    assert again == found[::-1]


def test_balanced_clips_have_every_class_equally_often(samples: list[Sample]) -> None:
    clips = TrainingClips(samples, heads=HEADS, input=INPUT, augmentation=WHOLE, seed=3, balance=True)
    targets = clips.batch(range(12)).targets[""].sum(0).tolist()
    assert targets == [4, 4, 4]
    plain = TrainingClips(samples, heads=HEADS, input=INPUT, augmentation=WHOLE, seed=3).batch(range(5)).targets[""]
    assert plain.sum(0).tolist() == [2, 1, 2]


def test_seeds_for_different_purposes_differ_and_have_63_bits() -> None:
    words = [(), (0,), (1,), (0, "a"), (0, "b"), (1, "a"), (0, "a", "b"), (0, "ab")]
    seeds = {derived_seed(seed, *more) for seed in (0, 1) for more in words}
    assert len(seeds) == 2 * len(words)
    assert all(0 <= seed < 1 << 63 for seed in seeds)
    assert max(seeds) > 1 << 60


# --- one clip ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["interval", "segment"])
def test_frames_are_those_of_the_span_drawn_anew_in_every_epoch(samples, sampling) -> None:
    clips = TrainingClips(samples, heads=HEADS, input=replace(INPUT, sampling=sampling), augmentation=WHOLE, seed=3)
    spans = [(0, 30), (0, 40), (15, 30), (45, 60), (10, 11)]
    seen: dict[int, set[tuple[int, ...]]] = {}
    for position in range(8 * len(samples)):
        epoch, number = sample_at(position, num_samples=len(samples), seed=3)
        first, behind = spans[number]
        drawn = training_indices(
            sampling,
            behind - first,
            fps=30.0,
            clip_frames=3,
            frame_stride=2,
            target_fps=30.0,
            rng=np.random.default_rng(derived_seed(3, epoch, samples[number].id, "frames of the clip")),
        )
        item = clips.item(position)
        assert numbers_in(item.clip) == [first + index for index in drawn]
        assert item.targets[""].tolist() == np.eye(3)[samples[number].labels[""]].tolist()
        seen.setdefault(number, set()).add(tuple(drawn))
    assert all(len(seen[number]) > 3 for number in range(4))


def test_a_mirrored_clip_has_the_other_label_of_its_pair(samples) -> None:
    clips, mirrored = clips_of(samples, MIRRORS), 0
    for position in range(8 * len(samples)):
        _, number = sample_at(position, num_samples=len(samples), seed=0)
        item = clips.item(position)
        frame = pixels(item.clip)[0]
        as_it_is, turned = (
            np.abs(view - picture(number_in(view), height=SIDE, width=SIDE)).mean() for view in (frame, frame[:, ::-1])
        )
        label = samples[number].labels[""]
        shown = int(item.targets[""].argmax())
        assert min(as_it_is, turned) < 6 < max(as_it_is, turned)
        assert shown == ({0: 1, 1: 0, 2: 2}[label] if turned < as_it_is else label)
        mirrored += turned < as_it_is
    assert 10 < mirrored < 30


def test_an_item_belongs_to_its_seed_epoch_and_sample_alone(samples) -> None:
    augmentation = replace(RICH, mixup=0)
    whole, few = clips_of(samples, augmentation), clips_of(samples[:1:-1], augmentation)
    noise_seeds = set()
    for epoch in (0, 1):
        one = whole.item(position_of(3, epoch, num_samples=5))
        other = few.item(position_of(1, epoch, num_samples=3))
        assert torch.equal(one.clip, other.clip)
        assert torch.equal(one.targets[""], other.targets[""])
        assert one.noise_seed == other.noise_seed
        noise_seeds.add(one.noise_seed)
    assert len(noise_seeds) == 2
    reseeded = clips_of(samples, augmentation, seed=1).item(position_of(3, 0, num_samples=5, seed=1))
    assert reseeded.noise_seed not in noise_seeds


def test_a_mixed_clip_has_the_classes_of_both_in_their_shares(samples) -> None:
    clips = clips_of(samples, replace(WHOLE, cutmix=1.0))
    num_mixed = 0
    for position in range(40):
        _, number = sample_at(position, num_samples=5, seed=0)
        target = clips.item(position).targets[""]
        assert float(target.sum()) == pytest.approx(1, abs=1e-6)
        others = [float(share) for index, share in enumerate(target) if index != samples[number].labels[""]]
        num_mixed += max(others) > 0
    assert 15 < num_mixed < 40  # of five samples, three or four have another class


# --- what goes wrong --------------------------------------------------------------------------------


def test_a_video_that_cannot_be_read_is_named_and_others_can_be_read_after_it(samples, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("nothing to see\n")
    behind = replace(samples[2], id="behind the end", start_seconds=9.0, end_seconds=10.0)
    clips = clips_of([Sample("broken one", tmp_path / "text.mp4", {"": 0}), samples[0], behind])
    with pytest.raises(VideoError, match=r"sample broken one: .*text file") as caught:
        clips.item(position_of(0, 0, num_samples=3))
    assert caught.value.hint
    with pytest.raises(VideoError, match="sample behind the end: nothing of"):
        clips.item(position_of(2, 0, num_samples=3))
    assert clips.item(position_of(1, 0, num_samples=3)).clip.shape == (3, 3, SIDE, SIDE)


@pytest.mark.parametrize(
    ("changes", "augmentation", "word"),
    [
        ({"path": None}, WHOLE, "no video file was found for sample 0.mp4"),
        ({"labels": {}}, WHOLE, "sample 0.mp4 has no class"),
        ({"labels": {"": 3}}, WHOLE, "sample 0.mp4 has no class"),
        ({}, replace(MIRRORS, flip_pairs=(("left", "rihgt"),)), "'rihgt' in a mirror"),
        ({}, replace(MIRRORS, flip_pairs=(("open", "close"),)), "no head has both 'open' and 'close'"),
    ],
)
def test_samples_that_cannot_be_trained_on_are_refused_at_once(samples, changes, augmentation, word) -> None:
    with pytest.raises(UsageError, match=word):
        clips_of([replace(samples[0], **changes)], augmentation)
    with pytest.raises(UsageError, match="nothing to train on"):
        clips_of([])


# --- batches ----------------------------------------------------------------------------------------


def two_of_three(step: int) -> list[list[int]]:
    """Steps of five clips, as a micro-batch of three and one of two."""
    places = list(range(5 * step, 5 * step + 5))
    return [places[:3], places[3:]]


def same(one: TrainingBatch, other: TrainingBatch) -> bool:
    assert one.noise_seeds is not None
    assert other.noise_seeds is not None
    return (
        torch.equal(one.clips, other.clips)
        and torch.equal(one.targets[""], other.targets[""])
        and torch.equal(one.noise_seeds, other.noise_seeds)
    )


def test_batches_are_the_same_from_any_step_on_in_any_number_of_processes(samples) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    clips = clips_of(samples, RICH)
    expected = [[clips.batch(positions) for positions in two_of_three(step)] for step in range(4)]
    assert expected[0][0].clips.shape == (3, 3, 3, 64, 64)
    assert [len(batch.targets[""]) for batch in expected[0]] == [3, 2]
    assert not same(expected[0][0], expected[1][0])
    # Opened videos stay here: the workers open their own.
    assert len(pickle.dumps(clips)) < 5000
    for first_step, workers in ((0, 0), (2, 0), (0, 2)):
        making = batches(clips, two_of_three, first_step=first_step, num_steps=1000, workers=workers)
        for wanted in expected[first_step:]:
            assert all(same(one, other) for one, other in zip(next(making), wanted, strict=True))
        assert len(multiprocessing.active_children()) == workers
        making.close()
        assert multiprocessing.active_children() == []
    assert len(list(batches(clips, two_of_three, first_step=3, num_steps=2))) == 2
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(UsageError, match="-1 workers"):
        next(batches(clips, two_of_three, first_step=0, num_steps=1, workers=-1))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_comes_where_its_batch_would_have_and_ends_the_workers(samples, tmp_path, workers) -> None:
    (tmp_path / "text.mp4").write_text("nothing to see\n")
    several = [*samples[:4], Sample("broken one", tmp_path / "text.mp4", {"": 0})]
    broken = position_of(4, 0, num_samples=5)
    fine = [position for position in range(5) if position != broken]
    making = batches(
        clips_of(several), lambda step: [[[*fine, broken][step % 5]]], first_step=0, num_steps=9, workers=workers
    )
    for _ in fine:
        assert len(next(making)) == 1
    with pytest.raises(VideoError, match=r"^sample broken one: .*text file") as caught:
        next(making)
    assert caught.value.hint
    assert multiprocessing.active_children() == []


def test_an_interruption_leaves_no_process(samples) -> None:
    making = batches(clips_of(samples), two_of_three, first_step=0, num_steps=1000, workers=1)
    next(making)
    assert len(multiprocessing.active_children()) == 1
    with pytest.raises(KeyboardInterrupt):
        making.throw(KeyboardInterrupt())
    assert multiprocessing.active_children() == []


# --- a picture --------------------------------------------------------------------------------------


def test_the_picture_of_a_batch_shows_frames_in_columns_clips_in_rows_and_their_classes(samples) -> None:
    clips = clips_of(samples)
    batch = clips.batch(range(5))
    data = batch_sheet(batch, HEADS, mean=INPUT.mean, std=INPUT.std, side=SIDE, max_clips=4)
    sheet = np.asarray(Image.open(io.BytesIO(data)))
    assert sheet.shape[0] == 4 * SIDE
    for row in range(4):
        shown = [sheet[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] for column in range(3)]
        assert [number_in(frame) for frame in shown] == numbers_in(batch.clips[row])
        beside = sheet[row * SIDE : (row + 1) * SIDE, 3 * SIDE + 4 :]
        assert beside.min() < 80 < 240 < beside.max()
    assert data == batch_sheet(batch, HEADS, mean=INPUT.mean, std=INPUT.std, side=SIDE, max_clips=4)
    narrow = batch_sheet(batch, HEADS, mean=INPUT.mean, std=INPUT.std, side=SIDE, max_frames=2)
    assert Image.open(io.BytesIO(narrow)).width == sheet.shape[1] - SIDE


def test_a_picture_of_mixed_clips_says_the_shares() -> None:
    batch = TrainingBatch(torch.zeros(2, 3, 1, 8, 8), {"verb": torch.tensor([[0.25, 0.75], [0.0, 1.0]])})
    wide, narrow = (
        Image.open(io.BytesIO(batch_sheet(each, {"verb": ("cut", "mix")}, mean=INPUT.mean, std=INPUT.std)))
        for each in (batch, TrainingBatch(batch.clips[1:], {"verb": batch.targets["verb"][1:]}))
    )
    assert wide.width > narrow.width  # "verb: mix  0.75" needs more room than "verb: mix"
