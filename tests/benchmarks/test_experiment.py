"""The experiment of the benchmarks: fair starts, folds, clips played backwards, the bootstrap, and the table."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import experiment_table as table
from benchmarks.detection_on_actions import activitynet_annotations, measured
from benchmarks.experiment import Job as TrainingJob
from benchmarks.experiment import (
    Settings,
    camera_jobs,
    check_same,
    folds_by_video,
    moving_gratings,
    settings_of,
    size,
    train_and_test,
    variant,
)
from benchmarks.experiment_data import R3D_VIEW, ClipStore, Part, TrainingOrder, k_folds, spread
from benchmarks.experiment_table import NETWORKS, R3D_NETWORKS, Run
from tadacli.errors import UsageError

CLASSES = ("a", "b", "c")
SETTINGS = {"task": "actions", "minutes": 1.0, "folds": 2, "view": [48, 64], "footage": ""}


# --- networks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("with_it", "without"), [("TAda2D", "TSN"), ("R(2+1)D with TAdaConv", "R(2+1)D")])
def test_with_and_without_tadaconv_start_as_the_same_function(with_it: str, without: str) -> None:
    clips = torch.randn(1, 3, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    calibrated, plain = (variant(name, num_classes=3, seed=5).eval() for name in (with_it, without))
    torch.testing.assert_close(calibrated(clips), plain(clips), atol=1e-5, rtol=1e-5)
    more, gmacs = size(calibrated, (32, 32))
    fewer, plain_gmacs = size(plain, (32, 32))
    assert more > fewer
    assert plain_gmacs < gmacs < 1.02 * plain_gmacs


def test_r3d_18_and_its_twin_with_tadaconv_start_as_the_same_function() -> None:
    clips = torch.randn(2, 3, 8, *R3D_VIEW, generator=torch.Generator().manual_seed(0))
    plain, calibrated = (variant(name, num_classes=9, seed=5) for name in R3D_NETWORKS)
    fewer, more = (sum(parameter.numel() for parameter in network.parameters()) for network in (plain, calibrated))
    assert fewer < more
    with torch.no_grad():
        for is_training in (True, False):  # in training, by the statistics of the batch
            ours, theirs = calibrated.train(is_training)(clips), plain.train(is_training)(clips)
            assert ours.shape == (2, 9)
            torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_each_grating_answers_to_its_own_direction_of_motion_most() -> None:
    """Patterns that drift in each of eight directions: the energy of a pair of phases is largest for its own."""
    like = torch.randn(64, 3, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    filters = moving_gratings(like=like)
    assert filters.shape == like.shape
    assert torch.allclose(filters.mean(dim=(1, 2, 3, 4)), torch.zeros(64), atol=1e-6)
    assert torch.allclose(filters[:, 0].flatten(1).std(dim=1), like.std())
    time_, y, x = torch.meshgrid(torch.arange(3.0), torch.arange(64.0), torch.arange(64.0), indexing="ij")
    for period, speed, first in ((4, 0.5, 0), (4, 1.5, 16), (7, 0.5, 32), (7, 1.5, 48)):
        energies = []
        for direction in range(8):
            angle = direction * math.pi / 4
            along = x * math.cos(angle) + y * math.sin(angle) - speed * time_
            clip = torch.cos(2 * math.pi / period * along).expand(1, 3, 3, 64, 64)
            answers = torch.nn.functional.conv3d(clip, filters[first : first + 16])
            energies.append(answers.square().mean(dim=(0, 2, 3, 4)).view(8, 2).sum(dim=1))
        assert torch.stack(energies).argmax(dim=0).tolist() == list(range(8)), (period, speed)


def test_only_tsn_cannot_tell_a_clip_from_its_reverse() -> None:
    clips = torch.randn(2, 3, 6, 32, 32, generator=torch.Generator().manual_seed(0))
    for name in NETWORKS:
        network = variant(name, num_classes=3, seed=5)
        for part, parameter in network.named_parameters():
            if "_rf.b" in part:  # the last routing weights, which start at zero
                torch.nn.init.normal_(parameter, std=0.5)
        network.eval()
        apart = float((network(clips) - network(clips.flip(2))).abs().max().detach())
        assert (apart < 1e-5) == (name == "TSN"), (name, apart)


# --- data ---------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _as_in_a_process_of_its_own() -> Iterator[None]:
    """Trainings and the making of clips set the number of PyTorch's threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    """Twelve items of 9 to 20 frames 10 x 12, of four videos; each pixel holds the number of its frame."""
    lengths = list(range(9, 21))
    offsets = (0, *np.cumsum(lengths).tolist())
    frames = np.empty((offsets[-1], 3, 10, 12), dtype=np.uint8)
    frames[:] = np.arange(offsets[-1], dtype=np.uint8)[:, None, None, None]
    np.save(tmp_path / "frames.npy", frames)
    return ClipStore(
        tmp_path / "frames.npy",
        offsets,
        tuple(item % 3 for item in range(12)),
        tuple(f"item {item}" for item in range(12)),
        tuple(f"video {item % 4}" for item in range(12)),
        CLASSES,
    )


