"""Annotations of ELAN (.eaf): which tiers hold labels, when each annotation is, and which video they are of."""

from __future__ import annotations

import re
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from tadacli.datasets.elan_times import TimedAnnotation, annotations_by_tier, attribute, milliseconds
from tadacli.datasets.spans import Annotations, LabelledSpan
from tadacli.datasets.tables import AnyPath, named, read_bytes
from tadacli.datasets.video_search import VideoSearch
from tadacli.datasets.xml_files import parse_xml
from tadacli.errors import UsageError
from tadacli.results import Note, NoteKind
from tadacli.video.inputs import is_video_name

ROOT_TAG = "ANNOTATION_DOCUMENT"
# What our own documents say of themselves, see `formats.elan`.
_OWN_AUTHOR, _OWN_TYPE, _OWN_SCORES = "tada ", "segments", "score"
_OWN_ID = re.compile(r"a\d+")
_LANE = re.compile(r" \(\d+\)$")
_SCORE = re.compile(r" \([01]\.\d\d\)$")  # as earlier versions wrote it after the label
_SCORE_TEXT = re.compile(r"(0|1)(\.\d{1,20})?|\d(\.\d{1,20})?e-\d{1,3}")


@dataclass(frozen=True)
class _Document:
    """A document: its annotations by tier, and whether `tada detect` wrote it and nobody saved it with ELAN since.

    `scores` are by the annotation that they are of; the tiers that hold them are none of `tiers`.
    """

    file: Path
    root: Element
    tiers: dict[str, tuple[TimedAnnotation, ...]]
    scores: Mapping[str, float]
    own_tiers: frozenset[str]
    is_own: bool
    is_saved_since: bool


def read_elan(path: Path, *, data_root: AnyPath | None, tiers: Sequence[str] | None) -> Annotations:
    """The annotations of a document, or of all documents of a folder.

    Annotations of a child tier have the times of what they refer to; time slots without a time lie evenly between
    their neighbours, as in ELAN.

    Args:
        path: The .eaf, or the folder.
        data_root: Where videos are looked for by name; None: beside the documents, and where these say they are.
        tiers: The tiers with the labels; None: the only one that has annotations, or those that `tada detect` wrote.

    Returns:
        The annotations in the order of documents and tiers.

    Raises:
        UsageError: A file is no such document, has no annotations, or several tiers have some and none was named.
    """
    files = [path] if not path.is_dir() else eaf_files(path)
    if not files:
        raise UsageError(f"the folder {path} holds no .eaf", hint="give a folder with annotations of ELAN")
    documents = [_read(file) for file in files]
    chosen = _all_tiers(path, documents) if tiers is None else _named_tiers(path, documents, tiers)
    videos = VideoSearch(files[0].parent if data_root is None else data_root)
    spans: list[LabelledSpan] = []
    remarks: list[str] = []
    for document in documents:
        video, offset = _media(document, videos, data_root)
        spans += _spans(document, chosen, video, offset)
        name = document.file.name
        remarks += [f"{name}: its media start at {offset} ms, which is added to all times"] if offset else []
        lacking = [repr(tier) for tier in tiers or () if tier not in document.tiers]
        remarks += [f"{name} has no tier {named(lacking)}"] if lacking else []
        if tiers is None and not any(document.tiers.values()):
            remarks.append(f"{name} has no annotations")
    notes = [Note(NoteKind.READING, remark) for remark in (*remarks, *videos.remarks)]
    return Annotations(str(path), tuple(spans), tuple(notes))


def eaf_files(folder: Path) -> list[Path]:
    """The .eaf files in a folder, by name. Raises `UsageError` if it cannot be listed."""
    try:
        return sorted(file for file in folder.iterdir() if file.suffix.lower() == ".eaf" and file.name[0] != ".")
    except OSError as error:
        raise UsageError(f"the folder {folder} cannot be listed: {error.strerror or error}") from error


