"""The report on scores: against sums done by hand, whatever the order of the predictions, and nothing left unsaid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.datasets.epic import EpicSubsets, epic_heads
from tadacli.datasets.samples import Dataset, Sample, UnusedKind, UnusedRow
from tadacli.errors import TadaError, UsageError
from tadacli.evaluation.prediction_file import Header, ItemScores, of_items, samples_digest
from tadacli.evaluation.predictions import ScoreTable, TopScores
from tadacli.evaluation.recognition import (
    NO_LABEL,
    NOT_REACHED,
    NUM_WORST,
    check_belongs,
    evaluate_classified,
    evaluate_saved,
    evaluate_scores,
)
from tadacli.evaluation.scoring import NO_FILE
from tadacli.reports.eval_json import eval_json
from tadacli.results import Run

CLASSES = tuple(f"class {number}" for number in range(8))
PERCENT_TOLERANCE = 1e-9
RUN = Run("1.0", "ab" * 32, {"name": "a model"}, {"views": "2x1"}, "0123456789ab")


def data_set(labels: Sequence[int | None], *, folder: str = "/videos") -> Dataset:
    """Videos v0, v1, ... of these classes; None has no class."""
    samples = tuple(
        Sample(
            f"v{number}", Path(folder, f"v{number}.mp4"), {} if label is None else {"": label}, video_id=f"v{number}"
        )
        for number, label in enumerate(labels)
    )
    return Dataset("csv", {"": CLASSES}, samples)


def table_of(scores: Mapping[str, Sequence[float]]) -> ScoreTable:
    values = np.array(list(scores.values()), dtype=np.float64).reshape(len(scores), len(CLASSES))
    return ScoreTable(np.array(list(scores), dtype=np.str_), {"": values})


def random_table(rng: np.random.Generator, ids: Sequence[str], num_classes: int = len(CLASSES)) -> ScoreTable:
    """Probabilities with seven digits; a third of the rows has ties."""
    values = rng.dirichlet(np.ones(num_classes), len(ids))
    values[::3] = np.round(values[::3], 1)
    digits = [[float(f"{value:.7g}") for value in row] for row in values]
    return ScoreTable(np.array(ids, dtype=np.str_), {"": np.array(digits).reshape(len(ids), num_classes)})


# --- one head -----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_items=st.integers(1, 60))
def test_accuracies_are_those_counted_by_hand(seed: int, num_items: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), num_items).tolist()
    data = data_set(labels)
    table = random_table(rng, [sample.id for sample in data.samples])
    report = evaluate_scores(data, table, split="all", scores_are="probabilities")
    ranked = [sorted(range(8), key=lambda index: (-row[index], index)) for row in table.scores[""].tolist()]
    hits = [order[0] == label for order, label in zip(ranked, labels, strict=True)]
    within = [label in order[:5] for order, label in zip(ranked, labels, strict=True)]
    by_class = {label: [hit for hit, own in zip(hits, labels, strict=True) if own == label] for label in set(labels)}
    mean = math.fsum(sum(each) / len(each) for each in by_class.values()) / len(by_class)
    assert report.percent["top1"] == pytest.approx(100 * sum(hits) / num_items, abs=PERCENT_TOLERANCE)
    assert report.percent["top5"] == pytest.approx(100 * sum(within) / num_items, abs=PERCENT_TOLERANCE)
    assert report.percent["mean_class_accuracy"] == pytest.approx(100 * mean, abs=PERCENT_TOLERANCE)
    head = report.heads[""]
    for true in range(8):
        for predicted in range(8):
            pairs = [(own, order[0]) for own, order in zip(labels, ranked, strict=True)]
            assert head.confusion[true, predicted] == pairs.count((true, predicted))
    own = [(row[label], f"v{number}") for number, (row, label) in enumerate(zip(table.scores[""], labels, strict=True))]
    assert [item.id for item in head.worst] == [name for _, name in sorted(own)[:NUM_WORST]]
    for item in head.worst:
        number = int(item.id[1:])
        assert (item.label, item.predicted) == (labels[number], ranked[number][0])
        assert item.rank == ranked[number].index(labels[number])
        assert item.label_score == table.scores[""][number, item.label]
    most = max(range(8), key=lambda index: (labels.count(index), -index))
    always = report.majority[""]
    assert (always.label, always.num_right, always.num_items) == (CLASSES[most], labels.count(most), num_items)
    low, high = head.intervals["top1"]
    assert 0 <= low <= report.percent["top1"] <= high <= 100


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_items=st.integers(2, 50), cuts=st.lists(st.integers(0, 50), max_size=4))
def test_the_order_of_predictions_and_their_shards_change_no_byte(seed: int, num_items: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    labels: list[int | None] = rng.integers(0, len(CLASSES), num_items).tolist()
    data = data_set(labels)
    values = random_table(rng, [sample.id for sample in data.samples]).scores[""].tolist()
    items = [
        ItemScores(sample.id, str(sample.path), "ok", "", {"": row})
        for sample, row in zip(data.samples, values, strict=True)
    ]
    items[1] = ItemScores(items[1].id, items[1].path, "error", "is damaged")
    header = Header("csv", "all", num_items, None, RUN, {"": CLASSES})
    whole = eval_json(evaluate_saved(data, of_items(header, items), split="all", annotations=None))
    bounds = sorted({0, num_items, *(min(cut, num_items) for cut in cuts)})
    shards = [items[low:high] for low, high in itertools.pairwise(bounds)]
    rng.shuffle(shards)  # type: ignore[arg-type]
    joined = [item for shard in shards for item in shard]
    assert eval_json(evaluate_saved(data, of_items(header, joined), split="all", annotations=None)) == whole
    rng.shuffle(joined)  # type: ignore[arg-type]
    assert eval_json(evaluate_saved(data, of_items(header, joined), split="all", annotations=None)) == whole


def test_every_item_is_scored_or_listed_with_a_reason() -> None:
    data = data_set([0, 1, None, 2, 3])
    samples = list(data.samples)
    samples[4] = replace(samples[4], path=None)
    data = replace(data, samples=tuple(samples), unused=(UnusedRow("line 9", "v0", UnusedKind.REPEATED, "a copy"),))
    even = [1 / 8] * 8
    table = table_of({"v2": even, "v0": even})
    report = evaluate_scores(
        data, table, split="all", scores_are="probabilities", failed={"v1": "is damaged", "v4": NO_FILE}
    )
    assert (report.num_scored, report.num_items) == (1, 5)
    assert {item.id: item.reason for item in report.unscored} == {
        "v1": "is damaged",
        "v2": NO_LABEL,
        "v3": NOT_REACHED,
        "v4": NO_FILE,
    }
    assert sum(report.reasons.values()) == 4
    assert any("1 of 6 rows are not used: a copy" in note for note in map(str, report.notes))
    assert report.percent["top1"] == 100, "of equal scores the first class is the answer"


def test_scores_of_unknown_items_are_refused() -> None:
    even = [1 / 8] * 8
    with pytest.raises(UsageError, match="1 of 2 predictions are of videos that the annotations do not have, other"):
        evaluate_scores(data_set([0]), table_of({"v0": even, "other": even}), split="all", scores_are="probabilities")


def test_no_scores_are_no_report() -> None:
    with pytest.raises(TadaError, match="not one of 2 videos has both scores and a class: is damaged"):
        evaluate_scores(
            data_set([0, None]), table_of({}), split="all", scores_are="probabilities", failed={"v0": "is damaged"}
        )


def test_five_classes_have_no_top_five() -> None:
    data = replace(data_set([0, 1]), heads={"": CLASSES[:5]})
    table = random_table(np.random.default_rng(0), ["v0", "v1"], 5)
    assert "top5" not in evaluate_scores(data, table, split="all", scores_are="probabilities").percent


def test_logits_have_no_calibration() -> None:
    table = table_of({"v0": [4.0, -2, 0, 0, 0, 0, 0, 0]})
    report = evaluate_scores(data_set([0]), table, split="all", scores_are="logits")
    assert "calibration_error" not in report.percent
    assert report.heads[""].calibration is None


# --- saved predictions ----------------------------------------------------------------------------------


def test_predictions_of_another_data_set_are_refused() -> None:
    data = data_set([0, 1])
    run = replace(RUN, settings={**RUN.settings, "samples_sha256": samples_digest(data.samples)})
    header = Header("csv", "all", 2, None, run, {"": CLASSES})
    check_belongs(data, header, split="all")
    for other in (
        replace(header, dataset="k400"),
        replace(header, split="test"),
        replace(header, heads={"": (*CLASSES[:-1], "other")}),
    ):
        with pytest.raises(UsageError, match="the predictions are of"):
            check_belongs(data, other, split="all")
    more = data_set([0, 1, 2])
    moved = replace(data, samples=(replace(data.samples[0], start_seconds=1.0), *data.samples[1:]))
    relabelled = replace(data, samples=(replace(data.samples[0], labels={"": 3}), *data.samples[1:]))
    for others in (more, moved):
        with pytest.raises(UsageError, match="other items or spans"):
            check_belongs(others, header, split="all")
    check_belongs(relabelled, header, split="all")


def test_short_and_cut_items_are_scored_and_said() -> None:
    header = Header("csv", "all", 3, None, RUN, {"": CLASSES})
    even = {"": [1 / 8] * 8}
    items = [
        ItemScores("v0", "v0.mp4", "short", "", even),
        ItemScores("v1", "v1.mp4", "ok", "", even, 1.0, 3.0, 0.5),
        ItemScores("v2", "v2.mp4", "ok", "", even, 1.0, 3.0, 1.25),
    ]
    report = evaluate_saved(data_set([0, 0, 0]), of_items(header, items), split="all", annotations=None)
    assert report.num_scored == 3
    assert any(note.startswith("1 of 3 are shorter than a clip") for note in map(str, report.notes))
    assert any(note.startswith("2 of 3 spans end behind") and "1.25 s (v2)" in note for note in map(str, report.notes))
    assert report.run is not None
    assert report.run["id"] == RUN.id


# --- the results of classify ------------------------------------------------------------------------------


def top_scores(table: ScoreTable, paths: Sequence[str], depth: int, failed: Mapping[str, str]) -> TopScores:
    order = np.argsort(-table.scores[""], axis=1, kind="stable")[:, :depth]
    best = np.take_along_axis(table.scores[""], order, axis=1)
    return TopScores(np.array(paths, dtype=np.str_), order, best, depth, 8, "a model", failed)


@pytest.mark.parametrize("depth", [1, 5, 8])
def test_best_classes_tell_as_much_as_all_scores_do(depth: int) -> None:
    rng = np.random.default_rng(depth)
    labels = rng.integers(0, 8, 40).tolist()
    data = data_set([*labels, 3, 4])
    names = [f"v{number}" for number in range(40)]
    table = random_table(rng, names)
    failed = {"/videos/v40.mp4": "is damaged"}
    full = evaluate_scores(data, table, split="all", scores_are="probabilities", failed={"v40": "is damaged"})
    top = top_scores(table, [f"/videos/{name}.mp4" for name in names], depth, failed)
    report = evaluate_classified(data, top, split="all")
    assert set(full.percent) - set(report.percent) == ({"top5"} if depth < 5 else set())
    for key, value in report.percent.items():
        assert value == pytest.approx(full.percent[key], abs=PERCENT_TOLERANCE)
    assert (report.heads[""].confusion == full.heads[""].confusion).all()
    assert report.unscored == full.unscored
    assert report.majority == full.majority
    assert (report.num_scored, report.num_items) == (40, 42)


def test_results_belong_to_the_same_file_or_name() -> None:
    data = data_set([0, 1])
    table = random_table(np.random.default_rng(0), ["v0", "v1"])
    elsewhere = top_scores(table, ["/other/v0.webm", "/other/v1.webm"], 5, {})
    with pytest.raises(TadaError, match="not one of 2 videos"):
        evaluate_classified(data, elsewhere, split="all")
    unknown = replace(data, samples=tuple(replace(sample, path=None) for sample in data.samples))
    assert evaluate_classified(unknown, elsewhere, split="all").num_scored == 2
    strangers = top_scores(table, ["/videos/v0.mp4", "/videos/stranger.mp4"], 5, {})
    report = evaluate_classified(data, strangers, split="all")
    assert report.num_scored == 1
    assert any(note.startswith("1 of 2 results are of videos that are no samples") for note in map(str, report.notes))


def test_results_that_do_not_tell_enough_are_refused() -> None:
    table = random_table(np.random.default_rng(0), ["v0"])
    top = top_scores(table, ["/videos/v0.mp4"], 5, {})
    spans = data_set([0])
    spans = replace(spans, samples=(replace(spans.samples[0], start_seconds=1.0),))
    with pytest.raises(UsageError, match="1 of 1 sample has a span of a video"):
        evaluate_classified(spans, top, split="all")
    with pytest.raises(UsageError, match="do not tell the best actions"):
        evaluate_classified(Dataset("ek100", epic_heads(), ()), top, split="all")
    with pytest.raises(UsageError, match="tells 8 classes apart, csv has 5"):
        evaluate_classified(replace(data_set([0]), heads={"": CLASSES[:5]}), top, split="all")


# --- verbs, nouns and actions -----------------------------------------------------------------------------


def epic_data(rng: np.random.Generator, num_items: int) -> Dataset:
    samples = []
    for number in range(num_items):
        participant = ("P01", "P18")[number % 2]
        labels = {"verb": int(rng.integers(97)), "noun": int(rng.integers(300))}
        video = f"{participant}_11"
        samples.append(Sample(f"{video}_{number}", Path(f"/{video}.MP4"), labels, 1.0, 2.0, video, participant))
    return Dataset("ek100", epic_heads(), tuple(samples))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), num_items=st.integers(2, 12), scale=st.sampled_from([1.0, 60.0]))
def test_actions_are_ranked_by_the_product_of_probabilities(seed: int, num_items: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    data = epic_data(rng, num_items)
    logits = {head: scale * rng.standard_normal((num_items, len(names))) for head, names in data.heads.items()}
    for row, sample in enumerate(data.samples):  # or hardly any answer would be right
        for head, index in sample.labels.items():
            if rng.random() < 0.6:
                logits[head][row, index] = logits[head][row].max() + scale * rng.normal(0, 0.5)
    chances = {head: np.exp(each - each.max(axis=1, keepdims=True)) for head, each in logits.items()}
    chances = {head: each / each.sum(axis=1, keepdims=True) for head, each in chances.items()}
    ids = np.array([sample.id for sample in data.samples])
    subsets = EpicSubsets(frozenset({"P18"}), frozenset(range(0, 97, 2)), frozenset(range(0, 300, 3)))
    reports = {
        "logits": evaluate_scores(
            data, ScoreTable(ids, logits), split="validation", scores_are="logits", subsets=subsets
        ),
        "probabilities": evaluate_scores(
            data, ScoreTable(ids, chances), split="validation", scores_are="probabilities", subsets=subsets
        ),
    }
    hits: dict[str, list[bool]] = {}
    for row, sample in enumerate(data.samples):
        verb, noun = sample.labels["verb"], sample.labels["noun"]
        products = np.add.outer(logits["verb"][row], logits["noun"][row]).ravel()
        best = [divmod(int(index), 300) for index in np.argsort(-products, kind="stable")[:5]]
        hits.setdefault("all_action_accuracy_at_1", []).append((verb, noun) == best[0])
        hits.setdefault("all_action_accuracy_at_5", []).append((verb, noun) in best)
        hits.setdefault("all_verb_accuracy_at_1", []).append(int(logits["verb"][row].argmax()) == verb)
        if sample.participant == "P18":
            hits.setdefault("unseen_action_accuracy_at_1", []).append((verb, noun) == best[0])
        if verb % 2 == 0 or noun % 3 == 0:
            hits.setdefault("tail_action_accuracy_at_1", []).append((verb, noun) == best[0])
        if noun % 3 == 0:
            hits.setdefault("tail_noun_accuracy_at_1", []).append(int(logits["noun"][row].argmax()) == noun)
    pairs = [(sample.labels["verb"], sample.labels["noun"]) for sample in data.samples]
    verb, noun = max(sorted(set(pairs)), key=pairs.count)
    always = reports["logits"].majority["action"]
    assert always.label == f"{data.heads['verb'][verb]} {data.heads['noun'][noun]}"
    assert (always.num_right, always.num_items) == (pairs.count((verb, noun)), num_items)
    assert list(reports["logits"].majority) == ["verb", "noun", "action"]
    # Chances far below the best underflow at a large scale; what is best by far does not.
    for name in ("logits", "probabilities") if scale == 1 else ("logits",):
        found = reports[name].percent
        for key, values in hits.items():
            assert found[key] == pytest.approx(100 * sum(values) / len(values), abs=PERCENT_TOLERANCE), (name, key)
        assert {"tail_action_accuracy_at_1", "tail_noun_accuracy_at_1"} & set(found) <= set(hits)
    assert reports["logits"].unit == "actions"


def test_lists_that_are_not_there_are_said() -> None:
    data = epic_data(np.random.default_rng(0), 4)
    scores = {head: np.random.default_rng(1).random((4, len(names))) for head, names in data.heads.items()}
    ids = np.array([sample.id for sample in data.samples])
    report = evaluate_scores(data, ScoreTable(ids, scores), split="validation", scores_are="logits")
    assert not [key for key in report.percent if key.startswith(("tail", "unseen"))]
    for name in ("unseen participants", "tail verbs", "tail nouns"):
        assert f"the list of {name} is not beside the annotations" in map(str, report.notes)
