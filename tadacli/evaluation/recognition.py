"""How good the scores of a recognition data set are: its metrics, with the classes and items they come from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tadacli.datasets.epic import EpicSubsets, load_epic_subsets
from tadacli.datasets.samples import Dataset, Sample
from tadacli.datasets.tables import AnyPath
from tadacli.errors import NothingScoredError, UsageError
from tadacli.evaluation.majority import majority_classes, most_shown_class
from tadacli.evaluation.matching import match_results, unmatched
from tadacli.evaluation.metrics import (
    TOPK,
    Outcomes,
    action_ranks,
    bootstrap_interval,
    calibration,
    confusion_matrix,
    ek100_metrics,
    log_probabilities,
    mean_class_accuracy,
    outcomes,
    top_k,
)
from tadacli.evaluation.multi_label import label_metrics, shown_classes
from tadacli.evaluation.prediction_file import Header, SavedPredictions, samples_digest
from tadacli.evaluation.predictions import SEVERAL_HEADS, ScoreTable, TopScores
from tadacli.evaluation.report import (
    Accuracies,
    EvalReport,
    HeadResult,
    ScoredItems,
    UnscoredItem,
    UnscoredKind,
    run_facts,
)
from tadacli.results import Note, NoteKind

NUM_WORST = 20
NO_LABEL = "the annotations name no class"
NOT_REACHED = "it has no prediction"


def check_belongs(dataset: Dataset, header: Header, *, split: str) -> None:
    """Check that predictions are of these annotations.

    Args:
        dataset: The annotations.
        header: What the predictions are of.
        split: The split that the annotations are.

    Raises:
        UsageError: They are of another data set, split, classes, items or spans.
    """
    if (header.dataset, header.split) != (dataset.name, split):
        raise UsageError(
            f"the predictions are of {header.dataset}, {header.split}, not of {dataset.name}, {split}",
            hint="give the data set and the split they were made for",
        )
    if dict(header.heads) != dict(dataset.heads):
        raise UsageError("the predictions are of other classes than those of the annotations")
    if header.run.settings.get("samples_sha256") != samples_digest(dataset.samples):
        raise UsageError(
            f"the predictions are of other items or spans than those of the annotations: {header.num_items} items were "
            f"to be scored, {len(dataset.samples)} are annotated",
            hint="give the annotations they were made with, or score the data set again",
        )


def evaluate_saved(dataset: Dataset, saved: SavedPredictions, *, split: str, annotations: AnyPath | None) -> EvalReport:
    """The report on predictions that `tada eval` made.

    Args:
        dataset: The data set, or the part of it that they are of.
        saved: The predictions.
        split: What the report calls the split.
        annotations: Where the lists of EPIC-KITCHENS-100 stand.

    Returns:
        The report, in percent.

    Raises:
        NothingScoredError: Not one item has both scores and a class.
    """
    report = evaluate_scores(
        dataset,
        saved.table,
        split=split,
        scores_are="probabilities",
        failed=saved.failed,
        subsets=subsets_of(dataset, annotations, split),
    )
    notes = list(report.notes)
    if saved.num_short:
        text = f"{saved.num_short} of {report.num_scored} are shorter than a clip; frames of them are repeated"
        notes.append(Note(NoteKind.SHORT, text))
    if saved.cut_seconds:
        worst = max(saved.cut_seconds, key=lambda name: (saved.cut_seconds[name], name))
        text = (
            f"{len(saved.cut_seconds)} of {report.num_scored} spans end behind their video, by up to "
            f"{saved.cut_seconds[worst]:.2f} s ({worst}); they are scored as far as it goes"
        )
        notes.append(Note(NoteKind.SHORT, text))
    return replace(report, run=run_facts(saved.header.run), notes=tuple(notes), num_failed=len(saved.failed))


def unlabelled_report(dataset: Dataset, saved: SavedPredictions, *, split: str) -> EvalReport:
    """The report, without metrics, on predictions for a data set whose annotations name no classes.

    Args:
        dataset: The data set.
        saved: The predictions.
        split: What the report calls the split.

    Returns:
        The report: how many items have scores.
    """
    report = _report(dataset, split, saved.table.ids.tolist(), saved.failed)
    return replace(report, run=run_facts(saved.header.run), num_failed=len(saved.failed))


def logits_of(probabilities: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Scores whose softmax is these probabilities: the official evaluator takes scores for logits.

    Args:
        probabilities: (N, C) by head.

    Returns:
        The scores, alike.
    """
    return {head: log_probabilities(values) for head, values in probabilities.items()}


