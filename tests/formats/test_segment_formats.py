"""Segments in the formats of other programs, read back by parsers that know nothing of how they were written."""

from __future__ import annotations

import html
import itertools
import json
import re
import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.errors import OutputError
from tadacli.formats.activitynet import activitynet
from tadacli.formats.captions import audacity
from tadacli.formats.elan import eaf
from tadacli.formats.subtitles import srt, vtt
from tadacli.results import Segment
from tests.formats.detections import labelled as row
from tests.formats.detections import segment

Cue = tuple[float, float, str]
HALF_MILLISECOND = 0.5e-3 + 1e-6  # rows hold whole microseconds

SPOKEN = ["pan left", "日本語", "a --> b", "cut & paste", "<i>tilt</i>", "00:00:01,000 --> 00:00:02,000", "NOTE", "1"]
BROKEN = ["tab\tin it", "two\nlines", "no\n\nlines", "\r\x00\x85\u2028", "half \ud800 of a pair", "\ufffe", " "]
times = st.integers(0, 400_000_000).map(lambda microseconds: microseconds / 1e6)
lengths = st.integers(1_000, 9_000_000).map(lambda microseconds: microseconds / 1e6)
segments = st.builds(
    lambda start, length, label, score: segment(start, start + length, label, index=len(label), score=score),
    times,
    lengths,
    st.sampled_from(SPOKEN + BROKEN) | st.text(max_size=8),
    st.integers(0, 100).map(lambda percent: percent / 100),
)
lists = st.lists(segments, max_size=6)


def srt_cues(content: bytes) -> list[Cue]:
    """A small parser: blocks divided by empty lines, of a number, a line of times and the text."""
    clock = r"(\d\d+):([0-5]\d):([0-5]\d),(\d{3})"
    cues = []
    for number, block in enumerate(filter(None, content.decode().split("\n\n")), start=1):
        head, line, text = block.removesuffix("\n").split("\n")
        assert head == str(number)
        match = re.fullmatch(f"{clock} --> {clock}", line)
        assert match
        cues.append((*(_seconds(match.groups()[at : at + 4]) for at in (0, 4)), text))
    return cues


def vtt_cues(content: bytes) -> list[Cue]:
    """A small parser by https://www.w3.org/TR/webvtt1/, of cues without ids, settings or tags."""
    clock = r"(\d\d+):([0-5]\d):([0-5]\d)\.(\d{3})"
    signature, *blocks = content.decode().split("\n\n")
    assert signature.removesuffix("\n") == "WEBVTT"
    cues = []
    for block in filter(None, blocks):
        line, text = block.removesuffix("\n").split("\n")
        match = re.fullmatch(f"{clock} --> {clock}", line)
        assert match
        assert "-->" not in text
        assert "<" not in text
        assert re.findall(r"&(?!amp;|lt;|gt;)", text) == []
        cues.append((*(_seconds(match.groups()[at : at + 4]) for at in (0, 4)), html.unescape(text)))
    return cues


def _seconds(parts: Sequence[str]) -> float:
    hours, minutes, seconds, milliseconds = map(int, parts)
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def audacity_cues(content: bytes) -> list[Cue]:
    lines = [line.split("\t") for line in content.decode().removesuffix("\n").split("\n") if line]
    return [(float(start), float(end), text) for start, end, text in lines]


