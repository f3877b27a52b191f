"""What is decoded for the frames that are wanted: all that the right picture takes, and nothing else."""

from __future__ import annotations

import random
import tarfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.errors import VideoError
from tadacli.video import decoder as decoding
from tadacli.video import frame_table, inspection, seeking
from tadacli.video.bitstream import packet_rule
from tadacli.video.container import open_stream, read_packets
from tadacli.video.decode_plan import PacketOrder, needed_packets, reordering
from tadacli.video.reading import iter_frames, open_video, read_frames
from tadacli.video.source import Frame, Unreadable
from tadacli.video.watched_decoding import decode_watched
from tests.media import jpeg_bytes, number_in, render

NUM_FRAMES = 70
IRREGULAR = [number * 33 + (number * number * 7) % 29 for number in range(NUM_FRAMES)]
FILES = {
    "pyramid of B-frames": {"x264-params": "keyint=20:bframes=3:b-pyramid=normal:b-adapt=0:scenecut=0"},
    "B-frames that none refers to": {"x264-params": "keyint=25:bframes=2:b-pyramid=none:b-adapt=0:scenecut=0"},
    "no B-frames": {"x264-params": "keyint=10:bframes=0:scenecut=0"},
    "one group": {"x264-params": "keyint=infinite:bframes=3:b-adapt=0:scenecut=0"},
    "open groups": {"x264-params": "keyint=12:open-gop=1:bframes=3:b-adapt=0:scenecut=0"},
    "several slices": {"x264-params": "keyint=20:slices=3:bframes=3:b-adapt=0:scenecut=0"},
    "default settings": {"preset": "medium"},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    for name, options in FILES.items():
        render(folder / f"{name}.mp4", NUM_FRAMES, options={"preset": "veryfast"} | options, noise=60)
    irregular = FILES["pyramid of B-frames"]
    render(folder / "uneven times.mkv", NUM_FRAMES, options=irregular, pts=IRREGULAR, time_base=Fraction(1, 1000))
    return sorted(folder.iterdir())


def plain_decode(path: Path) -> list[tuple[np.ndarray, bool]]:
    """(pixels, whether the decoder flags it) of every frame by its time: the oracle."""
    frames = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            try:
                frames += packet.decode()
            except av.error.InvalidDataError:
                continue
    return [(frame.to_ndarray(format="rgb24"), frame.is_corrupt, frame.pts) for frame in frames]


def headers(path: Path) -> list[tuple[int, bool, bool]]:
    """(pts, whether it is an IDR picture, whether others may refer to it) of each packet, read from its slices."""
    found = []
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            data, at, slices = bytes(packet), 0, []
            while at < len(data):
                if data[at + 4] & 31 in (1, 5):
                    slices.append(data[at + 4])
                at += 4 + int.from_bytes(data[at : at + 4], "big")
            if data:
                found.append((packet.pts, slices[0] & 31 == 5, slices[0] >> 5 & 3 > 0))
    return found


def must_be_decoded(path: Path, wanted: set[int]) -> set[int]:
    """The times of the frames that a decoder cannot do without: walks back from each wanted one to its restart."""
    packets = headers(path)
    times, needed = sorted(pts for pts, _, _ in packets), set()
    for index in wanted:
        at = next(k for k, (pts, _, _) in enumerate(packets) if pts == times[index])
        needed.add(times[index])
        while not packets[at][1]:
            at -= 1
            if packets[at][2]:
                needed.add(packets[at][0])
    return needed


def test_any_subset_is_what_a_plain_decode_gives_and_no_frame_more_is_decoded(videos):
    rng = random.Random(0)
    for path in videos:
        right, num_left_out = [pixels for pixels, _, _ in plain_decode(path)], 0
        assert len(right) == NUM_FRAMES
        for size in (1, 1, 2, 5, 15, NUM_FRAMES):
            wanted = sorted(rng.sample(range(NUM_FRAMES), size))
            with open_video(path) as source:
                assert source.num_decoded == 0
                found = list(source.iter_frames(wanted))
                assert [frame.index for frame in found] == wanted
                assert all(np.array_equal(frame.pixels, right[frame.index]) for frame in found), path.name
                assert source.num_decoded == len(must_be_decoded(path, set(wanted))), (path.name, wanted)
                num_left_out += wanted[-1] + 1 - source.num_decoded
        assert num_left_out > NUM_FRAMES // 2, path.name


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx265", {"x265-params": "log-level=none:keyint=12:open-gop=0:bframes=3"}),
        ("mp4", "libx265", {"x265-params": "log-level=none:keyint=12:open-gop=1:bframes=3"}),
        ("webm", "libvpx", {"g": "12", "auto-alt-ref": "0"}),
        ("webm", "libvpx-vp9", {"g": "12", "deadline": "realtime"}),
        ("mp4", "libsvtav1", {"g": "12", "preset": "12"}),
    ],
)
def test_other_codecs_give_the_pictures_of_a_plain_decode(tmp_path, suffix, codec, options):
    path, rng = tmp_path / f"v.{suffix}", random.Random(1)
    render(path, 50, codec=codec, options=options, noise=60)
    right = [pixels for pixels, _, _ in plain_decode(path)]
    for size in (1, 2, 4, 8):
        wanted = sorted(rng.sample(range(50), size))
        found = iter_frames(path, wanted)
        assert all(np.array_equal(frame.pixels, right[frame.index]) for frame in found), wanted


