"""What editors take, read back by OpenTimelineIO and by parsers that know nothing of how it was written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.errors import UsageError
from tadacli.formats.captions import one_line
from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.losses import losses
from tadacli.formats.registry import SEGMENT_FORMATS
from tests.formats.detections import require_installed

FORMATS = [name for name, form in SEGMENT_FORMATS.items() if form.holds.timecode]
HOUR, LATE = "01:00:00:00", "23:59:59:20"


@dataclass(frozen=True)
class Rate:
    """A rate of SMPTE: exact, how a file says it, the frames that timecode counts to, and how it begins at an hour."""

    exact: Fraction
    said: float
    base: int
    hour: str
    hour_frame: int

    @property
    def drops(self) -> bool:
        return ";" in self.hour


RATES = [
    Rate(Fraction(24000, 1001), 23.976, 24, HOUR, 86_400),
    Rate(Fraction(24), 24, 24, HOUR, 86_400),
    Rate(Fraction(25), 25, 25, HOUR, 90_000),
    Rate(Fraction(30000, 1001), 29.97003, 30, "01:00:00;00", 107_892),
    Rate(Fraction(30000, 1001), 29.97, 30, HOUR, 108_000),
    Rate(Fraction(30), 30, 30, HOUR, 108_000),
    Rate(Fraction(48), 48, 48, HOUR, 172_800),
    Rate(Fraction(50), 50, 50, HOUR, 180_000),
    Rate(Fraction(60000, 1001), 59.94, 60, "01:00:00;00", 215_784),
    Rate(Fraction(60000, 1001), 59.94006, 60, HOUR, 216_000),
    Rate(Fraction(60), 60, 60, HOUR, 216_000),
]
# First frame, and the first one after it: in the first minute, over its end, at a tenth one.
SPANS = [(0, 1), (100, 228), (17_000, 36_100)]
NUM_FRAMES = 40_000
# (label, first frame from midnight, number of frames)
Found = tuple[str, int, int]


def video_of(rate: Rate, spans: Sequence[tuple[int, int]], *, start: str, labels: Sequence[str] = ()) -> LabelledVideo:
    """A video with a segment for each span of frames."""
    names = labels or [f"label {number}" for number in range(len(spans))]
    segments = tuple(
        LabelledSegment(
            float(first / rate.exact), float(end / rate.exact), name, number % 3, 0.25 * number, origin="machine"
        )
        for number, ((first, end), name) in enumerate(zip(spans, names, strict=True))
    )
    return LabelledVideo(
        "in/Mixed Case ö.MOV",
        segments,
        fps=rate.said,
        num_frames=NUM_FRAMES,
        duration_seconds=float(NUM_FRAMES / rate.exact),
        height=1080,
        width=1920,
        made_with="m, tada 1",
        start_timecode=start,
    )


def written(name: str, video: LabelledVideo) -> str:
    require_installed(name)
    return SEGMENT_FORMATS[name].encode_labelled([video]).decode()


# --- readers ----------------------------------------------------------------------------------------


def read_otio(text: str, rate: Rate) -> list[Found]:
    """By the library itself; clips follow each other, lie in their media, and begin with their marker."""
    otio = pytest.importorskip("opentimelineio")
    timeline = otio.adapters.read_from_string(text, "otio_json")
    found, at = [], 0
    for clip in timeline.find_clips():
        span, media = clip.source_range, clip.media_reference.available_range
        assert {span.start_time.rate, span.duration.rate, media.start_time.rate} == {float(rate.exact)}
        assert media.extended_by(span) == media
        assert clip.trimmed_range_in_parent().start_time.value == at
        (marker,) = clip.markers
        assert (marker.marked_range, marker.name) == (span, clip.name)
        at += span.duration.value
        found.append((clip.name, int(span.start_time.value), int(span.duration.value)))
    return found


def read_fcp7(text: str, rate: Rate) -> list[Found]:
    """By the adapter of OpenTimelineIO, and again by hand; both say the same."""
    otio = pytest.importorskip("opentimelineio")
    root = ElementTree.fromstring(text)
    assert {(each.findtext("timebase"), each.findtext("ntsc")) for each in root.iter("rate")} == {
        (str(rate.base), "FALSE" if rate.exact.denominator == 1 else "TRUE")
    }
    displays = {each.findtext("displayformat") for each in root.iter("timecode")}
    assert displays == {"DF" if rate.drops else "NDF"}
    files = {file.get("id"): file for file in root.iter("file") if len(file)}
    found, at = [], 0
    for clip in root.iter("clipitem"):
        assert [child.tag for child in clip].count("rate") == 1
        file = files[clip.find("file").get("id")]  # type: ignore[union-attr]
        start, end, first, after = (int(clip.findtext(tag, "")) for tag in ("start", "end", "in", "out"))
        assert start == at
        assert after - first == end - start
        assert 0 <= first < after <= int(file.findtext("duration", ""))
        assert clip.findtext("duration") == file.findtext("duration")
        (marker,) = clip.findall("marker")
        assert [marker.findtext(tag) for tag in ("name", "in", "out")] == [
            clip.findtext("name"),
            str(first),
            str(after),
        ]
        at = end
        begin = int(file.findtext("timecode/frame", ""))
        assert frames_of(file.findtext("timecode/string", ""), rate) == begin % frames_in_a_day(rate)
        found.append((clip.findtext("name", ""), begin + first, after - first))
    read = otio.adapters.read_from_string(text, "fcp_xml")
    assert [
        (clip.name, int(clip.source_range.start_time.value), int(clip.source_range.duration.value))
        for clip in read.find_clips()
    ] == found
    return found


# The elements of FCPXML that are written, with their attributes (those that must be there first) and children.
FCPXML = {
    "fcpxml": (("version",), (), ("resources", "library")),
    "resources": ((), (), ("format", "asset")),
    "format": (("id", "frameDuration"), ("width", "height"), ()),
    "asset": (("id", "name", "start", "duration", "hasVideo", "format"), (), ("media-rep",)),
    "media-rep": (("kind", "src"), (), ()),
    "library": ((), (), ("event",)),
    "event": (("name",), (), ("project",)),
    "project": (("name",), (), ("sequence",)),
    "sequence": (("format", "duration", "tcStart", "tcFormat"), (), ("note", "spine")),
    "note": ((), (), ()),
    "spine": ((), (), ("asset-clip",)),
    "asset-clip": (("ref", "name", "offset", "start", "duration", "tcFormat"), (), ("marker", "metadata")),
    "marker": (("start", "duration", "value"), ("note",), ()),
    "metadata": ((), (), ("md",)),
    "md": (("key", "value"), (), ()),
}


def check_structure(element: Element) -> None:
    needed, more, children = FCPXML[element.tag]
    assert set(needed) <= set(element.attrib) <= {*needed, *more}, element.tag
    places = [children.index(child.tag) for child in element]
    assert places == sorted(places)
    for child in element:
        check_structure(child)


def read_fcpxml(text: str, rate: Rate) -> list[Found]:
    """By hand: times are whole numbers of frames, names refer to something, clips follow each other in their asset."""
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n')
    root = ElementTree.fromstring(text)
    check_structure(root)
    (form,), (asset,), (sequence,) = (list(root.iter(tag)) for tag in ("format", "asset", "sequence"))
    assert Fraction(form.attrib["frameDuration"].removesuffix("s")) == 1 / rate.exact
    assert {asset.get("format"), sequence.get("format")} == {form.get("id")}
    assert {each.get("tcFormat") for each in root.iter() if "tcFormat" in each.attrib} == {
        "DF" if rate.drops else "NDF"
    }

    def frames(element: Element, name: str) -> int:
        number = Fraction(element.attrib[name].removesuffix("s")) * rate.exact
        assert number.denominator == 1
        return int(number)

    found, at = [], 0
    first, end = frames(asset, "start"), frames(asset, "start") + frames(asset, "duration")
    for clip in root.iter("asset-clip"):
        assert clip.get("ref") == asset.get("id")
        start, length = frames(clip, "start"), frames(clip, "duration")
        assert frames(clip, "offset") == at
        assert first <= start < start + length <= end
        (marker,) = clip.iter("marker")
        assert (frames(marker, "start"), frames(marker, "duration")) == (start, length)
        assert marker.get("value") == clip.get("name")
        at += length
        found.append((clip.attrib["name"], start, length))
    assert frames(sequence, "duration") == at
    return found


EVENT = re.compile(r"(\d{3})  (\S+) +V     C        (\S+) (\S+) (\S+) (\S+) *")


def frames_in_a_day(rate: Rate) -> int:
    dropped = rate.base // 15 * 9 * 144  # in nine minutes of each of the ten-minute spans of a day
    return rate.base * 86_400 - (dropped if rate.drops else 0)


def frames_of(timecode: str, rate: Rate) -> int:
    """By the library."""
    opentime = pytest.importorskip("opentimelineio").opentime
    return int(opentime.from_timecode(timecode, float(rate.exact)).value)


def read_edl(text: str, rate: Rate) -> list[Found]:
    head, *events = text.split("\n\n")
    assert head.splitlines() == ["TITLE: Mixed Case ö", f"FCM: {'' if rate.drops else 'NON-'}DROP FRAME"]
    found, at = [], 0
    for number, event in enumerate(filter(None, events), start=1):
        line, name, marker, comment = event.strip("\n").splitlines()
        match = EVENT.fullmatch(line)
        assert match
        assert (int(match[1]), match[2]) == (number, "AX")
        assert all((";" in match[group]) == rate.drops for group in (3, 4, 5, 6))
        start, end, record, record_end = (frames_of(match[group], rate) for group in (3, 4, 5, 6))
        length = (end - start) % frames_in_a_day(rate)
        assert (record, record_end) == (at, at + length)
        assert name == "* FROM CLIP NAME: Mixed Case ö.MOV"
        label = marker.split("RED     ", 1)[1]
        assert marker.startswith(f"* LOC: {match[5]} RED")
        assert comment.startswith(f"* COMMENT: {label} (")
        at += length
        found.append((label, start, length))
    return found


def read_resolve(text: str, rate: Rate) -> list[Found]:
    _, *events = text.split("\n\n")
    found = []
    for event in filter(None, events):
        line, marker = event.strip("\n").splitlines()
        match = EVENT.fullmatch(line)
        assert match
        assert (match[2], match[3], match[4]) == ("001", match[5], match[6])
        start = frames_of(match[3], rate)
        assert (frames_of(match[4], rate) - start) % frames_in_a_day(rate) == 1
        fields = re.fullmatch(r"score \d\.\d\d \|C:ResolveColor[A-Z][a-z]+ \|M:(.*) \|D:(\d+)", marker)
        assert fields
        found.append((fields[1], start, int(fields[2])))
    return found


def read_premiere(text: str, rate: Rate) -> list[Found]:
    """The markers on the sequence, which holds the whole video from its own timecode on."""
    root = ElementTree.fromstring(text)
    (sequence,) = root.iter("sequence")
    (clip,) = root.iter("clipitem")
    whole = [int(clip.findtext(tag, "")) for tag in ("start", "end", "in", "out")]
    assert whole == [0, NUM_FRAMES, 0, NUM_FRAMES]
    begin = int(sequence.findtext("timecode/frame", ""))
    assert frames_of(sequence.findtext("timecode/string", ""), rate) == begin
    assert sequence.findtext("timecode/displayformat") == ("DF" if rate.drops else "NDF")
    return [
        (
            marker.findtext("name", ""),
            begin + int(marker.findtext("in", "")),
            int(marker.findtext("out", "")) - int(marker.findtext("in", "")),
        )
        for marker in sequence.findall("marker")
    ]


READERS: dict[str, Callable[[str, Rate], list[Found]]] = {
    "edl": read_edl,
    "otio": read_otio,
    "fcpxml": read_fcpxml,
    "fcp7xml": read_fcp7,
    "resolve-edl": read_resolve,
    "premiere-xml": read_premiere,
}
BY_TIMECODE = ("edl", "resolve-edl")  # they begin again after a day


# --- rates and start timecodes ----------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{rate.said:g}{'DF' if rate.drops else ''}")
def test_every_rate_of_smpte_is_read_back_to_the_frame(name: str, rate: Rate) -> None:
    text = written(name, video_of(rate, SPANS, start=rate.hour))
    wanted = [(f"label {number}", rate.hour_frame + first, end - first) for number, (first, end) in enumerate(SPANS)]
    assert READERS[name](text, rate) == wanted


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_without_timecode_begins_at_nothing_and_drops_numbers_where_its_rate_asks(name: str) -> None:
    rate = RATES[3]
    text = written(name, video_of(rate, SPANS, start=""))
    assert [first for _, first, _ in READERS[name](text, rate)] == [0, 100, 17_000]


@pytest.mark.parametrize("name", FORMATS)
def test_frames_are_counted_on_over_midnight(name: str) -> None:
    rate = RATES[2]
    midnight = 25 * 86_400
    text = written(name, video_of(rate, [(2, 4), (3, 30), (10, 20)], start=LATE))
    found = [(start, length) for _, start, length in READERS[name](text, rate)]
    wanted = [(midnight - 3, 2), (midnight - 2, 27), (midnight + 5, 10)]
    assert found == [(start % midnight if name in BY_TIMECODE else start, length) for start, length in wanted]
    if name == "edl":
        assert "23:59:59:23 00:00:01:00 00:00:00:02 00:00:01:04" in text


rates = st.sampled_from(RATES)
frames = st.tuples(st.integers(0, NUM_FRAMES - 200), st.integers(1, 199)).map(lambda each: (each[0], sum(each)))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None)
@given(rate=rates, spans=st.lists(frames, max_size=5), start=st.booleans(), off=st.floats(-0.45, 0.45))
def test_random_segments_come_back_to_the_frame(
    name: str, rate: Rate, spans: list[tuple[int, int]], start: bool, off: float
) -> None:
    video = video_of(rate, spans, start=rate.hour if start else "")
    shift = off / float(rate.exact)
    moved = tuple(
        replace(each, start_seconds=max(0.0, each.start_seconds + shift), end_seconds=each.end_seconds + shift)
        for each in video.segments
    )
    text = written(name, replace(video, segments=moved))
    if name == "premiere-xml" and not spans:
        return  # an empty sequence
    if not start and rate.exact.denominator != 1 and not rate.drops:
        rate = RATES[3] if rate.base == 30 else RATES[8] if rate.base == 60 else rate
    first = rate.hour_frame if start else 0
    wanted = sorted((first + begin, end - begin) for begin, end in spans)
    assert sorted((begin, length) for _, begin, length in READERS[name](text, rate)) == wanted


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60])
def test_other_programs_read_fcpxml(fps: int) -> None:
    """The adapter of OpenTimelineIO, which knows whole rates alone, and no media of version 1.10."""
    otio = pytest.importorskip("opentimelineio")
    (rate,) = (each for each in RATES if each.exact == fps)
    read = otio.adapters.read_from_string(written("fcpxml", video_of(rate, SPANS, start=HOUR)), "fcpx_xml")
    clips = [(clip.name, clip.source_range, [marker.name for marker in clip.markers]) for clip in read.find_clips()]
    assert [(name, span.start_time.value - rate.hour_frame, span.duration.value) for name, span, _ in clips] == [
        (f"label {number}", first, end - first) for number, (first, end) in enumerate(SPANS)
    ]
    assert [marked for _, _, marked in clips] == [["label 0"], ["label 1"], ["label 2"]]


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{rate.said:g}{'DF' if rate.drops else ''}")
def test_other_programs_read_edit_lists(rate: Rate) -> None:
    otio = pytest.importorskip("opentimelineio")
    text = written("edl", video_of(rate, SPANS, start=rate.hour))
    read = otio.adapters.read_from_string(text, "cmx_3600", rate=float(rate.exact))
    assert [
        (clip.name, int(clip.source_range.start_time.value) - rate.hour_frame, int(clip.source_range.duration.value))
        for clip in read.find_clips()
    ] == [("Mixed Case ö.MOV", first, end - first) for first, end in SPANS]


# --- labels, scores, names --------------------------------------------------------------------------

LABELS = [
    "<b> & \"x\" 'y'",
    "two\nlines\tand\x00\x07controls",
    "x" * 300,
    "]]>-->",
    "日本 🎬",
    "a|b",
    "\ud800\ufffe",
    " ",
]


@pytest.mark.parametrize("name", FORMATS)
def test_any_label_is_text_and_no_more(name: str) -> None:
    rate = RATES[2]
    spans = [(10 * number, 10 * number + 5) for number in range(len(LABELS))]
    text = written(name, video_of(rate, spans, start=HOUR, labels=LABELS))
    found = [label for label, *_ in READERS[name](text, rate)]
    wanted = [one_line(label) for label in LABELS]
    assert found == ([label.replace("|", "/") for label in wanted] if name == "resolve-edl" else wanted)


def test_a_clip_says_what_is_known_of_its_segment() -> None:
    video = video_of(RATES[2], [(10, 20)], start=HOUR, labels=["two\nlines"])
    found = replace(video.segments[0], start_seconds=0.41, score=0.875, subject="Cat", origin="corrected")
    document = json.loads(written("otio", replace(video, segments=(found,))))
    (clip,) = document["tracks"]["children"][0]["children"]
    known = {"label": "two\nlines", "start_seconds": 0.41, "end_seconds": 0.8, "score": 0.875}
    assert clip["metadata"]["tada"] == {**known, "origin": "corrected", "subject": "Cat"}
    assert document["metadata"]["tada"] == {"video": "in/Mixed Case ö.MOV", "made_with": "m, tada 1"}
    assert clip["media_references"]["DEFAULT_MEDIA"]["target_url"] == "in/Mixed%20Case%20%C3%B6.MOV"
    root = ElementTree.fromstring(written("fcpxml", replace(video, segments=(found,))))
    assert {each.get("key"): each.get("value") for each in root.iter("md")} == {
        "tada.label": "two lines",
        "tada.score": "0.875",
        "tada.origin": "corrected",
        "tada.subject": "Cat",
    }
    assert [each.get("note") for each in root.iter("marker")] == ["score 0.88"]
    root = ElementTree.fromstring(written("fcp7xml", replace(video, segments=(found,))))
    assert [each.findtext("comment") for each in root.iter("marker")] == ["score 0.88"]


def test_a_file_that_is_there_is_named_by_its_whole_path(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.mov").touch()
    video = replace(video_of(RATES[2], [(0, 1)], start=""), path="a b.mov")
    address = (tmp_path / "a b.mov").as_uri()
    root = ElementTree.fromstring(written("fcpxml", video))
    assert [each.get("src") for each in root.iter("media-rep")] == [address]
    root = ElementTree.fromstring(written("fcp7xml", video))
    assert root.findtext(".//pathurl") == address.replace("file:///", "file://localhost/")


def test_markers_of_resolve_have_a_colour_for_each_label_and_a_note_only_with_a_score() -> None:
    video = LabelledVideo("a.mp4", (LabelledSegment(0, 1, "7 up", 0), LabelledSegment(1, 2, "b", 1, 0.5)), fps=25)
    assert written("resolve-edl", video).splitlines() == [
        "TITLE: a",
        "FCM: NON-DROP FRAME",
        "",
        "001  001      V     C        00:00:00:00 00:00:00:01 00:00:00:00 00:00:00:01  ",
        " |C:ResolveColorBlue |M:7 up |D:25",
        "",
        "002  001      V     C        00:00:01:00 00:00:01:01 00:00:01:00 00:00:01:01  ",
        "score 0.50 |C:ResolveColorCyan |M:b |D:25",
        "",
    ]
    barred = replace(video, segments=(LabelledSegment(0, 1, "a|b", 0),))
    assert losses(SEGMENT_FORMATS["resolve-edl"], [barred]) == ["1 label got other characters, such as 'a/b' for 'a|b'"]


# --- what is refused, and what is said --------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_other_rates_and_timecodes_that_no_frame_has_are_refused(name: str) -> None:
    require_installed(name)
    video = video_of(RATES[2], [(0, 10)], start="")
    for fps, start, said, way in (
        (12.0, "", "12 frames a second is no rate of SMPTE", "tada convert --fps 25"),
        (25, "01:00:00:25", "no frame has the timecode 01:00:00:25 at 25 ", "--start-timecode"),
        (29.97, "00:01:00;01", "no frame has the timecode 00:01:00;01 at 29.97 frames a second in drop", "--start"),
        (25, "1h", "'1h' is no timecode", "01:00:00:00"),
        (25, "24:00:00:00", "is no timecode", "01:00:00:00"),
    ):
        with pytest.raises(UsageError, match=said) as failed:
            SEGMENT_FORMATS[name].encode_labelled([replace(video, fps=fps, start_timecode=start)])
        assert way in failed.value.hint


@pytest.mark.parametrize("name", FORMATS)
def test_a_variable_rate_is_counted_on_the_clock_and_said(name: str) -> None:
    """Its tenth frame is shown after two seconds; in an editor that is the fiftieth."""
    times = tuple(number / 5 if number < 10 else 2 + (number - 10) / 40.1 for number in range(91))
    segment = LabelledSegment(2.0, 3.0, "label 0", 0, 0.5)
    video = LabelledVideo(
        "in/Mixed Case ö.MOV", (segment,), fps=25.002, num_frames=90, duration_seconds=times[-1], frame_times=times
    )
    uneven = replace(video, variable_rate=True)
    if name != "premiere-xml":
        assert READERS[name](written(name, uneven), RATES[2]) == [("label 0", 50, 25)]
        assert READERS[name](written(name, video), RATES[2])[0][1] == 10
    (said,) = losses(SEGMENT_FORMATS[name], [uneven])
    assert said == (
        "in/Mixed Case ö.MOV has a variable frame rate: frames are counted on the clock at 25 a second, "
        "as if it were made constant"
    )


@pytest.mark.parametrize("name", FORMATS)
def test_no_cut_reaches_beyond_its_video(name: str) -> None:
    rate = RATES[2]
    text = written(name, video_of(rate, [(NUM_FRAMES - 1, NUM_FRAMES + 1), (NUM_FRAMES, NUM_FRAMES + 1)], start=""))
    assert [found[1:] for found in READERS[name](text, rate)] == [(NUM_FRAMES - 1, 1)] * 2


@pytest.mark.parametrize("name", FORMATS)
def test_a_video_without_segments_and_equal_videos(name: str) -> None:
    video = video_of(RATES[2], [], start=HOUR)
    assert written(name, video) == written(name, video)
    assert written(name, replace(video, fps=None, start_timecode=""))
    if name != "premiere-xml":
        assert READERS[name](written(name, video), RATES[2]) == []