def eaf_tiers(content: bytes) -> dict[str, list[Cue]]:
    """The annotations of each tier with their scores, after checks of what the schema asks of references and order."""
    root = ElementTree.fromstring(content)
    tags = ("HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LANGUAGE", "CONSTRAINT", "CONTROLLED_VOCABULARY")
    assert [tags.index(each.tag) for each in root] == sorted(tags.index(each.tag) for each in root)
    slots = [(slot.attrib["TIME_SLOT_ID"], int(slot.attrib["TIME_VALUE"])) for slot in root.iter("TIME_SLOT")]
    times = dict(slots)
    assert [time for _, time in slots] == sorted(times.values())
    assert len(times) == len(slots)
    types = {each.attrib["LINGUISTIC_TYPE_ID"]: each.attrib for each in root.iter("LINGUISTIC_TYPE")}
    annotations = list(root.iterfind("TIER/ANNOTATION/*"))
    ids = {each.attrib["ANNOTATION_ID"] for each in annotations}
    assert len(annotations) == len(ids) == int(root.findtext("HEADER/PROPERTY[@NAME='lastUsedAnnotationId']", "-1"))
    stereotypes = {each.attrib["STEREOTYPE"] for each in root.iter("CONSTRAINT")}
    scores = {}
    for tier in root.iterfind("TIER[@PARENT_REF]"):
        assert types[tier.attrib["LINGUISTIC_TYPE_REF"]]["CONSTRAINTS"] in stereotypes
        assert tier.attrib["PARENT_REF"] in {each.attrib["TIER_ID"] for each in root.iter("TIER")}
        for each in tier.iter("REF_ANNOTATION"):
            scores[each.attrib["ANNOTATION_REF"]] = float(each.findtext("ANNOTATION_VALUE", ""))
    words = {each.text for each in root.iter("CVE_VALUE")}
    tiers: dict[str, list[Cue]] = {}
    for tier in root.iterfind("TIER"):
        if "PARENT_REF" in tier.attrib:
            continue
        vocabulary = types[tier.attrib["LINGUISTIC_TYPE_REF"]]["CONTROLLED_VOCABULARY_REF"]
        assert vocabulary in {each.attrib["CV_ID"] for each in root.iter("CONTROLLED_VOCABULARY")}
        assert tier.attrib["TIER_ID"] not in tiers
        tiers[tier.attrib["TIER_ID"]] = [
            (
                times[each.attrib["TIME_SLOT_REF1"]] / 1000,
                times[each.attrib["TIME_SLOT_REF2"]] / 1000,
                f"{each.findtext('ANNOTATION_VALUE', '')} ({scores[each.attrib['ANNOTATION_ID']]:.2f})",
            )
            for each in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        assert {each.text for each in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION/ANNOTATION_VALUE")} <= words
    assert scores.keys() <= ids
    return tiers


def eaf_cues(content: bytes) -> list[Cue]:
    return [cue for cues in eaf_tiers(content).values() for cue in cues]


READERS = {
    "srt": (srt, srt_cues),
    "vtt": (vtt, vtt_cues),
    "audacity": (audacity, audacity_cues),
    "eaf": (eaf, eaf_cues),
}


def assert_cues_are(cues: Sequence[Cue], segments: Sequence[Segment], *, start_seconds: float) -> None:
    """Each cue is one of the segments, and each segment is one of the cues."""
    left = list(segments)
    for start, end, text in cues:
        fits = [
            each
            for each in left
            if abs(each.start_seconds - start_seconds - start) <= HALF_MILLISECOND
            and abs(each.end_seconds - start_seconds - end) <= HALF_MILLISECOND
            and text.endswith(f" ({each.score:.2f})")
        ]
        assert fits, (start, end, text)
        left.remove(fits[0])
    assert left == []


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None)
@given(lists, st.sampled_from([0.0, 0.08, 3600.5]))
def test_every_segment_comes_back_on_the_players_clock(name: str, found: list[Segment], start_seconds: float) -> None:
    write, read = READERS[name]
    shifted = [
        segment(each.start_seconds + start_seconds, each.end_seconds + start_seconds, each.label, score=each.score)
        for each in found
    ]
    content = write(row("a.mp4", *shifted, start_seconds=start_seconds))
    assert_cues_are(read(content), shifted, start_seconds=start_seconds)
    assert content == write(row("a.mp4", *shifted, start_seconds=start_seconds))


@pytest.mark.parametrize("name", ["srt", "vtt", "audacity"])
@settings(max_examples=40, deadline=None)
@given(lists)
def test_cues_come_in_order_of_time(name: str, found: list[Segment]) -> None:
    write, read = READERS[name]
    spans = [cue[:2] for cue in read(write(row("a.mp4", *found)))]
    assert spans == sorted(spans)


@pytest.mark.parametrize("name", READERS)
def test_labels_are_kept_in_any_language_and_with_any_mark(name: str) -> None:
    write, read = READERS[name]
    found = [segment(float(at), at + 0.5, label, index=at, score=0.5) for at, label in enumerate(SPOKEN)]
    assert [text for *_, text in read(write(row("a.mp4", *found)))] == [f"{label} (0.50)" for label in SPOKEN]


@pytest.mark.parametrize("name", READERS)
def test_labels_stay_on_one_line_of_text(name: str) -> None:
    write, read = READERS[name]
    found = [segment(float(at), at + 0.5, label, index=at, score=0.5) for at, label in enumerate(BROKEN)]
    texts = [text for *_, text in read(write(row("a.mp4", *found)))]
    assert texts[:3] == ["tab in it (0.50)", "two lines (0.50)", "no  lines (0.50)"]
    assert texts[4:6] == ["half \ufffd of a pair (0.50)", "\ufffd (0.50)"]
    assert len(texts) == len(BROKEN)


def test_segments_of_the_same_time_keep_their_order() -> None:
    found = [segment(1.0, 2.0, label) for label in ("b", "a", "c")]
    for name in ("srt", "vtt", "audacity"):
        write, read = READERS[name]
        assert [text[0] for *_, text in read(write(row("a.mp4", *found)))] == ["b", "a", "c"]


@pytest.mark.parametrize(("name", "empty"), [("srt", b""), ("vtt", b"WEBVTT\n"), ("audacity", b"")])
def test_nothing_found_is_an_empty_file(name: str, empty: bytes) -> None:
    assert READERS[name][0](row("a.mp4")) == empty


def test_subtitles_look_as_players_expect() -> None:
    found = row("a.mp4", segment(0.0, 1.5), segment(3661.0415, 360000.0, "a<b"))
    assert srt(found).decode() == (
        "1\n00:00:00,000 --> 00:00:01,500\npan left (0.75)\n\n2\n01:01:01,042 --> 100:00:00,000\na<b (0.75)\n"
    )
    assert vtt(found).decode() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\npan left (0.75)\n\n01:01:01.042 --> 100:00:00.000\na&lt;b (0.75)\n"
    )


