"""When the annotations of an ELAN document are: at times of their own, of a parent, or between their neighbours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from tadacli.datasets.tables import bad_line
from tadacli.errors import UsageError

_Span = tuple[int | None, int | None]
_MOST_MILLISECONDS = 10**12
_ALIGNED, _REFERRING = "ANNOTATION/ALIGNABLE_ANNOTATION", "ANNOTATION/REF_ANNOTATION"


@dataclass(frozen=True)
class TimedAnnotation:
    """An annotation with its text and its times in milliseconds, None where they are not known, as `problem` says."""

    id: str
    text: str
    start_ms: int | None
    end_ms: int | None
    participant: str
    problem: str = ""

    @property
    def is_timed(self) -> bool:
        """Whether it has a start and an end."""
        return self.start_ms is not None and self.end_ms is not None


def annotations_by_tier(root: Element, file: Path) -> dict[str, tuple[TimedAnnotation, ...]]:
    """The annotations of each tier, in the order of the document.

    Args:
        root: The document.
        file: Its name, for errors.

    Returns:
        Annotations by the name of their tier, also of tiers without any.

    Raises:
        UsageError: An element lacks what it needs, or a time is no number.
    """
    tiers: dict[str, list[Element]] = defaultdict(list)
    for tier in root.iterfind("TIER"):
        tiers[attribute(tier, "TIER_ID", file)].append(tier)
    slots = {
        slot.get("TIME_SLOT_ID", ""): (number, slot.get("TIME_VALUE"))
        for number, slot in enumerate(root.iterfind("TIME_ORDER/TIME_SLOT"))
    }
    times: dict[str, int | None] = {
        name: None if value is None else milliseconds(value, file, f"time slot {name}")
        for name, (_, value) in slots.items()
    }
    order = {name: number for name, (number, _) in slots.items()}
    spans: dict[str, _Span] = {}
    for name in _parents_first(tiers):
        aligned = [each for tier in tiers[name] for each in tier.iterfind(_ALIGNED)]
        _fill(times, order, aligned)
        for each in aligned:
            begin, end = (times.get(each.get(f"TIME_SLOT_REF{number}", "")) for number in (1, 2))
            spans[attribute(each, "ANNOTATION_ID", file)] = (begin, end)
        spans |= _shares([each for tier in tiers[name] for each in tier.iterfind(_REFERRING)], spans, file)
    return {name: tuple(_annotations(elements, spans, file)) for name, elements in tiers.items()}


def _annotations(tiers: Sequence[Element], spans: Mapping[str, _Span], file: Path) -> list[TimedAnnotation]:
    found = []
    for tier in tiers:
        for each in tier.iterfind("ANNOTATION/*"):
            name = attribute(each, "ANNOTATION_ID", file)
            start, end = spans.get(name, (None, None))
            refers = each.get("ANNOTATION_REF")
            problem = "it has no time of its own" if refers is None else f"it refers to {refers!r}, which has no times"
            if refers is not None and refers not in spans:
                problem = f"it refers to {refers!r}, which is not there"
            text = " ".join((each.findtext("ANNOTATION_VALUE") or "").split())
            is_timed = start is not None and end is not None
            found.append(
                TimedAnnotation(name, text, start, end, tier.get("PARTICIPANT", ""), "" if is_timed else problem)
            )
    return found


def _parents_first(tiers: Mapping[str, Sequence[Element]]) -> list[str]:
    """The names of the tiers, each after the one that it is a child of."""
    children: dict[str, list[str]] = defaultdict(list)
    for name, elements in tiers.items():
        parent = elements[0].get("PARENT_REF", "")
        children[parent if parent in tiers and parent != name else ""].append(name)
    ordered = list(children[""])
    for name in ordered:
        ordered += children.get(name, ())
    # Tiers that are children of each other, as in no document of ELAN, come last.
    return list(dict.fromkeys([*ordered, *tiers]))


def _fill(times: dict[str, int | None], order: Mapping[str, int], aligned: Sequence[Element]) -> None:
    """Give the slots of a tier that have no time one between their neighbours, evenly, in whole milliseconds."""
    slots = {each.get(f"TIME_SLOT_REF{number}", "") for each in aligned for number in (1, 2)}
    chain = sorted(slots & order.keys(), key=order.__getitem__)
    last: int | None = None
    waiting: list[str] = []
    for slot in chain:
        time = times[slot]
        if time is None:
            waiting.append(slot)
            continue
        if waiting and last is not None:
            step = (time - last) // (len(waiting) + 1)
            times.update({each: last + step * number for number, each in enumerate(waiting, start=1)})
        last, waiting = time, []


def _shares(referring: Sequence[Element], spans: Mapping[str, _Span], file: Path) -> dict[str, _Span]:
    """The times of annotations that refer to others: those that refer to the same one share its span evenly."""
    of_parent: dict[str, list[Element]] = defaultdict(list)
    for each in referring:
        of_parent[attribute(each, "ANNOTATION_REF", file)].append(each)
    found: dict[str, _Span] = {}
    for parent, children in of_parent.items():
        begin, end = spans.get(parent, (None, None))
        names = _in_order(children, file)
        for number, name in enumerate(names):
            if begin is None or end is None:
                found[name] = (None, None)
            else:
                length = end - begin
                found[name] = (
                    begin + length * number // len(names),
                    begin + length * (number + 1) // len(names),
                )
    return found


def _in_order(children: Sequence[Element], file: Path) -> list[str]:
    """The ids of annotations, each after the one that it names as the previous one."""
    names = [attribute(each, "ANNOTATION_ID", file) for each in children]
    after = {each.get("PREVIOUS_ANNOTATION"): name for each, name in zip(children, names, strict=True)}
    chain: list[str] = []
    at = after.get(None)
    while at is not None and len(chain) < len(names):
        chain.append(at)
        at = after.get(at)
    # Without a chain through all of them, as they stand in the document.
    return chain if sorted(chain) == sorted(names) else names


def attribute(element: Element, name: str, file: Path) -> str:
    """An attribute that must be there. Raises `UsageError` if it is not."""
    value = element.get(name)
    if value is None:
        raise UsageError(f"{file}: a {element.tag} lacks {name}", hint="save it again with ELAN")
    return str(value)


def milliseconds(text: str, file: Path, place: str) -> int:
    """A time as ELAN writes it. Raises `UsageError` if it is no whole number."""
    try:
        value = int(text)
    except ValueError as error:
        raise bad_line(file, place, f"{text[:40]!r} is not a whole number of milliseconds") from error
    if abs(value) > _MOST_MILLISECONDS:
        raise bad_line(file, place, f"{text[:40]!r} milliseconds are longer than any video")
    return value