def test_no_video_is_on_both_sides_and_each_item_is_tested_once(store: ClipStore) -> None:
    folds = folds_by_video(store, 3)
    assert sorted(item for _, test in folds for item in test) == list(range(12))
    for train, test in folds:
        assert sorted(train + test) == list(range(12))
        assert not {store.groups[item] for item in train} & {store.groups[item] for item in test}


def test_clips_are_of_their_own_item_in_order_and_the_same_for_all_networks(store: ClipStore) -> None:
    part = Part(store, tuple(range(12)), (8, 8))
    order = TrainingOrder(part, batch_size=6, augment=False, seed=3)
    first, second = order.batch(0), order.batch(1)
    starts = []
    for clip in torch.cat([first.clips, second.clips]):
        numbers = [round(float(value)) for value in (clip[0, :, 0, 0] * 0.225 + 0.45) * 255]
        item = next(i for i in range(12) if store.offsets[i] <= numbers[0] < store.offsets[i + 1])
        assert numbers == sorted(numbers)
        assert numbers[-1] < store.offsets[item + 1]
        starts.append(item)
    assert sorted(starts) == list(range(12))  # two batches are one pass
    labels = torch.cat([first.targets[""], second.targets[""]]).tolist()
    assert labels == [store.labels[item] for item in starts]
    again = TrainingOrder(part, batch_size=6, augment=False, seed=3).batch(1)
    assert torch.equal(again.clips, second.clips)
    assert part.test_clips([4, 5]).shape == (2, 3, 8, 8, 8)


@given(first=st.integers(0, 1000), length=st.integers(1, 300), most=st.integers(1, 80))
def test_spread_frames_are_inside_in_order_and_even(first: int, length: int, most: int) -> None:
    numbers = spread(first, first + length, most)
    assert len(numbers) == min(most, length)
    assert first <= numbers[0]
    assert numbers[-1] < first + length
    steps = np.diff(numbers)
    assert len(numbers) == 1 or (steps.min() >= 1 and steps.max() - steps.min() <= 1)


def test_a_training_leaves_a_record_that_the_table_reads(store: ClipStore) -> None:
    small = Settings("actions", 1e-6, 4, (8, 8), augment=True, folds=2)
    runs = []
    for fold, (train, test) in enumerate(folds_by_video(store, 2)):
        job = TrainingJob(small, "TSN", 0, fold, Part(store, train, (8, 8)), Part(store, test, (8, 8)))
        runs.append(json.loads(json.dumps(train_and_test(job))))
    for run in runs:
        assert run["answers"] == run["backwards"]  # TSN
        check_same([run], small, Path("results.json"))
    with pytest.raises(SystemExit, match="minutes"):
        check_same(runs, Settings("actions", 2.0, 4, (8, 8), augment=True, folds=2), Path("results.json"))
    found = table.scores_of(runs, "TSN", num_folds=2)
    assert found is not None
    assert found.ids == tuple(sorted(store.ids))
    assert found.truth.tolist() == [store.labels[store.ids.index(name)] for name in found.ids]


