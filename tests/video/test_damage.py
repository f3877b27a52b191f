"""No damaged frame passes for a whole one, and what a frame looks like does not depend on what else is read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tadacli.errors import VideoError
from tadacli.results import NoteKind
from tadacli.video.reading import iter_frames, open_video, probe, read_frames
from tadacli.video.source import Frame, Unreadable
from tests.media import render

NUM_FRAMES = 16
X265 = "keyint=8:min-keyint=8:scenecut=0:log-level=none"
VP9 = {"b": "1M", "cpu-used": "8", "deadline": "realtime"}
# Name -> suffix, encoder, format of pixels, options.
CODECS = {
    "mjpeg": ("avi", "mjpeg", "yuvj420p", {}),
    "gif": ("gif", "gif", "rgb8", {}),
    "wmv2": ("wmv", "wmv2", "yuv420p", {"g": "8"}),
    "ffv1": ("mkv", "ffv1", "yuv420p", {"level": "3", "slicecrc": "1", "slices": "4"}),
    "apng": ("apng", "apng", "rgb24", {}),
    "mpeg4": ("avi", "mpeg4", "yuv420p", {"g": "8", "bf": "2"}),
    "hevc": ("mp4", "libx265", "yuv420p", {"x265-params": X265}),
    "vp8": ("webm", "libvpx", "yuv420p", {"g": "8", "b": "1M"}),
    "vp9": ("webm", "libvpx-vp9", "yuv420p", {"g": "8", "b": "1M", "cpu-used": "8", "deadline": "realtime"}),
    "vp9 in one group": (
        "webm",
        "libvpx-vp9",
        "yuv420p",
        {"g": "99", "b": "1M", "cpu-used": "8", "deadline": "realtime"},
    ),
    "mpeg1video": ("mpg", "mpeg1video", "yuv420p", {"g": "8", "bf": "2"}),
}
# Where the decoder notices most of what is wrong.
NOTICED = ("mjpeg", "gif", "wmv2", "ffv1", "apng", "mpeg4")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("whole")


def rendered(folder: Path, name: str) -> Path:
    suffix, codec, pixel_format, options = CODECS[name]
    path = folder / f"{name}.{suffix}"
    if not path.exists():
        render(path, NUM_FRAMES, codec=codec, pixel_format=pixel_format, options=options, noise=40)
    return path


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def flipped(path: Path, packet: bytes, rng: random.Random) -> bytes:
    """The file with a few bits flipped, or some bytes replaced, inside a packet."""
    data = bytearray(path.read_bytes())
    place = rng.randrange(len(packet) // 4, len(packet) // 2)
    start = data.find(packet[place : place + 16])  # containers may cut a packet into pieces
    assert start >= 0
    if rng.random() < 0.5:
        data[start : start + 16] = rng.randbytes(16)
    for _ in range(rng.choice([1, 1, 2, 5])):
        data[start + rng.randrange(16)] ^= 1 << rng.randrange(8)
    return bytes(data)


def refused_frames(path: Path) -> set[int]:
    """The numbers of the frames that cannot be had. Each frame comes out as when it is asked for alone."""
    with open_video(path) as source:
        everything = list(source.iter_frames(range(source.info.num_frames), skip_unreadable=True))
    with open_video(path) as source:
        for frame in everything[::-3]:  # each after another history
            (alone,) = source.iter_frames([frame.index], skip_unreadable=True)
            if isinstance(frame, Unreadable):
                assert alone == frame
            else:
                assert isinstance(alone, Frame)
                assert np.array_equal(alone.pixels, frame.pixels), f"frame {frame.index} depends on what else is read"
    return {frame.index for frame in everything if isinstance(frame, Unreadable)}


@pytest.mark.parametrize("name", CODECS)
def test_a_frame_is_the_same_or_refused_whatever_else_is_read(tmp_path, capfd, whole, name):
    path = rendered(whole, name)
    right, packets = read_frames(path, range(NUM_FRAMES)), packets_of(path)
    rng, num_noticed, num_shown = random.Random(3), 0, 0
    bad = tmp_path / path.name
    for _ in range(6):
        at = rng.randrange(1, len(packets))
        bad.write_bytes(flipped(path, packets[at], rng))
        refused = refused_frames(bad)
        shown = [index for index in range(probe(bad).num_frames) if index not in refused]
        differ = [frame.index for frame in iter_frames(bad, shown) if np.any(frame.pixels != right[frame.index])]
        num_noticed += bool(refused)
        num_shown += bool(differ)
    assert capfd.readouterr() == ("", "")
    if name in NOTICED:
        assert num_noticed >= 2, "most damage of this codec is seen"
    if name in ("ffv1", "apng"):
        assert num_shown == 0, "checksums see all of it"


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_what_vp8_leaves_unwritten_does_not_depend_on_what_was_read_before(tmp_path, whole, share):
    """Its decoder stops where a packet ends too early, and the rest of the frame is what the memory was before."""
    path, bad = rendered(whole, "vp8"), tmp_path / "bad.webm"
    with av.open(str(path)) as source, av.open(str(bad), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            data = bytes(packet)
            short = av.Packet(data[: int(len(data) * share)] if number == 10 else data)
            short.pts, short.dts, short.time_base = packet.pts, packet.dts, packet.time_base
            short.is_keyframe, short.stream = packet.is_keyframe, stream
            out.mux(short)
    alone = read_frames(bad, range(8, 16))
    assert np.array_equal(read_frames(bad, range(16))[8:], alone)
    with open_video(bad) as source:
        list(source.iter_frames([0, 5]))
        assert np.array_equal([frame.pixels for frame in source.iter_frames(range(8, 16))], alone)


def test_what_the_decoder_says_of_one_packet_stands_for_its_frame_alone(tmp_path, whole):
    path = rendered(whole, "mjpeg")
    packet = packets_of(path)[7]
    data = path.read_bytes()
    middle = data.find(packet) + len(packet) // 2
    bad = tmp_path / "bad.avi"
    bad.write_bytes(data[:middle] + random.Random(0).randbytes(200) + data[middle + 200 :])
    assert {
        frame.index for frame in iter_frames(bad, range(16), skip_unreadable=True) if isinstance(frame, Unreadable)
    } == {7}
    with pytest.raises(VideoError, match=r"frame 7 at 0\.23 s of .*; 15 of 16 frames decode"):
        read_frames(bad, [6, 7])


_X264 = "keyint=12:min-keyint=12:scenecut=0"
LOSSY = {
    "h264": ("libx264", {"x264-params": f"{_X264}:bframes=0"}),
    "h264 in slices without CABAC": ("libx264", {"x264-params": f"{_X264}:bframes=0:cabac=0:slices=3"}),
    "hevc": ("libx265", {"x265-params": f"{_X264}:log-level=none"}),
    "mpeg2": ("mpeg2video", {"g": "12", "bf": "2"}),
}
_TS_PACKET = 188  # bytes


@pytest.mark.parametrize("kind", LOSSY)
def test_a_transport_stream_that_lost_packets_refuses_what_they_held(tmp_path, kind):
    """Most of the losses are where it is hardest: in key frames, and after the last one."""
    path, bad = tmp_path / "v.ts", tmp_path / "bad.ts"
    codec, options = LOSSY[kind]
    render(path, 48, codec=codec, options={**options, "b": "1M"}, noise=60)
    data, rng = path.read_bytes(), random.Random(0)
    right = {frame.time_seconds: frame.pixels for frame in iter_frames(path, range(48))}
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pos]
    starts = [packet.pos // _TS_PACKET for packet in packets]
    keys = [at for at, packet in enumerate(packets) if packet.is_keyframe]
    places = [start + offset for at in keys[-2:] for start in starts[at : at + 2] for offset in range(-3, 12, 3)]
    places += rng.sample(range(starts[keys[-1]], len(data) // _TS_PACKET), 12)
    num_spoiled = 0
    for place in places:
        num_lost = rng.choice([1, 2, 5])
        bad.write_bytes(data[: place * _TS_PACKET] + data[(place + num_lost) * _TS_PACKET :])
        with open_video(bad) as source:
            found = list(source.iter_frames(range(source.info.num_frames), skip_unreadable=True))
            is_cut_short = source.info.truncated
        for frame in found:
            if isinstance(frame, Frame):
                where = f"{num_lost} packets lost at {place}, frame {frame.index}"
                assert np.array_equal(frame.pixels, right[frame.time_seconds]), where
        named = {frame.time_seconds for frame in found}
        assert is_cut_short or named == set(right), f"{num_lost} packets lost at {place}"
        num_spoiled += is_cut_short or any(isinstance(frame, Unreadable) for frame in found)
    assert num_spoiled > len(places) // 2


def test_logs_of_ffmpeg_are_as_they_were_afterwards(tmp_path, whole):
    path = rendered(whole, "gif")
    bad = tmp_path / "bad.gif"
    bad.write_bytes(flipped(path, packets_of(path)[3], random.Random(1)))
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    for path_read in (path, bad):
        for frame in iter_frames(path_read, range(NUM_FRAMES), skip_unreadable=True):
            if isinstance(frame, Frame):
                assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before, (
                    "while others have their turn"
                )
        assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before


@pytest.mark.parametrize(("name", "position"), [("mjpeg", 0), ("mjpeg", 15), ("apng", 15)])
def test_a_packet_that_does_not_decode_and_has_no_place_is_told(tmp_path, whole, name, position):
    """No frame comes out before the first one or after the last one, so that nothing is there to be refused."""
    path = rendered(whole, name)
    packet = packets_of(path)[position]
    data = path.read_bytes()
    bad = tmp_path / f"bad{path.suffix}"
    with av.open(str(path)) as container:
        place = [p.pos for p in container.demux(video=0) if p.size][position]
    start = data.find(packet[len(packet) // 3 :][:16], place)
    bad.write_bytes(data[:start] + bytes(150) + data[start + 150 :])
    info = probe(bad)
    found = iter_frames(bad, range(info.num_frames), skip_unreadable=True)
    refused = [frame.index for frame in found if isinstance(frame, Unreadable)]
    assert refused or [note.kind for note in info.notes] == [NoteKind.DAMAGE]


def test_one_time_out_of_line_before_a_clean_start_changes_no_frame(tmp_path):
    """Packets are not believed that would show a clean start before what was decoded before it."""
    path, bad = tmp_path / "whole.mkv", tmp_path / "bad.mkv"
    render(path, NUM_FRAMES, options={"g": "6", "bf": "2", "x264-params": "scenecut=0:b-adapt=0"})
    with av.open(str(path)) as source, av.open(str(bad), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(p for p in source.demux(video=0) if p.size):
            packet.stream = stream
            packet.pts += 8000 if number == 6 else 0
            out.mux(packet)
    refused_frames(bad)


def test_two_videos_that_are_read_in_turns_are_as_each_by_itself(tmp_path: Path) -> None:
    """Which frames are damaged is told by the packets that they are made from, and never by those of another video."""
    path = tmp_path / "cut.mp4"
    render(path, 60, noise=60, container_options={"movflags": "faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])

    def read(num_wanted: int) -> Iterator[bool]:
        with open_video(path) as source:
            for frame in source.iter_frames(range(num_wanted), skip_unreadable=True):
                yield isinstance(frame, Frame)

    for seed in range(60):
        turns = random.Random(seed)
        num_wanted = turns.randrange(10, 31)
        videos, found = [read(num_wanted), read(num_wanted)], ([], [])
        while unfinished := [number for number in (0, 1) if len(found[number]) < num_wanted]:
            number = turns.choice(unfinished)
            found[number].append(next(videos[number]))
        assert all(map(all, found))