def subsets_of(dataset: Dataset, annotations: AnyPath | None, split: str) -> EpicSubsets | None:
    """The lists of EPIC-KITCHENS-100 that stand beside its annotations.

    Args:
        dataset: The data set.
        annotations: Its annotations, or the folder with them.
        split: The split.

    Returns:
        The lists; None for other data sets.
    """
    if set(dataset.heads) != {"verb", "noun"} or annotations is None:
        return None
    folder = Path(annotations)
    known: Literal["train", "validation"] = "train" if split == "train" else "validation"
    return load_epic_subsets(folder if folder.is_dir() else folder.parent, split=known)


def evaluate_scores(
    dataset: Dataset,
    table: ScoreTable,
    *,
    split: str,
    scores_are: Literal["probabilities", "logits"],
    failed: Mapping[str, str] | None = None,
    subsets: EpicSubsets | None = None,
) -> EvalReport:
    """The metrics of scores, matched to the samples by id; the other samples are listed with the reason.

    Metrics are in percent: `top1`, `top5`, `mean_class_accuracy` and `calibration_error` of a single head, the official
    names of EPIC-KITCHENS-100 for its verbs and nouns; of multi-label data `mAP`, `mAP_by_chance` and `hit1`, which
    `evaluation.multi_label` explains.

    Args:
        dataset: The samples.
        table: The scores of all classes.
        split: What the report calls the split.
        scores_are: What the scores are; of logits there is no calibration.
        failed: The reasons of the items that could not be scored, by id.
        subsets: The lists of EPIC-KITCHENS-100.

    Returns:
        The report.

    Raises:
        UsageError: There are scores of unknown items; the first are listed.
        NothingScoredError: Not one item has both scores and a class.
    """
    labelled = {sample.id: sample for sample in dataset.samples if sample.labels}
    foreign = unmatched(table.ids.tolist(), [sample.id for sample in dataset.samples], unit=unit_of(dataset))
    if foreign.names:
        raise UsageError(
            f"{len(foreign.names)} of {foreign.num_names} predictions are of {unit_of(dataset)} that the annotations "
            f"do not have, {foreign.text}",
            hint=foreign.hint,
        )
    rows = np.array([name in labelled for name in table.ids.tolist()], dtype=np.bool_)
    ids = table.ids[rows].tolist()
    scores = {head: values[rows] for head, values in table.scores.items()}
    samples = [labelled[name] for name in ids]
    if not samples:
        raise _nothing(dataset, failed or {})
    if dataset.multi_label:
        return _by_label(dataset, split, samples, scores[""], failed or {}, table.notes)
    found = {
        head: outcomes(values, np.array([sample.labels[head] for sample in samples], dtype=np.int64))
        for head, values in scores.items()
    }
    is_probability = scores_are == "probabilities"
    notes: tuple[Note, ...] = ()
    if set(found) == {"verb", "noun"}:
        metrics, notes = _ek100(found, scores, samples, subsets or EpicSubsets(None, None, None), is_probability)
    else:
        metrics = _accuracies(found[""], _depths(len(dataset.heads[""])), is_probability)
    own = {
        head: np.take_along_axis(values, found[head].labels[:, None], axis=1)[:, 0] for head, values in scores.items()
    }
    heads = {
        head: _head(items, own[head], samples, labels, is_probability, _depths(len(labels)))
        for head, items in found.items()
        for labels in [dataset.heads[head]]
    }
    report = _report(dataset, split, ids, failed or {}, metrics, heads, (*table.notes, *notes))
    labels = {head: items.labels for head, items in found.items()}
    return replace(report, majority=majority_classes(labels, dataset.heads))


