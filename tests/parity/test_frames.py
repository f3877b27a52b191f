"""Frame sampling and preprocessing against the published ones."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tadacli.sampling.clips import clip_indices
from tadacli.transforms import preprocess
from tests.parity import goldens


@pytest.mark.parametrize("name", ["sampling", "sampling_hub"])
def test_sampling(name: str) -> None:
    rows = json.loads((goldens.folder() / f"{name}.json").read_text())
    wrong = [
        row
        for row in rows
        if row["indices"]
        != clip_indices(
            row["mode"],
            row["num_frames_in_video"],
            fps=row.get("fps"),
            clip_frames=row["clip_frames"],
            frame_stride=row.get("frame_stride", 1),
            target_fps=row.get("target_fps", 30.0),
            num_clips=row["num_clips"],
            clip_index=row["clip_index"],
            minus_interval=row.get("minus_interval", False),
        )
    ]
    assert len(rows) > 0
    assert wrong == []


@pytest.mark.parametrize("name", ["landscape", "portrait", "centre_clip_norm", "upscale"])
def test_preprocessing(name: str) -> None:
    cases, arrays = goldens.load("preprocess")
    case = cases[name]
    random = np.random.Generator(np.random.PCG64(case["seed"]))
    frames = random.integers(0, 256, case["frames_shape"], dtype=np.uint8)
    crops = preprocess(
        frames,
        short_side=case["short_side"],
        crop_size=case["crop_size"],
        num_crops=case["num_crops"],
        mean=case["mean"],
        std=case["std"],
    )
    assert len(crops) == case["num_crops"]
    for number, crop in enumerate(crops.numpy()):
        reference = arrays[f"{name}.crop{number}"]
        assert crop.shape == reference.shape
        assert np.abs(crop - reference).max() <= goldens.PREPROCESS_TOLERANCE
