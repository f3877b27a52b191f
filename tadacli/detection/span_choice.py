"""Which spans of videos are worth labelling next, of those that a model scored.

Answers of active learning (Settles, "Active Learning Literature Survey", 2009, sections 3.1 and 5.1), one after the
other: a span counts as much as the model is in doubt about it, by the margin between its two best labels (Scheffer et
al., 2001), or of labels that hold independently by how near the most doubtful one is to one half; more, the fewer
examples the labels have that it may show; and less, the more spans of its video were chosen before it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.scored_windows import WindowScores
from tadacli.errors import UsageError
from tadacli.formats.rows import DetectionRow
from tadacli.results import Prediction

DEFAULT_BUDGET, DEFAULT_SPAN_SECONDS = 20, 4.0
# Of a video so many times the budget are kept while others are read, each with its best labels.
_KEPT, _MOST_GUESSES = 10, 10


@dataclass(frozen=True)
class Candidate:
    """A span of a video that could be labelled, in presentation seconds.

    `guesses` are what a model takes it for, the best first, a few at most. `doubt` is how unsure the model is, 0..1.
    """

    path: str
    start_seconds: float
    end_seconds: float
    guesses: tuple[Prediction, ...]
    doubt: float


@dataclass(frozen=True)
class Choice:
    """A span that is worth labelling. `rank` counts from 1; `value` is what it was chosen by, 0..1."""

    rank: int
    span: Candidate
    value: float


@dataclass(frozen=True)
class LabelledPart:
    """A span that has its label already, in presentation seconds."""

    path: str
    start_seconds: float
    end_seconds: float
    label: str


def candidates_of_scores(scores: WindowScores, *, span_seconds: float = DEFAULT_SPAN_SECONDS) -> list[Candidate]:
    """The spans of a video, one after the other, with the mean scores of the windows in the middle of which they lie.

    Args:
        scores: The scores of its windows; of several window lengths all count alike.
        span_seconds: How long a span is; the last of a video may be shorter.

    Returns:
        A candidate for each span in which a window has its middle. Of a model of verbs and nouns the doubt is the mean
        of both heads', and the guesses are the verbs.
    """
    doubt_of = _single_doubt if scores.spec.multi_label else _margin_doubt
    middles = scores.spans.mean(axis=1)
    start, end = scores.range_seconds
    cells = np.floor((middles - start) / span_seconds).astype(np.int64)
    found = []
    for cell in np.unique(cells).tolist():
        rows = np.flatnonzero(cells == cell)
        means = {head: values[rows].astype(np.float64).mean(axis=0) for head, values in scores.scores.items()}
        first = next(iter(scores.spec.heads))
        best = np.argsort(-means[first], kind="stable")[:_MOST_GUESSES].tolist()
        labels = scores.spec.heads[first]
        found.append(
            Candidate(
                scores.path,
                start + cell * span_seconds,
                min(start + (cell + 1) * span_seconds, end),
                tuple(Prediction(labels[i], i, float(means[first][i])) for i in best),
                float(np.mean([doubt_of(values[rows]) for values in scores.scores.values()])),
            )
        )
    return found


def _margin_doubt(scores: NDArray[np.floating]) -> float:
    """1 less the margin between the best and the second best score, as a mean over windows (W, C)."""
    if scores.shape[1] < 2:
        return _single_doubt(scores)
    best = np.partition(scores.astype(np.float64), -2, axis=1)[:, -2:]
    return float(np.clip(1 - (best[:, 1] - best[:, 0]), 0, 1).mean())


def _single_doubt(scores: NDArray[np.floating]) -> float:
    """How near to one half the score is that is nearest to it, 1 at one half, as a mean over windows (W, C)."""
    return float((1 - np.abs(2 * scores.astype(np.float64) - 1)).max(axis=1).mean())


def candidates_of_row(row: DetectionRow) -> list[Candidate]:
    """The segments that were found in a video; the nearer to one half their scores are, the more they are in doubt.

    Args:
        row: What `tada detect` wrote; what a person checked, corrected or added is no candidate.

    Returns:
        A candidate for each segment of the machine's.
    """
    return [
        Candidate(
            row["path"],
            each["start_seconds"],
            each["end_seconds"],
            (Prediction(each["label"], each["index"], each["score"]),),
            1 - abs(2 * each["score"] - 1),
        )
        for each in row["segments"]
        if each.get("origin", "machine") == "machine" and not each.get("checked", False)
    ]


def most_doubtful(video: Sequence[Candidate], budget: int) -> list[Candidate]:
    """The candidates of a video that are worth keeping while others are read: ten times the budget."""
    return sorted(video, key=lambda each: (-each.doubt, each.start_seconds))[: _KEPT * budget]


def choose_spans(
    candidates: Iterable[Sequence[Candidate]],
    *,
    budget: int = DEFAULT_BUDGET,
    labelled: Sequence[LabelledPart] = (),
) -> list[Choice]:
    """The spans that are worth labelling first.

    Args:
        candidates: Those of each video.
        budget: How many are wanted.
        labelled: What has its labels already: none of it is suggested again, and its labels count as examples.

    Returns:
        Up to `budget` of them that do not overlap, the most valuable first; the same arguments give the same ones.

    Raises:
        UsageError: The budget is not positive.
    """
    if budget < 1:
        raise UsageError(f"a budget of {budget} suggests nothing", hint="give the number of spans you would label")
    known: defaultdict[str, list[LabelledPart]] = defaultdict(list)
    for part in labelled:
        known[part.path].append(part)
    pool = [
        each
        for video in candidates
        for each in sorted(video, key=lambda each: (-each.doubt, each.start_seconds))
        if not any(_overlap(each, part) for part in known[each.path])
    ]
    if not pool:
        return []
    names = sorted({guess.label for each in pool for guess in each.guesses})
    number = {name: place for place, name in enumerate(names)}
    counts = Counter(part.label for part in labelled)
    examples = np.array([counts[name] for name in names], dtype=np.float64)
    # Of each candidate its guesses: numbers and scores (P, G), a score of 0 where it has fewer than others.
    size = len(pool), max(len(each.guesses) for each in pool)
    labels, scores = np.zeros(size, dtype=np.int64), np.zeros(size)
    for row, each in enumerate(pool):
        labels[row, : len(each.guesses)] = [number[guess.label] for guess in each.guesses]
        scores[row, : len(each.guesses)] = [guess.score for guess in each.guesses]
    paths = np.unique([each.path for each in pool], return_inverse=True)[1]
    starts, ends, doubt = (
        np.array(column) for column in zip(*((e.start_seconds, e.end_seconds, e.doubt) for e in pool), strict=True)
    )
    shares, num_of_video = scores / np.maximum(scores.sum(axis=1, keepdims=True), 1), np.zeros(paths.max() + 1)
    free = np.ones(len(pool), dtype=bool)
    found: list[Choice] = []
    while len(found) < budget and free.any():
        # What is expected of the label: 1 over 1 + the examples there are of it, each label as likely as its score.
        rarity = (shares / (1 + examples[labels])).sum(axis=1)
        values = np.where(free, doubt * rarity / np.sqrt(1 + num_of_video[paths]), -1)
        best = int(values.argmax())
        found.append(Choice(len(found) + 1, pool[best], float(values[best])))
        num_of_video[paths[best]] += 1
        np.add.at(examples, labels[best], scores[best])
        free &= (paths != paths[best]) | (starts >= ends[best]) | (ends <= starts[best])
        free[best] = False
    return found


def _overlap(one: Candidate | LabelledPart, other: Candidate | LabelledPart) -> bool:
    is_same = one.path == other.path
    return is_same and one.start_seconds < other.end_seconds and other.start_seconds < one.end_seconds
