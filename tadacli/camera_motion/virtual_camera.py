"""Generated scenes, a virtual camera that moves over them or over footage, and videos of known motion.

Words and signs, used everywhere in the project. A motion is named as a film editor names what the
camera does, so the content of the frame goes the other way:

    pan left / pan right     the camera turns left / right: the content moves right / left
    tilt up / tilt down      the camera turns up / down: the content moves down / up
    zoom in / zoom out       the content grows / shrinks about the middle of the frame
    roll clockwise / roll counter-clockwise
                             the camera turns about its own axis, seen from behind it: the content
                             turns counter-clockwise / clockwise in the frame

Lengths are in half short sides: a picture's short side spans -1 to 1, x to the right and y downwards.
A camera path is (T, 4): x, y, logarithm of the field of view, angle in radians, relative to where the
camera starts, with x and y in half short sides of the view. One number measures the speed of every
motion: how fast the content moves at the edge of the view, in short sides per second.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tadacli.camera_motion.pictures import FloatArray, blend, colour, landscape, to_source
from tadacli.errors import OutputError, UsageError

CAMERA_MOTIONS = (
    "static",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "zoom in",
    "zoom out",
    "roll clockwise",
    "roll counter-clockwise",
)

# Where a path goes for one unit of travel: (x, y, log field, angle).
_DIRECTIONS = np.zeros((len(CAMERA_MOTIONS), 4))
for _index, (_axis, _sign) in enumerate(((0, -1), (0, 1), (1, -1), (1, 1), (2, -1), (2, 1), (3, 1), (3, -1)), start=1):
    _DIRECTIONS[_index, _axis] = _sign


@dataclass(frozen=True)
class CameraMove:
    """One motion: its label, mean speed, and how the speed is spread over its duration.

    `speed` is in short sides per second at the edge of the view. `acceleration` in [-1, 1] makes it
    start slow and end fast (or the other way round); `ease` in [0, 1] slows both ends.
    """

    label: str
    speed: float = 0.25
    acceleration: float = 0.0
    ease: float = 0.0

    def path(self, times: FloatArray, *, duration_seconds: float) -> FloatArray:
        """(T, 4) camera path at `times` in seconds, for a move that lasts from 0 to `duration_seconds`."""
        if self.label not in CAMERA_MOTIONS:
            raise UsageError(f"unknown camera motion {self.label!r}", hint="one of: " + ", ".join(CAMERA_MOTIONS))
        u = times / duration_seconds
        progress = u + self.acceleration * (u * u - u) - self.ease * np.sin(2 * np.pi * u) / (2 * np.pi)
        # The edge of the view is one half short side from its middle, hence 2.
        travel = 2 * self.speed * duration_seconds * progress
        return np.outer(travel, _DIRECTIONS[CAMERA_MOTIONS.index(self.label)])


def hand_held(rng: np.random.Generator, times: FloatArray, *, amplitude: float) -> FloatArray:
    """(T, 4) shake of about `amplitude` half short sides, without any trend of its own over `times`."""
    frequencies = rng.uniform(0.4, 4.0, (4, 3, 1))
    phases = rng.uniform(0, 2 * np.pi, (4, 3, 1))
    weights = rng.uniform(0.2, 1.0, (4, 3, 1)) * np.array([1.0, 1.0, 0.3, 0.5])[:, None, None] * amplitude
    shake = (weights * np.sin(2 * np.pi * frequencies * times + phases)).sum(axis=1).T
    basis = np.stack([np.ones_like(times), times], axis=1)
    return np.asarray(shake - basis @ np.linalg.lstsq(basis, shake, rcond=None)[0])


# --- looking at a source --------------------------------------------------------------------------


def camera_grid(
    path: FloatArray,
    *,
    size: tuple[int, int],
    centre: tuple[float, float] = (0.0, 0.0),
    field: float = 0.5,
    angle: float = 0.0,
) -> Tensor:
    """(T, height, width, 2) points of the source that a camera on `path` sees, in half short sides.

    Args:
        path: (T, 4) camera path (see the top of this module).
        size: Height and width of the view in pixels.
        centre: The point of the source that the camera is aimed at at the start of the path, in half short sides.
        field: How much of the source's short side the short side of the view covers at the start.
        angle: By which the camera is turned at the start, in radians.

    Returns:
        float32 points, x and y.
    """
    height, width = size
    short = min(size)
    ys = (np.arange(height) * 2 + 1 - height) / short
    xs = (np.arange(width) * 2 + 1 - width) / short
    x, y = np.meshgrid(xs, ys)
    scale = field * np.exp(path[:, 2])
    turn = angle + path[:, 3]
    cos, sin = (scale * np.cos(turn))[:, None, None], (scale * np.sin(turn))[:, None, None]
    # The displacement is along the axes of the camera as it was at the start.
    step_x = field * (path[:, 0] * math.cos(angle) - path[:, 1] * math.sin(angle))
    step_y = field * (path[:, 0] * math.sin(angle) + path[:, 1] * math.cos(angle))
    points_x = x * cos - y * sin + (centre[0] + step_x)[:, None, None]
    points_y = x * sin + y * cos + (centre[1] + step_y)[:, None, None]
    return torch.from_numpy(np.stack([points_x, points_y], axis=-1).astype(np.float32))


def sample_source(source: Tensor, grid: Tensor, *, indices: Sequence[int] | None = None) -> Tensor:
    """(T, C, h, w) float32 in 0..1: a source sampled at the points of a grid.

    Samples are bilinear without antialiasing, like the preprocessing of the published networks, so a large source
    aliases here as it does there. Beyond its border a source goes on mirrored.

    Args:
        source: (T or 1, C, H, W), uint8 0..255 or float 0..1.
        grid: (T, h, w, 2) points, as `camera_grid` gives them.
        indices: T frame numbers of a longer source, one for each of the grid.

    Returns:
        The frames.
    """
    height, width = source.shape[-2:]
    half = torch.tensor([width, height]) / 2.0
    reach = half / (min(height, width) / 2.0)
    folded = reach - (torch.remainder(grid + reach, 4 * reach) - 2 * reach).abs()
    pixels = (folded / reach + 1) * half
    # Only the part that is seen is converted to float: sources are much larger than views.
    low = (pixels.amin(dim=(0, 1, 2)) - 2).floor().clamp(min=0).int().tolist()
    high = (pixels.amax(dim=(0, 1, 2)) + 2).ceil().int().tolist()
    part = source[..., low[1] : high[1], low[0] : high[0]]
    part = part if indices is None else part[list(indices)]
    seen = part.float() / 255 if source.dtype == torch.uint8 else part
    extent = torch.tensor([seen.shape[-1], seen.shape[-2]], dtype=torch.float32)
    local = (pixels - torch.tensor(low, dtype=torch.float32)) / extent * 2 - 1
    return F.grid_sample(seen.expand(grid.shape[0], -1, -1, -1), local, padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class MovingObject:
    """A textured body that moves by itself: `track` (T, 3) holds x, y and angle in the source's units.

    `size` is its half width and half height; `roundness` 2 is an ellipse, 1 a diamond, large a box. `growth` (T, 2)
    multiplies the size, 0 hides the body; `scroll` (T, 2) slides the texture within it, in halves of its size.
    """

    texture: Tensor
    track: FloatArray
    size: tuple[float, float]
    roundness: float = 2.0
    growth: FloatArray | None = None
    scroll: FloatArray | None = None

    def paste(self, clip: Tensor, grid: Tensor) -> Tensor:
        """`clip` (T, 3, h, w) with this object drawn where the camera that made `grid` sees it."""
        track = torch.from_numpy(self.track.astype(np.float32))
        offset = grid - track[:, None, None, :2]
        cos, sin = track[:, 2].cos()[:, None, None], track[:, 2].sin()[:, None, None]
        width, height = _per_frame(self.growth, self.size)
        x = (offset[..., 0] * cos + offset[..., 1] * sin) / width
        y = (offset[..., 1] * cos - offset[..., 0] * sin) / height
        distance = x.abs() ** self.roundness + y.abs() ** self.roundness
        mask = ((1 - distance) * 8 + 0.5).clamp(0, 1)[:, None]
        if not bool(mask.any()):
            return clip
        inside = torch.stack([x, y], dim=-1).clamp(-1, 1)
        if self.scroll is not None:
            inside = inside + torch.from_numpy(self.scroll.astype(np.float32))[:, None, None]
        body = sample_source(self.texture, inside)
        return clip + mask * (body - clip)


def _per_frame(growth: FloatArray | None, size: tuple[float, float]) -> tuple[float, float] | tuple[Tensor, Tensor]:
    """Half width and half height of a body: those it always has, or (T, 1, 1) each."""
    if growth is None:
        return size
    sizes = torch.from_numpy((growth * size).clip(1e-6).astype(np.float32))[:, None, None]
    return sizes[..., 0], sizes[..., 1]


# --- sample videos of known motion ----------------------------------------------------------------


@dataclass(frozen=True)
class KnownMove:
    """The truth about one stretch of a sample video: `label` holds in [start_seconds, end_seconds)."""

    start_seconds: float
    end_seconds: float
    label: str


def render_sample(
    path: str | Path,
    *,
    motion: str = "pan left",
    seconds: float = 4.0,
    fps: int = 30,
    height: int = 360,
    width: int = 640,
    speed: float = 0.2,
    seed: int = 0,
) -> list[KnownMove]:
    """Writes a video of a landscape with drifting balloons, seen by a camera with one motion."""
    moves = [(CameraMove(motion, speed=speed), seconds)]
    return render_sequence(path, moves=moves, fps=fps, height=height, width=width, seed=seed)


def render_sequence(
    path: str | Path,
    *,
    moves: Sequence[tuple[CameraMove, float]],
    fps: int = 30,
    height: int = 360,
    width: int = 640,
    seed: int = 0,
) -> list[KnownMove]:
    """Writes a video of several moves, one after the other; the same arguments give the same pixels.

    Args:
        path: The file to write, .mp4 or .mkv.
        moves: Each move and how many seconds it lasts.
        fps: Frames a second.
        height: In pixels.
        width: In pixels.
        seed: Of the scene.

    Returns:
        When each move holds, in seconds.

    Raises:
        UsageError: A move has no frame, or the frames are smaller than 16 x 16.
        OutputError: The file cannot be written.
    """
    if not moves or min(seconds for _, seconds in moves) * fps < 1 or fps < 1 or min(height, width) < 16:
        raise UsageError("a sample needs moves of at least one frame and frames of at least 16 x 16")
    camera, truth = camera_of(moves, fps=fps)
    write_video(path, _sample_frames(camera, fps, height, width, seed), fps=fps, height=height, width=width)
    return truth


def camera_of(moves: Sequence[tuple[CameraMove, float]], *, fps: int) -> tuple[FloatArray, list[KnownMove]]:
    """One camera path through several moves, one after the other.

    Args:
        moves: Each move and how many seconds it lasts, one frame or more.
        fps: Frames a second.

    Returns:
        The path (T, 4), see the top of this module, and when each move holds.
    """
    counts = [round(seconds * fps) for _, seconds in moves]
    bounds = [0, *np.cumsum(counts).tolist()]
    truth = [KnownMove(bounds[i] / fps, bounds[i + 1] / fps, move.label) for i, (move, _) in enumerate(moves)]
    camera, start = [], np.zeros(4)
    for (move, _), count in zip(moves, counts, strict=True):
        piece = move.path(np.arange(count + 1) / fps, duration_seconds=count / fps)
        piece[:, :2] = _in_view_of(start, piece[:, :2])
        camera.append(start + piece[:-1])
        start = start + piece[-1]
    return np.concatenate(camera), truth


def _in_view_of(camera: FloatArray, steps: FloatArray) -> FloatArray:
    """Steps (T, 2) along the axes of a camera (4,), in its half short sides, as those of the camera at the start."""
    cos, sin = math.cos(camera[3]), math.sin(camera[3])
    return np.asarray(math.exp(camera[2]) * steps @ np.array([[cos, sin], [-sin, cos]]))


def _sample_frames(camera: FloatArray, fps: int, height: int, width: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    scene = to_source(landscape(rng, 720, 1440))
    times = np.arange(len(camera)) / fps
    balloons = []
    for _ in range(4):
        track = np.zeros((len(camera), 3))
        track[:, 0] = rng.uniform(-1.2, 1.2) + rng.uniform(-0.06, 0.06) * times
        track[:, 1] = rng.uniform(-0.7, 0.1) + 0.02 * np.sin(times + rng.uniform(0, 6))
        radius = rng.uniform(0.04, 0.09)
        balloons.append(MovingObject(to_source(_balloon(rng)), track, (radius, radius * 1.25)))
    for index in range(len(camera)):
        here = slice(index, index + 1)
        grid = camera_grid(camera[here], size=(height, width), centre=(0.0, 0.05), field=0.55)
        frame = sample_source(scene, grid)
        for balloon in balloons:
            part = _part_with(grid, balloon.track[index, :2], max(balloon.size))
            now = MovingObject(balloon.texture, balloon.track[here], balloon.size)
            frame[(..., *part)] = now.paste(frame[(..., *part)], grid[(slice(None), *part)])
        yield (frame[0].permute(1, 2, 0) * 255 + 0.5).to(torch.uint8).numpy()


def _part_with(grid: Tensor, centre: FloatArray, reach: float) -> tuple[slice, slice]:
    """Rows and columns of a grid (1, h, w, 2) within `reach` of a point, and a few more; none if it is not seen."""
    near = ((grid[0] - torch.from_numpy(centre)).abs() < 1.2 * reach).all(dim=-1)
    rows, columns = near.any(dim=1).nonzero()[:, 0].tolist(), near.any(dim=0).nonzero()[:, 0].tolist()
    if not rows:
        return slice(0, 1), slice(0, 1)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _balloon(rng: np.random.Generator) -> FloatArray:
    x = np.broadcast_to(np.linspace(-1, 1, 64), (64, 64))
    stripes = (np.sin(x * rng.uniform(6, 12)) > 0).astype(np.float64)
    body = blend(stripes, colour(rng), colour(rng) * 0.6 + 0.4)
    return body * (1.05 - 0.35 * np.abs(x[..., None] + 0.3))


def write_video(path: str | Path, frames: Iterable[NDArray[np.uint8]], *, fps: int, height: int, width: int) -> None:
    """Writes frames (height, width, 3), RGB, as H.264 where FFmpeg has x264; the same frames give the same bytes.

    Raises:
        OutputError: The file cannot be written.
    """
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    try:
        with av.open(str(path), "w") as container:
            stream = cast(av.VideoStream, container.add_stream(codec, rate=Fraction(fps)))
            stream.height, stream.width, stream.pix_fmt = height - height % 2, width - width % 2, "yuv420p"
            stream.codec_context.thread_count = 1  # threads would make the bytes depend on the machine
            stream.options = {"crf": "18"} if codec == "libx264" else {"qscale": "3"}
            for pixels in frames:
                frame = av.VideoFrame.from_ndarray(pixels[: stream.height, : stream.width], format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    except (OSError, ValueError, av.FFmpegError) as error:  # ValueError: no such format
        raise OutputError(f"cannot write {path}: {error}", hint="the name must end in .mp4 or .mkv") from error


def main() -> None:
    """Renders a sample video: `python -m tadacli.camera_motion.virtual_camera OUT.mp4 --motion "pan left"`."""
    parser = argparse.ArgumentParser(description="Render a video of known camera motion.")
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "--motion", action="append", choices=CAMERA_MOTIONS, help="repeat it for one motion after the other"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each motion")
    parser.add_argument("--speed", type=float, default=0.2, help="short sides per second at the picture's edge")
    parser.add_argument("--height", type=int, default=360, help="of the picture; it is 16:9")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--truth", type=Path, help="also write the times of the motions as JSON")
    options = parser.parse_args()
    moves = [(CameraMove(label, speed=options.speed), options.seconds) for label in options.motion or ["pan left"]]
    size = {"height": options.height, "width": options.height * 16 // 9}
    truth = render_sequence(options.output, moves=moves, seed=options.seed, **size)
    if options.truth:
        options.truth.write_text(json.dumps([asdict(known) for known in truth], indent=2) + "\n")


if __name__ == "__main__":
    main()