@pytest.mark.parametrize("name", ["srt", "vtt", "eaf"])
def test_a_segment_shorter_than_a_millisecond_still_shows(name: str) -> None:
    write, read = READERS[name]
    ((start, end, _),) = read(write(row("a.mp4", segment(1.0001, 1.0004))))
    assert (start, end) == (1.0, 1.001)


@settings(max_examples=40, deadline=None)
@given(lists)
def test_annotations_of_a_tier_never_overlap(found: list[Segment]) -> None:
    for cues in eaf_tiers(eaf(row("a.mp4", *found))).values():
        for (_, end, _), (start, _, _) in itertools.pairwise(cues):
            assert end <= start


def test_overlaps_go_to_further_tiers_named_after_the_label() -> None:
    found = [segment(at, at + 2.5, "tilt", index=0) for at in (0.0, 1.0, 2.0, 3.0)]
    found += [segment(0.0, 1.0, "tilt (2)", index=5), segment(1.0, 2.0, "tilt (2)", index=5)]
    tiers = eaf_tiers(eaf(row("a.mp4", *found)))
    assert {name: [start for start, *_ in cues] for name, cues in tiers.items()} == {
        "tilt": [0.0, 3.0],
        "tilt (3)": [1.0],
        "tilt (4)": [2.0],
        "tilt (2)": [0.0, 1.0],
    }


