"""What videos show, as `classify` returns it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tadacli.errors import UsageError
from tadacli.results.json_ready import Status, classification_facts
from tadacli.results.notes import Note
from tadacli.results.shown import check_score, list_repr, shortened, wanted_labels
from tadacli.results.videos import FrameTime, VideoInfo
from tadacli.strict_tables import in_one_line

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Prediction:
    """A class with its score in 0..1; `index` is its place in the head's labels."""

    label: str
    index: int
    score: float


@dataclass(frozen=True, repr=False)
class Classification:
    """What one video was found to show, or why it could not be classified.

    `status` is "ok", "short" (fewer frames than a clip spans, so that some were repeated) or "error" (then
    `error` says why and there are no predictions). `heads` maps head names to their best classes, best
    first; a model with one head uses the name "". `clips` are the frames the model saw, clip by clip.
    `notes` are things to know about the result that are no error. `num_labels` says how many classes each head has.
    """

    path: str
    status: Status
    model: str
    error: str = ""
    heads: Mapping[str, tuple[Prediction, ...]] = field(default_factory=dict)
    clips: tuple[tuple[FrameTime, ...], ...] = ()
    video: VideoInfo | None = None
    notes: tuple[Note, ...] = ()
    num_labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str | None:
        """The best label: of a model of verbs and nouns "verb noun", as `detect` names an action; None without any."""
        best = self._best()
        return None if best is None else best[0]

    @property
    def score(self) -> float | None:
        """The score of the best label, 0 to 1, that of an action the product of its verb's and noun's; None without."""
        best = self._best()
        return None if best is None else best[1]

    def top(self, k: int) -> tuple[Prediction, ...]:
        """The best predictions.

        Args:
            k: How many at most. No more are known than `classify` was asked for with `topk`.

        Returns:
            The best first: of the only head, or the first of several. Of a model of verbs and nouns these are the best
            actions, with the label, number and score that `detect` gives them; `heads` has verbs and nouns apart.

        Raises:
            UsageError: `k` is below 1.
        """
        if k < 1:
            raise UsageError(f"top {k} names no class", hint="ask for 1 or more")
        if not self._is_of_actions:
            return tuple(next(iter(self.heads.values()), ())[:k])
        if "noun" not in self.num_labels:
            raise UsageError("num_labels does not say how many nouns there are, which the numbers of actions depend on")
        return tuple(
            Prediction(f"{verb.label} {noun.label}", verb.index * self.num_labels["noun"] + noun.index, score)
            for verb, noun, score in self._actions(k)
        )

    @property
    def _is_of_actions(self) -> bool:
        return set(self.heads) == {"verb", "noun"}

    def _best(self) -> tuple[str, float] | None:
        if self._is_of_actions:
            return next(((f"{verb.label} {noun.label}", score) for verb, noun, score in self._actions(1)), None)
        return next(((each.label, each.score) for each in next(iter(self.heads.values()), ())), None)

    def _actions(self, k: int) -> list[tuple[Prediction, Prediction, float]]:
        """The best pairs of a verb and a noun, with the product of their scores."""
        verbs, nouns = self.heads["verb"], self.heads["noun"]
        pairs = [(verb, noun, float(f"{verb.score * noun.score:.7g}")) for verb in verbs for noun in nouns]
        pairs.sort(key=lambda pair: -pair[2])  # stable: equal ones stand in the order of their ranks
        # With the best n verbs and n nouns no more than the best n pairs are known.
        return pairs[: min(k, max(len(verbs), len(nouns)))]

    def to_dict(self) -> dict[str, Any]:
        """What the row of `tada classify` says of the video, JSON-ready, without what the result was made with."""
        return dict(classification_facts(self))

    def to_pandas(self) -> pandas.DataFrame:
        """The predictions as a table, see `Classifications.to_pandas`."""
        return Classifications([self]).to_pandas()

    def __repr__(self) -> str:
        if self.status == "error":
            return f"Classification({shortened(self.path)}: error: {in_one_line(self.error)})"
        said = f"{in_one_line(self.label)} {self.score:.3f}" if self.label is not None else "no label"
        return f"Classification({shortened(self.path)}: {said}{', short' if self.status == 'short' else ''})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the best labels with bars."""
        from tadacli.results.notebook import classification_html

        return classification_html(self)


class Classifications(list[Classification]):
    """What videos were found to show, one result for each, in order."""

    @property
    def failed(self) -> Classifications:
        """The results of the videos that could not be classified."""
        return Classifications(each for each in self if each.status == "error")

    def filter(self, *, label: str | Collection[str] | None = None, min_score: float | None = None) -> Classifications:
        """The videos whose best label is one that is wanted.

        Args:
            label: The label or labels; any by default.
            min_score: The least score of the best label, 0 to 1.

        Returns:
            Their results as they are, in order. A video without a label, such as one that failed, is not among them.

        Raises:
            UsageError: The score is not between 0 and 1.
        """
        wanted = wanted_labels(label)
        check_score(min_score)
        return Classifications(
            each
            for each in self
            if each.label is not None
            and (wanted is None or each.label in wanted)
            and (min_score is None or (each.score or 0.0) >= min_score)
        )

    def to_pandas(self) -> pandas.DataFrame:
        """All predictions as a table: a row for each head and rank.

        Returns:
            Columns `video`, `head` ("" for the only one), `rank` from 1, `label`, `index`, `score`, `status` and
            `error`. A video without a prediction has one row, in which the rank and what comes after it is missing.
        """
        from tadacli.results.frames import data_frame

        rows = [row for each in self for row in _table_rows(each)]
        return data_frame(rows, _COLUMNS, texts=_TEXTS, counts=("rank", "index"))

    def __repr__(self) -> str:
        return list_repr("Classifications", self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the first of the results."""
        from tadacli.results.notebook import all_html

        return all_html(self)


_COLUMNS = ("video", "head", "rank", "label", "index", "score", "status", "error")
_TEXTS = ("video", "head", "label", "status", "error")


def _table_rows(result: Classification) -> list[dict[str, object]]:
    common: dict[str, object] = {"video": result.path, "status": result.status, "error": result.error}
    rows: list[dict[str, object]] = [
        {"head": head, "rank": rank, "label": each.label, "index": each.index, "score": each.score}
        for head, predictions in result.heads.items()
        for rank, each in enumerate(predictions, start=1)
    ]
    return [{**common, **row} for row in rows or [{"head": ""}]]