def _read(file: Path) -> _Document:
    root = parse_xml(read_bytes(file), file)
    header = root.find("HEADER")
    if root.tag != ROOT_TAG or header is None:
        raise UsageError(f"{file} is no annotation document of ELAN", hint="give an .eaf")
    units = header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise UsageError(f"{file} counts time in {units}", hint="save it with times in milliseconds")
    is_own = root.get("AUTHOR", "").startswith(_OWN_AUTHOR)
    # ELAN writes all constraints that it knows, and a licence.
    is_saved_since = len(root.findall("CONSTRAINT")) > 1 or root.find("LICENSE") is not None
    own = [tier for tier in root.iterfind("TIER") if is_own and tier.get("LINGUISTIC_TYPE_REF") == _OWN_TYPE]
    own_tiers = frozenset(attribute(tier, "TIER_ID", file) for tier in own)
    scored = [tier for tier in root.iterfind("TIER") if is_own and tier.get("LINGUISTIC_TYPE_REF") == _OWN_SCORES]
    tiers = annotations_by_tier(root, file)
    for tier in scored:
        tiers.pop(attribute(tier, "TIER_ID", file), None)
    return _Document(file, root, tiers, _scores(scored), own_tiers, is_own, is_saved_since)


def _scores(tiers: Sequence[Element]) -> dict[str, float]:
    """The scores on tiers of ours, by the annotation that each is of; what somebody made no number is none."""
    found = {}
    for tier in tiers:
        for each in tier.iterfind("ANNOTATION/REF_ANNOTATION"):
            text = (each.findtext("ANNOTATION_VALUE") or "").strip()
            if _SCORE_TEXT.fullmatch(text):
                found[each.get("ANNOTATION_REF", "")] = float(text)
    return found


# --- tiers ----------------------------------------------------------------------------------------------


def _named_tiers(path: Path, documents: Sequence[_Document], tiers: Sequence[str]) -> frozenset[str]:
    there = {name for document in documents for name in document.tiers}
    missing = [repr(tier) for tier in tiers if tier not in there]
    if missing:
        listed = [repr(name) for name, number in sorted(_num_timed(documents).items()) if number]
        hint = f"its tiers are {named(listed, most=20)}" if listed else "annotate it on one tier"
        raise UsageError(f"{path} has no tier {named(missing)}", hint=hint)
    return frozenset(tiers)


def _all_tiers(path: Path, documents: Sequence[_Document]) -> frozenset[str]:
    """The tiers that hold labels without a doubt: the only one, or those that we wrote where there are no others."""
    labels = {name for each in documents for name in each.own_tiers if _names_its_own(name, each.tiers[name])}
    ours: set[str] = set()
    others: set[str] = set()
    is_mixed = False
    for document in documents:
        held = {name for name, tier in document.tiers.items() if any(each.is_timed for each in tier)}
        own = {name for name in held & document.own_tiers if _is_ours(document, name, labels)}
        is_mixed = is_mixed or bool(own and held - own)
        ours, others = ours | own, others | (held - own)
    if is_mixed or len(others) > 1:
        counts = _num_timed(documents)
        listed = [f"{name!r} ({counts[name]})" for name in sorted(ours | others)]
        raise UsageError(
            f"{path} has several tiers with annotations in time: {named(listed, most=20)}",
            hint="say which hold the labels: --tier NAME, once for each",
        )
    if not ours and not others:
        raise _no_annotations(path, documents)
    return frozenset(ours | others)


def _is_ours(document: _Document, tier: str, labels: set[str]) -> bool:
    """Whether a tier of a document of ours holds labels, not what somebody added.

    ELAN offers our type of tiers for new ones, too. So a tier that ELAN may have made is one of ours only if an
    annotation has its name, here or in another document.
    """
    if tier in labels:
        return True
    return not document.is_saved_since and all(_OWN_ID.fullmatch(each.id) for each in document.tiers[tier])


