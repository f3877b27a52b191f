"""How well the moves of a camera are found in time, over rendered films of known moves.

    python -m benchmarks.camera_moves [--films 10] [--seed 0] [--cache DIR]

A film lasts about a minute: shots of one to four moves each, of 0.5 to 8 s, over generated pictures, with up to two
bodies that move by themselves, and a cut from one shot to the next. Every move can be seen: a picture over which one
cannot, since it is plain there, is not taken, as in the tests of the model itself. The built-in model scores its
windows once without cuts and once with those that `--cuts auto` finds; the ways to make segments of these scores are
compared by mean average precision at temporal IoU 0.3 to 0.7, and by how far the ends of segments are from the true
ones of the same label, where the two overlap by 0.3 or more.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.conditions import conditions
from tadacli.camera_motion.clips import PARTS_WITH_EDGES, make_pictures, parts_with_edges
from tadacli.camera_motion.virtual_camera import (
    CAMERA_MOTIONS,
    CameraMove,
    KnownMove,
    MovingObject,
    camera_grid,
    camera_of,
    hand_held,
    sample_source,
    write_video,
)
from tadacli.detection.scored_windows import WindowScores
from tadacli.detection.segments import find_segments
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.window_scores import score_windows
from tadacli.evaluation.detection_metrics import THUMOS_TIOU, ScoredSegments, TimedLabels, average_precision
from tadacli.results import Segment
from tadacli.sampling.settings import Cuts, window_settings
from tadacli.zoo.loading import load_model

FPS, HEIGHT, WIDTH, FIELD = 25, 96, 128, 0.35
VIEW = 64  # height and width of what the network sees
LEAST_SECONDS = 60.0
WINDOWS = (("2s", "1s"), ("1s", "250ms"))
CUTS: tuple[Cuts, ...] = ((), "auto")
WAYS = {
    "--no-exclusive": SegmentSettings(exclusive=False),
    "--low-threshold 0.4": SegmentSettings(low_threshold=0.4),
    "--exclusive": SegmentSettings(exclusive=True),
    "--contrast --threshold 0.1": SegmentSettings(contrast=True, threshold=0.1),
}
MATCHED_IOU = 0.3

Shot = tuple[Tensor, np.ndarray, list[MovingObject]]


def draw_moves(rng: np.random.Generator) -> list[tuple[CameraMove, float]]:
    """The moves of one shot, none like the one before it."""
    moves: list[tuple[CameraMove, float]] = []
    for _ in range(int(rng.integers(1, 5))):
        label = CAMERA_MOTIONS[0] if rng.random() < 0.2 else CAMERA_MOTIONS[int(rng.integers(1, len(CAMERA_MOTIONS)))]
        if moves and label == moves[-1][0].label:
            continue
        seconds = math.exp(rng.uniform(math.log(0.5), math.log(8)))
        speed = math.exp(rng.uniform(math.log(0.1), math.log(0.6)))
        if label.startswith("zoom"):
            speed = min(speed, 1.6 / seconds)  # or nothing would be left of the picture
        still = label == "static"
        moves.append((CameraMove(label, speed=0.0 if still else speed, ease=rng.uniform(0, 0.5)), seconds))
    return moves


def draw_shot(rng: np.random.Generator, pictures: Sequence[Tensor]) -> tuple[Shot, list[KnownMove]]:
    """A picture, the camera's path over it, and what moves in it."""
    shown: list[Tensor] = []
    while not shown:  # over long ways no picture may do: then others are drawn
        camera, truth = camera_of(draw_moves(rng), fps=FPS)
        times = np.arange(len(camera)) / FPS
        camera[:, 2] -= camera[:, 2].mean()
        camera += hand_held(rng, times, amplitude=0.01 * rng.uniform(0, 1) ** 2)
        shown = [picture for picture in pictures if moves_are_seen(picture, camera, truth)]
    bodies = []
    for _ in range(int(rng.choice(3, p=[0.4, 0.4, 0.2]))):
        when, size = int(rng.integers(len(camera))), rng.uniform(0.03, 0.1)
        track = np.zeros((len(camera), 3))
        track[:, :2] = FIELD * camera[when, :2] + rng.uniform(-0.2, 0.2, 2)
        track[:, :2] += np.outer(times - times[when], rng.normal(0, 0.08, 2))
        texture = pictures[int(rng.integers(len(pictures)))]
        bodies.append(MovingObject(texture, track, (size, size * rng.uniform(0.5, 1.5))))
    return (shown[int(rng.integers(len(shown)))], camera, bodies), truth


def moves_are_seen(picture: Tensor, camera: np.ndarray, moves: Sequence[KnownMove]) -> bool:
    """Whether enough of each frame has edges, looked at twice a second of every move."""
    at = {
        min(round(when * FPS), len(camera) - 1)
        for move in moves
        if move.label != CAMERA_MOTIONS[0]
        for when in [*np.arange(move.start_seconds, move.end_seconds, 0.5), move.end_seconds]
    }
    if not at:
        return True
    grid = camera_grid(camera[sorted(at)], size=(VIEW, VIEW), field=FIELD)
    still = torch.ones(VIEW, VIEW)
    return all(parts_with_edges(frame, still) >= PARTS_WITH_EDGES for frame in sample_source(picture, grid))


