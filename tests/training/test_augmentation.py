"""Random changes to clips: which crop, mirrored or not, in bounds, the same for all frames, and the seed's alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from tadacli.camera_motion.virtual_camera import CAMERA_MOTIONS
from tadacli.errors import UsageError
from tadacli.specs import label_list
from tadacli.training.augmentation import augment_clip, mirrored_class, mirrored_pairs, mix
from tadacli.training.settings import Augmentation
from tadacli.transforms import resize_frames

MEAN, STD = (0.45, 0.4, 0.5), (0.225, 0.25, 0.2)
ROUNDING = 1e-5  # of float32 after dividing and multiplying by STD
EXACT = {"crop_size": 48, "short_sides": (64, 64), "flip": "none"}
LABELS = ("left to right", "right to left", "up", "down")
PAIRS = (("left to right", "right to left"),)


def ramps(height: int = 64, width: int = 96, num_frames: int = 3) -> np.ndarray:
    """uint8 (T, H, W, 3): red is the column, green the row, blue the frame, so that a crop says where it is from."""
    number, row, column = np.mgrid[0:num_frames, 0:height, 0:width]
    return np.stack([column, row, 20 * number], axis=-1).astype(np.uint8)


def noise(num_frames: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (num_frames, 64, 96, 3), dtype=np.uint8)


def augmented(frames: np.ndarray, seed: int, **changes: Any) -> tuple[np.ndarray, bool]:
    """(T, c, c, 3) in 0..255, not normalised any more, and whether it is mirrored."""
    found = augment_clip(frames, Augmentation(**changes), mean=MEAN, std=STD, seed=seed)
    assert found.clip.dtype == torch.float32
    assert found.clip.is_contiguous()
    values = found.clip.permute(1, 2, 3, 0).double().numpy() * np.array(STD) + np.array(MEAN)
    return values * 255, found.is_mirrored


# --- geometry ---------------------------------------------------------------------------------------


def test_a_crop_is_the_same_place_of_every_frame_and_every_place_comes() -> None:
    corners, mirrored = [], 0
    for seed in range(400):
        values, is_mirrored = augmented(ramps(), seed, **EXACT | {"flip": "plain"})
        values = values[:, :, ::-1] if is_mirrored else values
        mirrored += is_mirrored
        left, top, _ = np.rint(values[0, 0, 0]).astype(int)
        assert np.abs(values - ramps()[:, top : top + 48, left : left + 48]).max() < 0.01
        corners.append((top, left))
    tops, lefts = np.array(corners).T
    assert set(tops) == set(range(17))
    assert set(lefts) == set(range(49))
    assert 160 < mirrored < 240


def test_the_short_side_is_drawn_from_its_range_and_resized_as_in_testing() -> None:
    frames, shorts = noise(), []
    resized = {side: resize_frames(frames, short_side=side).permute(0, 2, 3, 1).numpy() * 255 for side in range(60, 70)}
    for seed in range(60):
        values, _ = augmented(frames, seed, crop_size=48, short_sides=(62, 66), flip="none")
        found = [
            side
            for side, image in resized.items()
            for top, left in np.argwhere(np.abs(image[0, :-47, :-47] - values[0, 0, 0]).max(axis=-1) < 0.01)
            if np.abs(image[:, top : top + 48, left : left + 48] - values).max() < 0.01
        ]
        assert len(found) == 1
        shorts += found
    assert set(shorts) == {62, 63, 64, 65, 66}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 62), height=st.integers(40, 200), width=st.integers(40, 200))
def test_a_resized_crop_has_an_area_and_a_ratio_in_bounds(seed, height, width) -> None:
    values, _ = augmented(
        ramps(height, width, 1), seed, crop="resized", crop_size=32, crop_areas=(0.2, 0.7), flip="none"
    )
    sides = []
    for channel, line in ((0, values[0, 16, :, 0]), (1, values[0, :, 16, 1])):
        # On a ramp, output pixel i is first + (i + 0.5) * length / 32 - 0.5.
        length = (line[24] - line[8]) * 2
        first = line[8] - 8.5 * length / 32 + 0.5
        assert length == pytest.approx(round(length), abs=0.01)
        assert first == pytest.approx(round(first), abs=0.01)
        assert round(first) >= 0
        assert round(first + length) <= (width, height)[channel]
        sides.append(length)
    # Sides are whole pixels, so that both are out of bounds by a pixel at most.
    wide, high = sides
    assert (wide + 1) * (high + 1) >= 0.2 * height * width
    assert (wide - 1) * (high - 1) <= 0.7 * height * width
    assert (wide + 1) / (high - 1) >= 0.75
    assert (wide - 1) / (high + 1) <= 1.3333


def test_a_shape_that_never_fits_becomes_the_largest_one_in_the_middle() -> None:
    values, _ = augmented(
        ramps(64, 64), 0, crop="resized", crop_size=64, crop_areas=(1, 1), crop_ratios=(2, 2), flip="none"
    )
    part = torch.from_numpy(ramps(64, 64)[:, 16:48]).permute(0, 3, 1, 2).double()
    expected = torch.nn.functional.interpolate(part, size=(64, 64), mode="bilinear", align_corners=False)
    assert np.abs(values - expected.permute(0, 2, 3, 1).numpy()).max() < 0.01


# --- labels in a mirror -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "expected"),
    [("left to right", "right to left"), ("right to left", "left to right"), ("up", "up"), ("down", "down")],
)
def test_a_mirror_exchanges_the_labels_of_a_pair_and_no_others(label, expected) -> None:
    labels_flip = Augmentation(flip="labels", flip_pairs=PAIRS)
    assert LABELS[mirrored_class(LABELS.index(label), LABELS, labels_flip)] == expected


def test_a_pair_that_is_half_there_is_refused() -> None:
    with pytest.raises(UsageError, match="right to left"):
        mirrored_class(0, ["left to right", "up"], Augmentation(flip="labels", flip_pairs=PAIRS))


# --- colour -----------------------------------------------------------------------------------------

COLOURFUL = {"randaugment_ops": 4, "grayscale": 0.2, "colour_jitter": 0.4, "erasing": 0.25, "flip": "plain"}


@pytest.mark.parametrize("changes", [{}, COLOURFUL, {"crop": "resized", "colour_jitter": 0.4}])
def test_the_result_is_the_seeds_alone_and_the_generator_is_left_alone(changes) -> None:
    torch.manual_seed(3)
    before, num_threads = torch.get_rng_state(), torch.get_num_threads()
    resizing = Augmentation(**EXACT | changes | {"short_sides": (50, 90)})
    clips = []
    try:
        for seed, threads in [(0, 1), (0, 2), (1, 1), (2, 1), (1, 2)]:
            torch.set_num_threads(threads)
            clips.append(augment_clip(noise(8), resizing, mean=MEAN, std=STD, seed=seed).clip)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(num_threads)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(clips[0], clips[1])
    assert torch.equal(clips[2], clips[4])  # to the bit, by one core or by two
    assert not torch.equal(clips[0], clips[2])
    assert not torch.equal(clips[2], clips[3])


@pytest.mark.parametrize(
    "changes", [{"randaugment_ops": 4}, {"grayscale": 0.5}, {"colour_jitter": 0.9}, {"erasing": 1}, COLOURFUL]
)
def test_all_frames_change_in_the_same_way(changes) -> None:
    still = np.repeat(noise(1), 4, axis=0)
    unlike = 0
    for seed in range(12):
        values, _ = augmented(still, seed, **EXACT | changes)
        assert (values == values[:1]).all()
        plain, _ = augmented(still, seed, **EXACT)
        unlike += not np.allclose(values, plain, atol=0.01)
    assert unlike >= 3


def test_gray_is_gray_and_jitter_keeps_its_range() -> None:
    gray, _ = augmented(noise(), 0, **EXACT | {"grayscale": 1})
    assert np.abs(gray - gray.mean(axis=-1, keepdims=True)).max() < 0.01
    even = np.full((2, 64, 96, 3), 100, dtype=np.uint8)  # contrast and saturation of one gray change nothing
    levels = np.array([augmented(even, seed, **EXACT | {"colour_jitter": 0.2})[0] for seed in range(200)])
    assert np.ptp(levels, axis=(1, 2, 3, 4)).max() < 0.2
    assert 79.9 < levels.min() < 84
    assert 116 < levels.max() < 120.1


def test_what_is_erased_is_one_box_of_the_mean_colour() -> None:
    white = np.full((3, 64, 96, 3), 255, dtype=np.uint8)
    areas = []
    for seed in range(60):
        clip = augment_clip(white, Augmentation(**EXACT | {"erasing": 1}), mean=MEAN, std=STD, seed=seed).clip
        erased = (clip == 0).numpy()
        assert (erased == erased[:1, :1]).all()
        rows, columns = np.flatnonzero(erased[0, 0].any(axis=1)), np.flatnonzero(erased[0, 0].any(axis=0))
        assert erased[0, 0][rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        areas.append(erased[0, 0].mean())
    assert 0.015 < min(areas) < 0.1
    assert 0.2 < max(areas) < 0.35
    kept = [augmented(white, seed, **EXACT | {"erasing": 0.25})[0].min() > 254 for seed in range(200)]
    assert 0.65 < np.mean(kept) < 0.85


def test_magnitudes_of_ten_are_spread_over_the_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []

    def randaugment(ops: int, magnitude: int, bins: int, **_: Any) -> Any:
        asked.append((ops, magnitude, bins))
        return lambda images: images

    monkeypatch.setattr(v2, "RandAugment", randaugment)

    def magnitudes(**changes: Any) -> list[int]:
        asked.clear()
        for seed in range(200):
            augmented(ramps(num_frames=1), seed, **EXACT | {"randaugment_ops": 2} | changes)
        assert {(ops, bins) for ops, _, bins in asked} == {(2, 31)}
        return [magnitude for _, magnitude, _ in asked]

    assert set(magnitudes(randaugment_magnitude=7, randaugment_std=0)) == {21}
    spread = magnitudes(randaugment_magnitude=7, randaugment_std=0.5)
    assert 20.5 < np.mean(spread) < 21.5
    assert 1.2 < np.std(spread) < 1.8
    assert max(magnitudes(randaugment_magnitude=10, randaugment_std=2)) == 30
    assert min(magnitudes(randaugment_magnitude=0, randaugment_std=2)) == 0


# --- mixing -----------------------------------------------------------------------------------------


def mixed(seed: int, **changes: float) -> tuple[np.ndarray, float]:
    """A clip of zeros mixed with one of ones, (3, T, H, W), and the share of the second one's class."""
    clips = torch.zeros(3, 4, 20, 30), torch.ones(3, 4, 20, 30)
    one, two = {"verb": torch.tensor([1.0, 0, 0])}, {"verb": torch.tensor([0, 0.5, 0.5])}
    clip, targets = mix(*clips, one, two, augmentation=Augmentation(**changes), seed=seed)  # type: ignore[arg-type]
    shares = targets["verb"]
    assert float(shares.sum()) == pytest.approx(1, abs=ROUNDING)
    assert float(shares[1]) == float(shares[2])
    assert not clips[0].any()
    assert bool(clips[1].all())
    return clip.numpy(), float(shares[1] + shares[2])