def test_where_a_key_frame_is_shown_after_frames_that_are_made_from_it_no_group_begins_with_it(tmp_path):
    """HEVC may decode a key frame before frames that lead up to it; a restart is the first frame of its group."""
    path = tmp_path / "v.mp4"
    options = "log-level=none:keyint=12:min-keyint=12:open-gop=0:bframes=3:b-adapt=0:scenecut=0"
    for leading in (0, 2):
        render(path, 40, codec="libx265", options={"x265-params": f"{options}:radl={leading}"}, noise=60)
        right = [pixels for pixels, _, _ in plain_decode(path)]
        with av.open(str(path)) as container:
            times = [packet.pts for packet in container.demux(video=0) if packet.size]
        with open_video(path) as source:
            shown_first = [at for at in source.restarts.tolist() if times[at] == sorted(times)[at]]
            assert shown_first == source.restarts.tolist() == ([0] if leading else [0, 12, 24, 36])
            for index in range(40):
                (frame,) = source.iter_frames([index])
                assert np.array_equal(frame.pixels, right[index])


def test_a_damaged_start_spoils_its_group_though_nothing_came_before(tmp_path):
    path, bad = tmp_path / "v.mp4", tmp_path / "bad.mp4"
    render(path, 40, options={"x264-params": "keyint=20:bframes=0:scenecut=0"}, noise=60)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        start = [packet.pos for packet in container.demux(video=0) if packet.is_keyframe][1]
    data[start + 6 : start + 40] = b"\xff" * 34  # the header of its slice
    bad.write_bytes(data)
    wanted = [25, 39]
    for first in ([], [3]):
        with open_video(bad) as source:
            found = list(source.iter_frames(first + wanted, skip_unreadable=True))
            assert [frame.index for frame in found if isinstance(frame, Frame)] == first


