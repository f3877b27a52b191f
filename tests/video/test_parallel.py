"""Reading in several threads: what one thread gives, in its order, whatever is wrong with the file."""

from __future__ import annotations

import random
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tadacli.errors import VideoError
from tadacli.video import frame_table
from tadacli.video.parallel import Item, read_in_ranges, readers_of
from tadacli.video.reading import open_video
from tadacli.video.source import Frame, Indices, Unreadable, VideoSource
from tests.media import jpeg_bytes, render, shared_folder

NUM_FRAMES = 90
FILES = {
    "pyramid of B-frames.mp4": "keyint=20:bframes=3:b-pyramid=normal:b-adapt=0:scenecut=0",
    "no B-frames.mkv": "keyint=7:bframes=0:scenecut=0",
    "one group.mp4": "keyint=infinite:bframes=3:b-adapt=0:scenecut=0",
    "open groups.mp4": "keyint=12:open-gop=1:bframes=3:b-adapt=0:scenecut=0",
    "not believed.ts": "keyint=20:bframes=2:scenecut=0",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranges")
    for name, options in FILES.items():
        render(folder / name, NUM_FRAMES, options={"preset": "veryfast", "x264-params": options}, noise=60)
    return folder


def checksums(source: VideoSource, frames: Indices) -> Iterator[Item[int]]:
    for frame in source.iter_frames(frames, skip_unreadable=True):
        yield frame.index, zlib.crc32(frame.pixels) if isinstance(frame, Frame) else frame


def read(path: Path, frames: Indices, *, num_readers: int, depth: int = 6) -> tuple[list[Item[int]], int, int]:
    """The items, how many frames were decoded for them, and how many threads there were for it."""
    with open_video(path) as source:
        readers = readers_of(source, num_readers)
        with closing(read_in_ranges(readers, frames, checksums, depth=depth)) as items:
            found = list(items)
        return found, sum(reader.num_decoded for reader in readers), max(1, len(readers) - 1)


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tada-read-ahead"]


# --- whole files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_several_threads_give_the_frames_of_one_and_decode_no_more(folder: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 9, 30, NUM_FRAMES):
        frames = np.sort(rng.choice(NUM_FRAMES, size, replace=False))
        expected, num_decoded, _ = read(folder / name, frames, num_readers=1)
        assert [index for index, _ in expected] == frames.tolist()
        for num_readers in (2, 3):
            found, num, num_threads = read(folder / name, frames, num_readers=num_readers)
            assert (found, num) == (expected, num_decoded)
            assert num_threads == (1 if name == "not believed.ts" else num_readers)


def test_nothing_is_wanted(folder: Path) -> None:
    for num_readers in (1, 2):
        assert read(folder / "no B-frames.mkv", np.empty(0, dtype=np.int64), num_readers=num_readers)[0] == []


def test_frames_of_jpeg_pictures_are_read_by_one_thread(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"frame_{number + 1:010d}.jpg").write_bytes(jpeg_bytes(number))
    found, num_decoded, num_threads = read(tmp_path, np.arange(5), num_readers=3)
    assert ([index for index, _ in found], num_decoded, num_threads) == ([0, 1, 2, 3, 4], 5, 1)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("decoder/androidx+media__bbb_800x640_768kbps_30fps_avc_pyramid_3b.mp4", "H.264 with a pyramid of B-frames"),
        ("decoder/androidx+media__bbb_800x640_768kbps_30fps_vp9.mp4", "VP9"),
        ("decoder/androidx+media__sample_with_chapters.mkv", "H.264 in Matroska, 4:4:4"),
        ("decoder/androidx+media__sample_with_av1c.mp4", "AV1 of ten bits"),
        ("decoder/androidx+media__fragmented_captions.mp4", "a fragmented file with uneven times"),
        ("decoder/androidx+media__sample_sef_slow_motion.mp4", "an edit list"),
        ("decoder/androidx+media__sample_unrecognized_hevc_sei.mp4", "HEVC"),
        ("decoder/androidx+media__sample.avi", "MPEG-4 part 2 in AVI"),
        ("people/open-mmlab+mmaction2__test.avi", "packets that are not believed"),
        ("people/intel-iot-devkit+sample-videos__brother.mkv", "uneven times"),
        ("people/open-mmlab+mmaction2__demo.mp4", "people"),
    ],
)
def test_real_videos_and_cut_and_damaged_copies_of_them(tmp_path: Path, name: str, why: str) -> None:
    whole = (shared_folder() / "media" / name).read_bytes()
    spoiled = bytearray(whole)
    for at in range(len(whole) * 2 // 5, len(whole) * 3 // 5, len(whole) // 40):
        spoiled[at : at + 16] = b"\x5a" * 16
    for content in (whole, bytes(spoiled), whole[: len(whole) * 7 // 10]):
        path = tmp_path / Path(name).name
        path.write_bytes(content)
        try:
            with open_video(path) as source:
                frames = np.arange(0, source.info.num_frames, 4)
        except VideoError:
            assert content is not whole
            continue
        expected = read(path, frames, num_readers=1)[0]
        assert read(path, frames, num_readers=2)[0] == expected, why


# --- damage -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pyramid of B-frames.mp4", "no B-frames.mkv", "open groups.mp4"])
def test_what_is_lost_to_damage_does_not_depend_on_the_threads(folder: Path, tmp_path: Path, name: str) -> None:
    with av.open(str(folder / name)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    whole, rng, bad, num_lost = (folder / name).read_bytes(), random.Random(1), tmp_path / name, 0
    for _ in range(10):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3])):
            start, size = rng.choice(packets)
            at, length = start + rng.choice([5, rng.randrange(4, size)]), rng.choice([1, 30, 200])
            data[at : min(at + length, start + size)] = rng.randbytes(min(length, start + size - at))
        bad.write_bytes(data)
        with open_video(bad) as source:
            frames = np.arange(0, source.info.num_frames, rng.choice([1, 3, 8]))
        expected = read(bad, frames, num_readers=1)[0]
        num_lost += any(isinstance(found, Unreadable) for _, found in expected)
        for num_readers in (2, 3):
            assert read(bad, frames, num_readers=num_readers)[0] == expected
    assert num_lost >= 4


def test_frames_after_a_cut_are_named_and_cost_no_second_reading(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    options = {"preset": "veryfast", "x264-params": FILES["pyramid of B-frames.mp4"]}
    render(whole, NUM_FRAMES, options=options, container_options={"movflags": "faststart"}, noise=60)
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) * 6 // 10])
    frames = np.arange(NUM_FRAMES)
    expected, num_decoded, _ = read(cut, frames, num_readers=1)
    is_there = [isinstance(found, int) for _, found in expected]
    assert NUM_FRAMES // 3 < sum(is_there) < NUM_FRAMES
    assert "cut off" in expected[-1][1].reason
    assert read(cut, frames, num_readers=2)[:2] == (expected, num_decoded)


@pytest.mark.parametrize(
    ("first", "end", "why"),
    [
        (0, 45, "frames of several groups were given"),
        (35, 45, "the second thread finds it out before its first frame"),
        (45, NUM_FRAMES, "nothing was given yet, so the file is read again"),
    ],
)
def test_packets_that_prove_to_be_others_are_not_taken_for_the_frames_of_the_table(
    tmp_path: Path, first: int, end: int, why: str
) -> None:
    """The file is exchanged once it is open: from frame 47, in the fifth group of ten, its times are others."""
    path, found = tmp_path / "v.mp4", []
    times = [number + (number >= 47) for number in range(NUM_FRAMES)]
    options = {"x264-params": "keyint=10:bframes=0:scenecut=0"}
    render(tmp_path / "other.mp4", NUM_FRAMES, options=options, pts=times, time_base=Fraction(1, 30))
    for num_readers in (1, 2, 3):
        render(path, NUM_FRAMES, options=options, time_base=Fraction(1, 30))
        with open_video(path) as source:
            list(source.iter_frames([0]))  # what was kept of a small file when it was opened serves the first reading
            path.write_bytes((tmp_path / "other.mp4").read_bytes())
            frames = np.arange(first, NUM_FRAMES, 5)
            with closing(read_in_ranges(readers_of(source, num_readers), frames, checksums, depth=6)) as items:
                found.append(list(items))
    assert found[0] == found[1] == found[2]
    assert [index for index, checksum in found[0] if isinstance(checksum, int)] == list(range(first, end, 5)), why
    assert ("cannot be told" in getattr(found[0][-1][1], "reason", "")) == (end < NUM_FRAMES)


def test_an_error_of_opening_again_is_that_of_one_thread(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    path.write_bytes((folder / "no B-frames.mkv").read_bytes())
    with open_video(path) as source:
        readers = readers_of(source, 2)
        list(source.iter_frames([0]))
        path.unlink()
        with closing(read_in_ranges(readers, np.arange(0, NUM_FRAMES, 9), checksums, depth=6)) as items:
            found = list(items)
        assert found == list(checksums(source, np.arange(0, NUM_FRAMES, 9)))
        assert "cannot be read any more" in found[0][1].reason


@pytest.mark.parametrize("num_bytes", [0, 1 << 30])
def test_the_file_is_opened_once_for_each_thread(folder: Path, monkeypatch: pytest.MonkeyPatch, num_bytes: int) -> None:
    opened, honest = [], av.open
    monkeypatch.setattr(av, "open", lambda name, **options: opened.append(name) or honest(name, **options))
    monkeypatch.setattr(frame_table, "MAX_KEPT_BYTES", num_bytes)
    frames = np.arange(0, NUM_FRAMES, 2)
    with open_video(folder / "no B-frames.mkv") as source:
        with closing(read_in_ranges(readers_of(source, 3), frames, checksums, depth=6)) as items:
            found = list(items)
        assert len(opened) == 3
        assert found == list(checksums(source, frames))


# --- bounds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_readers", [1, 2, 3])
def test_few_frames_wait_however_many_there_are(folder: Path, num_readers: int) -> None:
    made = []

    def counted(source: VideoSource, frames: Indices) -> Iterator[Item[int]]:
        for item in checksums(source, frames):
            made.append(item)
            yield item

    depth = 6
    with open_video(folder / "no B-frames.mkv") as source:
        readers = readers_of(source, num_readers)
        with closing(read_in_ranges(readers, np.arange(NUM_FRAMES), counted, depth=depth)) as items:
            for number in range(0, NUM_FRAMES, 10):
                for _ in range(10):
                    next(items)
                time.sleep(0.02)
                # Besides those that wait each thread holds one that finds no room.
                assert len(made) <= number + 10 + depth + num_readers


@pytest.mark.parametrize("num_taken", [0, 1, 40])
def test_leaving_early_ends_the_threads(folder: Path, num_taken: int) -> None:
    with open_video(folder / "no B-frames.mkv") as source:
        readers = readers_of(source, 3)
        with closing(read_in_ranges(readers, np.arange(NUM_FRAMES), checksums, depth=6)) as items:
            for _ in range(num_taken):
                next(items)
            assert len(reading_threads()) == (3 if num_taken else 0)
    assert reading_threads() == []


def test_an_error_of_the_reader_comes_out_and_ends_the_threads(folder: Path) -> None:
    def failing(source: VideoSource, frames: Indices) -> Iterator[Item[int]]:
        for item in checksums(source, frames):
            if item[0] == 40:
                raise ZeroDivisionError
            yield item

    with (
        open_video(folder / "no B-frames.mkv") as source,
        closing(read_in_ranges(readers_of(source, 2), np.arange(NUM_FRAMES), failing, depth=6)) as items,
    ):
        assert [next(items)[0] for _ in range(40)] == list(range(40))
        with pytest.raises(ZeroDivisionError):
            next(items)
    assert reading_threads() == []
