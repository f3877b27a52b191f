"""Seeking what is needed of a file: the same frames as without, and less of it read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tadacli.video import frame_table, seeking
from tadacli.video.container import open_stream
from tadacli.video.reading import open_video
from tests.media import number_in, render, shared_folder

NUM_FRAMES, GOP = 300, 20
MP4 = ("pyramid of B-frames.mp4", "no B-frames, uneven times.mp4", "with sound.mp4")
UNEVEN = [number * 33 + (number * number * 7) % 29 for number in range(NUM_FRAMES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("seeking")
    pyramid = {"preset": "veryfast", "x264-params": f"keyint={GOP}:bframes=3:b-pyramid=normal:b-adapt=0:scenecut=0"}
    plain = {"preset": "veryfast", "x264-params": f"keyint={GOP}:bframes=0:scenecut=0"}
    render(folder / MP4[0], NUM_FRAMES, options=pyramid)
    render(folder / MP4[1], NUM_FRAMES, options=plain, pts=UNEVEN, time_base=Fraction(1, 1000))
    render(folder / MP4[2], NUM_FRAMES, options=pyramid, audio=True)
    render(folder / "in pieces.mp4", NUM_FRAMES, options=pyramid, container_options={"movflags": "frag_keyframe"})
    render(folder / "of another kind.mkv", NUM_FRAMES, options=pyramid)
    return folder


@pytest.fixture(autouse=True)
def no_packets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are read as long ones are."""
    monkeypatch.setattr(frame_table, "MAX_KEPT_BYTES", 0)


class Reads:
    """The packets that were read since the test began, and how many times a file was sought through for a packet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_packets = 0
        self.num_seeks = -1  # the first one goes back to the start, once the file is known
        read, seek = seeking.read_packets, seeking.packets_from

        def counted(container, stream):
            for packet in read(container, stream):
                self.num_packets += 1
                yield packet

        def noted(*arguments):
            self.num_seeks += 1
            return seek(*arguments)

        monkeypatch.setattr(seeking, "read_packets", counted)
        monkeypatch.setattr(seeking, "packets_from", noted)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def numbers_read(path: Path, wanted: Sequence[int]) -> list[int]:
    with open_video(path) as source:
        found = list(source.iter_frames(wanted))
        assert [frame.index for frame in found] == sorted(wanted)
        return [number_in(frame.pixels) for frame in found]


@pytest.mark.parametrize("name", MP4)
def test_what_lies_far_before_a_needed_group_is_not_read(folder: Path, reads: Reads, name: str) -> None:
    wanted = [3, 30, 170, 299]  # from the groups at 0, 20, 160 and 280
    assert numbers_read(folder / name, wanted) == wanted
    assert reads.num_seeks == 2, "group 20 follows close enough"
    assert reads.num_packets <= 31 + 11 + 20 + len(wanted)


def test_a_file_without_an_index_is_read_through(folder: Path, reads: Reads) -> None:
    wanted = [3, 170, 299]
    assert numbers_read(folder / "of another kind.mkv", wanted) == wanted
    assert reads.num_seeks == 0


@pytest.mark.parametrize("name", MP4)
def test_seeking_that_comes_out_elsewhere_is_not_believed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    wanted, targets, honest = [3, 90, 180, 290], [], seeking.packets_from
    with open_stream(str(folder / name)) as (container, stream):
        pts = frame_table.build_table(str(folder / name), container, stream)[0].pts
    with open_video(folder / name) as source:

        def second_goes_astray(stream, time):
            targets.append(time)
            return honest(stream, int(pts[145]) if len(targets) == 2 else time)

        monkeypatch.setattr(seeking, "packets_from", second_goes_astray)
        assert [number_in(frame.pixels) for frame in source.iter_frames(wanted)] == wanted
    assert [int(np.searchsorted(pts, time)) for time in targets] == [80, 180, 0], "back to the start"


@given(data=st.data(), name=st.sampled_from([*MP4, "in pieces.mp4"]), worth=st.sampled_from([0, 1, 20, 64]))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_frames_are_those_that_were_asked_for(folder: Path, data: st.DataObject, name: str, worth: int) -> None:
    wanted = sorted(data.draw(st.sets(st.integers(0, NUM_FRAMES - 1), min_size=1, max_size=12)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seeking, "WORTH_SEEKING", worth)
        assert numbers_read(folder / name, wanted) == wanted


def test_seeking_in_real_files_comes_to_the_very_packets(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the start of each group: the packets that reading through gives, byte for byte."""
    monkeypatch.setattr(seeking, "WORTH_SEEKING", 0)
    num_files = 0
    for path in sorted((shared_folder() / "media").rglob("*.m*")):
        with ExitStack() as files:
            try:
                container, stream = files.enter_context(open_stream(str(path)))
            except av.error.FFmpegError:
                continue
            if stream is None or stream.codec_context is None:
                continue
            found = frame_table.scan_table(str(path), container, stream, so_far=frame_table.ReadSoFar())
            if isinstance(found, str):
                continue
            table, num_before = found[0], reads.num_seeks
            through = [(p.pts, p.dts, bytes(p)) for p in seeking.read_packets_again(stream, table)]
            starts = table.packets.restarts.tolist()
            for first, end in zip(starts, [*starts[1:], len(through)], strict=True):
                needed = np.isin(np.arange(len(through)), [first, end - 1])
                all_packets = seeking.read_packets_again(stream, table)
                (run,) = seeking.read_needed(stream, all_packets, table, needed)
                packets = [(number, (p.pts, p.dts, bytes(p))) for number, p in run]
                assert packets[-(end - first) :] == list(enumerate(through))[first:end], (path.name, first)
            num_files += reads.num_seeks > num_before + 1 + len(starts)
    assert num_files >= 20
    assert reads.num_seeks >= 400