def test_a_key_frame_that_comes_out_after_damage_was_seen_does_not_end_it(tmp_path):
    """Where frames are reordered, the decoder still holds the key frame when the packet after it fails."""
    path, bad = tmp_path / "v.mp4", tmp_path / "bad.mp4"
    groups = "keyint=12:min-keyint=12:bframes=3:b-adapt=0:b-pyramid=normal:scenecut=0"
    render(path, 36, options={"x264-params": groups}, noise=60)
    right = [pixels for pixels, _, _ in plain_decode(path)]
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for start, size in packets[13:16]:
        data = bytearray(path.read_bytes())
        data[start + 6 : start + size] = bytes(size - 6)  # all of its slice but the first byte
        bad.write_bytes(data)
        found = list(iter_frames(bad, range(36), skip_unreadable=True))
        given = {frame.index: frame.pixels for frame in found if isinstance(frame, Frame)}
        assert set(range(13)) | set(range(24, 36)) <= set(given)
        assert len(given) < 36
        assert all(np.array_equal(pixels, right[index]) for index, pixels in given.items())


@pytest.mark.parametrize("wanted", [[0], [1], [0, 5], [7, 20], [39]])
@pytest.mark.parametrize("group", ["999", "10"])
def test_vp9_goes_on_from_its_first_frame_where_that_is_not_wanted(tmp_path, group, wanted):
    """The decoder of a single group has decoded it when the file was opened, and nothing is decoded twice."""
    path = tmp_path / "v.webm"
    render(path, 40, codec="libvpx-vp9", options={"g": group, "deadline": "realtime", "cpu-used": "8"}, noise=20)
    right = [pixels for pixels, _, _ in plain_decode(path)]
    with open_video(path) as source:
        start = int(source.restarts[np.searchsorted(source.restarts, wanted[0], side="right") - 1])
        for number in range(3):
            found = list(source.iter_frames(wanted))
            assert [frame.index for frame in found] == wanted
            assert all(np.array_equal(frame.pixels, right[frame.index]) for frame in found)
            if len(wanted) == 1:
                assert source.num_decoded == (number + 1) * (wanted[0] + 1 - start)


@pytest.mark.parametrize("suffix", ["webm", "mp4"])
def test_vp9_whose_first_packet_claims_another_size_is_decoded_to_know(tmp_path, suffix):
    """The container says the true one; FFmpeg believes the packet."""
    path = tmp_path / f"v.{suffix}"
    render(path, 40, codec="libvpx-vp9", options={"g": "10", "deadline": "realtime", "cpu-used": "8"})
    data = bytearray(path.read_bytes())
    at = data.index(bytes.fromhex("498342")) + 4  # the size comes after half a byte about colours
    assert data[at : at + 3] == bytes.fromhex("09f005")
    data[at : at + 2] = bytes.fromhex("08f0")
    path.write_bytes(data)
    with open_video(path) as source:
        assert (source.info.height, source.info.width) == (96, 144)
        assert isinstance(next(source.iter_frames([0], skip_unreadable=True)), Frame)


def test_two_readings_count_twice(videos):
    with open_video(videos[0]) as source:
        for _ in range(2):
            list(source.iter_frames([0]))
        assert source.num_decoded == 2


def test_readings_of_one_source_do_not_disturb_each_other(videos):
    for path in videos:
        right = read_frames(path, range(NUM_FRAMES))
        with open_video(path) as source:
            left = source.iter_frames([3, 5])
            assert np.array_equal(next(left).pixels, right[3])
            at_once = [source.iter_frames(range(start, NUM_FRAMES)) for start in (0, 7)]
            for numbers in zip(range(NUM_FRAMES), range(7, NUM_FRAMES), strict=False):
                for number, frames in zip(numbers, at_once, strict=True):
                    assert np.array_equal(next(frames).pixels, right[number]), (path.name, number)


@pytest.fixture
def opened(monkeypatch):
    """The files that were opened since the test began."""
    names, honest = [], av.open

    def count(name, **options):
        names.append(name)
        return honest(name, **options)

    monkeypatch.setattr(av, "open", count)
    return names