def _names_its_own(name: str, tier: Sequence[TimedAnnotation]) -> bool:
    labels = {name, _LANE.sub("", name)}
    return any(_SCORE.sub("", each.text) in labels for each in tier)


def _num_timed(documents: Sequence[_Document]) -> Counter[str]:
    """How many annotations with times each tier has."""
    counts = Counter[str]()
    for document in documents:
        for name, tier in document.tiers.items():
            counts[name] += sum(each.is_timed for each in tier)
    return counts


def _no_annotations(path: Path, documents: Sequence[_Document]) -> UsageError:
    found = [each for document in documents for tier in document.tiers.values() for each in tier]
    if not found:
        return UsageError(f"{path} has no annotations", hint="annotate it on one tier")
    return UsageError(
        f"{path} has {len(found)} annotations, and none that can be placed in time: {found[0].id}: {found[0].problem}",
        hint="save it again with ELAN, with the tier that holds the times",
    )


# --- annotations ----------------------------------------------------------------------------------------


def _spans(document: _Document, tiers: frozenset[str], video: LabelledSpan, offset: int) -> Iterator[LabelledSpan]:
    for name, tier in document.tiers.items():
        for each in tier if name in tiers else ():
            start = None if each.start_ms is None else each.start_ms + offset
            end = None if each.end_ms is None else each.end_ms + offset
            reason = "" if each.text else "its text is empty"
            if start is None or end is None:
                reason = each.problem
            elif not 0 <= start < end:
                reason = "its span is empty, reversed, or begins before the video"
            yield LabelledSpan(
                place=f"{document.file.name}, annotation {each.id}",
                video=video.video,
                label=_SCORE.sub("", each.text) if document.is_own else each.text,
                start_seconds=None if start is None else start / 1000,
                end_seconds=None if end is None else end / 1000,
                path=video.path,
                participant=each.participant,
                reason=reason,
                missing=video.missing,
                score=document.scores.get(each.id),
            )


def _media(document: _Document, videos: VideoSearch, data_root: AnyPath | None) -> tuple[LabelledSpan, int]:
    """(the first video that the header names, milliseconds at which its annotations start).

    Programs write where it was on the computer of whoever annotated it, so its name is what counts.
    """
    file = document.file
    home = file.parent if data_root is None else Path(data_root)
    for descriptor in document.root.iterfind("HEADER/MEDIA_DESCRIPTOR"):
        urls = _urls(descriptor)
        names = [PurePosixPath(url).name for url in urls]
        if not any(is_video_name(name) for name in names):
            continue
        offset = milliseconds(descriptor.get("TIME_ORIGIN", "0"), file, "TIME_ORIGIN")
        found = videos.find_exactly([*(urls if data_root is None else _relative(urls)), *names])
        found = found or next((path for name in names if (path := videos.find(name))), None) or videos.find(file.stem)
        if found is not None:
            return LabelledSpan("", _below(found, home), "", path=found), offset
        return LabelledSpan("", names[0], "", missing=videos.missing(names[0], also=[file.stem])), offset
    found = videos.find(file.stem)
    if found is not None:
        return LabelledSpan("", _below(found, home), "", path=found), 0
    return LabelledSpan("", file.stem, "", missing=videos.missing(file.stem)), 0


def _relative(urls: Sequence[str]) -> list[str]:
    return [url for url in urls if not url.startswith("/")]


def _below(path: Path, home: Path) -> str:
    return str(path.relative_to(home)) if path.is_relative_to(home) else path.name


def _urls(descriptor: Element) -> list[str]:
    """The places where the media are said to be, as paths; the one beside the document first."""
    given = [descriptor.get(key, "") for key in ("RELATIVE_MEDIA_URL", "MEDIA_URL")]
    paths = [urllib.parse.unquote(url.removeprefix("file:")).replace("\\", "/") for url in given]
    return [re.sub("^/{2,}", "/", path).removeprefix("./") for path in paths if path]
