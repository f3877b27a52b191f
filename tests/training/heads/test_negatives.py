"""Time in which nothing happens: of videos that hold no class, and between segments, where that is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tadacli.datasets.samples import Dataset
from tadacli.detection.feature_grid import FeatureGrid
from tadacli.detection.head_decoding import find_spans
from tadacli.errors import CheckpointError, UsageError
from tadacli.training.data import FinetuneData, load_finetune_data
from tadacli.training.heads.data import HeadData, load_head_data
from tadacli.training.heads.feature_files import FeatureFiles, files_in
from tadacli.training.heads.fitting import Progress
from tadacli.training.heads.objectives import PointObjective, StepObjective
from tadacli.training.heads.publishing import HeadResult
from tadacli.training.heads.sequences import window_of
from tadacli.training.heads.session import HeadListener, finetune_head
from tadacli.training.negatives import Negative, Negatives, find_negatives
from tadacli.zoo.loading import load_head_model
from tests.training.heads.planted_files import SETTINGS, write_negatives, write_planted


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[FinetuneData, Path, Path]:
    """Labelled data, the folder of all features, and a folder of eight negatives."""
    folder = tmp_path_factory.mktemp("planted")
    table, features = write_planted(folder)
    return load_finetune_data(table), features, write_negatives(folder / "none", features, range(8))


def run(planted: tuple[FinetuneData, Path, Path], output: Path, **options: object) -> HeadResult:
    data, features, _ = planted
    given = {"head": "temporal", "settings": SETTINGS, **options}
    return finetune_head(data, output=output, features=features, device="cpu", **given)  # type: ignore[arg-type]


def split_of(planted: tuple[FinetuneData, Path, Path], seed: int = 0) -> Negatives:
    data, _, folder = planted
    return find_negatives(folder, data, validation_share=0.25, seed=seed)


def weights(output: Path) -> dict[str, Tensor]:
    return dict(load_head_model(output, device="cpu").network.state_dict())


def num_found(output: Path, grids: list[FeatureGrid]) -> int:
    """How many segments a head finds at its own threshold."""
    model = load_head_model(output, device="cpu")
    level = model.spec.thresholds[""][0]
    return sum(int((find_spans(model.network, grid).scores >= level).sum()) for grid in grids)  # type: ignore[arg-type]


def test_a_head_finds_little_in_what_it_learnt_to_be_nothing(
    planted: tuple[FinetuneData, Path, Path], tmp_path: Path
) -> None:
    _, features, _ = planted
    negatives = split_of(planted)
    assert (len(negatives.train), len(negatives.validation)) == (6, 2)
    plain, taught = run(planted, tmp_path / "plain"), run(planted, tmp_path / "taught", negatives=negatives)
    write_negatives(tmp_path / "others", features, range(8, 12))
    unseen = Negatives(tuple(Negative(tmp_path / "others" / f"n{number}.mp4", "") for number in range(8, 12)))
    grids = [each.grid for each in loaded(planted, negatives=unseen).negatives]
    assert num_found(tmp_path / "plain", grids) >= 10
    assert num_found(tmp_path / "taught", grids) <= 2
    assert taught.metrics.average > plain.metrics.average - 0.1
    assert taught.num_videos == plain.num_videos == 6
    # What was used is said.
    report = json.loads((tmp_path / "taught" / "eval.json").read_text())
    assert report["num_segments"] == json.loads((tmp_path / "plain" / "eval.json").read_text())["num_segments"]
    said = report["negatives"]
    assert (said["train"]["num_videos"], said["validation"]["num_videos"]) == (6, 2)
    assert said["train"]["seconds"] == pytest.approx(
        sum(each.grid.duration_seconds for each in loaded(planted, negatives=negatives).negatives)
    )
    card = (tmp_path / "taught" / "README.md").read_text()
    assert f"6 videos of {said['train']['seconds']:.0f} s to train with" in card
    assert f"2 videos of {said['validation']['seconds']:.0f} s held out for the threshold" in card
    assert "18 videos with" in card
    assert "negatives" not in json.loads((tmp_path / "plain" / "eval.json").read_text())


def loaded(planted: tuple[FinetuneData, Path, Path], **options: object) -> HeadData:
    data, features, _ = planted
    negatives = options.get("negatives") or Negatives()
    assert isinstance(negatives, Negatives)
    return load_head_data(data, files_in(features, data, negatives), **options)  # type: ignore[arg-type]


def test_negatives_that_are_held_out_change_the_threshold_alone(
    planted: tuple[FinetuneData, Path, Path], tmp_path: Path
) -> None:
    plain = run(planted, tmp_path / "plain")
    held_out = Negatives((), (*split_of(planted).train, *split_of(planted).validation))
    found = run(planted, tmp_path / "found", negatives=held_out)
    first, second = weights(tmp_path / "plain"), weights(tmp_path / "found")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert found.fitted == plain.fitted
    assert found.metrics.mean_average_precision == plain.metrics.mean_average_precision
    assert found.threshold.threshold > plain.threshold.threshold
    assert found.threshold.f1 < plain.threshold.f1
    grids = [each.grid for each in loaded(planted, negatives=held_out).held_out_negatives]
    assert num_found(tmp_path / "found", grids) < num_found(tmp_path / "plain", grids)


def test_a_pyramid_takes_negatives(planted: tuple[FinetuneData, Path, Path], tmp_path: Path) -> None:
    settings = {"width": 16, "num_levels": 4, "epochs": 8, "batch_size": 4, "evaluate_every_epochs": 8}
    given = {"head": "pyramid", "settings": {**settings, "warmup_epochs": 1, "learning_rate": 5e-3}}
    result = run(planted, tmp_path / "det", negatives=split_of(planted), **given)
    assert result.metrics.average > 0.5
    assert json.loads((tmp_path / "det" / "eval.json").read_text())["negatives"]["train"]["num_videos"] == 6


class StoppedError(Exception):
    pass


def test_a_run_with_negatives_that_was_stopped_ends_as_any_other(
    planted: tuple[FinetuneData, Path, Path], tmp_path: Path
) -> None:
    negatives = split_of(planted)
    run(planted, tmp_path / "whole", negatives=negatives)

    def stop(_: Progress) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        run(planted, tmp_path / "parts", negatives=negatives, listener=HeadListener(on_evaluation=stop))
    there = {file: file.read_bytes() for file in (tmp_path / "parts").iterdir() if file.is_file()}
    fewer = Negatives(negatives.train[1:], negatives.validation)
    swapped = Negatives(negatives.validation, negatives.train)
    for other, said in ((fewer, "1 of 8"), (swapped, "8 of 8"), (None, "8 of 8")):
        with pytest.raises(CheckpointError, match=f"other negatives: {said} are not the same"):
            run(planted, tmp_path / "parts", negatives=other, resume=True)
    with pytest.raises(CheckpointError, match="train was"):
        run(planted, tmp_path / "parts", negatives=negatives, unlabelled="ignore", resume=True)
    assert {file: file.read_bytes() for file in there} == there
    run(planted, tmp_path / "parts", negatives=negatives, resume=True)
    for name in ("eval.json", "splits.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_negatives_that_cannot_be_read_are_counted(planted: tuple[FinetuneData, Path, Path], tmp_path: Path) -> None:
    lost = Negative(Path("/deep/lost.mp4"), "lost.mp4")
    some = Negatives((*split_of(planted).train, lost), split_of(planted).validation)
    found = loaded(planted, negatives=some)
    assert (len(found.negatives), len(found.held_out_negatives)) == (6, 2)
    (said,) = (each for each in found.remarks if "negatives" in each)
    assert said.startswith("1 of 9 negatives cannot be read, and are left out: /deep/lost.mp4: it has no features in")
    with pytest.raises(UsageError, match=r"none of 1 negatives to train with can be read: /deep/lost\.mp4"):
        loaded(planted, negatives=Negatives((lost,), split_of(planted).validation))
    twin = Negatives((Negative(tmp_path / "v3.mp4", "v3.mp4"),))
    with pytest.raises(UsageError, match=r"2 videos would share features: v3, .*v3\.mp4"):
        loaded(planted, negatives=twin)


def test_time_that_has_no_label_is_background_or_not_learnt_from(planted: tuple[FinetuneData, Path, Path]) -> None:
    known, unknown = loaded(planted), loaded(planted, unlabelled="ignore")
    assert any("no time is background" in each for each in unknown.remarks)
    assert not any("no time is background" in each for each in known.remarks)
    rng = np.random.default_rng(0)
    for one, other in zip(known.train, unknown.train, strict=True):
        windows = [window_of(each, most_steps=10_000, rng=rng) for each in (one, other)]
        length = -(-len(windows[0]) // 8) * 8
        plain, masked = (StepObjective(2, exclusive=True).targets(each, length) for each in windows)
        assert torch.equal(plain["classes"], masked["classes"])
        is_labelled = plain["classes"].any(dim=0)
        assert plain["weights"][: len(windows[0])].all()
        assert torch.equal(masked["weights"] > 0, is_labelled)
        by_point = [PointObjective({"": 2}, 4).targets(each, length) for each in windows]
        assert torch.equal(by_point[0][".classes"], by_point[1][".classes"])
        kept = by_point[1]["weights"] > 0
        assert kept[by_point[1][".classes"].any(dim=1)].all()
        # Within a segment a point that is not to find it is to say so.
        within = kept & ~by_point[1][".classes"].any(dim=1)
        assert 0 < within.sum() < (by_point[0]["weights"] > 0).sum() / 2


def test_labels_at_the_same_times_are_segments_of_their_own(
    planted: tuple[FinetuneData, Path, Path], tmp_path: Path
) -> None:
    data, features, _ = planted
    plain = loaded(planted)
    rows = [
        f"{sample.id.partition('@')[0]},{label},{sample.start_seconds},{sample.end_seconds},{split}"
        for split, side in (("train", data.train), ("validation", data.validation))
        for sample in side.samples
        for label in (data.heads[""][sample.labels[""]], "moving")
    ]
    (tmp_path / "both.csv").write_text("\n".join(["video,label,start,end,split", *rows]) + "\n")
    both = load_finetune_data(tmp_path / "both.csv", multi_label=True)
    found = load_head_data(both, files_in(features, both, Negatives()))
    moving = both.heads[""].index("moving")
    for one, two in zip(plain.train, found.train, strict=True):
        assert len(two.spans) == 2 * len(one.spans)
        assert (two.classes[""] == moving).sum() == len(one.spans)
        by_label = two.spans[two.classes[""] == moving], two.spans[two.classes[""] != moving]
        assert np.array_equal(np.sort(by_label[0], axis=0), np.sort(one.spans, axis=0))
        assert np.array_equal(np.sort(by_label[1], axis=0), np.sort(one.spans, axis=0))


def test_a_video_that_cannot_be_read_is_left_out_by_name(planted: tuple[FinetuneData, Path, Path]) -> None:
    data, features, _ = planted
    found = files_in(features, data, Negatives())
    named = located(data)
    files = {f"/films/{video}": file for video, file in found.files.items()}
    lost = {"/films/v2": "the file is damaged", "/films/v3": "it is no video"}
    left = load_head_data(named, FeatureFiles({v: f for v, f in files.items() if v not in lost}, lost))
    assert (len(left.train), len(left.validation)) == (17, 5)
    assert left.samples.left_out == ("/films/v2: the file is damaged", "/films/v3: it is no video")
    said = "2 of 24 videos cannot be read, and are left out: /films/v2: the file is damaged, /films/v3"
    assert any(each.startswith(said) for each in left.remarks)
    torn = {"/films/v2": "line\x1b[2J one\nline two"}
    left = load_head_data(named, FeatureFiles({v: f for v, f in files.items() if v not in torn}, torn))
    assert left.samples.left_out == (r"/films/v2: line\u001b[2J one\u000aline two",)
    # One class less, or nothing to validate with, and the run stops.
    jumps = dict.fromkeys(videos_with(named, 0), "damaged")
    held_out = {str(each.path): "damaged" for each in named.validation.samples}
    for failed, said in ((jumps, "1 of 2 classes have no training|nothing to tell apart"), (held_out, "no validation")):
        with pytest.raises(UsageError, match=said) as error:
            load_head_data(named, FeatureFiles({v: f for v, f in files.items() if v not in failed}, failed))
        assert f"{len(failed)} of 24 videos cannot be read" in error.value.message


def located(data: FinetuneData) -> FinetuneData:
    """The data with videos that have a place."""

    def at(dataset: Dataset) -> Dataset:
        samples = tuple(replace(each, path=Path("/films") / each.video_id) for each in dataset.samples)
        return replace(dataset, samples=samples)

    return replace(data, train=at(data.train), validation=at(data.validation))


def videos_with(data: FinetuneData, index: int) -> set[str]:
    """The training videos that show a class."""
    return {str(each.path) for each in data.train.samples if each.labels[""] == index}
