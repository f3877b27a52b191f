"""Frame tables kept in a folder: the same frames with and without, and never those of another file."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tadacli.errors import OutputError, VideoError
from tadacli.video import inspection, kept_tables, reading
from tadacli.video.kept_tables import KeptTable
from tadacli.video.reading import open_video, probe, read_frames
from tadacli.video.source import Unreadable
from tests.media import number_in, render, shared_folder

PYRAMID = {"g": "12", "x264-params": "bframes=3:b-pyramid=normal:b-adapt=0:scenecut=0"}
NUM_FRAMES = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept")
    for name in ("believed.mp4", "believed.mkv", "decoded.ts"):
        render(folder / name, NUM_FRAMES, options=PYRAMID, noise=60)
    return folder


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The videos that were looked at since the test began."""
    paths: list[str] = []
    honest = reading.inspect_file

    def noted(path: str, **options: Any) -> Any:
        paths.append(path)
        return honest(path, **options)

    monkeypatch.setattr(reading, "inspect_file", noted)
    return paths


def all_frames(path: Path, index: Path | None, *, step: int = 1) -> list[tuple[int, float, float, bytes | str]]:
    """Every frame that can be had, and why another cannot."""
    with open_video(path, index=index) as source:
        found = source.iter_frames(range(0, source.info.num_frames, step), skip_unreadable=True)
        return [
            (each.index, each.time_seconds, 0.0, each.reason)
            if isinstance(each, Unreadable)
            else (each.index, each.time_seconds, each.duration_seconds, each.pixels.tobytes())
            for each in found
        ]


def the_kept(index: Path) -> Path:
    (file,) = index.glob("*.frames")
    return file


@pytest.mark.parametrize("name", ["believed.mp4", "believed.mkv", "decoded.ts"])
def test_a_video_is_looked_at_once_and_gives_the_same_frames_after(
    folder: Path, tmp_path: Path, inspected: list[str], name: str
) -> None:
    path, index = folder / name, tmp_path / "made" / "index"
    expected, info = all_frames(path, None), probe(path)
    inspected.clear()
    assert probe(path, index=index) == info
    assert inspected == [str(path)]
    for _ in range(2):
        assert all_frames(path, index) == expected
        assert probe(path, index=index) == info
    wanted = [40, 7, 40]
    assert np.array_equal(read_frames(path, wanted, index=str(index)), read_frames(path, wanted))
    assert inspected == [str(path)] * 2, "the second time is the one without an index"
    with open_video(path, index=index) as source:
        assert [frame.index for frame in source.reopened().iter_frames([8, 50])] == [8, 50]
        assert source.restarts.tolist() == (list(range(0, NUM_FRAMES, 12)) if name != "decoded.ts" else [])


