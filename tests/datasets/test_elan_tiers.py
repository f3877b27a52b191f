"""Tiers of ELAN documents: whose labels count, and when annotations are that have no times of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tadacli.datasets.annotations import read_annotations
from tadacli.errors import UsageError
from tadacli.formats.elan import eaf
from tadacli.formats.labelled import LabelledSegment, LabelledVideo

Fact = tuple[str, float | None, float | None]
# (id, slot, slot, text), and of a child tier (id, parent, previous annotation, text)
Aligned = tuple[str, str, str, str]
Referring = tuple[str, str, str | None, str]


def aligned(*annotations: Aligned) -> str:
    return "".join(
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{name}" TIME_SLOT_REF1="{begin}" TIME_SLOT_REF2="{end}">'
        f"<ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>"
        for name, begin, end, text in annotations
    )


def referring(*annotations: Referring) -> str:
    return "".join(
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{name}" ANNOTATION_REF="{parent}"'
        + (f' PREVIOUS_ANNOTATION="{previous}"' if previous else "")
        + f"><ANNOTATION_VALUE>{text}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
        for name, parent, previous, text in annotations
    )


def tier(name: str, inner: str, parent: str = "") -> str:
    return (
        f'<TIER TIER_ID="{name}" LINGUISTIC_TYPE_REF="t"'
        + (f' PARENT_REF="{parent}"' if parent else "")
        + f">{inner}</TIER>"
    )


def document(folder: Path, *tiers: str, slots: dict[str, int | None], name: str = "a.eaf") -> Path:
    order = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="{slot}"' + ("/>" if time is None else f' TIME_VALUE="{time}"/>')
        for slot, time in slots.items()
    )
    file = folder / name
    file.write_text(
        '<ANNOTATION_DOCUMENT AUTHOR="Ann"><HEADER TIME_UNITS="milliseconds"/>'
        f"<TIME_ORDER>{order}</TIME_ORDER>{''.join(tiers)}<CONSTRAINT/></ANNOTATION_DOCUMENT>",
        encoding="utf-8",
    )
    return file


def facts(path: Path, *tiers: str) -> list[Fact]:
    spans = read_annotations(path, tiers=tiers or None).spans
    return [(span.label, span.start_seconds, span.end_seconds) for span in spans if not span.reason]


SLOTS: dict[str, int | None] = {"t1": 0, "t2": 1000, "t3": 2000, "t4": 5000}
PARENT = tier("who", aligned(("p1", "t1", "t2", "Ann"), ("p2", "t3", "t4", "Ben")))


def test_a_child_tier_has_the_times_of_its_parent(tmp_path: Path) -> None:
    child = tier("what", referring(("c1", "p2", None, "fall"), ("c2", "p1", None, "walk")), "who")
    grandchild = tier("how", referring(("g1", "c1", None, "fast")), "what")
    # A child may stand before its parent.
    file = document(tmp_path, grandchild, child, PARENT, slots=SLOTS)
    assert facts(file, "what") == [("fall", 2.0, 5.0), ("walk", 0.0, 1.0)]
    assert facts(file, "how") == [("fast", 2.0, 5.0)]
    assert facts(file, "what", "who") == [("fall", 2.0, 5.0), ("walk", 0.0, 1.0), ("Ann", 0.0, 1.0), ("Ben", 2.0, 5.0)]
    with pytest.raises(UsageError, match=r"several tiers .*'how' \(1\), 'what' \(2\), 'who' \(2\)") as failed:
        read_annotations(file)
    assert "--tier" in failed.value.hint


def test_annotations_of_one_parent_share_its_time_in_their_order(tmp_path: Path) -> None:
    child = tier(
        "word", referring(("c3", "p2", "c1", "third"), ("c1", "p2", "c2", "second"), ("c2", "p2", None, "first")), "who"
    )
    file = document(tmp_path, PARENT, child, slots=SLOTS)
    assert facts(file, "word") == [("third", 4.0, 5.0), ("second", 3.0, 4.0), ("first", 2.0, 3.0)]


def test_slots_without_a_time_lie_evenly_between_their_neighbours(tmp_path: Path) -> None:
    slots: dict[str, int | None] = {"t1": 0, "u1": None, "o1": 100, "u2": None, "t2": 1000, "x": None}
    words = tier("word", aligned(("w3", "u2", "t2", "c"), ("w1", "t1", "u1", "a"), ("w2", "u1", "u2", "b")), "who")
    # Slots of other tiers are no neighbours.
    who = tier("who", aligned(("p1", "t1", "t2", "Ann"), ("p2", "t2", "x", "Ben")))
    other = tier("other", aligned(("o", "o1", "t2", "z")))
    file = document(tmp_path, words, who, other, slots=slots)
    assert facts(file, "word") == [("c", 0.666, 1.0), ("a", 0.0, 0.333), ("b", 0.333, 0.666)]
    spans = read_annotations(file, tiers=["who"]).spans
    assert [(span.label, span.reason) for span in spans] == [("Ann", ""), ("Ben", "it has no time of its own")]


@pytest.mark.parametrize(
    ("tiers", "said"),
    [
        pytest.param([tier("t", ""), tier("u", "")], r"a\.eaf has no annotations", id="no annotations"),
        pytest.param([], r"a\.eaf has no annotations", id="no tiers"),
        pytest.param(
            [tier("what", referring(("c1", "gone", None, "fall"), ("c2", "c1", None, "walk")), "what")],
            r"2 annotations, and none that can be placed in time: c1: it refers to 'gone', which is not there",
            id="references to nothing",
        ),
        pytest.param(
            [tier("t", aligned(("a1", "x", "y", "walk")))], r"placed in time: a1: it has no time", id="no times"
        ),
        pytest.param(
            [tier("t", aligned(("a1", "t1", "t2", "x"))).replace('"t1" ', '"big" ')],
            "longer than any video",
            id="an absurd time",
        ),
    ],
)
def test_documents_without_annotations_are_a_named_error(tmp_path: Path, tiers: list[str], said: str) -> None:
    slots: dict[str, int | None] = {"t1": 0, "t2": 5, "x": None, "y": None}
    if "big" in "".join(tiers):
        slots["big"] = 10**20
    with pytest.raises(UsageError, match=said):
        read_annotations(document(tmp_path, *tiers, slots=slots))


def test_one_document_without_annotations_among_others_is_a_note(tmp_path: Path) -> None:
    document(tmp_path, tier("t", aligned(("a1", "t1", "t2", "walk"))), slots=SLOTS)
    document(tmp_path, tier("t", ""), slots=SLOTS, name="b.eaf")
    found = read_annotations(tmp_path)
    assert len(found.spans) == 1
    assert list(map(str, found.remarks)) == ["b.eaf has no annotations"]


# --- documents that detect wrote ------------------------------------------------------------------------


def own(folder: Path, *, added: str = "", saved: bool = True, name: str = "a.eaf", earlier: bool = False) -> Path:
    """What `tada detect` wrote, or an `earlier` version of it, maybe saved with ELAN since, with something added."""
    found = ((0.0, "fall", 0), (1.0, "walk", 1), (1.5, "walk", 1))
    segments = tuple(
        LabelledSegment(start, start + 1, label, index, None if earlier else 0.5) for start, label, index in found
    )
    end = "</ANNOTATION_DOCUMENT>"
    text = eaf(LabelledVideo("x/a.mp4", segments)).decode().replace(end, f"{added}{'<CONSTRAINT/>' * saved}{end}")
    text = text.replace("</ANNOTATION_VALUE>", " (0.50)</ANNOTATION_VALUE>") if earlier else text
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


NOTE = aligned(("a9", "ts1", "ts2", "look again"))
OWN_TYPE = tier("notes", NOTE).replace('_REF="t"', '_REF="segments"')


@pytest.mark.parametrize(
    ("added", "saved"),
    [(tier("notes", NOTE), True), (tier("notes", NOTE), False), (OWN_TYPE, True)],
    ids=["another type", "not saved by ELAN", "our type, which ELAN offers"],
)
def test_a_tier_that_somebody_added_is_not_mixed_with_ours(tmp_path: Path, added: str, *, saved: bool) -> None:
    file = own(tmp_path, added=added, saved=saved)
    with pytest.raises(
        UsageError, match=r"several tiers .*'fall' \(1\), 'notes' \(1\), 'walk' \(1\), 'walk \(2\)' \(1\)"
    ):
        read_annotations(file)
    assert facts(file, "fall", "walk", "walk (2)") == [("fall", 0.0, 1.0), ("walk", 1.0, 2.0), ("walk", 1.5, 2.5)]
    assert facts(file, "notes") == [("look again", 0.0, 1.0)]


@pytest.mark.parametrize("earlier", [False, True])
def test_our_tiers_are_read_together_whatever_a_person_mended(tmp_path: Path, *, earlier: bool) -> None:
    own(tmp_path, name="b.eaf", earlier=earlier, saved=not earlier)
    # In one document all falls were none; the other one tells that the tier holds labels.
    mended = own(tmp_path, earlier=earlier, saved=not earlier)
    was = "fall (0.50)" if earlier else "fall"
    mended.write_text(mended.read_text().replace(f"{was}</ANNOTATION_VALUE>", "sit</ANNOTATION_VALUE>"))
    assert facts(tmp_path)[:3] == [("sit", 0.0, 1.0), ("walk", 1.0, 2.0), ("walk", 1.5, 2.5)]
    assert len(facts(tmp_path)) == 6
    scores = {span.score for span in read_annotations(tmp_path).spans}
    assert scores == {None if earlier else 0.5}


def test_a_document_of_ours_that_elan_did_not_save_needs_no_word_of_its_own(tmp_path: Path) -> None:
    file = own(tmp_path, saved=False)
    file.write_text(file.read_text().replace("fall</ANNOTATION_VALUE>", "sit</ANNOTATION_VALUE>"))
    assert facts(file)[:1] == [("sit", 0.0, 1.0)]
