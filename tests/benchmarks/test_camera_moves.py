"""Films of known camera moves: every move can be seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.camera_moves import FPS, draw_shot, moves_are_seen
from tadacli.camera_motion.virtual_camera import CameraMove, camera_of

PLAIN = torch.full((1, 3, 288, 384), 200, dtype=torch.uint8)
STRIPE = PLAIN.clone()
STRIPE[:, :, 140:] = 20
NOISE = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 72, 96), dtype=np.uint8)).repeat_interleave(
    4, 2
)
NOISE = NOISE.repeat_interleave(4, 3)
HALF = NOISE.clone()
HALF[..., 192:] = 200


@pytest.mark.parametrize(
    ("picture", "moves", "are_seen"),
    [
        (NOISE, [("pan left", 0.2, 1.0)], True),
        (PLAIN, [("pan left", 0.2, 1.0)], False),
        (STRIPE, [("pan left", 0.2, 1.0)], False),
        (PLAIN, [("static", 0.0, 1.0)], True),
        (PLAIN, [("static", 0.0, 1.0), ("zoom in", 0.2, 1.0)], False),
        (HALF, [("pan right", 0.6, 3.0)], False),  # it ends over the plain half
    ],
)
def test_a_move_over_what_is_plain_is_not_seen(
    picture: Tensor, moves: list[tuple[str, float, float]], are_seen: bool
) -> None:
    camera, truth = camera_of([(CameraMove(label, speed), seconds) for label, speed, seconds in moves], fps=FPS)
    assert moves_are_seen(picture, camera, truth) is are_seen


def test_shots_are_over_pictures_whose_moves_are_seen() -> None:
    for seed in range(3):
        (picture, camera, _), moves = draw_shot(np.random.default_rng(seed), [PLAIN, NOISE, STRIPE])
        assert picture is NOISE or all(move.label == "static" for move in moves)
        assert round(moves[-1].end_seconds * FPS) == len(camera)
