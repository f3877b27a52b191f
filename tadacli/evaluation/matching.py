"""Which predictions belong to which items of a data set, and what those that match none were probably meant to be."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tadacli.datasets.samples import Sample
from tadacli.errors import UsageError
from tadacli.evaluation.predictions import TopScores
from tadacli.formats.video_names import video_id
from tadacli.results import Note, NoteKind, counted, out_of

# So many are named in a text; the files of a report have all of them.
_NUM_NAMED = 10
# What ActivityNet puts in front of the ids in its names of files.
_PREFIX = "v_"


@dataclass(frozen=True)
class Unmatched:
    """The names in a file of predictions that the annotations do not have, of `num_names` that it has.

    `likely` has for each of `names` the name in the annotations that differs only in spelling, else an empty text.
    `unit` is what the names are of, in the plural. `advice` is what to do if no spelling explains it.
    """

    names: tuple[str, ...]
    likely: tuple[str, ...]
    num_names: int
    unit: str
    advice: str

    @property
    def hint(self) -> str:
        """What to do about them."""
        for name, meant in zip(self.names, self.likely, strict=True):
            if meant and meant != name:
                return f"the annotations have {meant} where the predictions have {name}: write both alike"
        return self.advice

    @property
    def text(self) -> str:
        """The first of them, each with what it was probably meant to be."""
        pairs = list(zip(self.names, self.likely, strict=True))[:_NUM_NAMED]
        listed = ", ".join(f"{name} ({meant}?)" if meant else name for name, meant in pairs)
        left = len(self.names) - len(pairs)
        return f"{listed} and {left} more" if left else listed

    @property
    def notes(self) -> tuple[Note, ...]:
        """A note about them; none if all match."""
        if not self.names:
            return ()
        what = f"are of {self.unit} that are no samples"
        text = f"{out_of(len(self.names), self.num_names, 'results', what)}: {self.text}; {self.hint}"
        return (Note(NoteKind.PREDICTIONS, text),)

    def refuse_if_all(self, where: str) -> None:
        """Refuse predictions of which not one fits.

        Args:
            where: What the annotations are called, with their split.

        Raises:
            UsageError: There are names, and none of them matches; the first are listed.
        """
        if self.names and len(self.names) == self.num_names:
            whole = (
                f"not one of {counted(self.num_names, self.unit)} in the predictions is in the annotations of {where}"
            )
            raise UsageError(f"{whole}: {self.text}", hint=self.hint)


def unmatched(names: Iterable[str], known: Collection[str], *, unit: str) -> Unmatched:
    """The names that the annotations do not have.

    Args:
        names: Ids in a file of predictions, in its order.
        known: Those of the annotations, in their order.
        unit: What they are of, in the plural.

    Returns:
        The names that match none.
    """
    given, there = list(dict.fromkeys(names)), set(known)
    lost = tuple(name for name in given if name not in there)
    advice = f"give predictions and annotations of the same {unit} and the same split"
    return Unmatched(lost, _likely(lost, known), len(given), unit, advice)


@dataclass(frozen=True)
class MatchedResults:
    """The row of each sample that has one, and the reasons of those that failed, both by the sample's id.

    `strangers` are the paths of results that belong to no sample.
    """

    rows: Mapping[str, int]
    failed: Mapping[str, str]
    strangers: Unmatched


def match_results(samples: Sequence[Sample], top: TopScores) -> MatchedResults:
    """The results of whole videos that belong to samples.

    A result belongs to the sample with the same file: its path counts from the working folder or, where that leads to
    no sample, from the folder of the file of results. Where no file of a sample is known, a result belongs to the
    sample of the same name without its suffix.

    Args:
        samples: The samples.
        top: The results.

    Returns:
        What belongs together.

    Raises:
        UsageError: Samples are spans of a video, which the results of whole videos do not tell.
    """
    spans = [sample.id for sample in samples if (sample.start_seconds, sample.end_seconds) != (None, None)]
    if spans:
        raise UsageError(
            f"{out_of(len(spans), len(samples), 'samples', 'have a span of a video')} ({spans[0]} first), which the "
            "results of whole videos do not tell",
            hint="score the data set with tada eval --model",
        )
    outcome: dict[str, int | str] = {path: row for row, path in enumerate(top.paths.tolist())}
    outcome |= top.failed
    wanted = {os.path.abspath(sample.path) for sample in samples if sample.path is not None}
    places = _places(outcome, wanted, top.folder)
    by_name: dict[str, list[str]] = {}
    for path in outcome:
        by_name.setdefault(Path(path).stem, []).append(path)
    rows: dict[str, int] = {}
    failed: dict[str, str] = {}
    taken: set[str] = set()
    for sample in samples:
        if sample.path is not None:
            found = [places[key] for key in [os.path.abspath(sample.path)] if key in places]
        else:
            found = by_name.get(sample.video_id or sample.id, [])
        if len(found) != 1:
            continue
        taken.add(found[0])
        value = outcome[found[0]]
        if isinstance(value, str):
            failed[sample.id] = value
        else:
            rows[sample.id] = value
    return MatchedResults(rows, failed, _strangers([path for path in outcome if path not in taken], samples, outcome))


def _places(paths: Iterable[str], wanted: Collection[str], folder: str) -> dict[str, str]:
    """The path of a result by the place, of those that are wanted, that it stands for."""
    found: dict[str, str] = {}
    given = list(paths)
    for base in ("", folder):
        for path in given:
            place = os.path.abspath(os.path.join(base, path))
            if place in wanted:
                found.setdefault(place, path)
    return found


def _strangers(lost: Sequence[str], samples: Sequence[Sample], outcome: Collection[str]) -> Unmatched:
    by_place = any(sample.path is not None for sample in samples)
    known = [os.fspath(sample.path) if sample.path is not None else sample.video_id or sample.id for sample in samples]
    advice = "give results and annotations of the same videos and the same split"
    if by_place:
        advice += "; paths count from the working folder or from that of the results, without --data-root names count"
    return Unmatched(tuple(lost), _likely(lost, known), len(outcome), "videos", advice)


def _likely(lost: Sequence[str], known: Iterable[str]) -> tuple[str, ...]:
    """For each name the known one that differs in case, a folder, the suffix of a video or a "v_" in front, or ""."""
    meant: dict[str, str] = {}
    for name in known if lost else ():
        meant.setdefault(_plain(name), name)
    return tuple(meant.get(_plain(name), "") for name in lost)


def _plain(name: str) -> str:
    return video_id(name).casefold().removeprefix(_PREFIX)
