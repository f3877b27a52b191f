"""The camera goes where its label says, measured on the pictures; the same seed gives the same bytes."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tadacli.camera_motion.pictures import FloatArray, degrade, generated_picture
from tadacli.camera_motion.virtual_camera import (
    CAMERA_MOTIONS,
    CameraMove,
    KnownMove,
    MovingObject,
    camera_grid,
    hand_held,
    main,
    render_sample,
    render_sequence,
    sample_source,
)
from tadacli.errors import OutputError, UsageError

TIMES = np.arange(8) * 4 / 30

# Content shift (x right, y down) in the (left, right, top, bottom) part of the picture; None: not looked at.
CONTENT = {
    "pan left": ((1, 0), (1, 0), (1, 0), (1, 0)),
    "pan right": ((-1, 0), (-1, 0), (-1, 0), (-1, 0)),
    "tilt up": ((0, 1), (0, 1), (0, 1), (0, 1)),
    "tilt down": ((0, -1), (0, -1), (0, -1), (0, -1)),
    "zoom in": ((-1, 0), (1, 0), (0, -1), (0, 1)),
    "zoom out": ((1, 0), (-1, 0), (0, 1), (0, -1)),
    "roll clockwise": ((0, 1), (0, -1), (-1, 0), (1, 0)),
    "roll counter-clockwise": ((0, -1), (0, 1), (1, 0), (-1, 0)),
}


def shift_of(first: FloatArray, second: FloatArray) -> tuple[int, int]:
    """Pixels (x, y) that the content of `first` moved by in `second`: phase correlation."""
    window = np.outer(np.hanning(first.shape[0]), np.hanning(first.shape[1]))
    a, b = (np.fft.fft2((picture - picture.mean()) * window) for picture in (first, second))
    cross = b * a.conj()
    peak = np.fft.ifft2(cross / (np.abs(cross) + 1e-9)).real
    y, x = np.unravel_index(int(peak.argmax()), peak.shape)
    height, width = peak.shape
    return int((x + width // 2) % width - width // 2), int((y + height // 2) % height - height // 2)


def parts(picture: FloatArray) -> list[FloatArray]:
    """The left, right, top and bottom part, each half as high and wide as the picture."""
    height, width = picture.shape
    h, w = height // 4, width // 4
    return [
        picture[h : 3 * h, : 2 * w],
        picture[h : 3 * h, 2 * w :],
        picture[: 2 * h, w : 3 * w],
        picture[2 * h :, w : 3 * w],
    ]


def assert_shows(first: FloatArray, second: FloatArray, label: str) -> None:
    """Every part of the picture moves the way the label says, and hardly across."""
    for one, other, (x, y) in zip(parts(first), parts(second), CONTENT[label], strict=True):
        measured = np.array(shift_of(one, other))
        along = measured @ (x, y)
        across = abs(measured @ (y, x))
        assert along >= 2, (label, (x, y), measured)
        assert across < along, (label, (x, y), measured)


def noise(seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, 60, 80), dtype=np.float32))
    return torch.nn.functional.interpolate(coarse, size=(240, 320), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize("label", CONTENT)
def test_content_moves_as_the_label_says(label: str) -> None:
    path = CameraMove(label, speed=0.15).path(TIMES, duration_seconds=float(TIMES[-1]))
    clip = sample_source(noise(), camera_grid(path, size=(96, 96), field=0.6)).mean(1).double().numpy()
    assert_shows(clip[2], clip[5], label)


@pytest.mark.parametrize("angle", [0.0, 1.0])
def test_directions_are_those_of_the_camera_however_it_is_held(angle: float) -> None:
    path = CameraMove("pan left", speed=0.2).path(TIMES, duration_seconds=float(TIMES[-1]))
    clip = sample_source(noise(), camera_grid(path, size=(96, 96), field=0.5, angle=angle)).mean(1).double().numpy()
    assert_shows(clip[2], clip[5], "pan left")


def test_speed_is_measured_at_the_edge_of_the_view() -> None:
    seconds = 2.0
    for label in CAMERA_MOTIONS[1:]:
        start, end = CameraMove(label, speed=0.3).path(np.array([0.0, seconds]), duration_seconds=seconds)
        # x and y are half short sides; field and angle move the edge, one half short side out, by as much.
        assert np.abs(end - start).sum() == pytest.approx(2 * 0.3 * seconds), label
        assert np.count_nonzero(end - start) == 1, label


def test_easing_changes_the_pace_and_not_the_distance() -> None:
    moves = [CameraMove("zoom in"), CameraMove("zoom in", acceleration=0.8), CameraMove("zoom in", ease=1.0)]
    ends = [move.path(np.array([0.0, 0.1, 1.0]), duration_seconds=1.0)[:, 2] for move in moves]
    assert [end[2] for end in ends] == pytest.approx([ends[0][2]] * 3)
    assert abs(ends[1][1]) < abs(ends[0][1])
    assert abs(ends[2][1]) < abs(ends[0][1])


def test_static_does_not_move() -> None:
    assert not CameraMove("static", speed=1.0).path(TIMES, duration_seconds=1.0).any()


def test_hand_held_shake_has_no_trend() -> None:
    shake = hand_held(np.random.default_rng(3), TIMES, amplitude=0.02)
    assert shake.shape == (8, 4)
    assert np.abs(shake).max() > 0.001
    assert np.abs(np.polyfit(TIMES, shake, 1)).max() < 1e-12


def test_unknown_motion_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as failure:
        CameraMove("dolly").path(TIMES, duration_seconds=1.0)
    assert "pan left" in failure.value.hint


def test_look_picks_frames_and_mirrors_beyond_the_border() -> None:
    source = torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(4, 3, 32, 48) * 20
    grid = camera_grid(np.zeros((2, 4)), size=(8, 8), centre=(40.0, -7.0), field=0.9)
    clip = sample_source(source, grid, indices=[3, 1])
    assert clip.shape == (2, 3, 8, 8)
    assert torch.allclose(clip[0], torch.tensor(60 / 255))
    assert torch.allclose(clip[1], torch.tensor(20 / 255))


def test_look_at_the_whole_source_is_the_published_resize() -> None:
    source = noise()
    clip = sample_source(source, camera_grid(np.zeros((1, 4)), size=(60, 80), field=1.0))
    resized = torch.nn.functional.interpolate(source, size=(60, 80), mode="bilinear", align_corners=False)
    assert torch.allclose(clip, resized, atol=1e-4)


def test_a_moving_object_covers_the_scene_where_it_is() -> None:
    grid = camera_grid(np.zeros((2, 4)), size=(32, 32), field=1.0)
    track = np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]])
    body = MovingObject(torch.ones(1, 3, 8, 8), track, (0.25, 0.25), roundness=8)
    clip = body.paste(torch.zeros(2, 3, 32, 32), grid)
    assert clip[0, 0, 16, 8] == clip[1, 0, 16, 24] == 1
    assert clip[0, 0, 16, 24] == clip[1, 0, 16, 8] == 0


def test_a_body_grows_hides_and_slides_its_texture() -> None:
    grid = camera_grid(np.zeros((3, 4)), size=(32, 32), field=1.0)
    halves = torch.zeros(1, 3, 8, 8)
    halves[..., 4:] = 1  # dark on the left, light on the right
    growth = np.array([[1.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    body = MovingObject(halves, np.zeros((3, 3)), (0.25, 0.25), roundness=8, growth=growth)
    clip = body.paste(torch.full((3, 3, 32, 32), 0.5), grid)[:, 0]
    row = clip[:, 16]
    assert (row[0, 14], row[0, 17], row[0, 22]) == (0, 1, 0.5)
    assert (row[1, 9], row[1, 22]) == (0, 1)
    assert clip[1, 22, 16] == 0.5  # it grew to the sides alone
    assert torch.equal(clip[2], torch.full((32, 32), 0.5))
    slid = replace(body, growth=None, scroll=np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]))
    row = slid.paste(torch.full((3, 3, 32, 32), 0.5), grid)[:, 0, 16]
    assert row[:, 14].tolist() == [0, 1, 0]
    assert row[:, 17].tolist() == [1, 1, 0]
    assert row[:, 22].tolist() == [0.5, 0.5, 0.5]


def test_same_seed_same_picture_and_same_degradation() -> None:
    first, again, other = (generated_picture(np.random.default_rng(seed), 96, 128) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    clip = noise().expand(4, -1, -1, -1)[..., :64, :64]
    for seed in range(12):
        worn = degrade(clip, np.random.default_rng(seed))
        assert torch.equal(worn, degrade(clip, np.random.default_rng(seed)))
        assert worn.shape == clip.shape
        assert worn.min() >= 0
        assert worn.max() <= 1


def frames_of(path: Path) -> list[FloatArray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24").mean(axis=2).astype(np.float64) for frame in container.decode(video=0)]


def test_a_sample_video_has_the_motions_it_tells_of_and_the_same_bytes_again(tmp_path: Path) -> None:
    moves = [(CameraMove("pan left"), 0.4), (CameraMove("static"), 0.2), (CameraMove("tilt up"), 0.4)]
    truth = render_sequence(tmp_path / "a.mp4", moves=moves, height=120, width=160, seed=7)
    render_sequence(tmp_path / "b.mp4", moves=moves, height=120, width=160, seed=7)
    assert truth == [
        KnownMove(0.0, 0.4, "pan left"),
        KnownMove(0.4, 0.6, "static"),
        KnownMove(0.6, 1.0, "tilt up"),
    ]
    digests = {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.mp4", "b.mp4")}
    assert len(digests) == 1
    frames = frames_of(tmp_path / "a.mp4")
    assert len(frames) == 30
    pan, still, tilt = (np.array(shift_of(frames[i], frames[j])) for i, j in ((1, 11), (12, 17), (19, 29)))
    assert pan[0] >= 4
    assert abs(pan[1]) <= 1
    assert np.abs(still).max() <= 1
    assert tilt[1] >= 4
    assert abs(tilt[0]) <= 1


@pytest.mark.parametrize("before", ["roll clockwise", "roll counter-clockwise", "zoom in", "zoom out"])
def test_a_move_goes_along_the_axes_of_the_camera_whatever_it_did_before(tmp_path: Path, before: str) -> None:
    """By then the axes are turned by some 70 degrees, or the field of view is three times as large or as small."""
    moves = [(CameraMove(before, speed=1.5), 0.4), (CameraMove("tilt down", speed=0.5), 0.2)]
    render_sequence(tmp_path / "a.mp4", moves=moves, height=128, width=160, seed=3)
    frames = frames_of(tmp_path / "a.mp4")
    x, y = shift_of(frames[13], frames[17])
    # 4 frames at 0.5 short sides of 128 pixels a second are 8.5 pixels
    assert abs(y + 8.5) <= 1.5
    assert abs(x) <= 1


@pytest.mark.parametrize(
    ("name", "seconds", "expected"),
    [("a.mp4", 0.0, UsageError), ("no/such/folder/a.mp4", 0.1, OutputError), ("a.unknown", 0.1, OutputError)],
    ids=["empty", "no folder", "no such format"],
)
def test_a_sample_that_cannot_be_made_says_why(
    tmp_path: Path, name: str, seconds: float, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        render_sample(tmp_path / name, seconds=seconds, height=64, width=64)


def test_the_command_writes_video_and_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [str(tmp_path / "a.mp4"), "--motion", "zoom in", "--motion", "static", "--seconds", "0.1"]
    monkeypatch.setattr(sys, "argv", ["scenes", *arguments, "--truth", str(tmp_path / "a.json")])
    main()
    truth = json.loads((tmp_path / "a.json").read_text())
    assert truth[1] == {"start_seconds": 0.1, "end_seconds": 0.2, "label": "static"}
    assert len(frames_of(tmp_path / "a.mp4")) == 6
