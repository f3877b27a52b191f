"""Times that restart, jump, are out of order or have holes: one timeline with every frame that decodes."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.errors import VideoError
from tadacli.results import NoteKind
from tadacli.video.reading import iter_frames, probe
from tadacli.video.source import Frame
from tadacli.video.timeline import NO_TIME, missing_times, timeline_of
from tests.media import number_in, picture, render

B_FRAMES = {"bf": "3", "g": "12", "x264-params": "b-pyramid=normal:scenecut=0:b-adapt=0"}
STEP, JUMP = 10, 3000


def times_of(pts: list[int | None], dts: list[int | None] | None = None) -> list[int]:
    """The timeline of frames with these times."""
    own, decoding = (
        np.array([NO_TIME if time is None else time for time in times], dtype=np.int64)
        for times in (pts, dts or [None] * len(pts))
    )
    return timeline_of(own, decoding, step=STEP, jump=JUMP).times.tolist()


@pytest.mark.parametrize(
    ("pts", "dts", "expected", "reason"),
    [
        ([0, 10, 20, 70, 80], None, [0, 10, 20, 70, 80], "times that ascend are right, however far apart"),
        ([0, 10, 9000, 9010], None, [0, 10, 9000, 9010], "and so is a jump"),
        ([0, 10, 10, 20], None, [0, 10, 10, 20], "frames that share a time keep it"),
        ([None, None, None], None, [0, 10, 20], "no times at all"),
        ([0, 10, None, None, 40], None, [0, 10, 20, 30, 40], "times that are missing lie between"),
        ([None, 10, 20, None], None, [0, 10, 20, 30], "or a step before and after"),
        ([2, 6, 4, 10, 8], [4, 6, 8, None, None], [4, 6, 8, 10, 12], "written in decoding order"),
        ([0, 10, 20, 0, 10, 20], [0, 10, 20, 0, 10, None], [0, 10, 20, 30, 40, 50], "a second recording"),
        ([0, 10, 20, 5, 15, 25], None, [0, 10, 20, 30, 40, 50], "which begins at another time"),
        ([9000, 9010, 0, 10, 5000, 5010, 0], None, [9000, 9010, 9020, 9030, 14020, 14030, 14040], "and a third"),
        ([0, 10, 20, 7000, 40, 50], None, [0, 10, 20, 30, 40, 50], "one time is out of line"),
        ([500, 510, 520, 3, 540, 550], None, [500, 510, 520, 530, 540, 550], "too early, too"),
    ],
)
def test_timeline(pts, dts, expected, reason):
    assert times_of(pts, dts) == expected, reason


@given(st.lists(st.one_of(st.none(), st.integers(-(2**40), 2**40)), min_size=1, max_size=60))
def test_no_frame_is_hidden_behind_another(pts):
    """Whatever times there are, those of the timeline never run backwards, and those that ascend stay."""
    times = times_of(pts)
    assert len(times) == len(pts)
    assert all(later >= earlier for earlier, later in itertools.pairwise(times))
    if all(time is not None for time in pts) and pts == sorted(set(pts)):
        assert times == pts


@pytest.mark.parametrize(
    ("times", "damaged", "expected", "reason"),
    [
        ([*range(0, 200, 10), *range(230, 400, 10)], range(40), [200, 210, 220], "a hole in a constant step"),
        ([*range(0, 200, 10), *range(230, 400, 10)], range(5), [], "where nothing is damaged, it is none"),
        ([*range(0, 200, 10), *range(9000, 9200, 10)], range(40), [], "a jump is none"),
        ([0, 33, 67, 100, 133, 167, 200, 333, 367, 400, 433, 467, 500], range(13), [233, 266, 299], "rounded times"),
        ([0, 10, 35, 40, 80, 85, 130, 131, 180, 260], range(10), [], "there is no constant step"),
    ],
)
def test_missing_frames(times, damaged, expected, reason):
    may_lack = np.isin(np.arange(len(times)), damaged)
    found = missing_times(np.array(times), may_lack, step=STEP, jump=JUMP)
    assert found.tolist() == expected, reason


def shown(path: Path) -> dict[float, int]:
    """Second from the first frame -> number in the picture, of the frames that can be had."""
    info = probe(path)
    frames = iter_frames(path, range(info.num_frames), skip_unreadable=True)
    return {
        round(frame.time_seconds - info.start_seconds, 3): number_in(frame.pixels)
        for frame in frames
        if isinstance(frame, Frame)
    }


def remux(source: Path, path: Path, change: Callable[[int, av.Packet], None]) -> None:
    """The packets of a file in another, each changed with its number in decoding order."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = (packet for packet in old.demux(video=0) if packet.size)
        for number, packet in enumerate(packets):
            change(number, packet)
            packet.stream = stream
            new.mux(packet)


