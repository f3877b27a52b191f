"""Segments cut out of videos of many kinds: the very frames, when they are shown, and the sound that goes with them."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import tadacli
from tadacli.errors import OutputError, UsageError
from tadacli.excerpts import frame_pass
from tadacli.results import Detection, Gap, Segment, VideoInfo
from tadacli.results.excerpts import Excerpt
from tadacli.video.reading import open_video, probe
from tests import media
from tests.excerpts.talks import num_sounds, onsets, render_talk

FRAME = 1 / 25
LOSSY = 8.0  # mean difference of pixels after encoding again; that of the next frame is larger
EVEN = (18, 24, "encoded")
UNEVEN = [5000 + 40 * number + (7, 0, 13)[number % 3] + (400 if number >= 20 else 0) for number in range(50)]


def found(path: Path, *segments: Segment, gaps: tuple[Gap, ...] = ()) -> Detection:
    """What `detect` says of a video with these segments."""
    return Detection(str(path), "ok", "m", segments=segments, gaps=gaps, video=probe(path))


def segment(start: float, end: float, label: str = "wave", score: float = 0.5) -> Segment:
    return Segment(start, end, label, 0, score)


def clip_one(path: Path, start: float, end: float, **options: Any) -> Excerpt:
    """The excerpt of one segment, which went well."""
    (excerpt,) = tadacli.clip(found(path, segment(start, end)), output=path.parent / "clips", **options)
    assert excerpt.status == "ok", excerpt.error
    return excerpt


def check_frames(path: Path, excerpt: Excerpt, first: int, end: int) -> None:
    """The file has the frames [first, end) of the video, at their times, with their pixels."""
    assert excerpt.file is not None
    with open_video(path) as video, open_video(excerpt.file) as file:
        assert file.info.num_frames == excerpt.num_frames == end - first
        assert file.times == pytest.approx(video.times_shown[first:end] - video.times_shown[first], abs=1e-4)
        assert excerpt.shown_from == pytest.approx(video.times_shown[first], abs=1e-6)
        until = excerpt.shown_until - excerpt.shown_from
        assert file.info.duration_seconds == pytest.approx(until, abs=2e-3)
        height, width = video.info.height, video.info.width
        assert (file.info.height, file.info.width) == (
            (height, width) if excerpt.how == "copied" else (height + height % 2, width + width % 2)
        )
        assert file.info.sample_aspect_ratio == video.info.sample_aspect_ratio
        wanted = [first, (first + end) // 2, end - 1]
        for before, after in zip(
            video.require_frames(wanted), file.require_frames([each - first for each in wanted]), strict=True
        ):
            shown = after.pixels[:height, :width].astype(int)
            if excerpt.how == "copied":
                assert np.array_equal(shown, before.pixels)
            else:
                assert np.abs(shown - before.pixels).mean() < LOSSY
                assert media.number_in(shown) == media.number_in(before.pixels)


# What the video is, and of two spans of frames whether they are copied.
KINDS: dict[str, tuple[str, Mapping[str, Any], list[tuple[int, int, str]]]] = {
    "mp4": ("mp4", {}, [(10, 30, "copied"), (12, 30, "encoded"), (10, 28, "encoded"), (0, 50, "copied")]),
    "an end within a group": ("mp4", {}, [(10, 27, "copied")]),
    "mkv": ("mkv", {}, [(20, 40, "copied"), EVEN]),
    "no sound": ("mp4", {"beeps": ()}, [(10, 20, "copied"), EVEN]),
    "two streams of sound": ("mkv", {"beeps": ((15, 35), (25,))}, [(10, 40, "copied"), (12, 37, "encoded")]),
    "sound that MP4 does not hold": ("mkv", {"audio_codec": "pcm_s16le"}, [(10, 30, "copied"), EVEN]),
    "odd sides": ("mkv", {"codec": "ffv1", "pixel_format": "bgr0", "options": {}, "size": (97, 161)}, [EVEN]),
    "10 bits": ("mp4", {"pixel_format": "yuv420p10le"}, [(20, 40, "copied"), EVEN]),
    "turned": ("mp4", {"rotation": 90}, [(20, 40, "copied"), EVEN]),
    "pixels that are not square": ("mp4", {"aspect": Fraction(4, 3)}, [(20, 40, "copied"), EVEN]),
    "uneven times from 5 s on": (
        "mkv",
        {"pts": UNEVEN, "time_base": Fraction(1, 1000)},
        [(10, 30, "copied"), (12, 33, "encoded")],
    ),
    "a transport stream": ("ts", {}, [(10, 30, "encoded"), EVEN]),
    "AVI": ("avi", {"codec": "mpeg4", "options": {"g": "10"}, "audio_codec": "libmp3lame"}, [EVEN]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_excerpt_has_the_frames_and_the_sound_of_its_segment(tmp_path: Path, kind: str) -> None:
    suffix, options, spans = KINDS[kind]
    path = tmp_path / f"talk.{suffix}"
    render_talk(path, **options)
    with open_video(path) as video:
        times, closes = video.times_shown, video.info.start_seconds + video.info.duration_seconds
    segments = [
        segment(round(float(times[first]), 6), round(float(times[end]), 6) if end < len(times) else closes, str(number))
        for number, (first, end, _) in enumerate(spans)
    ]
    excerpts = tadacli.clip(found(path, *segments), output=tmp_path / "clips")
    beeps = options.get("beeps", ((5, 15, 25, 35),))
    for excerpt, (first, end, how) in zip(excerpts, spans, strict=True):
        assert (excerpt.status, excerpt.how) == ("ok", how), excerpt
        check_frames(path, excerpt, first, end)
        assert num_sounds(excerpt.file) == len(beeps)
        for track, some in enumerate(beeps):
            heard = [each - times[first] for each in onsets(path, track)]
            heard = [each for each in heard if -1e-3 < each < times[end - 1] - times[first]]
            assert len(heard) == sum(first <= number < end - 1 for number in some)
            assert onsets(excerpt.file, track) == pytest.approx(heard, abs=FRAME / 4)
    if kind == "10 bits":
        assert [excerpt.notes for excerpt in excerpts] == [(), ("10 bits a colour became 8",)]
        assert probe(excerpts[0].file).pixel_format == "yuv420p10le"
    if kind == "sound that MP4 does not hold":
        assert excerpts[0].notes == ("the sound was encoded again, from pcm_s16le to AAC",)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of two seconds with a key frame every ten frames, and with sound."""
    path = tmp_path_factory.mktemp("talk") / "talk.mp4"
    render_talk(path)
    return path


