"""How good detections are: the official mean average precision of EPIC-KITCHENS-100 and ActivityNet."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tadacli.datasets.activitynet import load_activitynet
from tadacli.datasets.epic import load_epic_detection
from tadacli.datasets.foreign.numbered import is_numbered
from tadacli.datasets.samples import GroundTruth, Sample
from tadacli.datasets.tables import AnyPath, read_bytes
from tadacli.errors import UsageError
from tadacli.evaluation.detection_metrics import (
    ACTIVITYNET_TIOU,
    EPIC_TIOU,
    DetectionMetrics,
    ScoredSegments,
    TimedLabels,
    average_precision,
    precision_by_video,
)
from tadacli.evaluation.error_kinds import LEAST_TIOU, MULTIPLES, judge_detections
from tadacli.evaluation.matching import Unmatched, unmatched
from tadacli.evaluation.predictions import TimedScores
from tadacli.evaluation.readers.activitynet import read_activitynet, relabelled
from tadacli.evaluation.readers.epic import read_epic_detections
from tadacli.evaluation.readers.numbered import read_numbered, with_names
from tadacli.evaluation.readers.own_results import DetectResults, read_detected_actions, read_detected_labels
from tadacli.evaluation.report import (
    ComparedSegments,
    EvalReport,
    NamedPrecision,
    Precisions,
    TaskParts,
    TimedVideo,
    UnscoredItem,
    UnscoredKind,
)
from tadacli.formats.results import is_detect_results
from tadacli.results import Note, NoteKind
from tadacli.strict_tables import refusing

USUAL_TIOU = {"activitynet": ACTIVITYNET_TIOU, "ek100-detection": EPIC_TIOU}
NOT_PREDICTED = "the predictions have no entry for it"
# Lengths in annotations are rounded, and were measured by other tools.
_SLACK_SECONDS = 0.1
_TIOU_HINT = "give start:step:end or a list, for example --tiou 0.1:0.1:0.5 or --tiou 0.5,0.75,0.95"


def parse_tiou(text: str, *, usual: Sequence[float] = ()) -> tuple[float, ...]:
    """The thresholds of a range, "0.1:0.1:0.5" (start, step, end), or of a list, "0.5,0.75,0.95".

    IoUs fall exactly on thresholds, so their last bit counts. One that is among the `usual` ones of a data set is taken
    from there. The others, if evenly spaced, are computed from both ends as the official evaluators do it, so that
    the thresholds of another benchmark (`EPIC_TIOU`, `ACTIVITYNET_TIOU`, `THUMOS_TIOU`) are its own.

    Args:
        text: The range or list.
        usual: The thresholds of the data set.

    Returns:
        The thresholds, rising.

    Raises:
        UsageError: A threshold is not above 0 and at most 1, has more than two decimals, falls or repeats, or the
            steps of a range do not meet its end.
    """
    hundredths = _range(text) if ":" in text else [_hundredths(part, text) for part in text.split(",")]
    for before, after in pairwise(hundredths):
        if after <= before:
            raise UsageError(
                f"the thresholds {text!r} do not rise: {after / 100:g} stands behind {before / 100:g}",
                hint="give each threshold once, the lowest first",
            )
    values = [value / 100 for value in hundredths]
    if len({after - before for before, after in pairwise(hundredths)}) == 1:
        values = np.linspace(values[0], values[-1], len(values)).tolist()
    own = {round(100 * value): value for value in usual}
    return tuple(own.get(number, value) for number, value in zip(hundredths, values, strict=True))


def _range(text: str) -> list[int]:
    parts = text.split(":")
    if len(parts) != 3:
        raise UsageError(f"the thresholds {text!r} cannot be read", hint=_TIOU_HINT)
    start, step, end = (_hundredths(part, text) for part in parts)
    if end < start:
        raise UsageError(f"the thresholds {text!r} end below their start", hint=_TIOU_HINT)
    over = (end - start) % step
    if over:
        raise UsageError(
            f"the thresholds {text!r} do not meet their end: the last step is at {(end - over) / 100:g}",
            hint=f"end there: --tiou {start / 100:g}:{step / 100:g}:{(end - over) / 100:g}",
        )
    return list(range(start, end + 1, step))


def _hundredths(part: str, text: str) -> int:
    # In whole hundredths, as sums of floats would miss the end of a range.
    found = re.fullmatch(r"([01]?)(?:\.([0-9]{1,2}))?", part.strip())
    value = 100 * int(found[1] or 0) + int((found[2] or "").ljust(2, "0")) if found else 0
    if not 0 < value <= 100:
        raise UsageError(
            f"the thresholds {text!r} cannot be read: {part!r} is not above 0 and up to 1, with two decimals at most",
            hint=_TIOU_HINT,
        )
    return value


def evaluate_epic_detections(
    annotations: AnyPath,
    predictions: AnyPath,
    *,
    split: Literal["train", "validation"] = "validation",
    tiou: Sequence[float] = EPIC_TIOU,
    data_root: AnyPath | None = None,
) -> EvalReport:
    """mAP for verbs, nouns and actions, of the challenge's JSON or of what `tada detect` wrote.

    Args:
        annotations: The csv of EPIC-KITCHENS-100, or the folder with it.
        predictions: The file, which may be gzipped.
        split: The split that is scored.
        tiou: Thresholds on the temporal IoU (see `parse_tiou`). The challenge measures at 0.1 to 0.5; the report notes
            it when they are others.
        data_root: The folder with the videos, which only pages show.

    Returns:
        The report, with fractions in 0..1; odd times of predictions, and videos that are not annotated, are noted.

    Raises:
        UsageError: A file is not what it should be, or not one video of the predictions is annotated.
    """
    truth = load_epic_detection(annotations, data_root=data_root, split=split)
    results = _read(predictions, ours=read_detected_actions, official=read_epic_detections)
    strangers = _strangers(truth, results, f"{truth.name}, {split}")
    found = results.predictions
    verbs, nouns = truth.heads["verb"], truth.heads["noun"]
    pairs = truth.classes["verb"] * len(nouns) + truth.classes["noun"]
    true_classes = {**truth.classes, "action": pairs}
    names: dict[str, Callable[[int], str]] = {
        "verb": verbs.__getitem__,
        "noun": nouns.__getitem__,
        "action": lambda pair: f"{verbs[pair // len(nouns)]} {nouns[pair % len(nouns)]}",
    }
    measured = {
        task: _measured(truth, found, classes, found.classes[task], names[task], tiou)
        for task, classes in true_classes.items()
    }
    return _report(truth, split, results, measured, strangers)


def evaluate_activitynet(
    annotations: AnyPath,
    predictions: AnyPath,
    *,
    split: str = "validation",
    tiou: Sequence[float] = ACTIVITYNET_TIOU,
    data_root: AnyPath | None = None,
) -> EvalReport:
    """mAP of predictions in ActivityNet's JSON, ActionFormer's pickle or THUMOS's text, or of what `tada detect` wrote.

    Args:
        annotations: The JSON, in the form of ActivityNet.
        predictions: The file, which may be gzipped.
        split: The subset that is scored.
        tiou: Thresholds on the temporal IoU (see `parse_tiou`). The benchmark measures at 0.5 to 0.95; the report notes
            it when they are others.
        data_root: The folder with the videos, which only pages show.

    Returns:
        The report, with fractions in 0..1; odd times of predictions, and videos that are not annotated, are noted.

    Raises:
        UsageError: A file is not what it should be, or not one video or label of the predictions is in the annotations.
    """
    truth = load_activitynet(annotations, data_root=data_root, subset=split)
    results = _read(
        predictions, ours=read_detected_labels, official=partial(_read_official, class_numbers=truth.class_numbers)
    )
    strangers = _strangers(truth, results, f"{truth.name}, {split}")
    found = relabelled(results.predictions, truth.heads[""])
    names = truth.heads[""].__getitem__
    measured = _measured(truth, found, truth.classes[""], found.classes[""], names, tiou)
    return _report(truth, split, replace(results, predictions=found), {"all": measured}, strangers)


def _read(
    predictions: AnyPath,
    *,
    ours: Callable[[AnyPath], DetectResults],
    official: Callable[[AnyPath], TimedScores],
) -> DetectResults:
    with refusing(os.fspath(predictions), UsageError):
        if is_detect_results(read_bytes(predictions)):
            return ours(predictions)
        return DetectResults(official(predictions))


def _read_official(predictions: AnyPath, *, class_numbers: Mapping[int, str]) -> TimedScores:
    if is_numbered(read_bytes(predictions)):
        return with_names(read_numbered(predictions), class_numbers, os.fspath(predictions))
    return read_activitynet(predictions)


def _strangers(truth: GroundTruth, results: DetectResults, where: str) -> Unmatched:
    """The videos of the predictions that are not annotated. Raises `UsageError` if that is every one."""
    predicted = (*results.predictions.result_videos, *results.failed)
    found = unmatched(predicted, [video.id for video in truth.videos], unit="videos")
    found.refuse_if_all(where)
    return found


def _measured(
    truth: GroundTruth,
    found: TimedScores,
    true_classes: NDArray[np.int64],
    found_classes: NDArray[np.int64],
    name_of: Callable[[int], str],
    tiou: Sequence[float],
) -> tuple[DetectionMetrics, TaskParts]:
    """One task as a whole, and by class and video; `name_of` names a class by its code."""
    videos = np.unique(np.concatenate([truth.video_ids, found.video_ids]))
    labels = TimedLabels(np.searchsorted(videos, truth.video_ids), true_classes, truth.starts, truth.ends)
    segments = ScoredSegments(
        np.searchsorted(videos, found.video_ids), found_classes, found.starts, found.ends, found.scores
    )
    whole = average_precision(labels, segments, tiou=tiou)
    judged = judge_detections(labels, segments, tiou=_near_half(tiou))
    by_class = zip(whole.classes, whole.num_truth, whole.average_precision, strict=True)
    parts = TaskParts(
        tuple(NamedPrecision(name_of(index), count, values, index) for index, count, values in by_class),
        tuple(
            NamedPrecision(str(videos[each.video]), each.num_truth, each.mean_average_precision)
            for each in precision_by_video(labels, segments, tiou=tiou)
        ),
        tuple(map(judged.counts, MULTIPLES)),
        ComparedSegments(tuple(videos.tolist()), labels, segments, judged),
    )
    return whole, parts


def _near_half(tiou: Sequence[float]) -> float:
    """The threshold that kinds of errors are told apart by: one half, or what is nearest to it of those asked for."""
    return min((each for each in tiou if each > LEAST_TIOU), key=lambda each: abs(each - 0.5), default=0.5)


def _report(
    truth: GroundTruth,
    split: str,
    results: DetectResults,
    measured: Mapping[str, tuple[DetectionMetrics, TaskParts]],
    strangers: Unmatched,
) -> EvalReport:
    predicted, failed = set(results.predictions.result_videos), results.failed
    unscored = tuple(
        UnscoredItem(
            video.id,
            os.fspath(video.path or ""),
            failed.get(video.id, NOT_PREDICTED),
            UnscoredKind.FAILED if video.id in failed else UnscoredKind.NO_PREDICTION,
        )
        for video in truth.videos
        if video.id not in predicted
    )
    tasks = {task: whole for task, (whole, _) in measured.items()}
    return EvalReport(
        dataset=truth.name,
        split=split,
        unit="videos",
        num_scored=len(truth.videos) - len(unscored),
        num_items=len(truth.videos),
        metrics=Precisions(tasks, {task: parts for task, (_, parts) in measured.items()}),
        unscored=unscored,
        run=results.run,
        notes=(
            *_tiou_notes(truth.name, next(iter(tasks.values())).tiou),
            *results.predictions.notes,
            *strangers.notes,
            *_span_notes(results.predictions, truth.durations_seconds),
        ),
        unmatched=strangers.names,
        videos={
            video.id: TimedVideo(_file_of(video, results), truth.durations_seconds.get(video.id))
            for video in truth.videos
        },
    )


def _file_of(video: Sample, results: DetectResults) -> str:
    """The file of a video: the one that was found, or else the one that was searched, if it is still there."""
    searched = results.paths.get(video.id, "")
    return os.fspath(video.path) if video.path is not None else searched if os.path.isfile(searched) else ""


def _span_notes(found: TimedScores, durations_seconds: Mapping[str, float]) -> list[Note]:
    """What is odd about the times of predictions, which are scored all the same, as the official evaluators do."""
    notes, num = [], len(found.scores)
    backwards = np.flatnonzero(found.ends < found.starts)
    if len(backwards):
        first = backwards[0]
        text = (
            f"{len(backwards)} of {num} segments end before they start ({found.video_ids[first]}, "
            f"{found.starts[first]:g} to {found.ends[first]:g} s, first); the official rules, which are kept, take "
            "some such segments for right"
        )
        notes.append(Note(NoteKind.PREDICTIONS, text))
    lengths = np.array([durations_seconds.get(video, np.inf) for video in found.video_ids.tolist()])
    with np.errstate(invalid="ignore"):  # an infinite time in a video of unknown length
        over = np.maximum(found.starts, found.ends) - lengths
    beyond = np.flatnonzero(over > _SLACK_SECONDS)
    if len(beyond):
        worst = beyond[np.argmax(over[beyond])]
        text = (
            f"{len(beyond)} of {num} segments reach beyond the end of the video, by up to {over[worst]:.2f} s "
            f"({found.video_ids[worst]} lasts {lengths[worst]:g} s); times need to be seconds from the first frame"
        )
        notes.append(Note(NoteKind.PREDICTIONS, text))
    return notes


def _tiou_notes(dataset: str, tiou: Sequence[float]) -> list[Note]:
    """Says that numbers are not those of the benchmark, since "mAP" alone is read as if they were."""
    asked, official = _spelled(tiou), _spelled(USUAL_TIOU[dataset])
    if asked == official:
        return []
    text = f"mAP and avg_mAP are those at tIoU {asked}; results of {dataset} are published at {official}"
    return [Note(NoteKind.MEASURE, text)]


def _spelled(tiou: Sequence[float]) -> str:
    steps = {round(after - before, 6) for before, after in pairwise(tiou)}
    if len(tiou) > 2 and len(steps) == 1:
        return f"{tiou[0]:g}:{steps.pop():g}:{tiou[-1]:g}"
    return ",".join(f"{value:g}" for value in tiou)
