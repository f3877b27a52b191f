"""What is found where nothing is: false segments an hour on footage without any of the classes.

    python -m benchmarks.nothing --work FOLDER [--epochs 20] [--seeds 3] [--ways temporal pyramid windows] [--quick]

The classes are those of `untrimmed_actions`, the trunk is that of the first fold of `benchmarks.real_actions`, whose
`--work` folder is used: trained on twelve videos, validated on the published three. Footage without these classes are
21 films of `shared/media` that were looked at: logos, test patterns, an airplane, animals, hands with cups, blocks and
a can, people who stand and sign or juggle. No film is there twice. They are dealt into halves A and B; what learns
with A as negatives is measured on B, and the other way round, so that the test is all of them. Rendered landscapes that
a camera moves over are measured apart; nothing learns from those.

Each way reports at the threshold that has the best F1 of segments (temporal IoU 0.3) on the validation videos, and
heads at the one that is fitted there for `--threshold auto`, too.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import tadacli
from benchmarks.conditions import conditions
from benchmarks.detection_on_actions import SHARED
from benchmarks.real_actions import (
    CLIP,
    HEADS,
    LEVELS,
    NO_TIME,
    STRIDE,
    Sequences,
    Truth,
    columns,
    f1_of,
    joined,
    of_videos,
    read_rows,
    sequences_of,
    spans_of,
    truth_of,
)
from benchmarks.segment_thresholds import segments_in
from tadacli.camera_motion.virtual_camera import CAMERA_MOTIONS, render_sample
from tadacli.detection.extraction import feature_job, iter_features
from tadacli.detection.feature_grid import features_grid
from tadacli.detection.head_decoding import ScoredSpans, find_spans
from tadacli.detection.scored_windows import WindowScores
from tadacli.detection.settings import SegmentSettings
from tadacli.detection.window_scores import score_windows
from tadacli.evaluation.detection_metrics import EPIC_TIOU, ScoredSegments, TimedLabels, average_precision
from tadacli.evaluation.segment_f1 import SegmentThreshold, best_threshold, fit_threshold
from tadacli.sampling.settings import window_settings
from tadacli.sampling.snippets import snippet_settings
from tadacli.training import HeadKind
from tadacli.training.heads.fitting import build_head, fit_head
from tadacli.training.heads.sequences import LabelledSequence
from tadacli.training.heads.settings import head_settings
from tadacli.zoo.loading import Model

MEDIA = SHARED / "media"
FILMS = (
    "decoder/PHP-FFMpeg+PHP-FFMpeg__sample.3gp",
    "decoder/Zulko+moviepy__smpte-2997.mp4",
    "decoder/Zulko+moviepy__transparent.webm",
    "decoder/Zulko+moviepy__video_with_failing_audio.mp4",
    "decoder/androidx+media__bbb_800x640_768kbps_30fps_avc_pyramid_3b.mp4",
    "decoder/androidx+media__midroll-5s.mp4",
    "decoder/androidx+media__sample-with-key-frame-index.flv",
    "decoder/androidx+media__sample_sef_super_slow_motion.mp4",
    "decoder/meta-pytorch+torchcodec__av1_video.mkv",
    "decoder/rails+rails__video_without_audio_stream.mp4",
    "people/OpenGVLab+Ask-Anything__hitting_baseball.mp4",
    "people/OpenGVLab+Ask-Anything__playing_guitar.mp4",
    "people/facebookresearch+sam2__02_cups.mp4",
    "people/facebookresearch+sam2__03_blocks.mp4",
    "people/facebookresearch+sam2__04_coffee.mp4",
    "people/facebookresearch+sam2__05_default_juggle.mp4",
    "people/intel-iot-devkit+sample-videos__again.mkv",
    "people/intel-iot-devkit+sample-videos__please.mkv",
    "people/intel-iot-devkit+sample-videos__sorry.mkv",
    "people/microsoft+VLM-Video-Action-Localization__sample.mp4",
    "people/open-mmlab+mmaction2__S001C001P001R001A001_rgb.avi",
)
HALVES = {"A": FILMS[0::2], "B": FILMS[1::2]}
RENDERED_SECONDS, NUM_RENDERED = 20.0, 9
WINDOWS = "windows"
RULES = {"best F1": best_threshold, "as fitted for `auto`": fit_threshold}


@dataclass(frozen=True, eq=False)
class Measured:
    """What one training finds: mAP on the validation videos, false segments on films by name, and for how long."""

    precision: float
    threshold: float
    false: Mapping[str, int]
    seconds: Mapping[str, float]


def measured(
    truth: Truth,
    found: ScoredSegments,
    elsewhere: Mapping[str, tuple[ScoredSpans, float]],
    rule: Callable[[TimedLabels, ScoredSegments], SegmentThreshold],
) -> Measured:
    """What is found in the validation videos, and above the threshold for them by a rule `elsewhere`, by name."""
    threshold = rule(truth.columns, found).threshold
    return Measured(
        100 * average_precision(truth.columns, found, tiou=EPIC_TIOU).average,
        threshold,
        {name: int(np.count_nonzero(spans.scores >= threshold)) for name, (spans, _) in elsewhere.items()},
        {name: seconds for name, (_, seconds) in elsewhere.items()},
    )


# --- heads -------------------------------------------------------------------------------------------


def unlabelled_sequences(model: Model, paths: Mapping[str, Path]) -> dict[str, LabelledSequence]:
    """The features of films in which nothing happens, by name."""
    job = feature_job([str(path) for path in paths.values()], model=model, snippets=snippet_settings(stride=STRIDE))
    found = {}
    for name, made in zip(paths, iter_features(job), strict=True):
        if made.features is None:
            raise SystemExit(f"{made.path}: {made.error}")
        grid = features_grid(made.features, where=name)
        found[name] = LabelledSequence(name, grid, NO_TIME, {"": np.empty(0, dtype=np.int64)}, NO_TIME)
    return found


def by_head(
    kind: HeadKind,
    seed: int,
    train: Sequence[LabelledSequence],
    test: Sequences,
    films: Mapping[str, LabelledSequence],
    truth: Truth,
    *,
    quick: bool,
) -> dict[str, Measured]:
    """What a head finds, by rule of the threshold, that was trained on sequences, negatives among them or not."""
    # As many epochs with negatives as without, as `tada finetune` has them: the others are seen as often as before.
    epochs = 6 if quick else head_settings(kind).epochs
    settings = head_settings(kind, {"seed": seed, "epochs": epochs, "evaluate_every_epochs": epochs})
    head = build_head(settings, in_channels=train[0].grid.values.shape[1], num_classes={"": len(truth.labels)})
    last: dict[str, torch.Tensor] = {}

    def keep(network: torch.nn.Module) -> None:
        last.update({name: tensor.clone() for name, tensor in network.state_dict().items()})

    fit_head(head, train, list(test.values()), settings, keep=keep)
    head.load_state_dict(last)
    head.eval()
    found = joined([columns(code, find_spans(head, each.grid)) for code, each in test.items()])
    elsewhere = {name: (find_spans(head, each.grid), each.grid.duration_seconds) for name, each in films.items()}
    return {name: measured(truth, found, elsewhere, rule) for name, rule in RULES.items()}


# --- windows -----------------------------------------------------------------------------------------


def with_negatives(half: str, folder: Path, work: Path, epochs: str) -> Model:
    """The trunk of the first fold, trained with a folder of negatives as a class of its own."""
    run = work / f"trunk-0-negatives-{half}"
    if not (run / "README.md").is_file():
        told = ["--data", str(work / "fold-0.csv"), "--data-root", str(work / "videos"), "--views", "1x1"]
        told += ["--labels", str(work / "labels.txt"), "--negatives", str(folder), "--validation-share", "0.1"]
        told += ["--model", "r2plus1d_tiny.camera_motion", *CLIP, "--epochs", epochs, "--seed", "0", "--quiet"]
        told += ["--set", f"evaluate_every_epochs={epochs}", "--output", str(run), "--resume"]
        subprocess.run([sys.executable, "-m", "tadacli", "finetune", *told], check=True)
    return tadacli.load_model(run, device="cpu")


def by_windows(model: Model, test: Mapping[int, Path], films: Mapping[str, Path], truth: Truth) -> Measured:
    """What the window path finds, at the best of the levels: of each the segments are made anew."""
    scored = {code: score_windows(path, model=model, settings=window_settings()) for code, path in test.items()}
    elsewhere = {name: score_windows(path, model=model, settings=window_settings()) for name, path in films.items()}
    best: tuple[float, float] = (-1.0, LEVELS[0])
    for level in LEVELS:
        found = joined([columns(code, spans_at(each, level)) for code, each in scored.items()])
        best = max(best, (f1_of(truth.columns, found), level))
    level = best[1]
    found = joined([columns(code, spans_at(each, level)) for code, each in scored.items()])
    return Measured(
        100 * average_precision(truth.columns, found, tiou=EPIC_TIOU).average,
        level,
        {name: len(spans_at(each, level)) for name, each in elsewhere.items()},
        {name: each.range_seconds[1] - each.range_seconds[0] for name, each in elsewhere.items()},
    )


def spans_at(scores: WindowScores, level: float) -> ScoredSpans:
    """The segments of a video at a threshold."""
    return spans_of(segments_in(scores, SegmentSettings(threshold=level)))


# --- what comes out ----------------------------------------------------------------------------------


def an_hour(results: Sequence[Measured], names: Sequence[Sequence[str]]) -> float:
    """False segments an hour on films: of each result on those of its `names`, all together."""
    false = sum(each.false[name] for each, own in zip(results, names, strict=True) for name in own)
    seconds = sum(each.seconds[name] for each, own in zip(results, names, strict=True) for name in own)
    return 3600 * false / seconds


def row(
    title: str, without: Sequence[Measured], halves: Sequence[tuple[Measured, Measured]], rendered: list[str]
) -> str:
    """A row of the table: each of `halves` is of a training with A and one with B, tested on the other."""

    def mean(values: Sequence[float]) -> str:
        return f"{np.mean(values):.0f}" + (f" ({min(values):.0f} to {max(values):.0f})" if len(values) > 1 else "")

    both = [each for pair in halves for each in pair]
    cells = [
        title,
        mean([an_hour([each], [FILMS]) for each in without]),
        mean([an_hour(pair, [HALVES["B"], HALVES["A"]]) for pair in halves]),
        mean([an_hour([each], [rendered]) for each in without]),
        mean([an_hour([each], [rendered]) for each in both]),
        f"{np.mean([each.precision for each in without]):.1f}",
        f"{np.mean([each.precision for each in both]):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Train, find, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="the folder of benchmarks.real_actions")
    parser.add_argument("--epochs", default="20", help="of the trunks that learn with negatives")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="*", choices=[*HEADS, WINDOWS], default=[*HEADS, WINDOWS])
    parser.add_argument("--quick", action="store_true", help="a smoke run; its numbers mean nothing")
    options = parser.parse_args()
    work: Path = options.work
    rows = read_rows()
    truth = truth_of(rows)
    test = [code for code, fold in enumerate(truth.folds) if fold == 0]
    validation = Truth(of_videos(truth.columns, test), truth.videos, truth.labels, truth.folds)
    paths = {code: work / "videos" / video for code, video in enumerate(truth.videos)}
    films = {name: MEDIA / name for name in FILMS} | _rendered(work)
    rendered = [name for name in films if name not in FILMS]
    model = tadacli.load_model(work / "trunk-0", device="cpu")
    sequences = sequences_of(model, work / "features-0", paths, rows, truth)
    nothing = unlabelled_sequences(model, films)
    train = [each for code, each in sequences.items() if code not in test]
    held_out = {code: sequences[code] for code in test}
    print(conditions("torch") + "\n")
    print(
        "| false segments an hour | films, without negatives | with | rendered, without | with | mAP, without | with |"
    )
    print("| --- " * 7 + "|")
    for kind in [kind for kind in HEADS if kind in options.ways]:
        results: list[list[dict[str, Measured]]] = []
        for half in (None, "A", "B"):
            learnt = [*train, *(nothing[name] for name in (HALVES[half] if half else ()))]
            results.append(
                [
                    by_head(kind, seed, learnt, held_out, nothing, validation, quick=options.quick)
                    for seed in range(options.seeds)
                ]
            )
        for rule in RULES:
            none, a, b = ([each[rule] for each in of_seeds] for of_seeds in results)
            print(row(f"{kind} head, {rule}", none, list(zip(a, b, strict=True)), rendered), flush=True)
    if WINDOWS not in options.ways:
        return
    tested = {code: paths[code] for code in test}
    without = by_windows(model, tested, films, validation)
    pair = []
    for half, names in HALVES.items():
        folder = work / f"negatives-{half}"
        folder.mkdir(exist_ok=True)
        for name in names:
            link = folder / Path(name).name
            link.unlink(missing_ok=True)
            link.symlink_to(MEDIA / name)
        trained = with_negatives(half, folder, work, "1" if options.quick else options.epochs)
        pair.append(by_windows(trained, tested, films, validation))
    print(row(WINDOWS, [without], [(pair[0], pair[1])], rendered))


def _rendered(work: Path) -> dict[str, Path]:
    """Films of landscapes, one for each motion of the camera."""
    found = {}
    for number, motion in enumerate(CAMERA_MOTIONS[:NUM_RENDERED]):
        path = work / f"rendered-{number}.mp4"
        if not path.is_file():
            render_sample(path, motion=motion, seconds=RENDERED_SECONDS, height=96, width=128, seed=number)
        found[path.name] = path
    return found


if __name__ == "__main__":
    main()