def shot_frames(shot: Shot) -> Iterator[np.ndarray]:
    """The frames of a shot, uint8 (H, W, 3)."""
    picture, camera, bodies = shot
    for index in range(len(camera)):
        here = slice(index, index + 1)
        grid = camera_grid(camera[here], size=(HEIGHT, WIDTH), field=FIELD)
        frame = sample_source(picture, grid)
        for body in bodies:
            frame = MovingObject(body.texture, body.track[here], body.size).paste(frame, grid)
        yield (frame[0].permute(1, 2, 0) * 255 + 0.5).clamp(0, 255).byte().numpy()


def render_film(path: Path, *, seed: int, pictures: Sequence[Tensor]) -> list[KnownMove]:
    """Write a film, unless it is there; its true moves."""
    rng, shots, truth = np.random.default_rng(seed), [], list[KnownMove]()
    while not truth or truth[-1].end_seconds < LEAST_SECONDS:
        begun = truth[-1].end_seconds if truth else 0.0
        shot, moves = draw_shot(rng, pictures)
        shots.append(shot)
        truth += [KnownMove(begun + move.start_seconds, begun + move.end_seconds, move.label) for move in moves]
    if not path.is_file():
        partial = path.with_name(f"partial {path.name}")
        frames = (frame for shot in shots for frame in shot_frames(shot))
        write_video(partial, frames, fps=FPS, height=HEIGHT, width=WIDTH)
        partial.replace(path)
    return truth


def segments_of(scores: WindowScores, settings: SegmentSettings) -> tuple[Segment, ...]:
    heads, span = scores.spec.heads, scores.range_seconds
    return find_segments(
        scores.spans, scores.scale, scores.scores, heads, settings=settings, video_seconds=span, cuts=scores.cuts
    )


def precision(truth: Sequence[Sequence[KnownMove]], found: Sequence[Sequence[Segment]]) -> Sequence[float]:
    """mAP at each threshold, in percent."""
    moves = [(v, CAMERA_MOTIONS.index(m.label), m.start_seconds, m.end_seconds) for v, e in enumerate(truth) for m in e]
    segments = [(v, s.index, s.start_seconds, s.end_seconds, s.score) for v, each in enumerate(found) for s in each]
    labels = TimedLabels(*map(np.array, zip(*moves, strict=True)))
    scored = ScoredSegments(*map(np.array, zip(*segments, strict=True)))
    return [100 * value for value in average_precision(labels, scored, tiou=THUMOS_TIOU).mean_average_precision]


def boundary_error(truth: Sequence[Sequence[KnownMove]], found: Sequence[Sequence[Segment]]) -> float:
    """Median distance of both ends, in seconds, of each true move from the segment that overlaps it best."""
    errors = []
    for moves, segments in zip(truth, found, strict=True):
        for move in moves:
            rivals = [(overlap(move, each), each) for each in segments if each.label == move.label]
            iou, best = max(rivals, key=lambda rival: rival[0], default=(0.0, None))
            if best is not None and iou >= MATCHED_IOU:
                errors.append(abs(best.start_seconds - move.start_seconds))
                errors.append(abs(best.end_seconds - move.end_seconds))
    return float(np.median(errors))


def overlap(move: KnownMove | Segment, segment: Segment) -> float:
    """The temporal IoU of two."""
    shared = min(move.end_seconds, segment.end_seconds) - max(move.start_seconds, segment.start_seconds)
    union = max(move.end_seconds, segment.end_seconds) - min(move.start_seconds, segment.start_seconds)
    return max(shared, 0.0) / union


def main() -> None:
    """Render, score, and print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the first film")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tada-benchmarks")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    pictures = make_pictures(40, seed=9100 + options.seed)
    films = [options.cache / f"moves-{options.seed + number}.mp4" for number in range(options.films)]
    truth = [render_film(path, seed=options.seed + number, pictures=pictures) for number, path in enumerate(films)]
    model = load_model("r2plus1d_tiny.camera_motion", device="cpu")
    print(f"{conditions('torch')}, {len(films)} films, {sum(map(len, truth))} moves\n")
    print("| windows | cuts | segments | mAP 0.3 | 0.5 | 0.7 | mean | median distance of ends |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for (window, stride), cuts in itertools.product(WINDOWS, CUTS):
        settings = window_settings(window=window, stride=stride, cuts=cuts)
        scores = [score_windows(path, model=model, settings=settings) for path in films]
        for name, way in WAYS.items():
            found = [segments_of(each, way) for each in scores]
            at = precision(truth, found)
            print(
                f"| {window} every {stride} | {cuts or 'none'} | {name} | {at[0]:.1f} | {at[2]:.1f} | {at[4]:.1f} | "
                f"{np.mean(at):.1f} | {boundary_error(truth, found):.2f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main()
