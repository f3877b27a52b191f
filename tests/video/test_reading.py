"""Frames by number: which frame comes back, when it is shown, and what is refused."""

from __future__ import annotations

import os
import random
import re
import tarfile
import tracemalloc
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tadacli.errors import VideoError
from tadacli.video import decoder as decoding
from tadacli.video import frame_table, inspection
from tadacli.video.container import open_stream
from tadacli.video.reading import is_frames_folder, iter_frames, open_video, probe, read_frames
from tadacli.video.seeking import read_packets_again
from tadacli.video.watched_decoding import decode_watched
from tests.media import jpeg_bytes, number_in, picture, render, render_audio, shared_folder, shared_media

FASTSTART = {"movflags": "faststart"}
B_FRAMES = {"bf": "3", "g": "12", "x264-params": "b-pyramid=normal:scenecut=0"}
FAR_TOO_MANY = 2000  # of a longer shared video, only the first frames are compared


def plain_decode(path: Path):
    """Every frame as PyAV decodes it by default: the oracle."""
    with av.open(f"file:{path}", metadata_errors="replace") as container:
        yield from container.decode(container.streams.best("video"))


def distrust(path: Path) -> str:
    return table_of(path).distrust


def table_of(path: Path) -> frame_table.FrameTable:
    with open_stream(str(path)) as (container, stream):
        return frame_table.build_table(str(path), container, stream)[0]


# --- which frame --------------------------------------------------------------------------------------

RENDERED = [
    ("mp4", "libx264", {"bf": "0", "g": "12"}, "no reordering", True),
    ("mp4", "libx264", B_FRAMES, "pyramid of B-frames", True),
    ("mkv", "libx264", B_FRAMES, "times rounded to milliseconds", True),
    ("mp4", "libx264", {"g": "12", "x264-params": "open-gop=1:bframes=3:scenecut=0"}, "open GOPs", True),
    ("mkv", "libx264", {"g": "12", "x264-params": "interlaced=1"}, "fields may be packets", False),
    ("mp4", "libx265", {"x265-params": "log-level=none:keyint=12:open-gop=1:bframes=3"}, "HEVC, CRA", True),
    ("webm", "libvpx", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "10"}, "VP8, hidden frames", None),
    ("webm", "libvpx-vp9", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "10"}, "VP9 superframes", None),
    ("mp4", "libsvtav1", {"g": "12", "preset": "12"}, "AV1 with hidden frames", None),
    ("avi", "mpeg4", {"bf": "2", "g": "12"}, "B-frames in AVI", False),
    ("avi", "mpeg4", {"g": "12"}, "MPEG-4 part 2 in AVI", True),
    ("mp4", "mpeg4", {"g": "12"}, "MPEG-4 part 2 in MP4", True),
    ("mp4", "mpeg4", {"bf": "2", "g": "12"}, "MPEG-4 part 2 with B-frames", False),
    ("ts", "libx264", B_FRAMES, "does not start at zero", False),
    ("flv", "libx264", B_FRAMES, "FLV", False),
    ("h264", "libx264", B_FRAMES, "a raw stream has no times", False),
    ("mpg", "mpeg2video", {"bf": "2", "g": "12"}, "program stream", False),
]


@pytest.mark.parametrize(
    ("suffix", "codec", "options", "reason", "is_trusted"), RENDERED, ids=[row[3] for row in RENDERED]
)
def test_every_index_gives_its_own_frame(tmp_path, capfd, suffix, codec, options, reason, is_trusted):
    path = tmp_path / f"v.{suffix}"
    render(path, 50, codec=codec, options=options)
    capfd.readouterr()
    info = probe(path)
    assert info.num_frames == sum(1 for _ in plain_decode(path)), reason
    if is_trusted is not None:
        assert (distrust(path) == "") is is_trusted, reason

    wanted = random.Random(0).choices(range(info.num_frames), k=20)
    rows = read_frames(path, wanted)
    shown = [number_in(frame) for frame in plain_decode_rgb(path)]
    assert [number_in(row) for row in rows] == [shown[i] for i in wanted], reason
    assert [frame.index for frame in iter_frames(path, wanted)] == sorted(set(wanted))
    assert capfd.readouterr() == ("", ""), "FFmpeg must stay silent"


def plain_decode_rgb(path: Path):
    return [frame.to_ndarray(format="rgb24") for frame in plain_decode(path)]