@pytest.mark.parametrize("num_bytes", [0, 5_000, 1 << 30])
def test_a_file_is_opened_once_to_look_at_it_and_to_read_it(videos, monkeypatch, opened, num_bytes):
    """Whether its packets are kept or, since they are too large for that, read again."""
    monkeypatch.setattr(frame_table, "MAX_KEPT_BYTES", num_bytes)
    for path in videos:
        opened.clear()
        with open_video(path) as source:
            for wanted in ([8, 40], [3]):
                assert [number_in(frame.pixels) for frame in source.iter_frames(wanted)] == wanted
                assert len(opened) == (1 if wanted == [8, 40] else 2), path.name


def test_a_file_that_cannot_be_read_from_its_start_again_is_opened_again(videos, monkeypatch, opened):
    def refuse(*_):
        raise av.error.PermissionError(1, "no way back")

    monkeypatch.setattr(frame_table, "MAX_KEPT_BYTES", 0)
    monkeypatch.setattr(inspection, "read_packets_again", refuse)
    for path in videos:
        opened.clear()
        assert [number_in(frame) for frame in read_frames(path, [40, 8])] == [40, 8]
        assert len(opened) == 2, path.name


@st.composite
def packet_orders(draw) -> PacketOrder:
    """Groups of a few packets; in each, the first is the first frame, and the others come in any order."""
    frames, referenced, restarts = [], [], []
    for _ in range(draw(st.integers(1, 4))):
        size, start = draw(st.integers(1, 6)), len(frames)
        restarts.append(start)
        frames += [start, *draw(st.permutations(range(start + 1, start + size)))]
        referenced += [True, *draw(st.lists(st.booleans(), min_size=size - 1, max_size=size - 1))]
    return PacketOrder(np.array(frames, dtype=np.int32), np.array(referenced), np.array(restarts, dtype=np.int64))


@given(packets=packet_orders(), data=st.data())
def test_needed_packets_are_the_wanted_ones_and_the_references_before_them(packets, data):
    num_packets = len(packets.frames)
    wanted = sorted(data.draw(st.sets(st.integers(0, num_packets - 1))))
    expected = [False] * num_packets
    for index in wanted:
        at = list(packets.frames).index(index)
        expected[at] = True
        while at not in packets.restarts:
            at -= 1
            expected[at] |= bool(packets.referenced[at])
        start, end = packets.group_of(index)
        assert at == start
        assert end == min([r for r in packets.restarts if r > index], default=num_packets)
    assert needed_packets(packets, np.array(wanted, dtype=np.int64)).tolist() == expected


@given(times=st.lists(st.integers(0, 60), max_size=45, unique=True))
def test_reordering_counts_the_frames_that_are_overtaken(times):
    overtaken = [sum(t > time for t in times[max(0, at - 31) : at]) for at, time in enumerate(times)]
    assert reordering(np.array(times, dtype=np.int64)) == max(overtaken, default=0)


P, B, IDR, SEI, SPS, PPS, DELIMITER, UNKNOWN = 0x41, 0x01, 0x65, 0x06, 0x67, 0x68, 0x09, 0x14


