"""Actions in the published folders of features: equal to the published pipeline, or a named error."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tadacli.detection.clip_folders import LENGTHS_FILE, Clip
from tadacli.detection.feature_file import write_features
from tadacli.detection.features import FeatureContract, VideoFeatures
from tadacli.detection.from_features import detect_in_features
from tadacli.errors import UsageError
from tadacli.models import build_over_features
from tadacli.results import Detection
from tadacli.specs import ProposalSpec, label_list
from tadacli.zoo.loading import ProposalModel
from tadacli.zoo.manifest import cards, manifest
from tests.detection.published_pipeline import transcription

NUM_CHANNELS = 8
# The end of each video in milliseconds: of the second one the last piece is too short for a file.
VIDEOS = {"P01_11": 9_870, "P01_12": 10_150, "P02_01": 5_700}
SIZES = {"in_channels": NUM_CHANNELS, "num_bins": 16, "max_duration_bins": 8}


def model() -> ProposalModel:
    """A small network in float64 whose probabilities differ enough to choose by."""
    torch.manual_seed(3)
    network = build_over_features("bmn", **SIZES).double().eval()
    for parameter in network.parameters():
        parameter.data.mul_(2.5 if parameter.dim() > 1 else 1)
    known = cards()["bmn.ek100_tada2d"].spec
    assert isinstance(known, ProposalSpec)
    features = replace(known.features, num_channels=NUM_CHANNELS, num_bins=16)
    spec = replace(known, name="bmn.small", arguments=SIZES, features=features)
    return ProposalModel(spec, network, torch.device("cpu"), torch.float64, Path("none"), "0" * 64)


def clips(end_ms: int) -> list[Clip]:
    """The pieces of a video that have files."""
    starts = [start for start in range(0, end_ms, 5000) if end_ms - start >= 200]
    return [Clip(start, min(start + 5000, end_ms)) for start in starts]


def write(path: Path, value: object) -> None:
    """Class scores as plain pickles, features as torch.save writes them: both kinds circulate."""
    if path.parent.name == "features":
        torch.save(value, path)
    else:
        path.write_bytes(pickle.dumps(value))


@dataclass
class Made:
    """The folders, and what was written of each video: features (N, C) and logits (N, 3, K) by head."""

    features: Path
    scores: Path
    values: dict[str, torch.Tensor]
    logits: dict[str, dict[str, torch.Tensor]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    folders = Made(tmp_path / "features", tmp_path / "scores", {}, {})
    draw = np.random.default_rng(0)
    for folder in (folders.features, folders.scores):
        folder.mkdir()
        lines = [f"{video}.MP4,{end_ms / 1000}\n" for video, end_ms in VIDEOS.items()]
        (folder / LENGTHS_FILE).write_text("".join(lines))
    for video, end_ms in VIDEOS.items():
        values, verbs, nouns = [], [], []
        for clip in clips(end_ms):
            values.append(draw.standard_normal((clip.num_rows, NUM_CHANNELS)) * 3)
            verbs.append(draw.standard_normal((clip.num_rows, 3 * 97)))
            nouns.append(draw.standard_normal((clip.num_rows, 3 * 300)))
            write(folders.features / clip.file_name(video), values[-1])
            write(folders.scores / clip.file_name(video), {"verb_class": verbs[-1], "noun_class": nouns[-1]})
        folders.values[video] = torch.from_numpy(np.concatenate(values))
        folders.logits[video] = {
            "verb": torch.from_numpy(np.concatenate(verbs)).unflatten(1, (3, 97)),
            "noun": torch.from_numpy(np.concatenate(nouns)).unflatten(1, (3, 300)),
        }
    return folders


def test_files_have_37_and_38_rows_in_turn() -> None:
    assert [clip.num_rows for clip in clips(25_000)] == [37, 38, 37, 38, 37]
    assert Clip(5_000, 10_000).file_name("P01_13") == "P01_13_0005000_0010000.pkl"
    assert (Clip(0, 116).num_rows, Clip(0, 117).num_rows) == (0, 1)  # the first centre is 7 / 60 s


def test_every_detection_is_that_of_the_published_pipeline(made: Made) -> None:
    searched = model()
    results = detect_in_features(made.features, model=searched, class_scores=made.scores)
    assert [(each.path, each.status) for each in results] == [(video, "ok") for video in VIDEOS]
    verbs, nouns = label_list("ek100_verbs"), label_list("ek100_nouns")
    for result in results:
        seconds = VIDEOS[result.path] / 1000
        expected = transcription(searched.network, made.values[result.path], made.logits[result.path], seconds)
        assert len(result.segments) == len(expected) > 20
        assert result.timeline == (0, seconds)
        for segment, (score, verb, noun, start, end) in zip(result.segments, expected, strict=True):
            assert segment.action == f"{verb},{noun}"
            assert segment.label == f"{verbs[verb]} {nouns[noun]}"
            found = (segment.score, segment.start_seconds, segment.end_seconds)
            assert found == pytest.approx((score, start, end), rel=1e-9)


def test_without_class_scores_there_are_proposals(made: Made) -> None:
    (named,) = detect_in_features(made.features, model=model(), class_scores=made.scores, videos=["P01_12"])
    (bare,) = detect_in_features(made.features, model=model(), videos=["P01_12"])
    assert {segment.label for segment in bare.segments} == {"action"}
    spans = [(each.start_seconds, each.end_seconds) for each in named.segments[::5]]
    assert [(each.start_seconds, each.end_seconds) for each in bare.segments] == spans
    assert any("no class is known" in note.text for note in bare.notes)


def test_folders_are_joined_along_the_channels_in_their_order(made: Made, tmp_path: Path) -> None:
    parts = [tmp_path / "left", tmp_path / "right"]
    for number, part in enumerate(parts):
        part.mkdir()
        (part / LENGTHS_FILE).write_bytes((made.features / LENGTHS_FILE).read_bytes())
        for video, end_ms in VIDEOS.items():
            first = 0
            for clip in clips(end_ms):
                rows = made.values[video][first : first + clip.num_rows, 4 * number : 4 * number + 4]
                torch.save(rows.float(), part / clip.file_name(video))  # a tensor, of another type
                first += clip.num_rows
    whole, joined, turned = (
        [each.segments[0].score for each in detect_in_features(folders, model=model())]
        for folders in (made.features, parts, parts[::-1])
    )
    assert joined == pytest.approx(whole, rel=1e-4)
    assert turned != pytest.approx(whole, rel=1e-4)


def test_the_row_too_many_of_a_last_file_is_left_out_as_published(made: Made) -> None:
    before = detect_in_features(made.features, model=model())
    last = clips(VIDEOS["P01_11"])[-1]
    rows = made.values["P01_11"][-last.num_rows :].numpy()
    write(made.features / last.file_name("P01_11"), np.concatenate([rows, rows[:1]]))
    after = detect_in_features(made.features, model=model())
    assert [each.segments for each in after] == [each.segments for each in before]


def test_the_length_is_that_of_the_list_else_the_end_of_the_last_file(made: Made) -> None:
    (made.features / LENGTHS_FILE).unlink()
    results = detect_in_features(made.features, model=model())
    assert [each.timeline for each in results] == [(0, 9.87), (0, 10.0), (0, 5.7)]
    assert all(any(LENGTHS_FILE in note.text for note in each.notes) for each in results)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.path),)


FIRST, SECOND = "P01_11_0000000_0005000.pkl", "P01_11_0005000_0009870.pkl"


def change(folder: Path, name: str, value: object) -> None:
    torch.save(value, folder / name)


FAULTS: list[tuple[Callable[[Made], object], str]] = [
    (lambda made: (made.features / FIRST).unlink(), "lacks the time from 0 to 5000 ms"),
    (lambda made: (made.features / SECOND).unlink(), "end at 5000 ms, and epic_videos_len.txt says that it lasts 9870"),
    (lambda made: (made.scores / SECOND).unlink(), f"1 of 2 files of it are not in .*scores: {SECOND}"),
    (lambda made: change(made.features, FIRST, np.zeros((38, 8))), f"{FIRST} has 38 rows, and 37 snippets"),
    (lambda made: change(made.features, SECOND, np.zeros((5, 8))), f"{SECOND} has 5 rows, and 37 snippets"),
    (lambda made: change(made.features, FIRST, np.zeros((37, 6))), "has 6 channels, and the model takes 8"),
    (lambda made: change(made.features, FIRST, np.full((37, 8), np.nan)), f"{FIRST} holds values that are not finite"),
    (lambda made: change(made.features, FIRST, np.full((37, 8), 1e308)), "network makes of the features is not finite"),
    (lambda made: change(made.features, FIRST, np.zeros((37, 8), int)), f"{FIRST} holds no array"),
    (lambda made: change(made.features, FIRST, {"a": np.zeros((37, 8))}), f"{FIRST} holds no array"),
    (lambda made: change(made.scores, FIRST, np.zeros((37, 291))), f"{FIRST} holds no verb_class"),
    (
        lambda made: change(made.scores, FIRST, {"verb_class": np.zeros((37, 97))}),
        "97 values of verb_class, not 3 crops",
    ),
    (lambda made: (made.features / FIRST).write_bytes(b"no pickle"), f"{FIRST} is damaged"),
    (lambda made: (made.features / FIRST).write_bytes(pickle.dumps(Trap(made.features / "run"))), "it names .*mkdir"),
    (lambda made: change(made.features, FIRST, Trap(made.features / "run")), "it names .*mkdir"),
    (lambda made: os.truncate(made.features / FIRST, 1 << 27), f"{FIRST} is damaged.* larger than 64 MiB"),
    (lambda made: change(made.features, FIRST, torch.zeros(1).expand(37, 8)), "the same numbers more than once"),
    (
        lambda made: change(made.features, "P01_11_0002000_0003000.pkl", np.zeros((37, 8))),
        "has twice the time from 2000 to 5000 ms",
    ),
]


@pytest.mark.parametrize(("spoil", "reason"), FAULTS)
def test_what_is_wrong_with_one_video_is_said_and_stops_no_other(
    made: Made, spoil: Callable[[Made], object], reason: str
) -> None:
    spoil(made)
    searched = detect_in_features(made.features, model=model(), class_scores=made.scores)
    results = {each.path: each for each in searched}
    failed: Detection = results.pop("P01_11")
    assert (failed.status, failed.segments) == ("error", ())
    assert re.search(reason, failed.error), failed.error
    assert {each.status for each in results.values()} == {"ok"}
    assert not (made.features / "run").exists()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda made: change(made.features, "features.pkl", np.zeros(1)), "holds features.pkl, which is not named"),
        (lambda made: [each.unlink() for each in made.features.glob("*.pkl")], "holds no feature files"),
        (lambda made: (made.features / LENGTHS_FILE).write_text("P01_11.MP4\n"), f"{LENGTHS_FILE} is damaged"),
        (lambda made: (made.features / LENGTHS_FILE).write_text("P01_11.MP4,-1\n"), "P01_11 is no positive number"),
        (lambda made: made.features.rename(made.features.with_name("gone")), "cannot be read"),
    ],
)
def test_a_folder_of_another_kind_is_refused_before_any_work(
    made: Made, spoil: Callable[[Made], object], reason: str
) -> None:
    spoil(made)
    with pytest.raises(UsageError, match=reason):
        detect_in_features(made.features, model=model())
    with pytest.raises(UsageError, match="has no features of P09_09"):
        detect_in_features(made.scores, model=model(), videos=["P09_09"])


# --- files of our own ---------------------------------------------------------------------------------


def own_file(folder: Path, *, heads: dict[str, int], stride: float = 8 / 60, missing: int | None = None) -> None:
    """Features of 60 snippets of a video from 2.4 to 10.1 s, the first of them at 2.5 s, with scores of these heads."""
    draw = np.random.default_rng(1)
    kept = np.array([number for number in range(60) if number != missing])
    values = (draw.standard_normal((60, NUM_CHANNELS)) * 3).astype(np.float32)
    logits = {head: draw.standard_normal((60, count)) for head, count in heads.items()}
    scores = {head: softmax(each).astype(np.float32)[kept] for head, each in logits.items()}
    centres = 2.5 + 7 / 60 + kept * stride
    spans = np.stack([centres - 7 / 60, centres + 7 / 60], axis=1)
    labels = {head: tuple(f"{head} {number}" for number in range(count)) for head, count in heads.items()}
    spec = replace(manifest()["r2plus1d_tiny.camera_motion"], heads=labels, thresholds={})
    contract = FeatureContract(spec, "0" * 64, "1", 60.0, 14 / 60, stride, 7 / 60, 1, {})
    found = VideoFeatures(
        path="films/kitchen.mp4",
        values=values[kept],
        spans=spans,
        centres=centres,
        stride_seconds=stride,
        start_seconds=2.4,
        duration_seconds=10.1,
        gaps=(),
        contract=contract if heads else None,
        scores=scores,
    )
    folder.mkdir(exist_ok=True)
    write_features(folder / "kitchen.npz", found)
    (folder.parent / "expected.pkl").write_bytes(pickle.dumps((values, logits)))


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits)
    return raised / raised.sum(1, keepdims=True)


def test_files_of_our_own_give_what_the_published_pipeline_gives(tmp_path: Path) -> None:
    searched = model()
    own_file(tmp_path / "own", heads={"verb": 11, "noun": 33})
    (result,) = detect_in_features(tmp_path / "own", model=searched)
    values, logits = pickle.loads((tmp_path / "expected.pkl").read_bytes())
    expected = transcription(
        searched.network,
        torch.from_numpy(values).double(),
        {head: torch.from_numpy(each)[:, None].expand(-1, 3, -1) for head, each in logits.items()},
        60 * 8 / 60,
    )
    assert (result.path, result.status, result.timeline) == ("kitchen", "ok", (2.4, 10.1))
    found = [(each.score, each.action, each.start_seconds, each.end_seconds) for each in result.segments]
    assert len(found) == len(expected) > 20
    for one, (score, verb, noun, start, end) in zip(found, expected, strict=True):
        assert one[1] == f"{verb},{noun}"
        assert (one[0], *one[2:]) == pytest.approx((score, 2.5 + start, min(2.5 + end, 10.1)), rel=1e-5)


def test_one_head_gives_its_best_classes(tmp_path: Path) -> None:
    own_file(tmp_path / "own", heads={"": 9})
    (result,) = detect_in_features(tmp_path / "own", model=model())
    own_file(tmp_path / "own2", heads={})
    (bare,) = detect_in_features(tmp_path / "own2", model=model())
    assert len(result.segments) == 5 * len(bare.segments) > 20
    assert len({each.label for each in result.segments[:5]}) == 5
    scores = [each.score for each in result.segments[:5]]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) < bare.segments[0].score


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stride": 0.5}, "are 0.5 s apart, and the model takes 0.1333 s; make them with --stride 0.1333s"),
        ({"missing": 30}, "of films/kitchen.mp4 some features are missing"),
    ],
)
def test_own_features_that_do_not_suit_the_model_are_refused(tmp_path: Path, changes: dict, reason: str) -> None:
    own_file(tmp_path / "own", heads={"": 9}, **changes)
    (result,) = detect_in_features(tmp_path / "own", model=model())
    assert (result.status, reason in result.error) == ("error", True), result.error