class InThisProcess(Executor):
    """Does what it is asked at once."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def made_jobs(
    folder: Path, task: str, view: tuple[int, int], networks: Sequence[str], **changes: Any
) -> list[TrainingJob]:
    """Those of two seeds on three clips, tested on nine."""
    folder.mkdir()
    few = Settings(task, 1.0, 4, view, augment=False, train_clips=3, test_clips=9, **changes)
    return camera_jobs(few, networks, 2, folder=folder, footage=None, workers=InThisProcess())


def test_the_small_clips_for_r3d_18_are_those_of_the_camera_task_averaged(tmp_path: Path) -> None:
    large = made_jobs(tmp_path / "large", "camera", (64, 64), NETWORKS[:1])
    small = made_jobs(tmp_path / "small", "r3d_18", R3D_VIEW, R3D_NETWORKS)
    easy = made_jobs(tmp_path / "easy", "r3d_18", R3D_VIEW, R3D_NETWORKS, easy_share=(1.0, 1.0))
    assert [(job.seed, job.fold, job.network) for job in small] == [
        (0, 0, "r3d_18"),
        (0, 0, "r3d_18 with TAdaConv"),
        (1, 0, "r3d_18"),
        (1, 0, "r3d_18 with TAdaConv"),
    ]
    for ours, theirs in ((small[0].train, large[0].train), (small[0].test, large[0].test)):
        assert ours.store.labels == theirs.store.labels
        assert ours.store.ids == theirs.store.ids
        means = theirs.store.frames().reshape(-1, 3, 32, 2, 32, 2).mean(axis=(3, 5))
        assert np.abs(ours.store.frames() - means).max() <= 1  # both are rounded
    assert sorted(small[0].test.store.labels) == list(range(9))
    # Easy ones are other clips; and the plain ones among them show a static camera's picture unchanged, without noise.
    assert easy[0].test.store.labels == small[0].test.store.labels
    still = easy[0].test.store.frames()[:8].astype(int)
    assert np.abs(still - still[:1]).max() <= 1
    assert np.abs(small[0].test.store.frames()[:8].astype(int) - still).max() > 1
    batch = TrainingOrder(small[0].train, batch_size=4, augment=False, seed=0).batch(0)
    assert batch.clips.shape == (4, 3, 8, *R3D_VIEW)


def test_what_is_recorded_of_the_settings_stays_so_that_files_can_be_added_to() -> None:
    options = argparse.Namespace(task="both", minutes=5.0, folds=5, quick=False, footage=None)
    common = {"minutes": 5.0, "batch_size": 16, "footage": "", "widths": [16, 32, 64, 128]}
    made = {"augment": False, "folds": 1, "train_clips": 6000, "test_clips": 900}
    decoded = {"augment": True, "folds": 5, "train_clips": 0, "test_clips": 0}
    assert [settings.recorded() for settings in settings_of(options)] == [
        {"task": "camera", "view": [64, 64], **common, **made},
        {"task": "actions", "view": [48, 64], **common, **decoded},
    ]
    (small,) = settings_of(argparse.Namespace(**{**vars(options), "task": "r3d_18"}))
    del common["widths"]  # r3d_18 has its own
    own = {"easy_share": [1.0, 1.0], "learning_rate": 3e-4, "stem": "moving gratings"}
    assert small.recorded() == {"task": "r3d_18", "view": [32, 32], **common, **made, **own}


# --- statistics ---------------------------------------------------------------------------------------------


def run_of(network: str, seed: int, fold: int, answers: list[int], **changes: Any) -> Run:
    """Six items in each of two folds, two of each class; fold 0 has the videos 0 and 1, fold 1 the others."""
    return {
        "task": "actions",
        "network": network,
        "seed": seed,
        "fold": fold,
        "settings": dict(SETTINGS),
        "parameters": 1234567,
        "gmacs": 0.5,
        "num_steps": 100,
        "cpu_minutes": 1.0,
        "classes": ["falling", "sitdown", "standup"],
        "ids": [f"{fold}-{number}" for number in range(6)],
        "groups": [f"video {2 * fold + number // 3}" for number in range(6)],
        "truth": [0, 1, 2, 0, 1, 2],
        "answers": answers,
        "backwards": [0] * 6,
        "made": {"date": "2026-01-01", "machine": "m", "python": "p", "torch": "t"},
        **changes,
    }


RIGHT, HALF = [0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]


def both(network: str, answers: list[list[int]]) -> list[Run]:
    """Two seeds of two folds; `answers` are those of (seed 0, fold 0), (0, 1), (1, 0), (1, 1)."""
    return [run_of(network, number // 2, number % 2, each) for number, each in enumerate(answers)]


def test_scores_are_pooled_over_folds_and_seeds_with_a_missing_fold_are_left_out() -> None:
    runs = [*both("TSN", [RIGHT, HALF, HALF, HALF]), run_of("TSN", 2, 0, RIGHT)]
    found = table.scores_of(runs, "TSN", num_folds=2)
    assert found is not None
    assert found.seeds == (0, 1)
    assert found.accuracy(found.answers).tolist() == [75.0, 50.0]
    assert found.accuracy(found.backwards, ["sitdown", "standup"]).tolist() == [0.0, 0.0]
    assert found.by_class().tolist() == [[75.0] * 3, [50.0] * 3]
    assert table.scores_of(runs[:1], "TSN", num_folds=2) is None


def test_an_item_that_is_tested_twice_is_noticed() -> None:
    runs = [run_of("TSN", 0, 0, RIGHT), {**run_of("TSN", 0, 0, RIGHT), "fold": 1}]
    with pytest.raises(SystemExit, match="two folds"):
        table.scores_of(runs, "TSN", num_folds=2)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), min_size=2, max_size=12))
def test_the_interval_of_few_videos_is_that_of_all_their_draws(items: list[tuple[int, bool, bool]]) -> None:
    # Of three videos there are 27 draws, each likelier than 2.5 %: the ends are the least and the most of them.
    found = table.paired_difference(scores(items, 1), scores(items, 2))
    videos = sorted({video for video, _, _ in items})
    means = []
    for drawn in itertools.product(videos, repeat=len(videos)):
        rows = [item for video in drawn for item in items if item[0] == video]
        means.append(100 * np.mean([int(a) - int(b) for _, a, b in rows]))
    assert found.value == pytest.approx(100 * np.mean([int(a) - int(b) for _, a, b in items]))
    assert (found.low, found.high) == pytest.approx((min(means), max(means)))


def scores(items: list[tuple[int, bool, bool]], column: int) -> table.Scores:
    """A network of one seed that is right where the items say so."""
    run = run_of("TSN", 0, 0, [0])
    answers = np.array([[0 if item[column] else 1 for item in items]])
    return table.Scores(
        network=f"network {column}",
        runs=(run,),
        seeds=(0,),
        ids=tuple(f"item {number}" for number in range(len(items))),
        groups=tuple(f"video {item[0]}" for item in items),
        classes=("x", "y"),
        truth=np.zeros(len(items), dtype=np.int64),
        answers=answers,
        backwards=answers,
    )


def test_items_of_one_video_count_as_one_observation() -> None:
    # Better on all 20 items of one video, equal in nine others: by items that is clear, by videos it is not.
    items = [(0, True, False)] * 20 + [(video, True, True) for video in range(1, 10) for _ in range(2)]
    found = table.paired_difference(scores(items, 1), scores(items, 2))
    assert found.value == pytest.approx(100 * 20 / 38)
    assert found.low == 0
    assert found.meaning == "none shown"
    everywhere = [(video, True, False) for video in range(10)]
    assert table.paired_difference(scores(everywhere, 1), scores(everywhere, 2)).meaning == "more"
    assert table.paired_difference(scores(everywhere, 2), scores(everywhere, 1)).meaning == "less"


def test_what_differs_from_seed_to_seed_is_in_the_wider_interval_alone() -> None:
    """One network is right about everything with one seed and nothing with the other, its twin half the time."""
    items = [(video, video % 2 == 0, False) for video in range(10)]
    even = scores(items, 1)
    lucky = dataclasses.replace(even, seeds=(0, 1), answers=np.array([[0] * 10, [1] * 10]))
    assert table.paired_difference(lucky, scores(items, 2)).low == pytest.approx(50)
    wide = table.paired_difference(lucky, scores(items, 2), draw_seeds=True)
    assert (wide.value, wide.low, wide.high) == pytest.approx((50, 0, 100))
    assert wide.meaning == "none shown"
    narrow, same = (table.paired_difference(even, scores(items, 2), draw_seeds=draw) for draw in (False, True))
    assert narrow == same


# --- the table ----------------------------------------------------------------------------------------------


def test_the_table_says_what_came_out_and_marks_what_the_authors_published() -> None:
    runs = both("TSN", [HALF] * 4) + both("TAda2D", [RIGHT, HALF, RIGHT, HALF]) + [run_of("R(2+1)D", 0, 0, RIGHT)]
    text = table.as_markdown(runs)
    assert "| TSN | 1,234,567 | 0.500 | 100 | 1.00 | 50.0 ± 0.0 |" in text
    assert "| TAda2D over TSN | +25.0 (" in text
    assert "R(2+1)D over TSN" not in text  # it has one of two folds
    assert "1 trainings of unfinished seeds are left out" in text
    assert "lying is counted as lie" in text
    short = text.split("## Actions in segments")[0]
    assert "| TSN | - | 50.0 ± 0.0; " in short
    assert "| TAda2D over TSN | - | +25.0 (" in short
    assert "| R(2+1)D | - | - | - |" in short
    own, published = text.split("## The authors' figures")
    assert "not measured here" in published
    assert "(+1.29)" in published
    assert "(+1.29)" not in own


def test_the_table_compares_r3d_18_with_its_twin_beside_the_other_tasks() -> None:
    own = {"task": "r3d_18", "settings": {**SETTINGS, "task": "r3d_18", "folds": 1, "view": [32, 32]}}
    twins = [run_of(name, 0, 0, answers, **own) for name, answers in zip(R3D_NETWORKS, (HALF, RIGHT), strict=True)]
    text = table.as_markdown([*both("TSN", [HALF] * 4), *twins])
    actions, ours = text.split("## The authors' figures")[0].split("## Motion of a virtual camera")
    assert "| r3d_18 with TAdaConv over r3d_18 | +50.0 (" in ours
    assert "| r3d_18 | 1,234,567 | 0.500 | 100 | 1.00 | 50.0 |" in ours
    assert "clips of 8 x 32 x 32" in ours
    assert "TSN" not in ours
    assert "r3d_18" not in actions


def test_results_of_different_settings_do_not_mix() -> None:
    runs = [run_of("TSN", 0, 0, RIGHT), run_of("TSN", 0, 1, RIGHT, settings={**SETTINGS, "minutes": 3.0})]
    with pytest.raises(SystemExit, match=r"minutes 1\.0 and 3\.0"):
        table.as_markdown(runs)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    for content in ("{}", "[]", "no json"):
        (tmp_path / "results.json").write_text(content)
        with pytest.raises(SystemExit, match="no result file"):
            table.read_runs(tmp_path / "results.json")


# --- detection ----------------------------------------------------------------------------------------------


def test_perfect_detections_have_the_full_precision_and_late_ones_only_at_low_thresholds(tmp_path: Path) -> None:
    rows = [
        {"video": "a.mp4", "split": "val", "label": label, "video_seconds": "30"}
        | {"start_seconds": str(start), "end_seconds": str(start + 10)}
        for label, start in (("walk", 0.0), ("sit", 10.0))
    ]
    annotations = tmp_path / "annotations.json"
    annotations.write_text(json.dumps(activitynet_annotations(rows)))
    database = json.loads(annotations.read_text())["database"]
    assert database == {
        "a": {
            "subset": "validation",
            "duration": 30.0,
            "annotations": [{"label": "walk", "segment": [0.0, 10.0]}, {"label": "sit", "segment": [10.0, 20.0]}],
        }
    }
    predictions = tmp_path / "predictions.json"
    for late, expected in ((0.0, [100.0] * 5), (5.0, [100.0] * 3 + [0.0] * 2)):
        # Five seconds late, two spans of ten overlap by a third.
        found = [
            {
                "label": row["label"],
                "score": 0.5,
                "segment": [float(row["start_seconds"]) + late, float(row["end_seconds"]) + late],
            }
            for row in rows
        ]
        predictions.write_text(json.dumps({"version": "VERSION 1.3", "results": {"a": found}}))
        cells = measured(annotations, predictions)[2].split("|")[2:-1]
        assert [float(cell) for cell in cells] == [*expected, sum(expected) / 5]


GROUPED = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=20).map(lambda names: list(enumerate(names)))


def groups_of(items: Sequence[tuple[int, str]]) -> set[str]:
    return {group for _, group in items}


@given(GROUPED, st.integers(2, 6), st.integers(0, 3), st.randoms(use_true_random=False))
def test_folds_hold_each_group_out_once(items: list[tuple[int, str]], k: int, seed: int, rng: random.Random) -> None:
    num_groups = len(groups_of(items))
    if k > num_groups:
        with pytest.raises(UsageError, match=f"{num_groups} groups"):
            k_folds(items, k, group_of=lambda item: item[1], seed=seed)
        return
    folds = k_folds(items, k, group_of=lambda item: item[1], seed=seed)
    assert len(folds) == k
    assert sorted(item for _, held_out in folds for item in held_out) == sorted(items)
    for train, held_out in folds:
        assert not groups_of(train) & groups_of(held_out)
        assert sorted(train + held_out) == sorted(items)
    sizes = [len(groups_of(held_out)) for _, held_out in folds]
    assert max(sizes) - min(sizes) <= 1
    again = k_folds(rng.sample(items, len(items)), k, group_of=lambda item: item[1], seed=seed)
    assert [sorted(held_out) for _, held_out in again] == [sorted(held_out) for _, held_out in folds]