@pytest.mark.parametrize(
    ("units", "verdict", "reason"),
    [
        ([P], "frame", "a reference picture"),
        ([B], "unreferenced", "nal_ref_idc is 0"),
        ([SEI, B, B], "unreferenced", "messages and several slices"),
        ([DELIMITER, B], "unreferenced", "a delimiter says nothing"),
        ([B, P], "frame", "one slice claims to be a reference"),
        ([UNKNOWN, B], "frame", "what is not known may matter"),
        ([0x81, 0x81], "frame", "the forbidden bit is set"),
        ([PPS, B], "frame", "a parameter set that is known, yet may be set again"),
        ([0x28, B], "", "another parameter set"),
        ([IDR], "restart", "starts afresh"),
        ([SPS, PPS, SEI, IDR, IDR], "restart", "all that belongs to it, in two slices"),
        ([IDR, P], "", "slices of two kinds"),
        ([0x42, P], "", "a slice in parts, each in a unit of its own"),
        ([P, IDR], "", "slices of two kinds"),
        ([SEI], "", "no slice"),
    ],
)
def test_only_a_proven_frame_may_be_left_out(videos, units, verdict, reason):
    with open_stream(str(videos[0])) as (container, stream):
        rule = packet_rule(container, stream)
        extradata = bytes(stream.codec_context.extradata)
    size = int.from_bytes(extradata[6:8], "big")  # of the one SPS; after it the count of PPS, and the first one
    size_of_pps = int.from_bytes(extradata[9 + size : 11 + size], "big")
    pps = extradata[11 + size : 11 + size + size_of_pps]
    packet, is_first = b"", True
    for unit in units:
        body = bytes([unit, 0x80 if is_first else 0x40, 0x11, 0x22])
        is_first = is_first and unit & 31 not in (1, 5)
        body = {PPS: pps, SPS: extradata[8 : 8 + size]}.get(unit, body)
        packet += len(body).to_bytes(4, "big") + body
    assert rule(memoryview(packet)) == verdict, reason
    assert rule(memoryview(packet + b"\0")) == rule(memoryview(packet[:-1])) == "", "lengths that do not add up"


# --- frames that cannot be had ------------------------------------------------------------------------