def test_mixup_fades_by_the_share_of_the_target() -> None:
    shares = []
    for seed in range(300):
        clip, share = mixed(seed, mixup=0.8)
        assert np.abs(clip - share).max() < ROUNDING
        shares.append(share)
    assert 0.45 < np.mean(shares) < 0.55
    assert abs(np.var(shares) - 1 / (4 * (2 * 0.8 + 1))) < 0.015  # the variance of Beta(0.8, 0.8)


def test_cutmix_counts_the_area_that_the_box_really_covers() -> None:
    shares = []
    for seed in range(300):
        clip, share = mixed(seed, cutmix=1.0)
        assert set(np.unique(clip)) <= {0, 1}
        assert (clip == clip[:1, :1]).all()
        assert clip.mean() == pytest.approx(share, abs=ROUNDING)
        rows, columns = np.flatnonzero(clip[0, 0].any(axis=1)), np.flatnonzero(clip[0, 0].any(axis=0))
        if len(rows):
            assert clip[0, 0, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        shares.append(share)
    assert min(shares) < 0.05
    assert max(shares) > 0.7


def test_both_take_turns_by_the_seed_and_none_changes_nothing() -> None:
    kinds = [len(np.unique(mixed(seed, mixup=0.8, cutmix=1.0)[0])) == 1 for seed in range(200)]
    assert 70 < sum(kinds) < 130
    for seed in range(5):
        assert np.array_equal(mixed(seed, mixup=0.8, cutmix=1.0)[0], mixed(seed, mixup=0.8, cutmix=1.0)[0])
    clip, share = mixed(0)
    assert not clip.any()
    assert share == 0


# --- which classes a mirror exchanges ---------------------------------------------------------------

MIRRORED = [
    (["sit", "stand"], (), (), "no sides"),
    (["Push left", "Push right", "lift"], (("Push left", "Push right"),), (), "a pair"),
    (["a_left_b", "a_right_b"], (("a_left_b", "a_right_b"),), (), "underscores"),
    (["turn left", "stop"], (), ("turn left",), "the opposite is missing"),
    (["leftover food", "bright"], (), (), "only whole words count"),
    (["from left to right", "from right to left"], (("from left to right", "from right to left"),), (), "two words"),
    (["spin clockwise", "spin anticlockwise"], (("spin clockwise", "spin anticlockwise"),), (), "turning"),
    (["left and right"], (), ("left and right",), "the order of words counts"),
]


@pytest.mark.parametrize(("labels", "pairs", "unpaired", "why"), MIRRORED, ids=[row[3] for row in MIRRORED])
def test_pairs(labels: list[str], pairs: object, unpaired: object, why: str) -> None:
    assert mirrored_pairs(labels) == (pairs, unpaired), why


def test_published_pairs_of_something_something_are_found() -> None:
    labels = label_list("ssv2")
    pairs, unpaired = mirrored_pairs(labels)
    assert {(labels.index(a), labels.index(b)) for a, b in pairs} == {(86, 87), (93, 94), (166, 167)}
    # A word that is no side here; whoever trusts the rule alone mirrors nothing, which is safe.
    assert unpaired == ("Plugging something into something but pulling it right out as you remove your hand",)


def test_camera_motions() -> None:
    pairs, unpaired = mirrored_pairs(CAMERA_MOTIONS)
    assert pairs == (("pan left", "pan right"), ("roll clockwise", "roll counter-clockwise"))
    assert unpaired == ()


# --- settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"crop_size": 257, "short_sides": (256, 320)}, "crop of 257"),
        ({"crop_size": -1}, "crop_size is -1"),
        ({"short_sides": (320, 256)}, "short_sides"),
        ({"short_sides": (0, 256)}, "short_sides"),
        ({"crop_areas": (0, 1)}, "areas"),
        ({"crop_areas": (0.5, 1.1)}, "areas"),
        ({"crop_ratios": (2, 1)}, "ratios"),
        ({"flip": "labels"}, "0 pairs"),
        ({"flip": "plain", "flip_pairs": PAIRS}, "1 pairs"),
        ({"flip": "labels", "flip_pairs": (*PAIRS, ("up", "left to right"))}, "twice"),
        ({"flip": "labels", "flip_pairs": (("up", "up"),)}, "twice"),
        ({"randaugment_ops": -1}, "randaugment_ops"),
        ({"randaugment_magnitude": 11}, "randaugment_magnitude"),
        ({"randaugment_std": -1}, "randaugment_std"),
        ({"grayscale": 1.1}, "grayscale"),
        ({"colour_jitter": -0.1}, "colour_jitter"),
        ({"erasing": 2}, "erasing"),
        ({"mixup": -1}, "mixup"),
        ({"cutmix": float("nan")}, "cutmix"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes, word) -> None:
    with pytest.raises(ValueError, match=word):
        Augmentation(**changes)


@pytest.mark.parametrize("sizes", [{}, {"crop_size": 48}, {"short_sides": (64, 64)}])
def test_sizes_that_are_left_to_the_model_must_be_settled_first(sizes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="for_input"):
        augment_clip(ramps(), Augmentation(**sizes), mean=MEAN, std=STD, seed=0)


def test_a_resized_crop_may_be_larger_than_the_short_sides() -> None:
    values, _ = augmented(ramps(), 0, crop="resized", crop_size=300)
    assert values.shape == (3, 300, 300, 3)