@pytest.mark.parametrize(("codec", "options"), [("libx264", B_FRAMES), ("mpeg4", {"bf": "2", "g": "12"})])
def test_b_frames_in_avi_are_shown_in_order(tmp_path, codec, options):
    path = tmp_path / "v.avi"
    render(path, 40, codec=codec, options=options)
    found = shown(path)
    assert list(found.values()) == list(range(40))
    assert list(found) == pytest.approx([number / 30 for number in range(40)], abs=1e-3)
    assert probe(path).fps == 30
    assert probe(path).duration_seconds == pytest.approx(40 / 30)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_presentation_times_in_decoding_order(tmp_path, suffix):
    render(tmp_path / "v.mp4", 40, options=B_FRAMES)
    path = tmp_path / f"wrong.{suffix}"

    def set_times(number: int, packet: av.Packet) -> None:
        packet.pts = packet.dts = number * round(1 / (30 * packet.time_base))

    remux(tmp_path / "v.mp4", path, set_times)
    found = shown(path)
    assert list(found.values()) == list(range(40))
    if suffix == "mp4":
        assert list(found) == pytest.approx([number / 30 for number in range(40)], abs=1e-3)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("ts", "libx264"), ("ts", "mpeg2video"), ("mpg", "mpeg2video"), ("avi", "mpeg4")],
)
def test_joined_recordings_are_shown_one_after_the_other(tmp_path, suffix, codec):
    one, path = tmp_path / f"one.{suffix}", tmp_path / f"v.{suffix}"
    render(one, 40, codec=codec, options={"g": "12"})
    path.write_bytes(one.read_bytes() * 3)
    found = shown(path)
    assert list(found.values()) == [*range(40)] * 3
    assert list(found) == pytest.approx([number / 30 for number in range(120)], abs=2e-3)
    assert probe(path).fps == pytest.approx(30, rel=1e-3)
    if suffix != "avi":  # which counts frames, and has no times that could begin anew
        (note,) = probe(path).notes
        assert note.kind == NoteKind.TIMELINE
        assert "begin anew at frames 40, 80: its 3 pieces" in note.text


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mp4", {"movflags": "faststart"}),
        ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("mkv", {}),
        ("mkv", {"live": "1"}),
        ("flv", {}),
        ("wmv", {}),
    ],
)
def test_files_with_an_index_that_were_joined_as_bytes_are_refused(tmp_path, suffix, options):
    """The headers of the others are not read: their frames would not be seen, or be decoded as if the first's."""
    one, path = tmp_path / f"one.{suffix}", tmp_path / f"v.{suffix}"
    codec, format_name = ("wmv2", "asf") if suffix == "wmv" else ("libx264", None)
    render(one, 10, codec=codec, format_name=format_name, container_options=options)
    assert probe(one).num_frames == 10
    path.write_bytes(one.read_bytes() * 3)
    with pytest.raises(VideoError, match="holds 3 recordings one after the other, and only one of them"):
        probe(path)


@pytest.mark.parametrize("num_first", [10, 200])
@pytest.mark.parametrize(
    "other", [{"mpegts_start_pid": "500"}, {"mpegts_start_pid": "500", "mpegts_pmt_start_pid": "1000"}]
)
def test_joined_transport_streams_with_another_video_stream_are_refused(tmp_path, num_first, other):
    """The stream of the second recording may not even be known when the first one is read."""
    render(tmp_path / "one.ts", num_first, noise=60)
    render(tmp_path / "two.ts", 20, container_options=other)
    path = tmp_path / "v.ts"
    path.write_bytes((tmp_path / "one.ts").read_bytes() + (tmp_path / "two.ts").read_bytes())
    with pytest.raises(VideoError, match="holds 2 recordings one after the other, and only one of them"):
        probe(path)


def test_a_transport_stream_may_hold_several_videos(tmp_path):
    path = tmp_path / "v.ts"
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("libx264", rate=30) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 96, 160, "yuv420p"
        for number in range(20):
            for stream in streams:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        for stream in streams:
            out.mux(stream.encode(None))
    assert list(shown(path).values()) == list(range(20))