def damaged_copy(path: Path, target: Path, rng: random.Random, *, num_packets: int) -> set[int]:
    """Changes a run of bytes in some packets, after the headers of their slices; gives the times of these packets."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size, p.pts) for p in container.demux(video=0) if p.size > 400]
    hit = rng.sample(packets, num_packets)
    for start, size, _ in hit:
        at = start + rng.randrange(150, size - 150)
        for offset in range(100):
            data[at + offset] ^= rng.randrange(1, 256)
    target.write_bytes(data)
    return {pts for _, _, pts in hit}


def untouched(order, wanted, sent: set[int], hit: set[int]) -> set[int]:
    """The wanted frames of whose groups nothing damaged is decoded up to them."""
    times, good, is_good = sorted(pts for pts, _, _ in order), set(), True
    for pts, is_restart, _ in order:
        is_good = (is_good or is_restart) and not (pts in sent and pts in hit)
        if is_good:
            good.add(times.index(pts))
    return good & set(wanted)


@pytest.mark.parametrize("seeks", [False, True])
def test_with_damage_in_the_middle_every_frame_is_right_or_missing(videos, tmp_path, monkeypatch, seeks):
    if seeks:
        monkeypatch.setattr(frame_table, "MAX_KEPT_BYTES", 0)
        monkeypatch.setattr(seeking, "WORTH_SEEKING", 0)
    rng, bad, num_missing, num_given = random.Random(3), tmp_path / "bad", 0, 0
    for path in videos:
        order = headers(path)
        times = sorted(pts for pts, _, _ in order)
        for _ in range(4):
            hit = damaged_copy(path, bad, rng, num_packets=2)
            right = {pts: (pixels, is_flagged) for pixels, is_flagged, pts in plain_decode(bad)}
            for wanted in (range(NUM_FRAMES), sorted(rng.sample(range(NUM_FRAMES), 12))):
                with open_video(bad) as source:
                    found = list(source.iter_frames(wanted, skip_unreadable=True))
                    assert source.num_decoded <= 2 * NUM_FRAMES
                    assert [frame.index for frame in found] == list(wanted)
                    assert [frame.time_seconds for frame in found] == source.times[list(wanted)].tolist()
                    given = {frame.index: frame.pixels for frame in found if isinstance(frame, Frame)}
                    assert all(frame.reason for frame in found if isinstance(frame, Unreadable))
                for index, frame in given.items():
                    pixels, is_flagged = right[times[index]]
                    assert not is_flagged, (path.name, index)
                    assert np.array_equal(frame, pixels), (path.name, index)
                sent = must_be_decoded(path, set(wanted))
                assert untouched(order, wanted, sent, hit) <= set(given), path.name
                num_given, num_missing = num_given + len(given), num_missing + len(wanted) - len(given)
    assert 50 < num_missing < num_given


def test_many_bad_frames_cost_two_passes_at_most(tmp_path):
    path = tmp_path / "v.mp4"
    render(path, 200, options=FILES["B-frames that none refers to"] | {"preset": "veryfast"}, noise=60)
    damaged_copy(path, tmp_path / "bad.mp4", random.Random(0), num_packets=60)
    with open_video(tmp_path / "bad.mp4") as source:
        wanted = range(0, 200, 2)
        found = list(source.iter_frames(wanted, skip_unreadable=True))
        assert [frame.index for frame in found] == list(wanted)
        num_missing = sum(isinstance(frame, Unreadable) for frame in found)
        assert num_missing > 30
        assert source.num_decoded <= 2 * 200


def test_a_frame_that_never_comes_out_holds_up_no_others(tmp_path, monkeypatch):
    """Should a decoder lose a frame without a word, the frames after it do not wait for it until the video ends."""
    path, honest = tmp_path / "v.mp4", decode_watched
    render(path, 200, options=FILES["one group"])
    with av.open(str(path)) as container:
        lost = [frame.pts for frame in container.decode(video=0)][5]

    def losing(decoder, packet, listening):
        frames, had_error = honest(decoder, packet, listening)
        return [frame for frame in frames or () if frame.pts != lost], had_error

    monkeypatch.setattr(decoding, "decode_watched", losing)
    with open_video(path) as source:
        for frame in source.iter_frames(range(200), skip_unreadable=True):
            assert isinstance(frame, Unreadable) is (frame.index == 5)
            assert source.num_decoded <= frame.index + 30


def test_what_the_plan_does_not_bring_is_looked_for_among_all_packets(tmp_path, monkeypatch):
    """Should a packet be left out wrongly, and the decoder notice, the group is decoded in full."""
    path = tmp_path / "v.mp4"
    render(path, 60, options={"x264-params": "keyint=20:bframes=0:scenecut=0"})
    honest = frame_table.scan_table

    def lying(path, container, stream, *, so_far):
        table, first = honest(path, container, stream, so_far=so_far)
        nothing = np.zeros(60, dtype=np.bool_)
        return frame_table.replace(table, packets=replace(table.packets, referenced=nothing)), first

    monkeypatch.setattr(frame_table, "scan_table", lying)
    for wanted in ([7], [3, 25, 26, 58], [59, 30]):
        assert [number_in(frame) for frame in read_frames(path, wanted)] == wanted


def test_a_cut_file_gives_what_is_left_and_names_the_rest(tmp_path):
    whole, path = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    options = FILES["pyramid of B-frames"]
    render(whole, 60, options=options, container_options={"movflags": "faststart"}, noise=60)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with open_video(path) as source:
        found = list(source.iter_frames(range(60), skip_unreadable=True))
        numbers = [number_in(frame.pixels) for frame in found if isinstance(frame, Frame)]
        assert numbers == list(range(len(numbers)))
        assert 15 < len(numbers) < 45
        assert [frame.index for frame in found] == list(range(60))
        assert "cut off" in found[-1].reason


def test_a_file_that_goes_away_has_no_frames_left(tmp_path):
    path = tmp_path / "v.mp4"
    render(path, 10)
    with open_video(path) as source:
        path.unlink()
        assert [number_in(frame.pixels) for frame in source.iter_frames([2])] == [2], "its packets are there, once"
        reason = "cannot be read any more: No such file or directory"
        lost = [Unreadable(index, source.times[index], reason) for index in (1, 4)]
        assert list(source.iter_frames([1, 4], skip_unreadable=True)) == lost
        with pytest.raises(VideoError, match="cannot be opened again"):
            list(source.iter_frames([1]))


def test_a_file_that_cannot_be_read_to_its_end(videos, monkeypatch):
    """What was read before a disk fails is given; the rest is missing, and nothing moves up."""
    honest = read_packets

    def failing(container, stream):
        for number, packet in enumerate(honest(container, stream)):
            yield packet if number < 40 else None

    for path in videos:
        with open_video(path) as source:
            list(source.iter_frames([0]))  # from here on, the file is read again
            with monkeypatch.context() as patch:
                patch.setattr(decoding, "read_packets", failing)
                found = list(source.iter_frames(range(0, NUM_FRAMES, 3), skip_unreadable=True))
            right = dict(enumerate(read_frames(path, range(NUM_FRAMES))))
            given = {frame.index: frame.pixels for frame in found if isinstance(frame, Frame)}
            assert all(np.array_equal(frame, right[index]) for index, frame in given.items())
            assert set(range(0, 36, 3)) <= set(given) <= set(range(40))


def test_frames_of_another_size_are_passed_over(tmp_path):
    path = tmp_path / "v.h264"
    render(tmp_path / "a.h264", 5, options={"bf": "0"})
    render(tmp_path / "b.h264", 5, options={"bf": "0"}, size=(64, 128))
    path.write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    with open_video(path) as source:
        found = list(source.iter_frames([2, 7, 9], skip_unreadable=True))
        assert [isinstance(frame, Unreadable) for frame in found] == [False, True, True]
        assert found[-1].reason == "is 128x64 pixels, the first one 160x96"


def test_damaged_jpeg_frames_are_passed_over(tmp_path):
    folder = tmp_path / "P01_11"
    folder.mkdir()
    for number in range(1, 9):
        (folder / f"frame_{number:010d}.jpg").write_bytes(jpeg_bytes(number, height=96 - 16 * (number == 6)))
    contents = {2: jpeg_bytes(2)[:1000], 4: b"\0" * 500, 5: b""}
    for number, content in contents.items():
        (folder / f"frame_{number:010d}.jpg").write_bytes(content)
    with tarfile.open(tmp_path / "P01_11.tar", "w") as tar:
        tar.add(folder, arcname="P01_11")
    for path in (folder, tmp_path / "P01_11.tar"):
        with open_video(path) as source:
            found = list(source.iter_frames(range(8), skip_unreadable=True))
            numbers = [number_in(frame.pixels) if isinstance(frame, Frame) else None for frame in found]
            assert numbers == [1, None, 3, None, None, None, 7, 8]
            assert found[3].reason == "is not a whole JPEG picture", "the same text each time"
            assert "160x80 pixels" in found[5].reason
            assert source.num_decoded == 5, "of one of them, only the size was wrong"
    (folder / "frame_0000000003.jpg").unlink()
    (folder / "frame_0000000003.jpg").mkdir()
    with open_video(folder) as source:
        lost, given = source.iter_frames([2, 6], skip_unreadable=True)
        assert lost.reason.startswith("cannot be read: ")
        assert number_in(given.pixels) == 7
    given, lost = iter_frames(folder, [0, 2], skip_unreadable=True)
    assert (given.index, lost.index) == (0, 2)
    assert isinstance(lost, Unreadable)


@pytest.mark.parametrize("rate", [Fraction(30_000, 1001), Fraction(50), Fraction(997, 31)])
def test_times_are_the_same_to_the_bit_whichever_way_they_are_asked_for(tmp_path, rate):
    folder = tmp_path / "P01_11"
    folder.mkdir()
    for number in range(1, 60):
        (folder / f"frame_{number:010d}.jpg").write_bytes(jpeg_bytes(number))
    render(tmp_path / "v.mkv", 59, pts=IRREGULAR[:59], time_base=1 / rate / 3)
    for path in (folder, tmp_path / "v.mkv"):
        with open_video(path, fps=rate) as source:
            assert source.times.tolist() == [frame.time_seconds for frame in source.iter_frames(range(59))]
            with pytest.raises(ValueError, match="read-only"):
                source.times[0] = 1
