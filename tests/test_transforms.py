"""Preprocessing; the exact published pixels are in tests/parity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tadacli.errors import UsageError
from tadacli.transforms import centre_box, crop_frames, picked_pixels, preprocess, resize_frames, resized_size
from tadacli.zoo import DEFAULT_MODEL
from tadacli.zoo.manifest import manifest

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
NORMALISED = {"mean": (0.45, 0.4, 0.5), "std": (0.225, 0.3, 0.2)}

sides = st.integers(1, 80)
seeds = st.integers(0, 2**32 - 1)


def noise(shape: tuple[int, ...], *, seed: int = 0, levels: int = 256) -> np.ndarray:
    """uint8 frames of evenly distributed grey levels; two levels are black and white."""
    return (np.random.default_rng(seed).integers(0, levels, shape) * (255 // (levels - 1))).astype(np.uint8)


def published_resize(frames: np.ndarray, short_side: int) -> torch.Tensor:
    """All pixels to float32, divided by 255, resized as a whole."""
    height, width = frames.shape[1:3]
    size = (int(height / width * short_side), short_side) if width < height else None
    size = size or (short_side, int(width / height * short_side))
    images = torch.from_numpy(frames).to(torch.float32).div_(255).permute(0, 3, 1, 2)
    return images if size == (height, width) else F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def published_crop(image: torch.Tensor, top: int, left: int, side: int, *, mean, std) -> torch.Tensor:
    """(3, T, side, side) of (T, 3, H, W): cut out, minus the mean, divided by the deviation."""
    shift, scale = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
    return ((image[:, :, top : top + side, left : left + side] - shift) / scale).transpose(0, 1)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch computes with so many threads; how it rounds when it resizes hangs on whether there is one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_published(images: torch.Tensor, expected: torch.Tensor) -> bool:
    """Every bit, in the thread that both were computed in; with more threads PyTorch rounds large frames elsewhere.

    So it does on processors that round a product and a sum at once, which those of AVX2 and later do.
    """
    if torch.get_num_threads() == 1 and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"):
        return torch.equal(images, expected)
    return torch.allclose(images, expected, rtol=0, atol=2e-7)


# --- resizing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
@settings(max_examples=50, deadline=None)
@given(height=sides, width=sides, short_side=st.integers(1, 99), num_frames=st.integers(1, 3), seed=seeds)
def test_every_resized_bit_is_the_published_one(count, height, width, short_side, num_frames, seed) -> None:
    frames = noise((num_frames, height, width, 3), seed=seed)
    assume(max(resized_size(height, width, short_side=short_side)) < 200)
    with threads(count):
        expected = published_resize(frames, short_side)
        images = resize_frames(frames, short_side=short_side)
        assert is_published(images, expected)
    assert min(expected.shape[2:]) == 1 or images.stride() == expected.stride(), "later arithmetic may follow it"


@pytest.mark.parametrize(
    ("height", "width", "short_side", "reason"),
    [
        (1080, 1920, 256, "few of its rows are needed"),
        (1081, 1917, 64, "odd sizes, much smaller"),
        (1920, 1080, 112, "portrait"),
        (256, 340, 256, "as it is"),
        (240, 320, 256, "larger"),
        (2160, 3840, 256, "4K"),
    ],
)
def test_every_resized_bit_of_videos_is_the_published_one(height, width, short_side, reason) -> None:
    frames = noise((1, height, width, 3))
    for count in (1, 2):
        with threads(count):
            expected = published_resize(frames, short_side)
            images = resize_frames(frames, short_side=short_side)
            assert is_published(images, expected), reason
            box = centre_box(*expected.shape[2:], crop_size=short_side)
            part = images[:, :, box[0] : box[2], box[1] : box[3]]
            assert torch.equal(resize_frames(frames, short_side=short_side, box=box), part), reason


@pytest.mark.parametrize(("height", "width", "short_side"), [(1080, 1920, 256), (480, 640, 64)])
def test_small_pictures_of_large_frames_do_not_depend_on_the_number_of_threads(height, width, short_side) -> None:
    frames, found = noise((2, height, width, 3)), []
    for count in (1, 2, 3):
        with threads(count):
            found.append(resize_frames(frames, short_side=short_side))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@settings(max_examples=100, deadline=None)
@given(data=st.data(), height=sides, width=sides, short_side=st.integers(1, 60), seed=seeds)
def test_a_box_holds_what_all_of_it_holds_there(data, height, width, short_side, seed) -> None:
    frames = noise((2, height, width, 3), seed=seed)
    whole = resize_frames(frames, short_side=short_side)
    (top, bottom), (left, right) = (
        sorted(data.draw(st.lists(st.integers(0, side), min_size=2, max_size=2, unique=True)))
        for side in whole.shape[2:]
    )
    images = resize_frames(frames, short_side=short_side, box=(top, left, bottom, right))
    assert torch.equal(images, whole[:, :, top:bottom, left:right])


@pytest.mark.parametrize(("height", "width"), [(360, 640), (641, 361), (1080, 1920), (257, 4096)])
@pytest.mark.parametrize(("short_side", "crop_size"), [(64, 64), (72, 56), (30, 5)])
def test_a_crop_of_picked_pixels_is_that_of_whole_frames(height, width, short_side, crop_size) -> None:
    frames, settings_ = noise((3, height, width, 3)), {"short_side": short_side, "crop_size": crop_size}
    whole = preprocess(frames, num_crops=1, **settings_, **NORMALISED)
    spec = replace(manifest()[DEFAULT_MODEL].input, **settings_)
    found = picked_pixels((height, width), spec, num_crops=1, device=torch.device("cpu"))
    if found is None:
        assert 16 * short_side * short_side * max(height, width) // min(height, width) >= height * width // 2
        return
    rows, columns = found
    assert len(rows) == len(columns) == 2 * crop_size
    picked = np.ascontiguousarray(frames[:, rows][:, :, columns])
    assert torch.equal(preprocess(picked, num_crops=1, whole=(height, width), **settings_, **NORMALISED), whole)


def test_no_pixels_are_picked_for_several_crops_or_another_device_or_from_small_frames() -> None:
    spec, cpu = manifest()[DEFAULT_MODEL].input, torch.device("cpu")
    assert picked_pixels((1080, 1920), spec, num_crops=1, device=cpu) is not None
    assert picked_pixels((1080, 1920), spec, num_crops=3, device=cpu) is None
    assert picked_pixels((1080, 1920), spec, num_crops=1, device=torch.device("cuda")) is None
    assert picked_pixels((240, 320), spec, num_crops=1, device=cpu) is None


def test_frames_may_be_a_part_of_larger_ones() -> None:
    frames = noise((4, 90, 140, 3))
    part = frames[1::2, 3:80, 7:131]
    for short_side in (5, 20, 50):
        expected = resize_frames(part.copy(), short_side=short_side)
        assert torch.equal(resize_frames(part, short_side=short_side), expected)


@settings(max_examples=150, deadline=None)
@given(
    short_side=st.integers(1, 12),
    ratio=st.floats(2.01, 90),
    longer=st.integers(0, 40),
    turned=st.booleans(),
    count=st.sampled_from([1, 2]),
)
def test_small_pictures_are_made_from_the_right_pixels(short_side, ratio, longer, turned, count) -> None:
    """Of large frames, whose resized rows lie far apart, or nearly on whole rows."""
    size = (int(short_side * ratio) + longer, int(short_side * ratio))
    frames = noise((1, *(size[::-1] if turned else size), 3), seed=longer)
    with threads(count):
        assert is_published(resize_frames(frames, short_side=short_side), published_resize(frames, short_side))


def test_frames_of_the_asked_size_are_not_resampled() -> None:
    frames = noise((2, 30, 40, 3))
    images = resize_frames(frames, short_side=30)
    assert torch.equal((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1), torch.from_numpy(frames))


def test_frames_one_by_one_give_the_pixels_of_all_at_once() -> None:
    frames = noise((5, 90, 131, 3))
    single = [resize_frames(frame[None], short_side=64)[0] for frame in frames]
    assert torch.equal(torch.stack(single), resize_frames(frames, short_side=64))


@pytest.mark.parametrize("frames", [np.zeros((1, 9, 9, 3), np.float32), np.zeros((9, 9, 3), np.uint8)])
def test_other_tensors_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        resize_frames(frames, short_side=9)
    with pytest.raises(ValueError, match="expected uint8"):
        preprocess(frames, short_side=9, crop_size=9, num_crops=1, **PLAIN)


@pytest.mark.parametrize("box", [(0, 0, 10, 9), (-1, 0, 5, 5), (3, 3, 3, 5), (0, 0, 9, 13)])
def test_boxes_outside_the_frames_are_refused(box) -> None:
    with pytest.raises(ValueError, match="no part of frames of 9x12"):
        resize_frames(noise((1, 30, 40, 3)), short_side=9, box=box)


# --- cropping and normalising -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "expected", "reason"),
    [
        (60, 80, [(0, 0), (0, 10), (0, 20)], "landscape: left, centre, right"),
        (80, 60, [(0, 0), (10, 0), (20, 0)], "portrait: top, centre, bottom"),
        (60, 60, [(0, 0), (0, 0), (0, 0)], "square: the whole picture three times"),
        (60, 81, [(0, 0), (0, 10), (0, 21)], "an odd rest: the centre is rounded down"),
    ],
)
def test_crops_lie_along_the_long_side(height: int, width: int, expected, reason: str) -> None:
    row, column = np.mgrid[0:height, 0:width]
    frames = np.stack([row, column, row], axis=-1).astype(np.uint8)[None]
    crops = preprocess(frames, short_side=60, crop_size=60, num_crops=3, **PLAIN)
    corners = [(round(float(crop[0, 0, 0, 0]) * 255), round(float(crop[1, 0, 0, 0]) * 255)) for crop in crops]
    assert corners == expected, reason
    centre = preprocess(frames, short_side=60, crop_size=60, num_crops=1, **PLAIN)
    assert torch.equal(centre, crops[1:2]), reason


@pytest.mark.parametrize("num_crops", [1, 3])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("num_frames", [1, 4])
def test_every_normalised_bit_is_the_published_one(num_crops, layout, num_frames) -> None:
    images = torch.rand(num_frames, 3, 31, 47, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    lefts = [0, 10, 21][1:2] if num_crops == 1 else [0, 10, 21]
    expected = torch.stack([published_crop(images, 2, left, 26, **NORMALISED) for left in lefts])
    crops = crop_frames(images, crop_size=26, num_crops=num_crops, **NORMALISED)
    assert torch.equal(crops, expected)
    assert crops.stride() == expected.stride()
    one_by_one = crop_frames(list(images), crop_size=26, num_crops=num_crops, **NORMALISED)
    assert torch.equal(one_by_one, expected)
    assert one_by_one.stride() == expected.stride()
    doubles = crop_frames(images.double(), crop_size=26, num_crops=num_crops, **NORMALISED)
    assert torch.allclose(doubles, expected.double(), atol=1e-6), "as on other devices"


@settings(max_examples=60, deadline=None)
@given(height=sides, width=sides, short_side=st.integers(5, 60), data=st.data(), seed=seeds)
def test_preprocessing_is_resizing_cropping_and_normalising(height, width, short_side, data, seed) -> None:
    frames = noise((2, height, width, 3), seed=seed)
    crop_size = data.draw(st.integers(1, short_side))
    images = resize_frames(frames, short_side=short_side)
    for num_crops in (1, 3):
        expected = crop_frames(images, crop_size=crop_size, num_crops=num_crops, **NORMALISED)
        crops = preprocess(frames, short_side=short_side, crop_size=crop_size, num_crops=num_crops, **NORMALISED)
        assert torch.equal(crops, expected)


@pytest.mark.parametrize("arguments", [{"crop_size": 61, "num_crops": 1}, {"crop_size": 60, "num_crops": 2}])
def test_crops_without_meaning_are_refused(arguments) -> None:
    with pytest.raises(UsageError):
        preprocess(np.zeros((1, 60, 80, 3), np.uint8), short_side=60, **arguments, **PLAIN)
    with pytest.raises(UsageError):
        crop_frames(torch.zeros(1, 3, 60, 80), **arguments, **PLAIN)


def test_the_long_side_is_rounded_down() -> None:
    assert resized_size(1080, 1920, short_side=256) == (256, 455)
    assert resized_size(1920, 1080, short_side=256) == (455, 256)
    assert resized_size(50, 50, short_side=7) == (7, 7)
