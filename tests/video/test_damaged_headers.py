"""Headers of a stream that are damaged: what a frame is must not depend on what was read before it."""

from __future__ import annotations

import random
from pathlib import Path

import av
import pytest

from tadacli.errors import VideoError
from tadacli.video.reading import open_video
from tadacli.video.source import Frame, Unreadable
from tests import media


def said(frame: Frame | Unreadable) -> tuple[int, object]:
    return frame.index, frame.pixels.tobytes() if isinstance(frame, Frame) else frame.reason


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_frames_read_alone_are_those_read_together(tmp_path: Path, codec: str) -> None:
    """A decoder has something against such headers each time that it is opened, whatever packet comes first then."""
    whole, file = tmp_path / "whole.mp4", tmp_path / "damaged.mp4"
    media.render(whole, 6, codec=codec)
    with av.open(str(whole)) as container:
        header = bytes(container.streams.video[0].codec_context.extradata or b"")
    content = whole.read_bytes()
    start, num_read = content.index(header), 0
    for at in range(0, min(len(header), 120), 2):
        damaged = bytearray(content)
        damaged[start + at] ^= 1 << at % 7
        file.write_bytes(damaged)
        try:
            with open_video(file) as source:
                indices = range(source.info.num_frames)
                together = [said(frame) for frame in source.iter_frames(indices, skip_unreadable=True)]
                alone = [said(next(source.iter_frames([index], skip_unreadable=True))) for index in indices]
        except VideoError:
            continue
        num_read += 1
        assert together == alone, f"byte {at} of the header"
    assert num_read > 5


def test_every_reading_of_mpeg4_sees_the_same_damage(tmp_path: Path) -> None:
    """Its decoder says nothing of padding that is wrong until it has decoded some that is right."""
    whole, file = tmp_path / "whole.mp4", tmp_path / "damaged.mp4"
    media.render(whole, 9, codec="mpeg4", options={"g": "4"}, noise=40)
    with av.open(str(whole)) as container:
        first, *_ = (bytes(packet) for packet in container.demux(video=0) if packet.size)
    content, rng, num_refused = whole.read_bytes(), random.Random(4), 0
    start = content.index(first)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[start + rng.randrange(len(first))] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        try:
            with open_video(file, index=tmp_path / "index") as source:
                indices = range(source.info.num_frames)
                readings = [[said(f) for f in source.iter_frames(indices, skip_unreadable=True)] for _ in range(2)]
            with open_video(file, index=tmp_path / "index") as source:  # which decodes nothing when it is opened
                readings.append([said(frame) for frame in source.iter_frames(indices, skip_unreadable=True)])
        except VideoError:
            continue
        assert readings[1] == readings[0]
        assert readings[2] == readings[0]
        num_refused += isinstance(readings[0][0][1], str)
    assert num_refused > 5