def test_a_jump_of_a_transport_stream_is_told(tmp_path):
    render(tmp_path / "one.ts", 40, options=B_FRAMES)

    def jump(number: int, packet: av.Packet) -> None:
        if number >= 24:
            packet.pts, packet.dts = packet.pts + 90_000 * 600, packet.dts + 90_000 * 600

    remux(tmp_path / "one.ts", tmp_path / "v.ts", jump)
    found = shown(tmp_path / "v.ts")
    assert list(found.values()) == list(range(40))
    assert list(found) == pytest.approx([n / 30 + 600 * (n >= 24) for n in range(40)], abs=1e-3)
    (note,) = probe(tmp_path / "v.ts").notes
    assert "jump by 600.03 s at frame 24" in note.text


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_recording_on_motion_is_whole(tmp_path, suffix):
    pts = [number * 33 + 5000 * (number // 12) for number in range(48)]
    path = tmp_path / f"v.{suffix}"
    render(path, 48, options=B_FRAMES, pts=pts, time_base=Fraction(1, 1000))
    assert (probe(path).num_frames, probe(path).notes) == (48, ())
    assert list(shown(path).values()) == list(range(48))


@pytest.mark.parametrize(("gap", "num_missing"), [(6, 6), (90, 0)], ids=["packets lost", "interrupted"])
def test_lost_packets_are_told_from_an_interruption(tmp_path, gap, num_missing):
    """The counters of a transport stream do not go on in both; after a longer time, the recording began again."""
    render(tmp_path / "one.ts", 40, options={"g": "12"})

    def later(_number: int, packet: av.Packet) -> None:
        packet.pts, packet.dts = packet.pts + 3000 * (40 + gap), packet.dts + 3000 * (40 + gap)

    remux(tmp_path / "one.ts", tmp_path / "two.ts", later)
    one, two = (tmp_path / f"{name}.ts" for name in ("one", "two"))
    path = tmp_path / "v.ts"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    assert probe(path).num_frames == 80 + num_missing
    assert max(shown(path)) == pytest.approx((79 + gap) / 30, abs=1e-3)
    path.write_bytes(one.read_bytes() + two.read_bytes() + one.read_bytes())
    assert probe(path).num_frames == 120 + num_missing, "also where times begin anew, and frames are counted"
    assert max(shown(path)) == pytest.approx((119 + gap) / 30, abs=1e-3)
    assert list(shown(path).values())[-40:] == list(range(40))


def test_what_is_made_from_missing_frames_is_damaged(tmp_path):
    """A VP8 decoder does not notice that frames are missing, and goes on predicting from what it has."""
    path = tmp_path / "v.webm"
    options, clusters = {"g": "100", "auto-alt-ref": "0", "b": "900k"}, {"cluster_time_limit": "400"}
    render(path, 60, codec="libvpx", options=options, container_options=clusters, noise=90)
    data = path.read_bytes()
    starts = [found.start() for found in re.finditer(rb"\x1f\x43\xb6\x75", data)]
    assert len(starts) >= 4
    path.write_bytes(data[: starts[1]] + bytes(starts[2] - starts[1]) + data[starts[2] :])
    assert probe(path).num_frames == 60
    found = shown(path)
    assert list(found.values()) == list(range(len(found)))
    assert 5 < len(found) < 30, "none of those after the hole"


BIG = {"g": "12", "b": "900k"}
DESTROYED = [
    ("mkv", "libx264", BIG, {"cluster_time_limit": "500"}),
    ("mkv", "libx264", BIG, {"cluster_time_limit": "500", "live": "1"}),
    ("webm", "libvpx", BIG, {"cluster_time_limit": "500"}),
    ("flv", "libx264", BIG, {}),
    ("ts", "libx264", BIG, {}),
    ("mpg", "mpeg2video", {"g": "12", "b": "2M"}, {}),
    ("mp4", "libx264", BIG, {"movflags": "faststart"}),
    ("avi", "mjpeg", {}, {}),
]


@pytest.mark.parametrize(("suffix", "codec", "options", "container_options"), DESTROYED)
@pytest.mark.parametrize("way", ["zeros", "noise", "cut out"])
def test_frames_of_a_destroyed_part_are_missed(tmp_path, suffix, codec, options, container_options, way):
    """Each frame keeps its number and its time, and those in the part are told to be missing."""
    if suffix in ("mp4", "avi") and way == "cut out":
        pytest.skip("what its index says is elsewhere then, which is damage")
    path = tmp_path / f"v.{suffix}"
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    settings = {"options": options, "container_options": container_options, "pixel_format": pixel_format}
    render(path, 60, codec=codec, noise=90, **settings)
    data = path.read_bytes()
    start, length = len(data) * 45 // 100, len(data) // 10
    middle = {"zeros": bytes(length), "noise": random.Random(0).randbytes(length), "cut out": b""}[way]
    path.write_bytes(data[:start] + middle + data[start + length :])
    info = probe(path)
    assert info.num_frames == 60
    found = shown(path)
    assert 30 < len(found) < 60
    assert list(found) == pytest.approx([number / 30 for number in found.values()], abs=2e-3)
    with pytest.raises(VideoError, match=rf"{len(found)} of 60 frames decode"):
        list(iter_frames(path, range(60)))


def test_a_destroyed_fragment_is_not_the_end(tmp_path):
    """Fragments have no index: what lies after one that is destroyed is lost, and the file does not pass for whole."""
    path = tmp_path / "v.mp4"
    render(path, 60, options=BIG, container_options={"movflags": "frag_keyframe+empty_moov"}, noise=90)
    data = path.read_bytes()
    start = data.index(b"moof", len(data) // 2) - 4
    path.write_bytes(data[:start] + random.Random(0).randbytes(100) + data[start + 100 :])
    assert (probe(path).truncated, probe(path).num_frames_known) == (True, False)