@pytest.mark.parametrize("start", [0, 5000, 86_400_000], ids=["at zero", "at 5 s", "after a day"])
def test_times_are_the_presentation_times(tmp_path, start):
    pts = [start + t for t in (0, 33, 66, 200, 233, 1233, 1250, 1300, 2000, 2500)]
    path = tmp_path / "vfr.mkv"
    render(path, len(pts), pts=pts, time_base=Fraction(1, 1000), options=B_FRAMES)
    with open_video(path) as source:
        times = [t / 1000 for t in pts]
        assert [frame.time_seconds for frame in source.iter_frames(range(10))] == pytest.approx(times, abs=1e-9)
        assert source.times == pytest.approx(times)
        assert source.info.start_seconds == pytest.approx(start / 1000)
        durations = [frame.duration_seconds for frame in source.iter_frames(range(10))]
        assert durations[:-1] == pytest.approx(np.diff(times), abs=1e-9)
        assert times[-1] + durations[-1] == pytest.approx(source.info.start_seconds + source.info.duration_seconds)
        assert source.info.fps == pytest.approx(9 / 2.5, rel=1e-3), "the header's rate is wrong here"
        assert [number_in(frame.pixels) for frame in source.iter_frames([9, 0, 4])] == [0, 4, 9]


@pytest.mark.parametrize("name", ["B-frames.avi", "joined.ts"])
def test_frames_are_on_screen_one_after_the_other_whatever_their_times_say(tmp_path, name):
    """An AVI file keeps no order of presentation, and in files that were joined the times begin again."""
    path = tmp_path / name
    render(path, 40, options={"g": "20", "x264-params": "bframes=3:b-adapt=0:scenecut=0"})
    if name == "joined.ts":
        path.write_bytes(path.read_bytes() * 2)
    with open_video(path) as source:
        assert np.all(np.diff(source.times_shown) >= 0)
        durations = [frame.duration_seconds for frame in source.iter_frames(range(source.info.num_frames))]
        assert durations[:-1] == pytest.approx(np.diff(source.times_shown))


def test_duration_reaches_to_the_end_of_the_last_frame(tmp_path):
    render(tmp_path / "v.mp4", 30)
    info = probe(tmp_path / "v.mp4")
    assert (info.fps, info.duration_seconds, info.start_seconds) == (30, 1.0, 0.0)


@pytest.mark.parametrize(
    ("times", "header", "expected", "reason"),
    [
        (range(0, 300), "30", Fraction(30), "they agree"),
        (range(0, 300), "30000/1001", Fraction(30000, 1001), "within 1 %"),
        (range(0, 600, 2), "30", Fraction(15), "every other frame is there"),
        (range(0, 300), "1000", Fraction(30), "a time base is no frame rate"),
        ([0, 1, 3], "30", Fraction(20), "a whole frame is lacking"),
        ([7], "24", Fraction(24), "one frame: nothing to measure"),
        ([7], None, Fraction(1), "nothing known at all"),
        ([0, 30 * 100_000], None, Fraction(1, 100_000), "very slow, yet not zero"),
    ],
)
def test_average_rate(times, header, expected, reason):
    pts = np.array(list(times), dtype=np.int64)
    table = frame_table.FrameTable(pts, int(pts[-1]) + 1, Fraction(1, 30), True, len(pts))
    assert inspection.average_fps(table, Fraction(header) if header else None) == expected, reason


def test_only_what_is_needed_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "v.mp4"
    render(path, 60, options={"bf": "0", "g": "10"})
    sent = []

    def count(decoder, packet, listening):
        sent.append(packet)
        return decode_watched(decoder, packet, listening)

    with open_video(path) as source:
        monkeypatch.setattr(decoding, "decode_watched", count)
        for wanted, most in (([0], 2), ([55], 10), ([3, 33], 16)):
            sent.clear()
            assert [number_in(frame.pixels) for frame in source.iter_frames(wanted)] == wanted
            assert sum(packet is not None for packet in sent) <= most