def test_time_at_both_sides_stays_within_the_video(talk: Path, tmp_path: Path) -> None:
    middle, edges = tadacli.clip(
        found(talk, segment(0.8, 1.2), segment(0.1, 1.9)), output=tmp_path / "clips", pad_seconds=0.4
    )
    check_frames(talk, middle, 10, 40)
    check_frames(talk, edges, 0, 50)
    assert (middle.how, edges.how) == ("copied", "copied")
    assert (middle.start_seconds, middle.end_seconds) == (0.8, 1.2)


def test_spans_in_which_no_frame_begins_show_the_one_on_screen(tmp_path: Path) -> None:
    path = tmp_path / "rest.mp4"
    render_talk(path, 3, pts=[0, 1, 101], beeps=((1,),))
    resting, none, late = tadacli.clip(
        found(path, segment(1.0, 3.0), segment(0.04, 0.04), segment(4.04, 4.08)), output=tmp_path / "clips"
    )
    assert (resting.num_frames, resting.shown_from, resting.shown_until) == (1, 1.0, 3.0)
    assert probe(resting.file).duration_seconds == pytest.approx(2.0, abs=1e-3)
    assert "on screen" in resting.notes[0]
    assert (none.num_frames, none.shown_from) == (1, 0.04)
    with open_video(none.file) as file:
        assert [media.number_in(frame.pixels) for frame in file.require_frames([0])] == [1]
    check_frames(path, late, 2, 3)


def test_what_lies_outside_of_the_video_fails_alone(talk: Path, tmp_path: Path) -> None:
    beyond, over, good = tadacli.clip(
        found(talk, segment(2.0, 2.5), segment(1.8, 9.0), segment(0.4, 0.8)), output=tmp_path / "clips"
    )
    assert (beyond.status, beyond.file) == ("error", None)
    assert "lasts from 0.00 s to 2.00 s" in beyond.error
    assert over.notes == ("the segment ends at 9.00 s, and the video at 2.00 s",)
    check_frames(talk, over, 45, 50)
    assert good.status == "ok"
    assert len(list((tmp_path / "clips").iterdir())) == 2