def _by_label(
    dataset: Dataset,
    split: str,
    samples: Sequence[Sample],
    scores: NDArray[Any],
    failed: Mapping[str, str],
    notes: Sequence[Note],
) -> EvalReport:
    """The report on samples that may show several classes."""
    labels = dataset.heads[""]
    shown = shown_classes([dataset.classes_of(sample, "") for sample in samples], len(labels))
    found = label_metrics(scores, shown, labels)
    metrics = Accuracies({"mAP": found.mean_precision, "mAP_by_chance": found.chance, "hit1": found.hit1})
    report = _report(dataset, split, [sample.id for sample in samples], failed, metrics, notes=notes)
    return replace(report, classes=found.classes, majority={"": most_shown_class(shown, labels)})


def evaluate_classified(dataset: Dataset, top: TopScores, *, split: str) -> EvalReport:
    """The metrics of what `tada classify` wrote, as far as its best classes tell them; see `evaluate_scores`.

    Args:
        dataset: The samples.
        top: The results; which belongs to which sample, `matching.match_results` says.
        split: What the report calls the split.

    Returns:
        The report; results that belong to no sample are noted.

    Raises:
        UsageError: The model has several heads or other classes, samples are spans of videos, or not one result
            belongs to a sample.
        NothingScoredError: Not one sample has both a result and a class.
    """
    if set(dataset.heads) != {""}:
        raise UsageError(SEVERAL_HEADS, hint="score the data set with tada eval --model, which keeps all scores")
    if top.num_classes != len(dataset.heads[""]):
        raise UsageError(
            f"{top.model} tells {top.num_classes} classes apart, {dataset.name} has {len(dataset.heads[''])}",
            hint="give the results of a model that was trained on this data set",
        )
    matched = match_results(dataset.samples, top)
    matched.strangers.refuse_if_all(f"{dataset.name}, {split}")
    samples = [sample for sample in dataset.samples if sample.labels and sample.id in matched.rows]
    if not samples:
        raise _nothing(dataset, matched.failed)
    rows = np.array([matched.rows[sample.id] for sample in samples])
    indices, scores = top.indices[rows], top.scores[rows]
    labels = np.array([sample.labels[""] for sample in samples], dtype=np.int64)
    hits = indices == labels[:, None]
    ranks = np.where(hits.any(axis=1), hits.argmax(axis=1), len(dataset.heads[""]))
    items = Outcomes(labels, indices[:, 0], ranks, scores[:, 0])
    depths = [k for k in _depths(len(dataset.heads[""])) if k <= top.depth]
    own = np.where(hits, scores, 0).max(axis=1)
    heads = {"": _head(items, own, samples, dataset.heads[""], is_probability=True, depths=depths)}
    metrics = _accuracies(items, depths, is_probability=True)
    notes = (*top.notes, *matched.strangers.notes)
    report = _report(dataset, split, [sample.id for sample in samples], matched.failed, metrics, heads, notes)
    majority = majority_classes({"": labels}, dataset.heads)
    return replace(report, unmatched=matched.strangers.names, majority=majority)


def _report(
    dataset: Dataset,
    split: str,
    scored: Sequence[str],
    failed: Mapping[str, str],
    metrics: Accuracies | None = None,
    heads: Mapping[str, HeadResult] | None = None,
    notes: Sequence[Note] = (),
) -> EvalReport:
    """The report on the items `scored`; notes of the data set come first, but those on samples, which it lists."""
    of_dataset = [note for note in dataset.notes if note.kind not in (NoteKind.NO_VIDEO, NoteKind.NO_LABEL)]
    return EvalReport(
        dataset=dataset.name,
        split=split,
        unit=unit_of(dataset),
        num_scored=len(scored),
        num_items=len(dataset.samples),
        metrics=metrics,
        heads=heads or {},
        unscored=_unscored(dataset, set(scored), failed),
        notes=(*of_dataset, *notes) if metrics is not None else (),
    )


