"""A run that trains a head: its folder, its resumption, and what it refuses."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tadacli.datasets.samples import Dataset
from tadacli.detection.by_head import job_by_head_in_features
from tadacli.detection.feature_file import read_features, write_features
from tadacli.detection.features import FeatureContract
from tadacli.detection.jobs import iter_detections
from tadacli.detection.settings import SegmentSettings
from tadacli.errors import CheckpointError, OutputError, SpecError, TadaError, UsageError
from tadacli.evaluation.detection_metrics import ScoredSegments, TimedLabels
from tadacli.evaluation.segment_f1 import best_threshold, fit_threshold
from tadacli.evaluation.taking import taken_segments
from tadacli.models.ensemble import Ensemble
from tadacli.sampling.snippets import snippet_settings
from tadacli.specs import HeadSpec
from tadacli.training.data import load_finetune_data
from tadacli.training.heads.fitting import Progress
from tadacli.training.heads.publishing import HeadResult
from tadacli.training.heads.session import HeadListener, finetune_head
from tadacli.zoo.checkpoints import write_checkpoint
from tadacli.zoo.loading import is_head, load_head_model, load_model
from tadacli.zoo.manifest import manifest
from tests.training.heads.planted_files import LABELS, PLANTED, SETTINGS, write_planted


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_planted(tmp_path_factory.mktemp("planted"))


def run(data: tuple[Path, Path], output: Path, **options: object) -> HeadResult:
    table, features = data
    given = {"head": "temporal", "features": features, "settings": SETTINGS, **options}
    return finetune_head(load_finetune_data(table), output=output, device="cpu", **given)  # type: ignore[arg-type]


def test_a_run_leaves_a_head_that_knows_what_it_takes(data: tuple[Path, Path], tmp_path: Path) -> None:
    result = run(data, tmp_path / "det", command=["tada", "finetune"])
    assert result.metrics.average > 0.6
    assert result.labels == LABELS
    model = load_head_model(tmp_path / "det", device="cpu")
    assert isinstance(model.spec, HeadSpec)
    assert (model.spec.name, model.spec.heads) == ("temporal.det", {"": LABELS})
    assert (model.spec.steps.num_channels, model.spec.steps.stride_seconds) == (8, 0.5)
    assert model.spec.thresholds[""] == (pytest.approx(result.threshold.threshold, rel=1e-6),) * 2
    assert model.trunk is None
    assert is_head(tmp_path / "det")
    with pytest.raises(SpecError, match="classifies no video"):
        load_model(tmp_path / "det")
    report = json.loads((tmp_path / "det" / "eval.json").read_text())
    assert report["mAP"] == list(result.metrics.mean_average_precision)
    assert (report["num_videos"], report["best_step"]) == (6, result.fitted.best_step)
    card = (tmp_path / "det" / "README.md").read_text()
    assert "18 videos" in card
    assert "jump" in card
    with pytest.raises(OutputError, match="not empty"):
        run(data, tmp_path / "det")


def test_the_threshold_is_fitted_on_what_is_found_in_the_validation_videos(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    table, features = data
    result = run(
        data, tmp_path / "det", settings={**SETTINGS, "epochs": 3, "evaluate_every_epochs": 3, "warmup_epochs": 1}
    )
    with table.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "validation"]
    videos = sorted({row["video"] for row in rows})
    truth = TimedLabels(
        np.array([videos.index(row["video"]) for row in rows]),
        np.array([LABELS.index(row["label"]) for row in rows]),
        *(np.array([float(row[name]) for row in rows]) for name in ("start", "end")),
    )
    model = load_head_model(tmp_path / "det", device="cpu")
    everything = SegmentSettings(threshold=0.0)
    job = job_by_head_in_features(
        features, head=model, segments=everything, videos=[Path(each).stem for each in videos]
    )
    found = [
        (videos.index(f"{Path(each.result.path).stem}.mp4"), one.index, one.start_seconds, one.end_seconds, one.score)
        for each in iter_detections(job)
        for one in each.result.segments
    ]
    detections = ScoredSegments(*(np.array(column) for column in zip(*found, strict=True)))
    fitted = fit_threshold(truth, detections)
    assert result.threshold.threshold == pytest.approx(fitted.threshold)
    assert result.threshold.f1 == pytest.approx(fitted.f1)
    assert best_threshold(truth, detections).threshold != pytest.approx(fitted.threshold)


def test_several_heads_are_kept_as_one(data: tuple[Path, Path], tmp_path: Path) -> None:
    _, features = data
    result = run(data, tmp_path / "det", settings={**SETTINGS, "members": 2})
    assert result.metrics.average > 0.6
    model = load_head_model(tmp_path / "det", device="cpu")
    assert model.spec.arguments["members"] == 2
    assert isinstance(model.network, Ensemble)
    assert "2 heads" in (tmp_path / "det" / "README.md").read_text()
    job = job_by_head_in_features(features, head=model, segments=SegmentSettings(threshold=0.3))
    assert any(found.result.segments for found in iter_detections(job))
    # Nobody else's file has this kind of network with a number of members that it cannot have.
    for wrong in (0, 17, True, "2"):
        spec = replace(model.spec, arguments={**model.spec.arguments, "members": wrong})
        write_checkpoint(tmp_path / "wrong.safetensors", model.network.state_dict(), spec)
        with pytest.raises(TadaError, match="1 to 16 members"):
            load_head_model(tmp_path / "wrong.safetensors", device="cpu")


class StoppedError(Exception):
    pass


def test_a_run_that_was_stopped_ends_as_any_other(data: tuple[Path, Path], tmp_path: Path) -> None:
    run(data, tmp_path / "whole")

    def stop(_: Progress) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        run(data, tmp_path / "parts", listener=HeadListener(on_evaluation=stop))
    run(data, tmp_path / "parts", resume=True)
    for name in ("eval.json", "splits.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    whole, parts = (load_head_model(tmp_path / name, device="cpu").network.state_dict() for name in ("whole", "parts"))
    assert all(bool((whole[name] == parts[name]).all()) for name in whole)


def test_a_run_does_not_go_on_with_other_names_of_classes(data: tuple[Path, Path], tmp_path: Path) -> None:
    table, features = data
    run(data, tmp_path / "det")
    head = (tmp_path / "det" / "model.safetensors").read_bytes()
    (tmp_path / "renamed.csv").write_text(table.read_text().replace(LABELS[-1], "z" + LABELS[-1]))
    with pytest.raises(CheckpointError, match="labels"):
        run((tmp_path / "renamed.csv", features), tmp_path / "det", resume=True)
    assert (tmp_path / "det" / "model.safetensors").read_bytes() == head


def test_settings_that_cannot_be_are_refused_before_features_are_made(data: tuple[Path, Path], tmp_path: Path) -> None:
    made_by = {"features": snippet_settings(), "trunk": None}
    for settings, message in (
        ({"depth": 3}, "unknown key depth"),
        ({"epochs": 2}, "warmup_epochs is 5, expected less"),
    ):
        with pytest.raises(TadaError, match=message):
            run(data, tmp_path / "det", settings=settings, **made_by)
    assert not (tmp_path / "det").exists()


def refused(data: tuple[Path, Path], output: Path, **options: object) -> str:
    with pytest.raises(UsageError) as error:
        run(data, output, **options)
    assert not output.exists()
    return error.value.message


def test_what_cannot_be_is_said_before_anything_is_written(data: tuple[Path, Path], tmp_path: Path) -> None:
    table, _ = data
    again, features = write_planted(tmp_path / "again")
    (features / "v5.npz").unlink()
    assert "1 of 24 videos have no features" in refused((again, features), tmp_path / "det")
    made = read_features(features / "v4.npz")
    slow = type(made)(made.path, made.values, made.spans, made.centres * 2, 1.0, made.duration_seconds * 2, (), None)
    write_features(features / "v5.npz", slow)
    assert "v5" in refused((table, features), tmp_path / "det")
    assert "no folder of features" in refused((table, tmp_path / "none"), tmp_path / "det")
    lines = table.read_text().replace("v3.mp4", "v2.mp4")
    (tmp_path / "leak.csv").write_text(lines)
    assert "to train and to validate with" in refused((tmp_path / "leak.csv", data[1]), tmp_path / "det")


def test_features_with_and_without_cuts_train_no_head_together(tmp_path: Path) -> None:
    table, features = write_planted(tmp_path)
    spec = manifest()["r2plus1d_tiny.camera_motion"]
    contract = FeatureContract(spec, "0" * 64, "1", 30.0, 1.0, 0.5, 0.5, 1, {})
    made = [replace(read_features(file), contract=contract, cuts=()) for file in features.iterdir()]
    for name in ("within", "mixed"):
        (tmp_path / name).mkdir()
    for each in made:
        write_features(tmp_path / "within" / f"{Path(each.path).stem}.npz", each)
        mixed = each if each.path == "v5.mp4" else replace(each, cuts=None)
        write_features(tmp_path / "mixed" / f"{Path(each.path).stem}.npz", mixed)
    said = refused((table, tmp_path / "mixed"), tmp_path / "det")
    assert said == "the snippets of v0 reach across cuts, and those of v5 keep to their shots"
    run((table, tmp_path / "within"), tmp_path / "det", settings={**SETTINGS, "epochs": 6})
    assert load_head_model(tmp_path / "det", device="cpu").spec.steps.within_shots is True


def test_a_boundary_matching_network_is_trained_to_a_head_like_the_others(tmp_path: Path) -> None:
    few = replace(PLANTED, num_videos=8, steps=(60, 90), lengths=(4, 14), strength=8.0)
    data = write_planted(tmp_path, planted=few)
    settings = {"num_bins": 16, "max_duration_bins": 6, "epochs": 2, "batch_size": 8, "learning_rate": 4e-3}
    remarks: list[str] = []
    listener = HeadListener(on_plan=lambda found, _: remarks.extend(found.remarks))
    result = run(data, tmp_path / "det", head="bmn", settings=settings, listener=listener)
    model = load_head_model(tmp_path / "det", device="cpu")
    assert (model.spec.name, model.spec.architecture) == ("bmn.det", "bmn_head")
    assert model.spec.arguments == {"in_channels": 8, "num_bins": 16, "max_duration_bins": 6}
    assert "A bmn head that finds segments of 2 classes" in (tmp_path / "det" / "README.md").read_text()
    assert any("segments last longer than 6 s" in remark for remark in remarks)
    job = job_by_head_in_features(data[1], head=model, segments=SegmentSettings(threshold=0.0), videos=["v3", "v7"])
    for found in iter_detections(job):
        assert found.result.status == "ok"
        assert found.result.segments
        assert max(each.end_seconds - each.start_seconds for each in found.result.segments) <= 6.0 + 1e-6
    assert 0 < result.metrics.average <= 1


def test_verbs_and_nouns_have_the_threshold_that_is_fitted_for_their_actions(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    table, features = data
    one = load_finetune_data(table)
    heads = {"verb": ("jump", "run"), "noun": ("box",)}

    def named(dataset: Dataset) -> Dataset:
        labels = [{"verb": each.labels[""], "noun": 0} for each in dataset.samples]
        pairs = zip(dataset.samples, labels, strict=True)
        return replace(dataset, heads=heads, samples=tuple(replace(each, labels=both) for each, both in pairs))

    two = replace(one, heads=heads, train=named(one.train), validation=named(one.validation))
    settings = {"epochs": 3, "batch_size": 2, "warmup_epochs": 1, "learning_rate": 1e-2, "width": 16, "num_levels": 4}
    result = finetune_head(
        two, output=tmp_path / "det", features=features, head="pyramid", settings=settings, device="cpu"
    )
    assert result.threshold.f1 > 0.05
    model = load_head_model(tmp_path / "det", device="cpu")
    level = pytest.approx(result.threshold.threshold, rel=1e-6)
    assert model.spec.thresholds == {"verb": (level, level), "noun": (level,)}
    # What is reported then is what the F1 was measured with: all that reaches the one threshold.
    validation = [name.stem for name in features.glob("v*.npz") if int(name.stem[1:]) % 4 == 3]
    auto, number = (
        [
            found.result.segments
            for found in iter_detections(
                job_by_head_in_features(
                    features, head=model, segments=SegmentSettings(threshold=threshold), videos=validation
                )
            )
        ]
        for threshold in ("auto", float(np.float32(result.threshold.threshold)))
    )
    assert auto == number
    assert sum(map(len, auto)) > 6


def test_the_threshold_with_the_best_f1() -> None:
    def columns(rows: list[tuple[int, int, float, float]]) -> tuple[np.ndarray, ...]:
        videos, classes, starts, ends = zip(*rows, strict=True)
        return np.array(videos), np.array(classes), np.array(starts), np.array(ends)

    truth = TimedLabels(*columns([(0, 0, 0.0, 10.0), (0, 0, 20.0, 30.0), (1, 1, 5.0, 9.0)]))
    found = columns([(0, 0, 1.0, 10.0), (0, 0, 0.0, 9.0), (0, 0, 20.0, 24.0), (1, 0, 5.0, 9.0), (1, 1, 5.0, 9.0)])
    detections = ScoredSegments(*found, np.array([0.9, 0.8, 0.7, 0.6, 0.5]))
    assert taken_segments(truth, detections, tiou=0.3).tolist() == [0, -1, 1, -1, 2]
    assert taken_segments(truth, detections, tiou=0.5).tolist() == [0, -1, -1, -1, 2]
    best = best_threshold(truth, detections, tiou=0.3)
    assert (best.threshold, best.f1) == (0.5, pytest.approx(2 * 3 / (5 + 3)))
    none = ScoredSegments(*columns([(0, 1, 0.0, 1.0)]), np.array([0.4]))
    assert best_threshold(truth, none).f1 == 0