def test_many_that_overlap_are_encoded_a_few_at_a_time(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_pass, "MOST_AT_ONCE", 2)
    spans = [(first, first + 12) for first in (1, 3, 5, 7, 9, 22, 24)]
    segments = [segment(first * FRAME, end * FRAME, str(first)) for first, end in spans]
    told: list[float] = []
    excerpts = tadacli.clip(
        found(talk, *segments), output=tmp_path / "clips", progress=lambda now: told.append(now.fraction)
    )
    for excerpt, (first, end) in zip(excerpts, spans, strict=True):
        check_frames(talk, excerpt, first, end)
        # With either of them, one file in a thousand has other bytes from run to run; x264 writes its settings down.
        written = excerpt.file.read_bytes()
        assert b" weightp=0 " in written
        assert b" mbtree=" not in written or b" mbtree=0 " in written
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_damage_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "damaged.mp4"
    media.render(path, 40, options={"g": "10", "bf": "0", "x264-params": "scenecut=0"}, noise=60)
    with open_video(path) as video:
        places = [float(video.times[index]) for index in (0, 10, 20, 30)]
    with av.open(str(path)) as container:
        at = [packet.pos for packet in container.demux(video=0)][11] + 400  # inside, where no header tells
    data = bytearray(path.read_bytes())
    data[at : at + 600] = np.random.default_rng(0).bytes(600)
    path.write_bytes(data)
    result = found(path, *(segment(start, start + 1 / 3 - 1e-3, str(start)) for start in places))
    gap = Gap(places[1], places[2], "cannot be decoded")
    excerpts = tadacli.clip(
        Detection(result.path, "partial", "m", segments=result.segments, gaps=(gap,)), output=tmp_path / "clips"
    )
    assert [(each.status, each.how) for each in excerpts] == [
        ("ok", "copied"),
        ("error", None),
        ("ok", "copied"),
        ("ok", "copied"),
    ]
    assert "is damaged" in excerpts[1].error
    assert len(list((tmp_path / "clips").iterdir())) == 3


# --- which segments, and what becomes of videos --------------------------------------------------------


def test_labels_and_scores_choose(talk: Path, tmp_path: Path) -> None:
    result = found(talk, segment(0, 0.4, "a", 0.9), segment(0.4, 0.8, "b", 0.2), segment(0.8, 1.2, "a", 0.1))
    chosen = tadacli.clip(result, output=tmp_path / "clips", label="a", min_score=0.1)
    assert [each.start_seconds for each in chosen] == [0, 0.8]
    with pytest.raises(UsageError, match="not between 0 and 1"):
        tadacli.clip(result, output=tmp_path / "clips", min_score=2)


def test_each_video_has_its_own_end(talk: Path, tmp_path: Path) -> None:
    """Failed, missing, and changed since it was searched: told in rows, and the others go on."""
    failed = Detection("failed.mp4", "error", "m", error="no such video")
    missing = Detection(str(tmp_path / "none.mp4"), "ok", "m", segments=(segment(0, 1),))
    info = VideoInfo(str(talk), 49, Fraction(25), 1.96, 96, 160, 0, "h264")
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(1, 6):
        (frames / f"frame_{number:010}.jpg").write_bytes(media.jpeg_bytes(number))
    changed = Detection(str(frames), "ok", "m", segments=(segment(0, 1),), video=info)
    pictures = found(frames, segment(1 / 30, 3 / 30))
    excerpts = tadacli.clip(
        [failed, missing, changed, found(talk, segment(0, 0.4)), pictures], output=tmp_path / "clips"
    )
    assert [(each.label, each.status) for each in excerpts] == [
        (None, "error"),
        ("wave", "error"),
        ("wave", "error"),
        ("wave", "ok"),
        ("wave", "ok"),
    ]
    assert excerpts[0].error == "no such video"
    assert "there is no file" in excerpts[1].error
    assert "it had 49 frames, and has 5 now" in excerpts[2].error
    check_frames(frames, excerpts[4], 1, 3)


# --- names ---------------------------------------------------------------------------------------------

LABELS = ["wave", "Wave", "a/../../b", "..", "", "CON", "nul\0\n\x1b", "é", "e\u0301", "😀", "日本語"]
LABELS += ["x" * 300, "字" * 300]


def test_names_are_fit_for_every_file_system_and_differ_on_all_of_them(talk: Path, tmp_path: Path) -> None:
    excerpts = tadacli.clip(found(talk, *(segment(0, 0.4, label) for label in LABELS)), output=tmp_path / "clips")
    names = [each.file.name for each in excerpts]
    assert names[0] == "talk_00h00m00.000s_wave.mp4"
    assert names[1] == "talk_00h00m00.000s_Wave-2.mp4"
    assert {each.file.parent for each in excerpts} == {tmp_path / "clips"}
    assert sorted(os.listdir(tmp_path / "clips")) == sorted(names)
    assert len({name.casefold() for name in names}) == len(names)
    assert max(len(name.encode()) for name in names) <= 130
    assert not set("".join(names)) & set('/\\:*?"<>|\0\n\x1b')
    assert [each.label for each in excerpts] == LABELS


def test_names_do_not_depend_on_which_segments_are_chosen(talk: Path, tmp_path: Path) -> None:
    result = found(talk, segment(0, 0.4, "a b"), segment(0, 0.4, "a_b"))
    (only,) = tadacli.clip(result, output=tmp_path / "some", label="a_b")
    assert only.file.name == "talk_00h00m00.000s_a_b-2.mp4"