def _nothing(dataset: Dataset, failed: Mapping[str, str]) -> NothingScoredError:
    reasons = sorted({item.reason for item in _unscored(dataset, set(), failed)})
    return NothingScoredError(
        f"not one of {len(dataset.samples)} {unit_of(dataset)} has both scores and a class: " + "; ".join(reasons[:3]),
        hint="check --data-root and --annotations; tada eval --check lists every file",
    )


def unit_of(dataset: Dataset) -> str:
    """What the items of a data set are.

    Args:
        dataset: The data set.

    Returns:
        Their name in the plural.
    """
    return "actions" if set(dataset.heads) == {"verb", "noun"} else "videos"


def _unscored(dataset: Dataset, scored: set[str], failed: Mapping[str, str]) -> tuple[UnscoredItem, ...]:
    return tuple(
        UnscoredItem(sample.id, os.fspath(sample.path or ""), *_why(sample, failed))
        for sample in dataset.samples
        if sample.id not in scored
    )


def _why(sample: Sample, failed: Mapping[str, str]) -> tuple[str, UnscoredKind]:
    if not sample.labels:
        return NO_LABEL, UnscoredKind.NO_LABEL
    if sample.id in failed:
        return failed[sample.id], UnscoredKind.FAILED
    return NOT_REACHED, UnscoredKind.NO_PREDICTION


def _depths(num_classes: int) -> list[int]:
    """The k of the top-k accuracies: among five classes or fewer, the true one is always within the best five."""
    return [k for k in TOPK if k == 1 or k < num_classes]


def _accuracies(items: Outcomes, depths: Sequence[int], is_probability: bool) -> Accuracies:
    metrics = {f"top{k}": top_k(items.ranks, k).percent for k in depths}
    metrics["mean_class_accuracy"] = 100 * mean_class_accuracy(items)
    if is_probability:
        metrics["calibration_error"] = 100 * calibration(items).error
    return Accuracies(metrics)


def _ek100(
    found: Mapping[str, Outcomes],
    scores: Mapping[str, NDArray[Any]],
    samples: Sequence[Sample],
    subsets: EpicSubsets,
    is_probability: bool,
) -> tuple[Accuracies, tuple[Note, ...]]:
    """The official metrics, and a note for each list that is not there."""
    logits = logits_of(scores) if is_probability else scores
    ranks = action_ranks(
        logits["verb"], logits["noun"], verb_labels=found["verb"].labels, noun_labels=found["noun"].labels
    )
    unseen = subsets.unseen_participants or frozenset()
    measured = ek100_metrics(
        found["verb"],
        found["noun"],
        ranks,
        unseen=np.array([sample.participant in unseen for sample in samples], dtype=np.bool_),
        tail_verbs=subsets.tail_verbs or (),
        tail_nouns=subsets.tail_nouns or (),
    )
    absent = tuple(
        Note(NoteKind.MEASURE, f"the list of {name.replace('_', ' ')} is not beside the annotations")
        for name, value in vars(subsets).items()
        if value is None
    )
    return Accuracies({name: accuracy.percent for name, accuracy in measured.items()}), absent


def _head(
    items: Outcomes,
    own: NDArray[Any],
    samples: Sequence[Sample],
    labels: tuple[str, ...],
    is_probability: bool,
    depths: Sequence[int],
) -> HeadResult:
    """The result of one head; `own` (N,) are the scores of the true classes."""
    intervals = {f"top{k}": bootstrap_interval(items.ranks < k) for k in depths}
    intervals["mean_class_accuracy"] = bootstrap_interval(items.ranks == 0, groups=items.labels)
    scored = ScoredItems(samples, items, own)
    return HeadResult(
        labels=labels,
        confusion=confusion_matrix(items, num_classes=len(labels)),
        worst=tuple(scored[row] for row in scored.by_score()[:NUM_WORST].tolist()),
        intervals={name: (100 * low, 100 * high) for name, (low, high) in intervals.items()},
        calibration=calibration(items) if is_probability else None,
        items=scored,
    )
