"""The manifest and its strict reader."""

from __future__ import annotations

import json

import pytest
import torch

from tadacli.checkpoints import read_checkpoint
from tadacli.errors import SpecError
from tadacli.models import build
from tadacli.sampling import clip_indices
from tadacli.specs import label_list, manifest, read_manifest, spec_from_dict
from tadacli.zoo import DEFAULT_MODEL, builtin_weights

ENTRY = """
["net.recipe"]
architecture = "tada2d_r50"
task = "action"
dataset = "somewhere"
heads = { "" = ["a", "b"] }
input = { sampling = "segment", clip_frames = 8, short_side = 64, crop_size = 64, mean = [0, 0, 0], std = [1, 1, 1] }
protocol = { num_clips = 2, num_crops = 3 }
"""


def test_the_published_checkpoints_and_the_built_in_one_are_known() -> None:
    assert list(manifest()) == [
        "r2plus1d_tiny.camera_motion",
        "tada2d_r50.k400_8x8",
        "tada2d_r50.k400_16x5",
        "tada2d_r50.ssv2_8f",
        "tada2d_r50.ssv2_16f",
    ]


@pytest.mark.parametrize("name", list(manifest()))
def test_every_entry_builds_samples_and_names_its_classes(name: str) -> None:
    spec = manifest()[name]
    with torch.device("meta"):
        network = build(spec.architecture, num_classes=spec.num_classes, **spec.arguments)
    assert network.head.out.out_features == len(spec.heads[""])
    settings = spec.input
    indices = clip_indices(
        settings.sampling,
        300,
        fps=30,
        clip_frames=settings.clip_frames,
        frame_stride=settings.frame_stride,
        target_fps=settings.target_fps,
    )
    assert len(indices) == settings.clip_frames
    assert spec_from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_the_built_in_file_carries_the_spec_of_the_manifest() -> None:
    spec = manifest()[DEFAULT_MODEL]
    assert read_checkpoint(builtin_weights(spec.source["file"])).spec == spec


@pytest.mark.parametrize(("name", "count"), [("kinetics400", 400), ("ssv2", 174), ("camera_motion", 9)])
def test_label_lists_are_whole_and_without_repeats(name: str, count: int) -> None:
    labels = label_list(name)
    assert len(labels) == len(set(labels)) == count


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('task = "action"', 'task = "cooking"', "task is 'cooking'"),
        ('dataset = "somewhere"', "", "dataset is missing"),
        ("num_crops = 3", "num_crops = 3, flip = true", "net.recipe: protocol: unknown key flip"),
        ("clip_frames = 8", "clip_frames = 0", "not positive"),
        ("clip_frames = 8", 'clip_frames = "8"', "clip_frames has the wrong type"),
        ("crop_size = 64", "crop_size = 65", "crop above the short side"),
        ("mean = [0, 0, 0]", "mean = [0, 0]", "mean needs three numbers"),
        ('"segment"', '"sometimes"', "input.sampling is 'sometimes'"),
        ('heads = { "" = ["a", "b"] }', "heads = { }", "heads needs one unnamed head"),
        ('heads = { "" = ["a", "b"] }', 'heads = { "" = "nowhere" }', "no label list 'nowhere'"),
        ('["net.recipe"]', '["net.recipe"', "not valid TOML"),
    ],
)
def test_a_wrong_entry_is_named_with_its_key(old: str, new: str, reason: str) -> None:
    assert old in ENTRY
    assert list(read_manifest(ENTRY)) == ["net.recipe"]
    with pytest.raises(SpecError, match=reason):
        read_manifest(ENTRY.replace(old, new, 1))


def test_named_heads_keep_their_order() -> None:
    text = ENTRY.replace('{ "" = ["a", "b"] }', '{ verb = ["cut", "mix"], noun = ["egg", "pan", "tap"] }')
    assert read_manifest(text)["net.recipe"].num_classes == {"verb": 2, "noun": 3}