@pytest.mark.parametrize(
    ("path", "name", "mime"),
    [
        ("videos/my clip.MP4", "my clip.MP4", "video/mp4"),
        ("a&b <1>.mkv", "a&b <1>.mkv", "video/x-matroska"),
        ("caf\udce9.mov", "caf\ufffd.mov", "video/quicktime"),
        ("https://host/x/P01_11.mp4?key=1", "P01_11.mp4", "video/mp4"),
        ("frames/P01_11/", "P01_11", "unknown"),
    ],
)
def test_elan_finds_the_video_beside_the_document(path: str, name: str, mime: str) -> None:
    (media,) = ElementTree.fromstring(eaf(row(path))).iter("MEDIA_DESCRIPTOR")
    assert media.attrib == {"MEDIA_URL": name, "RELATIVE_MEDIA_URL": f"./{name}", "MIME_TYPE": mime}


@pytest.mark.parametrize("found", [[], [segment(0.0, 2.0), segment(1.0, 3.0), segment(2.0, 4.0, "日本 & <b>")]])
def test_pympi_reads_the_elan_document(tmp_path: Path, found: list[Segment]) -> None:
    elan = pytest.importorskip("pympi.Elan")
    (tmp_path / "out.eaf").write_bytes(eaf(row("a.mp4", *found)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns of versions it does not know
        document = elan.Eaf(str(tmp_path / "out.eaf"))
    read = {name: document.get_annotation_data_for_tier(name) for name in document.get_tier_names()}
    wanted = {
        "pan left": [(0, 2000, "pan left")],
        "pan left (2)": [(1000, 3000, "pan left")],
        "日本 & <b>": [(2000, 4000, "日本 & <b>")],
    }
    scores = {f"{name} score": [(*times, "0.75", label)] for name, [(*times, label)] in wanted.items()}
    assert read == (wanted | scores if found else {})
    entries = document.get_cv_entries("labels")
    assert [values[0][0] for values, _ in entries.values()] == list(dict.fromkeys(each.label for each in found))
    assert document.get_linked_files()[0]["RELATIVE_MEDIA_URL"] == "./a.mp4"


def test_activitynet_predictions_hold_every_video_by_its_id() -> None:
    rows = [
        row("in/v_one.mp4", segment(2.1, 3.0, "x\ty", score=0.9), segment(0.1, 1.0), start_seconds=0.1),
        row("v_two.mkv"),
        row("caf\udce9.mp4", segment(0.0, 1.0, "日本")),
    ]
    read = json.loads(activitynet(rows))
    assert list(read) == ["version", "external_data", "results"]
    assert read["version"] == "VERSION 1.3"
    assert read["results"] == {
        "v_one": [
            {"label": "x\ty", "score": 0.9, "segment": [2.0, 2.9]},
            {"label": "pan left", "score": 0.75, "segment": [0.0, 0.9]},
        ],
        "v_two": [],
        "caf\udce9": [{"label": "日本", "score": 0.75, "segment": [0.0, 1.0]}],
    }


def test_videos_that_activitynet_could_not_tell_apart_are_refused() -> None:
    with pytest.raises(OutputError, match=r"a/clip\.mp4 and b/clip\.mkv would both be the video clip"):
        activitynet([row("a/clip.mp4"), row("b/clip.mkv")])


@pytest.mark.parametrize("found", [[], [segment(0.0, 1.5), segment(1.0, 3661.25, "a < b & c", score=0.5)]])
def test_other_programs_read_the_subtitles(found: list[Segment]) -> None:
    read_srt, read_vtt = pytest.importorskip("srt"), pytest.importorskip("webvtt")

    def srt_clock(seconds: float) -> str:
        return str(read_srt.timedelta_to_srt_timestamp(timedelta(seconds=seconds)))

    wanted = [(each.start_seconds, each.end_seconds, f"{each.label} ({each.score:.2f})") for each in found]
    cues = list(read_srt.parse(srt(row("a.mp4", *found)).decode()))
    assert [(cue.start.total_seconds(), cue.end.total_seconds(), cue.content) for cue in cues] == wanted
    captions = read_vtt.from_string(vtt(row("a.mp4", *found)).decode())
    clocks = [tuple(srt_clock(time).replace(",", ".") for time in cue[:2]) for cue in wanted]
    assert [(each.start, each.end) for each in captions] == clocks
    assert [html.unescape(each.text) for each in captions] == [text for *_, text in wanted]
