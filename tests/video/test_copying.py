"""Packets that stand for themselves: they decode to the very frames that were asked for, and to no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tadacli.errors import VideoError
from tadacli.video import copying
from tadacli.video.container import new_decoder
from tadacli.video.copying import PacketReader
from tadacli.video.reading import open_video
from tests.media import render
from tests.video.test_decode_plan import FILES

NUM_FRAMES = 44
SPANS = [(first, end) for first in range(0, NUM_FRAMES, 2) for end in range(first + 1, NUM_FRAMES + 1, 3)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("name", ["pyramid of B-frames", "B-frames that none refers to", "no B-frames", "open groups"])
def test_packets_alone_are_the_frames_alone(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    render(path, NUM_FRAMES, options={"preset": "veryfast"} | FILES[name], noise=30)
    num_runs = 0
    with open_video(path) as video, PacketReader(str(path)) as reader:
        frames = [frame.pixels for frame in video.require_frames(range(NUM_FRAMES))]
        restarts = set(video.restarts.tolist())
        for first, end in SPANS:
            run = video.packets_alone(first, end)
            if run is None:
                continue
            num_runs += 1
            assert first in restarts
            packets = list(reader.read(run))
            decoder = new_decoder(reader.stream)
            shown = [each for packet in (*packets, None) for each in decoder.decode(packet)]
            assert len(shown) == end - first
            for number, frame in enumerate(shown, start=first):
                assert np.array_equal(frame.to_ndarray(format="rgb24"), frames[number]), (first, end, number)
            closes = video.times_shown[end] if end < NUM_FRAMES else video.info.duration_seconds
            assert run.end * reader.stream.time_base == pytest.approx(closes)
    assert num_runs > 0
    assert num_runs < len(SPANS) / 2


def test_where_seeking_comes_out_late_the_file_is_read_from_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.mp4"
    render(path, 30, options={"g": "10", "bf": "0"})
    monkeypatch.setattr(copying, "packets_from", lambda *_: iter(()))
    with open_video(path) as video, PacketReader(str(path)) as reader:
        run = video.packets_alone(10, 20)
        assert run is not None
        assert [packet.pts for packet in reader.read(run)] == run.times.tolist()


def test_a_file_that_is_another_one_by_now_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    render(path, 30, options={"g": "10", "bf": "0"})
    with open_video(path) as video:
        run = video.packets_alone(10, 20)
    assert run is not None
    render(path, 30, options={"g": "10", "bf": "0"}, pts=[number * 3 for number in range(30)])
    with PacketReader(str(path)) as reader, pytest.raises(VideoError, match="not those that they were"):
        list(reader.read(run))
