"""The fuzzer finds nothing wrong in a few damaged files of each kind, and would find it: `make fuzz` reads many."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tadacli.video import damage
from tests.fuzz.judging import FAULTS, Outcome, judge, whole_of
from tests.fuzz.mutations import mutated
from tests.fuzz.running import fuzz
from tests.fuzz.seeds import all_seeds


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    return {seed.name: seed for seed in all_seeds(tmp_path_factory.mktemp("seeds"))}


@pytest.mark.parametrize("number", range(3))
def test_every_kind_of_damage_is_told_or_harmless(tmp_path, seeds, number):
    for name, seed in seeds.items():
        (tmp_path / name).mkdir()
        path = seed.write(seed.data, tmp_path / name)
        whole = whole_of(path)
        assert judge(path, whole, 0).outcome == Outcome.WHOLE
        data, how = mutated(seed.data, random.Random(f"{name} {number}"))
        verdict = judge(seed.write(data, tmp_path / name), whole, number)
        assert verdict.outcome not in FAULTS, f"{name}, {how}: {verdict.detail}"


def test_wrong_frames_are_found(tmp_path, monkeypatch, seeds):
    seed = seeds["h264 ts"]
    path = seed.write(seed.data, tmp_path)
    whole, honest = whole_of(path), damage.Wanted.picture

    def changed(self, index, frame):
        picture = honest(self, index, frame)
        return np.zeros_like(picture) if index == 7 and picture is not None else picture

    monkeypatch.setattr(damage.Wanted, "picture", changed)
    assert judge(path, whole, 0).outcome == Outcome.WRONG


def test_each_file_is_read_in_a_child(tmp_path):
    counts = fuzz(seed=1, num_files=3, only="gif", keep=tmp_path)
    assert sum(counts.values()) == 3
    assert list(tmp_path.iterdir()) == []