def test_memory_does_not_grow_with_the_video(tmp_path):
    path = tmp_path / "v.mp4"
    render(path, 400, options={"g": "50"}, size=(240, 320))
    one_frame = 240 * 320 * 3
    tracemalloc.start()
    try:
        count = sum(1 for _ in iter_frames(path, range(400)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 400
    assert peak < 12 * one_frame, "400 frames must not be kept"


@pytest.mark.parametrize("indices", [[-1], [30], [0, 31], [2**40]])
def test_an_index_outside_is_refused_before_anything_is_read(tmp_path, indices):
    path = tmp_path / "v.mp4"
    render(path, 30)
    with open_video(path) as source, pytest.raises(VideoError, match="numbered 0 to 29"):
        source.iter_frames(indices)
    with pytest.raises(VideoError, match=f"no frame {indices[-1]}"):
        read_frames(path, indices)


def test_no_indices_no_frames(tmp_path):
    render(tmp_path / "v.mp4", 5)
    assert read_frames(tmp_path / "v.mp4", []).shape == (0, 96, 160, 3)


def test_a_float_is_no_frame_number(tmp_path):
    render(tmp_path / "v.mp4", 5)
    with pytest.raises(TypeError):
        read_frames(tmp_path / "v.mp4", [1.0])


def test_frame_size_change_is_refused_at_its_frame(tmp_path):
    path = tmp_path / "v.h264"
    render(tmp_path / "a.h264", 10, options={"bf": "0"})
    render(tmp_path / "b.h264", 10, options={"bf": "0"}, size=(64, 128))
    path.write_bytes((tmp_path / "a.h264").read_bytes() + (tmp_path / "b.h264").read_bytes())
    assert [frame.index for frame in iter_frames(path, range(10))] == list(range(10))
    with pytest.raises(VideoError, match=r"frame 10 at 0.33 s of .* is 128x64 pixels, the first one 160x96"):
        read_frames(path, [3, 10])


def test_stream_that_starts_without_a_key_frame_is_counted_as_decoded(tmp_path):
    path, whole = tmp_path / "v.ts", tmp_path / "whole.ts"
    render(whole, 60, options=B_FRAMES | {"x264-params": "open-gop=1:bframes=3:scenecut=0"})
    data = whole.read_bytes()
    path.write_bytes(data[len(data) // 188 // 5 * 188 :])
    expected = plain_decode_rgb(path)
    assert 0 < len(expected) < 60
    assert probe(path).num_frames == len(expected)


def test_packets_that_prove_wrong_are_not_believed(tmp_path, monkeypatch):
    """Should the scan ever be wrong, decoding decides: right frames or an error, never a shifted one."""
    path = tmp_path / "v.mp4"
    render(path, 20)
    honest = frame_table.scan_table

    def lying(path, container, stream, *, so_far):
        table, first = honest(path, container, stream, so_far=so_far)
        return frame_table.replace(table, pts=np.delete(table.pts, 5), num_readable=19), first

    monkeypatch.setattr(frame_table, "scan_table", lying)
    with open_video(path) as source:
        assert source.info.num_frames == 19
        with pytest.raises(VideoError, match="promise 19 frames, but others decode"):
            list(source.iter_frames([12]))
        assert source.info.num_frames == 20, "the source has learned"
        assert [number_in(frame.pixels) for frame in source.iter_frames([12])] == [12]


# --- display ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "mirrored"), [("mp4", ""), ("mp4", "h"), ("mp4", "v"), ("mkv", "")])
@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_frames_are_turned_for_display(tmp_path, degrees, mirrored, suffix):
    path = tmp_path / f"v.{suffix}"
    render(path, 3, rotation=(degrees, mirrored == "h", mirrored == "v"))
    stored = plain_decode_rgb(path)[1]
    expected = np.rot90(stored, degrees // 90)
    expected = {"": expected, "h": expected[:, ::-1], "v": expected[::-1]}[mirrored]
    info = probe(path)
    assert np.array_equal(read_frames(path, [1])[0], expected)
    assert (info.height, info.width) == expected.shape[:2]


def test_phone_video_stands_upright():
    folder = shared_folder() / "media" / "decoder"
    flat, turned = (probe(folder / f"dmlc+decord__video_{angle}.mov") for angle in (0, 90))
    assert (flat.rotation, turned.rotation) == (0, -90)
    assert (turned.height, turned.width) == (flat.width, flat.height)
    stored = plain_decode_rgb(folder / "dmlc+decord__video_90.mov")[0]
    assert np.array_equal(read_frames(turned.path, [0])[0], np.rot90(stored, -1)), "a quarter turn clockwise"


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_side_data_that_pyav_has_no_name_for_hides_nothing(tmp_path, orientation, turn):
    """EXIF data are such; FFmpeg turns the orientation in them into a display matrix beside them."""
    path = tmp_path / "v.mjpeg"
    path.write_bytes(b"".join(jpeg_bytes(number, orientation=orientation) for number in range(4)))
    stored = plain_decode_rgb(path)[2]
    assert number_in(stored) == 2
    assert np.array_equal(read_frames(path, [2])[0], np.rot90(stored, turn))
    assert probe(path).num_frames == 4


def test_pixels_are_not_stretched(tmp_path):
    path = tmp_path / "v.mp4"
    render(path, 3, aspect=Fraction(4, 3))
    info = probe(path)
    assert (info.height, info.width, info.sample_aspect_ratio) == (96, 160, Fraction(4, 3))
    render(path, 3, aspect=Fraction(4, 3), rotation=(90, False, False))
    assert probe(path).sample_aspect_ratio == Fraction(3, 4), "a turned pixel is high where it was wide"


@pytest.mark.parametrize(("suffix", "size"), [("mp4", (96, 160)), ("mp4", (90, 154)), ("mkv", (98, 150))])
def test_opening_decodes_nothing_where_headers_say_all(tmp_path, monkeypatch, suffix, size):
    """The first frame is decoded when it is wanted; what opening says of it is what a full decode says."""
    path = tmp_path / f"v.{suffix}"
    render(path, 30, size=size, options={"g": "12"})
    by_decoding = inspection.inspect_file(str(path), by_decoding=True)[0].first
    monkeypatch.setattr(frame_table, "decode_packet", lambda *_: pytest.fail("a packet is decoded"))
    with open_video(path) as source:
        assert source._first == by_decoding
        assert (source.info.height, source.info.width) == size
        found = {frame.index: frame.pixels for frame in source.require_frames([0, 13])}
    expected = plain_decode_rgb(path)
    assert all(np.array_equal(found[index], expected[index]) for index in (0, 13))


def test_a_file_of_one_group_is_opened_only_if_it_decodes(tmp_path):
    """What headers promise is worth nothing where all frames are made from one that is lost."""
    path = tmp_path / "v.mp4"
    render(path, 20, options={"g": "100"}, noise=20)
    assert probe(path).num_frames == 20
    with open_stream(str(path)) as (container, stream):
        first = next(container.demux(stream))
    data, unit = bytearray(path.read_bytes()), first.pos
    while data[unit + 4] & 31 != 5:  # the picture comes after the encoder's message
        unit += 4 + int.from_bytes(data[unit : unit + 4], "big")
    data[unit + 6 : first.pos + first.size] = bytes(first.pos + first.size - unit - 6)
    data[unit + 5] = 0x80  # it still says that a picture begins
    path.write_bytes(data)
    with pytest.raises(VideoError):
        probe(path)


def test_a_damaged_part_before_the_tracks_is_passed_over(tmp_path):
    path = tmp_path / "v.mkv"
    render(path, 30, options={"g": "12"})
    expected = plain_decode_rgb(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\x15\x49\xa9\x66") + 4] = 1  # its size has eight bytes now, and reaches beyond any file
    path.write_bytes(data)
    assert np.array_equal(read_frames(path, [13])[0], expected[13])


def test_a_container_may_crop_what_is_coded(tmp_path):
    """FFmpeg takes the size that an MP4 says if it is a little smaller than the coded one."""
    path = tmp_path / "v.mp4"
    render(path, 20)
    coded, said = (b"".join(each.to_bytes(2, "big") for each in size) for size in ((160, 96, 72), (150, 90, 72)))
    data = path.read_bytes()
    assert data.count(coded) == 1
    path.write_bytes(data.replace(coded, said))
    expected = plain_decode_rgb(path)
    with open_video(path) as source:
        assert (source.info.height, source.info.width) == expected[0].shape[:2] == (90, 150)
        assert np.array_equal(next(source.require_frames([13])).pixels, expected[13])


# --- damage -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_mp4(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "v.mp4"
    render(path, 80, options=B_FRAMES, container_options=FASTSTART, noise=60)
    return path


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.77, 0.9, 0.999])
def test_cut_mp4_keeps_its_promise_and_its_numbering(tmp_path, capfd, whole_mp4, share):
    path = tmp_path / "cut.mp4"
    data = whole_mp4.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    info = probe(path)
    assert (info.num_frames, info.truncated) == (80, True)
    assert info.duration_seconds == pytest.approx(80 / 30, abs=0.05)
    good = readable_numbers(path, range(80))
    assert list(good) == list(range(len(good))), "what is left is the beginning, in order"
    assert list(good.values()) == list(good)
    assert abs(len(good) - 80 * share) < 15
    message = rf"frame 79 at 2\.6\d s of .* cut off; {len(good)} of 80 frames decode"
    with pytest.raises(VideoError, match=message):
        read_frames(path, [0, 79])
    assert capfd.readouterr() == ("", "")


def readable_numbers(path: Path, indices) -> dict[int, int]:
    """Index -> number seen in the frame, for the frames that can be read."""
    found = {}
    with open_video(path) as source:
        for index in indices:
            try:
                found.update((frame.index, number_in(frame.pixels)) for frame in source.iter_frames([index]))
            except VideoError:
                continue
    return found


def test_times_of_lost_frames_come_after_those_of_the_frames_that_are_left(tmp_path):
    """They are estimates, from an index that has decoding times alone, and with uneven steps these are far behind."""
    whole, path = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    pts = [number * 33 + (number * number * 7) % 29 + (600 if number > 30 else 0) for number in range(60)]
    groups = {"x264-params": "keyint=20:bframes=3:b-pyramid=normal:b-adapt=0:scenecut=0"}
    render(whole, 60, pts=pts, time_base=Fraction(1, 1000), options=groups, container_options=FASTSTART, noise=60)
    data = whole.read_bytes()
    for percent in range(30, 100, 6):
        path.write_bytes(data[: len(data) * percent // 100])
        with open_video(path) as source:
            assert (source.info.num_frames, source.info.truncated) == (60, True)
            assert np.all(np.diff(source.times) > 0), percent


def test_cut_at_a_packet_boundary_is_still_a_cut(tmp_path, whole_mp4):
    with av.open(str(whole_mp4)) as container:
        ends = [(p.pos + p.size, p.pts) for p in container.demux(video=0) if p.size]
    for keep in (20, 41, 42, 43):
        path = tmp_path / "cut.mp4"
        path.write_bytes(whole_mp4.read_bytes()[: ends[keep - 1][0]])
        assert (probe(path).num_frames, probe(path).truncated) == (80, True)
        good = readable_numbers(path, range(80))
        assert list(good) == list(good.values())
        assert keep - 4 <= len(good) <= keep, "where a lost frame may belong between, none is placed"


@pytest.mark.parametrize("suffix", ["avi", "mkv", "flv"])
def test_cut_file_without_an_index_says_so(tmp_path, suffix):
    whole, path = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    codec = "mpeg4" if suffix == "avi" else "libx264"
    render(whole, 60, codec=codec, options={"g": "12", "b": "2M"}, noise=60)
    assert not probe(whole).truncated
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    info = probe(path)
    assert info.truncated
    assert 20 < info.num_frames < 50
    good = readable_numbers(path, range(info.num_frames))
    assert list(good) == list(good.values())
    assert len(good) >= info.num_frames - 1


def test_cut_fragmented_mp4(tmp_path):
    whole, path = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    render(whole, 60, options=B_FRAMES, container_options={"movflags": "frag_keyframe+empty_moov"}, noise=60)
    assert (probe(whole).num_frames, probe(whole).truncated) == (60, False)
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert probe(path).truncated
    good = readable_numbers(path, range(probe(path).num_frames))
    assert len(good) > 20
    assert list(good) == list(good.values())


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx264", B_FRAMES),
        ("mp4", "libx264", {"bf": "0", "g": "10"}),
        ("avi", "mpeg4", {"g": "12", "b": "2M"}),
    ],
    ids=["h264 with B-frames", "h264", "mpeg4"],
)
def test_flipped_bytes_give_the_right_frame_or_an_error(tmp_path, capfd, suffix, codec, options):
    whole, path = tmp_path / f"whole.{suffix}", tmp_path / f"bad.{suffix}"
    render(whole, 40, codec=codec, options=options, noise=60, size=(240, 320))
    right = read_frames(whole, range(40))
    data, rng, messages, num_noticed = whole.read_bytes(), random.Random(1), [], 0
    for _ in range(6):
        bad, at = bytearray(data), rng.randrange(len(data) // 3, len(data) * 3 // 5)
        for offset in range(60):
            bad[at + offset] ^= rng.randrange(1, 256)
        path.write_bytes(bad)
        if not decoder_notices(path, 40):
            continue  # flipped bytes can spell other valid pictures, and then nobody can tell
        num_noticed += 1
        with open_video(path) as source:
            assert source.info.num_frames == 40
            for index in range(40):
                try:
                    [frame] = source.iter_frames([index])
                except VideoError as error:
                    messages.append(f"{index}: {error}")
                else:
                    assert np.array_equal(frame.pixels, right[index]), f"frame {index} is damaged and was given"
    assert num_noticed >= 2
    assert 0 < len(messages) < num_noticed * 20, "before the damage and after the next key frame all is fine"
    full = re.compile(r"(\d+): frame \1 at \d\.\d\d s of .*; \d+ of 40 frames decode")
    assert all(full.fullmatch(message) for message in messages)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("position", [0, 4, 10, 20, 29], ids=["first", "inner", "key", "last key", "last"])
@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "libx264"), ("mp4", "libx265")])
def test_an_undecodable_packet_takes_no_frame_away(tmp_path, suffix, codec, position):
    whole, path = tmp_path / f"whole.{suffix}", tmp_path / f"bad.{suffix}"
    groups = (
        {"x264-params": "scenecut=0"} if codec == "libx264" else {"x265-params": "keyint=10:min-keyint=10:scenecut=0"}
    )
    render(whole, 30, codec=codec, options={"bf": "0", "g": "10", **groups}, noise=60)
    data = bytearray(whole.read_bytes())
    with av.open(str(whole)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        start, size = packets[position].pos, packets[position].size
    kept = 16 if suffix == "mkv" else 0  # the head of the block, without which there is no packet
    data[start + kept : start + size - kept] = bytes(size - 2 * kept)
    path.write_bytes(data)
    if suffix == "mp4":
        assert distrust(path), "a packet of zeros is no frame"
    info = probe(path)
    assert (info.num_frames, info.start_seconds) == (30, 0.0)
    good = readable_numbers(path, range(30))
    assert list(good) == list(good.values())
    group = position // 10 * 10
    assert set(range(position)) | set(range(group + 10, 30)) <= set(good), "all but the rest of the damaged group"
    assert position not in good


def decoder_notices(path: Path, num_frames: int) -> bool:
    try:
        flags = [frame.is_corrupt for frame in plain_decode(path)]
    except av.error.InvalidDataError:
        return True
    return any(flags) or len(flags) < num_frames


def test_frames_before_a_bad_one_come_first(tmp_path, whole_mp4):
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole_mp4.read_bytes()[: whole_mp4.stat().st_size // 2])
    found = iter_frames(path, [3, 10, 70])
    assert [number_in(next(found).pixels), number_in(next(found).pixels)] == [3, 10]
    with pytest.raises(VideoError, match="frame 70"):
        next(found)


# --- what is not a video --------------------------------------------------------------------------------


def make(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("none.mp4", None, "there is no file"),
        ("empty.mp4", b"", "empty file"),
        ("text.mp4", b"hello world\n" * 50, "text file"),
        ("text.txt", b"hello world\n" * 50, "text file"),
        ("list.mp4", b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n", "text file"),
        ("noise.mp4", bytes(range(256)) * 40, "not a video"),
    ],
)
def test_what_is_not_a_video_is_named(tmp_path, capfd, name, content, reason):
    path = tmp_path / name
    if content is not None:
        make(path, content)
    with pytest.raises(VideoError, match=reason) as caught:
        probe(path)
    assert caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_other_things_that_are_not_videos(tmp_path, monkeypatch, whole_mp4):
    with pytest.raises(VideoError, match=r"folder that holds no numbered frames"):
        probe(tmp_path)
    render_audio(tmp_path / "a.m4a")
    with pytest.raises(VideoError, match="no video stream, only audio"):
        probe(tmp_path / "a.m4a")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match="not a regular file"):
        probe(tmp_path / "pipe.mp4")
    render(tmp_path / "v.mp4", 30, noise=60)  # its index is at the end
    data = (tmp_path / "v.mp4").read_bytes()
    with pytest.raises(VideoError, match="cut short: its index is missing"):
        probe(make(tmp_path / "cut.mp4", data[: len(data) // 2]))

    def refuse(*_args, **_kwargs):
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VideoError, match="no permission"):
        probe(whole_mp4)


NAMES = [b"a?b.mp4", b"a%03d.mp4", b"-x.mp4", b"concat:a|b.mp4", b"subfile,,start,1,end,2,,:x.mp4"]
NAMES += [b"http:x.mp4"]
NAMES += [b"file:x.mp4", b"n\xff\xfe.mp4", "café 日.mp4".encode(), b"a#b.mp4", b"a\nb.mp4", b" lead.mp4"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_any_file_name_opens_as_a_plain_file(tmp_path, monkeypatch, name):
    render(tmp_path / "plain.mp4", 3)
    monkeypatch.chdir(tmp_path)
    path = os.fsdecode(name)
    Path("plain.mp4").rename(path)
    assert probe(path).num_frames == probe(tmp_path / path).num_frames == 3
    assert number_in(read_frames(Path(path), [2])[0]) == 2
    with pytest.raises(VideoError) as caught:
        read_frames(path, [9])
    str(caught.value).encode("utf-8")  # a message must be printable whatever the name


def test_cover_picture_loses_against_the_video(tmp_path):
    """A cover that claims to be the default stream is still no video."""
    render(tmp_path / "v.mp4", 5)
    path = tmp_path / "covered.mp4"
    with av.open(str(tmp_path / "v.mp4")) as source, av.open(str(path), "w") as out:
        old = source.streams.video[0]
        new, cover = out.add_stream_from_template(old), out.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 96, 160, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        new.disposition = av.stream.Disposition.dub
        out.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        out.mux(cover.encode(None))
        for packet in source.demux(old):
            if packet.size:
                packet.stream = new
                out.mux(packet)
    with av.open(str(path)) as container:
        assert any(s.disposition & av.stream.Disposition.attached_pic for s in container.streams.video)
    assert (probe(path).codec, probe(path).num_frames) == ("h264", 5)


# --- real files -----------------------------------------------------------------------------------------

MEDIA = shared_media()


def test_shared_media_are_there():
    assert (shared_folder() / "media" / "media.csv").is_file()
    assert len(MEDIA) >= 139


@pytest.mark.parametrize("row", MEDIA, ids=[row["file"].partition("/")[2] for row in MEDIA])
def test_real_file_reads_as_it_decodes(row, capfd):
    path = shared_folder() / "media" / row["file"]
    if row["frames"] in ("", "0"):
        with pytest.raises(VideoError) as caught:
            probe(path)
        assert caught.value.hint, row["oddity"]
    else:
        compare_with_plain_decode(path, row)
    assert capfd.readouterr() == ("", ""), "FFmpeg must stay silent"


def compare_with_plain_decode(path: Path, row: dict[str, str]) -> None:
    with open_video(path) as source:
        info = source.info
        assert (info.num_frames, info.codec) == (int(row["frames"]), row["codec"])
        assert (info.rotation, info.truncated) == (int(row["rotation"]), False)
        indices = range(info.num_frames)
        if info.num_frames > FAR_TOO_MANY:
            indices = range(0, FAR_TOO_MANY, FAR_TOO_MANY // 40)
        sparse = set(random.Random(0).sample(indices, min(4, len(indices))))
        times = times_of(path)
        ours, num_compared, kept = source.iter_frames(indices), 0, {}
        for number, frame in enumerate(plain_decode(path)):
            if number not in indices:
                if number > indices[-1]:
                    break
                continue
            found = next(ours)
            assert (found.index, found.time_seconds) == (number, times[number])
            assert np.array_equal(found.pixels, np.rot90(frame.to_ndarray(format="rgb24"), info.rotation // 90))
            assert number or info.pixel_format == frame.format.name
            num_compared += 1
            if number in sparse:
                kept[number] = found.pixels
        assert num_compared == len(indices)
        assert next(ours, None) is None
        alone = {frame.index: frame.pixels for frame in source.iter_frames(sparse)}
        assert all(np.array_equal(alone[index], kept[index]) for index in sparse), "whatever else is wanted"


def times_of(path: Path) -> list[float]:
    """When each frame is shown: as it says itself or, where that is out of order, by the times of decoding.

    The last frames come out after the last packet, and have no time of decoding: they follow at the same pace.
    """
    frames = [(frame.time, frame.dts, frame.time_base) for frame in islice(plain_decode(path), FAR_TOO_MANY)]
    times = [time for time, _, _ in frames]
    if times == sorted(times):
        return times
    dts = [time for _, time, _ in frames if time is not None]
    assert dts == sorted(set(dts))
    step = dts[-1] - dts[-2]
    dts += [dts[-1] + step * number for number in range(1, 1 + len(frames) - len(dts))]
    return [float(time * base) for time, (_, _, base) in zip(dts, frames, strict=True)]


def test_scanned_tables_equal_decoded_tables():
    """Wherever packets were believed, decoding gives the same frames at the same times."""
    media, num_scanned = shared_folder() / "media", 0
    for row in MEDIA:
        if row["frames"] in ("", "0") or int(row["frames"]) > FAR_TOO_MANY:
            continue
        scanned = table_of(media / row["file"])
        if not scanned.distrust:
            num_scanned += 1
            decoded, _ = frame_table.decode_table(str(media / row["file"]), distrust="to compare")
            assert np.array_equal(scanned.pts, decoded.pts), row["file"]
            assert scanned.end_pts == decoded.end_pts, row["file"]
    assert num_scanned >= 90, "most ordinary files need no second decode"


def test_packets_are_the_same_when_they_are_read_again(monkeypatch):
    monkeypatch.setattr(frame_table, "MAX_KEPT_BYTES", 1 << 30)
    media, num_compared = shared_folder() / "media", 0
    for row in MEDIA:
        so_far = frame_table.ReadSoFar()
        with suppress(av.error.FFmpegError), open_stream(str(media / row["file"])) as (container, stream):
            if stream is None or stream.codec_context is None:
                continue
            found = frame_table.scan_table(str(media / row["file"]), container, stream, so_far=so_far)
            if isinstance(found, str):
                continue
            again = list(read_packets_again(stream, found[0]))
            assert [(p.pts, p.dts, bytes(p)) for p in again] == [(p.pts, p.dts, bytes(p)) for p in so_far.packets], row[
                "file"
            ]
            num_compared += 1
    assert num_compared >= 90


# --- JPEG frames ----------------------------------------------------------------------------------------


def frames_folder(folder: Path, numbers=range(1, 13)) -> Path:
    folder.mkdir()
    for number in numbers:
        (folder / f"frame_{number:010d}.jpg").write_bytes(jpeg_bytes(number))
    (folder / "notes.txt").write_text("not a frame")
    return folder


def tar_of(folder: Path, path: Path, *, mode: str, names=None) -> Path:
    with tarfile.open(path, mode) as tar:
        for name in names or sorted(file.name for file in folder.iterdir()):
            tar.add(folder / name, arcname=f"./{folder.name}/{name}")
    return path


@pytest.fixture
def jpeg_folder(tmp_path):
    return frames_folder(tmp_path / "P01_11")


@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz", "tgz"])
def test_jpeg_frames_are_the_pictures_pil_decodes(tmp_path, jpeg_folder, kind):
    path = jpeg_folder
    if kind != "folder":
        path = tar_of(jpeg_folder, tmp_path / f"P01_11.{kind}", mode="w" if kind == "tar" else "w:gz")
    info = probe(path)
    assert (info.num_frames, info.fps, info.codec, info.height, info.width) == (12, 60, "mjpeg", 96, 160)
    assert (info.duration_seconds, info.start_seconds, info.truncated) == (0.2, 0.0, False)
    wanted = [7, 0, 11, 7]
    rows = read_frames(path, wanted)
    for row, index in zip(rows, wanted, strict=True):
        with Image.open(jpeg_folder / f"frame_{index + 1:010d}.jpg") as image:
            assert np.array_equal(row, np.asarray(image)), "bit-identical"
        assert number_in(row) == index + 1
    assert [frame.duration_seconds for frame in iter_frames(path, wanted)] == pytest.approx([1 / 60] * 3)
    found = [(frame.index, frame.time_seconds) for frame in iter_frames(path, wanted)]
    assert found == [(0, 0.0), (7, 7 / 60), (11, 11 / 60)]


def test_plain_tar_may_hold_the_frames_in_any_order(tmp_path, jpeg_folder):
    names = sorted((file.name for file in jpeg_folder.iterdir()), reverse=True)
    path = tar_of(jpeg_folder, tmp_path / "t.tar", mode="w", names=names)
    assert [number_in(f) for f in read_frames(path, [0, 11])] == [1, 12]
    packed = tar_of(jpeg_folder, tmp_path / "t.tar.gz", mode="w:gz", names=names)
    with pytest.raises(VideoError, match="order of their numbers"):
        probe(packed)


@pytest.mark.parametrize(
    ("name", "rate"),
    [("P01_11", 60), ("P01_101", 50), ("P37_102", 50), ("clip", 30), ("P01_1", 30)],
)
def test_rate_of_jpeg_frames_follows_the_video_id(tmp_path, name, rate):
    folder = frames_folder(tmp_path / name, [1, 2])
    assert probe(folder).fps == rate
    assert probe(tar_of(folder, tmp_path / f"{name}.tar", mode="w")).fps == rate
    assert probe(folder, fps=29.97).fps == Fraction(2997, 100)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1, 2, 4, 5], "lacks frames 3$"),
        ([1, 2, 6, 9], "lacks frames 3 to 5, 7 to 8$"),
        ([3, 4], "lacks frames 1 to 2$"),
        (range(1, 40, 2), "2, 4, 6, 8, 10 and 14 more gaps"),
    ],
)
def test_missing_jpeg_frames_are_named_not_closed_up(tmp_path, numbers, message):
    with pytest.raises(VideoError, match=message):
        probe(frames_folder(tmp_path / "f", numbers))


def test_numbering_from_zero(tmp_path):
    folder = frames_folder(tmp_path / "f", range(5))
    assert [number_in(f) for f in read_frames(folder, [0, 4])] == [0, 4]


def test_damaged_jpeg_frames(jpeg_folder):
    target = jpeg_folder / "frame_0000000005.jpg"
    target.write_bytes(target.read_bytes()[:1000])
    with pytest.raises(VideoError, match=r"frame_0000000005\.jpg of .* is not a whole JPEG"):
        read_frames(jpeg_folder, [0, 4])
    assert number_in(read_frames(jpeg_folder, [5])[0]) == 6
    target.write_bytes(jpeg_bytes(5, height=64, width=160))
    with pytest.raises(VideoError, match="160x64 pixels, the first frame 160x96"):
        read_frames(jpeg_folder, [4])
    target.unlink()
    target.mkdir()
    with pytest.raises(VideoError, match="cannot be read"):
        read_frames(jpeg_folder, [4])


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_cut_tar_is_refused(tmp_path, jpeg_folder, mode):
    path = tar_of(jpeg_folder, tmp_path / "t.tar", mode=mode)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match="not a whole tar"):
        probe(path)


def test_exif_orientation_is_not_applied(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "frame_0000000001.jpg").write_bytes(jpeg_bytes(1, orientation=6))
    assert read_frames(folder, [0]).shape == (1, 96, 160, 3)


def test_frames_folder_is_told_from_a_folder_of_videos(tmp_path, jpeg_folder):
    render(tmp_path / "frame_0000000001.mp4", 2)
    assert is_frames_folder(jpeg_folder)
    assert not is_frames_folder(tmp_path)
    assert not is_frames_folder(tmp_path / "nothing")
    assert not is_frames_folder(jpeg_folder / "frame_0000000001.jpg")


def test_an_avi_file_that_lost_a_packet_of_its_index_is_not_believed(tmp_path: Path) -> None:
    whole, lacking = tmp_path / "whole.avi", tmp_path / "lacking.avi"
    render(whole, 30, codec="mpeg4", options={"g": "12"})
    data, chunk = bytearray(whole.read_bytes()), 0
    for _ in range(6):
        chunk = data.index(b"00dc", chunk + 4)
    data[chunk : chunk + 4] = b"JUNK"
    lacking.write_bytes(data)
    assert distrust(whole) == ""
    assert distrust(lacking), "what comes after the lost packet is made from it"
