"""What the scores of one or two heads say about a class: its own score, or the product of verb and noun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tadacli.detection.settings import DETECTED_PAIRS, Heads, check_segment_heads
from tadacli.errors import TadaError
from tadacli.results import Prediction

# Scores (W, num_labels) of windows by head name.
ScoresByHead = Mapping[str, NDArray[np.floating]]

# The published EPIC-KITCHENS-100 detection pipeline fuses the best verbs and nouns of a proposal and keeps the
# best of their pairs; the first `DETECTED_PAIRS` of these become detections.
TOP_VERBS, TOP_NOUNS, NUM_PAIRS = 10, 30, 20

# Windows fused at a time: memory does not grow with the video.
_ROWS = 1024


def fuse_actions(
    verb: NDArray[np.floating],
    noun: NDArray[np.floating],
    *,
    top_verbs: int = TOP_VERBS,
    top_nouns: int = TOP_NOUNS,
    num_pairs: int = NUM_PAIRS,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The best pairs of a verb and a noun for each window, as published, ranked by the product of their scores.

    Args:
        verb: Scores (W, V) of the verbs in each window.
        noun: Scores (W, N) of the nouns.
        top_verbs: So many of the best verbs are paired; equal scores stand in the order of their index.
        top_nouns: So many of the best nouns.
        num_pairs: So many pairs are given, or as many as there are.

    Returns:
        The numbers of verb and noun of each pair (W, P, 2), best first, and their products (W, P). Equal products stand
        in the order of the verb's and then the noun's rank.
    """
    verbs, nouns = (np.argsort(-scores, axis=1, kind="stable") for scores in (verb, noun))
    verbs, nouns = verbs[:, :top_verbs], nouns[:, :top_nouns]
    verb_scores = np.take_along_axis(np.asarray(verb, dtype=np.float64), verbs, axis=1)
    noun_scores = np.take_along_axis(np.asarray(noun, dtype=np.float64), nouns, axis=1)
    products = verb_scores[:, :, None] * noun_scores[:, None, :]
    products = products.reshape(len(verbs), verbs.shape[1] * nouns.shape[1])
    best = np.argsort(-products, axis=1, kind="stable")[:, :num_pairs]
    verb_place, noun_place = np.divmod(best, nouns.shape[1])
    chosen = (np.take_along_axis(verbs, verb_place, axis=1), np.take_along_axis(nouns, noun_place, axis=1))
    return np.stack(chosen, axis=2), np.take_along_axis(products, best, axis=1)


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Window scores by class: of a plain head its labels, of two heads the actions verb * num_nouns + noun."""

    scores: ScoresByHead
    heads: Heads

    @classmethod
    def check(cls, scores: ScoresByHead, heads: Heads, *, num_windows: int) -> ClassScores:
        """The same scores, found to fit the heads and the number of windows.

        Raises `UsageError` as `check_segment_heads` does, `TadaError` for scores that are not numbers, `ValueError`
        for shapes that do not fit.
        """
        check_segment_heads(heads)
        for name, labels in heads.items():
            if scores[name].shape != (num_windows, len(labels)):
                raise ValueError(f"{scores[name].shape} scores do not fit {num_windows} windows, {len(labels)} labels")
            if not bool(np.isfinite(scores[name]).all()):
                raise TadaError(
                    f"the {name or 'class'} scores of some windows are not numbers",
                    hint="score the video again; if they stay, the weights or the dtype cannot be right",
                )
        return cls(scores, heads)

    @property
    def is_action(self) -> bool:
        return len(self.heads) == 2

    def peaks(self, *, max_pairs: int = DETECTED_PAIRS) -> NDArray[np.float64]:
        """Highest score of each class in any window; -1 for a pair that is in no window's best `max_pairs`."""
        if not self.is_action:
            ((name, _),) = self.heads.items()
            return np.asarray(np.max(self.scores[name], axis=0, initial=-1.0), dtype=np.float64)
        verb, noun = self.scores["verb"], self.scores["noun"]
        peaks = np.full(verb.shape[1] * noun.shape[1], -1.0)
        for first in range(0, len(verb), _ROWS):
            rows = slice(first, first + _ROWS)
            pairs, products = fuse_actions(verb[rows], noun[rows], num_pairs=max_pairs)
            np.maximum.at(peaks, pairs[..., 0] * noun.shape[1] + pairs[..., 1], products)
        return peaks

    def columns(self, indices: Sequence[int]) -> NDArray[np.float64]:
        """Scores of some classes in every window, (W, len(indices))."""
        if not self.is_action:
            ((name, _),) = self.heads.items()
            plain: NDArray[np.float64] = self.scores[name][:, indices].astype(np.float64)
            return plain
        verb, noun = np.hsplit(self.parts(indices), 2)
        product: NDArray[np.float64] = verb * noun
        return product

    def parts(self, indices: Sequence[int]) -> NDArray[np.float64]:
        """Scores of the verbs of some actions, then those of their nouns, (W, 2 * len(indices))."""
        verbs, nouns = np.divmod(np.asarray(indices, dtype=np.int64), len(self.heads["noun"]))
        return np.hstack([self.scores["verb"][:, verbs], self.scores["noun"][:, nouns]]).astype(np.float64)

    def names(self, index: int) -> tuple[str, ...]:
        """Every name a class goes by (see `class_names`)."""
        return class_names(index, self.heads)

    def verb_and_noun(self, index: int, verb_score: float, noun_score: float) -> tuple[Prediction, Prediction]:
        """The verb and the noun of an action, with these scores."""
        verb, noun = divmod(index, len(self.heads["noun"]))
        _, verb_name, noun_name = self.names(index)
        return Prediction(verb_name, verb, verb_score), Prediction(noun_name, noun, noun_score)


def class_names(index: int, heads: Heads) -> tuple[str, ...]:
    """Every name a class goes by: its label, and of an action, verb * num_nouns + noun, those of its verb and its noun.

    Args:
        index: Its number.
        heads: The labels by head name: one head, or "verb" and "noun".

    Returns:
        Its own name first.
    """
    if len(heads) == 1:
        (labels,) = heads.values()
        return (labels[index],)
    verb, noun = divmod(index, len(heads["noun"]))
    names = heads["verb"][verb], heads["noun"][noun]
    return (" ".join(names), *names)