@pytest.mark.parametrize(
    "name",
    [
        "decoder/androidx+media__bbb_800x640_768kbps_30fps_vp9.mp4",
        "decoder/androidx+media__fragmented_captions.mp4",
        "decoder/androidx+media__sample_sef_slow_motion.mp4",
        "decoder/androidx+media__sample_with_av1c.mp4",
        "decoder/androidx+media__sample.avi",
        "people/intel-iot-devkit+sample-videos__brother.mkv",
    ],
)
def test_real_videos_give_the_same_frames(tmp_path: Path, name: str) -> None:
    path = shared_folder() / "media" / name
    info = probe(path, index=tmp_path)
    assert info == probe(path)
    step = max(1, info.num_frames // 6)
    assert all_frames(path, tmp_path, step=step) == all_frames(path, None, step=step)
    assert probe(path, index=tmp_path) == info


# --- files that change ------------------------------------------------------------------------------


def test_a_file_that_changed_is_looked_at_again(folder: Path, tmp_path: Path, inspected: list[str]) -> None:
    path, index = tmp_path / "v.mp4", tmp_path / "index"
    shutil.copy(folder / "believed.mp4", path)
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    probe(path, index=index)

    os.utime(path, ns=(times[0], times[1] + 1))
    probe(path, index=index)
    assert len(inspected) == 2, "another time"
    probe(path, index=index)
    assert len(inspected) == 2

    render(path, 25, options=PYRAMID)
    os.utime(path, ns=(times[0], times[1] + 1))
    assert probe(path, index=index).num_frames == 25, "another size"
    assert len(inspected) == 3

    shutil.copy(folder / "believed.mp4", path)
    probe(path, index=index)
    data, before = bytearray(path.read_bytes()), path.stat()
    at = data.index(b"stts") + 16
    data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") * 2).to_bytes(4, "big")
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = probe(path, index=index)
    assert len(inspected) == 5, "its index"
    assert found == probe(path) != probe(folder / "believed.mp4")


@pytest.fixture
def disguised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Puts a video in the place of another one, such that size, time and both ends are as they were."""
    monkeypatch.setattr(kept_tables, "END_BYTES", 32)
    path = tmp_path / "disguised.mkv"

    def put(video: Path) -> Path:
        content = video.read_bytes()
        size = 400_000 - len(content)
        void = b"\xec\x01" + (size - 9).to_bytes(7, "big") + bytes(size - 9)  # is passed over
        path.write_bytes(content + void)
        os.utime(path, ns=(10**18, 10**18))
        return path

    return put


def test_frames_are_left_out_because_of_what_the_file_says_now(
    folder: Path, tmp_path: Path, inspected: list[str], disguised: Callable[[Path], Path]
) -> None:
    """Not because of what was true of another file, whose packets had the same times."""
    data = bytearray((folder / "believed.mkv").read_bytes())
    with av.open(str(folder / "believed.mkv")) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    unreferenced = [packet for packet in packets if packet[4] == 1]
    for packet in unreferenced:
        data[data.index(packet) + 4] = 0x21  # others may be made from it
    (tmp_path / "all referenced.mkv").write_bytes(data)
    assert 20 < len(unreferenced) < NUM_FRAMES

    index = tmp_path / "index"
    probe(disguised(folder / "believed.mkv"), index=index)
    path = disguised(tmp_path / "all referenced.mkv")
    with open_video(path) as source:
        expected = [(frame.index, type(frame)) for frame in source.iter_frames([11, 30], skip_unreadable=True)]
        num_decoded = source.num_decoded
    inspected.clear()
    with open_video(path, index=index) as source:
        assert [(frame.index, type(frame)) for frame in source.iter_frames([11, 30], skip_unreadable=True)] == expected
        assert source.num_decoded >= num_decoded
    assert inspected == [str(path)], "once more, since it was another"
    assert not list(index.iterdir())


def test_frames_at_other_times_are_an_error_once(
    folder: Path, tmp_path: Path, disguised: Callable[[Path], Path]
) -> None:
    later = tmp_path / "later.mkv"
    render(later, NUM_FRAMES, options=PYRAMID, noise=60, pts=[*range(30), *range(31, NUM_FRAMES + 1)])
    index = tmp_path / "index"
    probe(disguised(folder / "believed.mkv"), index=index)
    path = disguised(later)
    with open_video(path, index=index) as source:
        frames = source.iter_frames([5, 17, 20, 40], skip_unreadable=True)
        assert number_in(next(frames).pixels) == 5  # type: ignore[union-attr]
        with pytest.raises(VideoError, match="other frames than were kept of it"):
            next(frames)
    assert [number_in(frame) for frame in read_frames(path, [5, 40], index=index)] == [5, 40]
    assert probe(path, index=index) == probe(path)


# --- kept files are data from outside -----------------------------------------------------------------


def again(file: Path, change: Callable[[dict[str, Any]], object], arrays: bytes | None = None) -> None:
    """Writes another header, or other arrays, with a checksum that is right."""
    magic, line, rest = file.read_bytes().split(b"\n", 2)
    header = json.loads(line)
    change(header)
    content = b"\n".join([magic, json.dumps(header).encode(), rest[:-16] if arrays is None else arrays])
    file.write_bytes(content + blake2b(content, digest_size=16).digest())


def resized(count: int, value: object) -> Callable[[dict[str, Any]], object]:
    name = ("frames", "packets", "restarts", "rows", "losses")[count]
    return lambda header: header["counts"].update({name: value})


BROKEN: dict[str, Callable[[Path], object]] = {
    "empty": lambda file: file.write_bytes(b""),
    "of another kind": lambda file: file.write_bytes(b"tada frame table 0\n" + file.read_bytes()[19:]),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"0"),
    "a bit flipped": lambda file: file.write_bytes(file.read_bytes()[:-40] + b"\x7f" + file.read_bytes()[-39:]),
    "a line without end": lambda file: file.write_bytes(b"tada frame table 1\n" + b"[" * 100_000),
    "nested": lambda file: file.write_bytes(b"tada frame table 1\n" + b"[" * 50_000 + b"\n"),
    "no header": lambda file: file.write_bytes(b"tada frame table 1\n{}\n"),
    "of another video": lambda file: again(file, lambda header: header["video"].update(content="0" * 32)),
    "of another version": lambda file: again(file, lambda header: header.update(made_by="tada 0.0.1")),
    "huge counts": lambda file: again(file, resized(0, 1 << 40)),
    "large counts": lambda file: again(file, resized(0, 1 << 27)),
    "negative counts": lambda file: again(file, resized(2, -1)),
    "counts that are no numbers": lambda file: again(file, resized(0, True)),
    "packets without restarts": lambda file: again(file, resized(2, None)),
    "a key too many": lambda file: again(file, lambda header: header.update(more=1)),
    "a height of nothing": lambda file: again(file, lambda header: header["first"].update(height=0)),
    "a size of a planet": lambda file: again(
        file, lambda header: header["first"].update(height=1 << 20, width=1 << 20)
    ),
    "a time base of nothing": lambda file: again(file, lambda header: header.update(time_base=[1, 0])),
    "a rate of nothing": lambda file: again(file, lambda header: header.update(rate=[30, 0])),
    "a text for a number": lambda file: again(file, lambda header: header.update(end_pts="30")),
    "more readable than there are": lambda file: again(file, lambda header: header.update(num_readable=61)),
    "a text that moves the terminal": lambda file: again(file, lambda header: header.update(codec="\x1b[2J")),
    "an unknown kind of note": lambda file: again(file, lambda header: header.update(notes=[["none", "text"]])),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_is_broken_is_as_if_it_were_not_there(
    folder: Path, tmp_path: Path, inspected: list[str], how: str
) -> None:
    path = folder / "believed.mp4"
    info = probe(path, index=tmp_path)
    BROKEN[how](the_kept(tmp_path))
    assert probe(path, index=tmp_path) == info
    assert len(inspected) == 2
    if how != "a folder":
        probe(path, index=tmp_path)
        assert len(inspected) == 2, "it was written anew"


@pytest.mark.parametrize("number", range(40))
def test_numbers_that_were_changed_give_the_right_frames_or_an_error(folder: Path, tmp_path: Path, number: int) -> None:
    """With a checksum that is right: whoever can write to the folder can make one."""
    path, rng = folder / "believed.mp4", np.random.default_rng(number)
    expected = read_frames(path, [3, 30, 59])
    probe(path, index=tmp_path)
    file = the_kept(tmp_path)
    arrays = bytearray(file.read_bytes().split(b"\n", 2)[2][:-16])
    at = int(rng.integers(len(arrays)))
    arrays[at] ^= int(rng.integers(1, 256))
    again(file, lambda _: None, bytes(arrays))
    with suppress(VideoError):
        assert np.array_equal(read_frames(path, [3, 30, 59], index=tmp_path), expected)
        return
    assert np.array_equal(read_frames(path, [3, 30, 59], index=tmp_path), expected), "the second time"


# --- the folder -------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_to_costs_nothing_but_time(folder: Path, tmp_path: Path) -> None:
    path = folder / "believed.mp4"
    (tmp_path / "file").write_bytes(b"mine")
    for index in (tmp_path / "file", tmp_path / "file" / "below"):
        assert probe(path, index=index) == probe(path)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_folder_that_may_only_be_read_is_read(
    folder: Path, tmp_path: Path, inspected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OutputError(f"{path} cannot be written: Read-only file system")

    probe(folder / "believed.mp4", index=tmp_path)
    monkeypatch.setattr(kept_tables, "write_new", refuse)
    for name in ("believed.mp4", "believed.mkv"):
        probe(folder / name, index=tmp_path)
    assert inspected == [str(folder / name) for name in ("believed.mp4", "believed.mkv")]
    assert len(list(tmp_path.iterdir())) == 1


def test_several_at_once_write_and_read_whole_files(folder: Path, tmp_path: Path) -> None:
    path = folder / "believed.mp4"
    info, found = probe(path), []

    def use() -> None:
        for _ in range(10):
            found.append(probe(path, index=tmp_path) == info)
            KeptTable(tmp_path, str(path)).write(inspection.inspect_file(str(path))[0])

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 30
    assert [file.suffix for file in tmp_path.iterdir()] == [".frames"]