# --- pictures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_pictures_show_the_middles(talk: Path, tmp_path: Path, kind: Any) -> None:
    clips = tmp_path / "clips"
    (excerpt,) = tadacli.clip(found(talk, segment(0.4, 1.2)), output=clips, images=kind, clips=False)
    assert (excerpt.file, excerpt.how) == (None, None)
    assert sorted(os.listdir(clips)) == [f"talk_00h00m00.400s_wave.{kind}"]
    with Image.open(excerpt.image) as image:
        assert image.format == {"jpg": "JPEG", "png": "PNG"}[kind]
        pixels = np.asarray(image)
    with open_video(talk) as video:
        (frame,) = video.require_frames([20])
    assert media.number_in(pixels) == 20
    if kind == "png":
        assert np.array_equal(pixels, frame.pixels)


@pytest.mark.parametrize("count", [1, 7, 230])
def test_a_sheet_has_a_place_for_each_of_the_best(talk: Path, tmp_path: Path, count: int) -> None:
    sheet = tmp_path / "sheet.png"
    segments = [segment(0.4, 1.2, f"wave {number}", number / count) for number in range(count)]
    missing = Detection("none.mp4", "ok", "m", segments=(segment(0, 1),))
    excerpts = tadacli.clip([found(talk, *segments), missing], sheet=sheet)
    assert len(excerpts) == count + 1
    assert excerpts[-1].status == "error"
    with Image.open(sheet) as image:
        width, height = image.size
    assert (width, height < 1500) == (5 * 252 + 12 if count > 5 else 516, count < 30)
    assert os.listdir(tmp_path) == ["sheet.png"]


# --- files that are there ------------------------------------------------------------------------------


def test_nothing_is_overwritten_and_what_is_whole_is_kept(talk: Path, tmp_path: Path) -> None:
    clips, sheet = tmp_path / "clips", tmp_path / "sheet.jpg"
    clips.mkdir()
    (clips / ".tada-0123456789abcdef.part").write_bytes(b"what a kill left")
    result = found(talk, segment(0.4, 0.8, "a"), segment(0.44, 0.8, "b"))
    asked: dict[str, Any] = {"output": clips, "images": "jpg", "sheet": sheet}
    first = tadacli.clip(result, **asked)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in [*clips.iterdir(), sheet]}
    assert len(before) == 5
    with pytest.raises(OutputError, match="exists and is not overwritten"):
        tadacli.clip(result, **asked)
    assert tadacli.clip(result, **asked, resume=True) == first
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in [*clips.iterdir(), sheet]} == before
    first[1].file.unlink()
    assert tadacli.clip(result, **asked, resume=True) == first
    assert {path.name for path in clips.iterdir()} == {path.name for path in before} - {sheet.name}


@pytest.mark.parametrize("other", ["another length", "another file", "another picture"])
def test_what_is_none_of_this_run_is_not_taken_for_it(talk: Path, tmp_path: Path, other: str) -> None:
    result = found(talk, segment(0.4, 0.8))
    (excerpt,) = tadacli.clip(result, output=tmp_path, images="png")
    kept = excerpt.image if other == "another picture" else excerpt.file
    if other != "another length":
        kept.write_bytes(b"dear")
    before = kept.read_bytes()
    pad = 0.1 if other == "another length" else 0.0
    with pytest.raises(OutputError, match="is not what this run would write"):
        tadacli.clip(result, output=tmp_path, images="png", pad_seconds=pad, resume=True)
    assert kept.read_bytes() == before


def test_an_error_of_the_caller_leaves_nothing_half_done(talk: Path, tmp_path: Path) -> None:
    def stop(now: tadacli.Progress) -> None:
        if now.fraction > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tadacli.clip(found(talk, segment(0.2, 1.9)), output=tmp_path / "clips", progress=stop)
    assert list((tmp_path / "clips").iterdir()) == []


@pytest.mark.parametrize("first", [10, 12], ids=["copied", "encoded"])
def test_a_full_disk_ends_it_and_leaves_nothing(tmp_path: Path, first: int) -> None:
    path = tmp_path / "in.mp4"
    media.render(path, 60, options={"g": "10", "bf": "0", "x264-params": "scenecut=0"}, noise=60)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"\.mp4 cannot be written: File too large"):
            tadacli.clip(found(path, segment(first / 30, 1.9), segment(0.5, 0.6)), output=tmp_path / "clips")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in (tmp_path / "clips").iterdir()} <= {"in_00h00m00.500s_wave.mp4"}  # was whole before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing says where the files go"),
        ({"images": "png", "sheet": "a.png"}, "nothing says where the files go"),
        ({"output": "clips", "clips": False}, "nothing says where the files go"),
        ({"sheet": "a.gif"}, "another ending"),
        ({"output": "clips", "pad_seconds": -1}, "not possible"),
    ],
)
def test_what_cannot_be_meant(talk: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tadacli.clip(found(talk, segment(0, 1)), **options)
