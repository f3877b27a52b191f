"""A rendered copy shows the labels exactly while their segments hold, at the times and with the sound of the video."""

from __future__ import annotations

import resource
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tadacli.errors import OutputError, VideoError
from tadacli.reports.rendering import render_segments
from tadacli.results import Segment
from tadacli.video.reading import open_video, read_frames
from tests import media

# A caption darkens its corner by more than this, H.264 changes it by less.
CHANGED = 20.0


def corner(frame: np.ndarray) -> np.ndarray:
    """The part in which the first words of a caption stand."""
    height, width = frame.shape[:2]
    return frame[height * 3 // 4 : height - 6, 6 : width // 4].astype(np.float64)


def changed(before: Path, after: Path) -> list[bool]:
    """Of each frame, whether its lower left corner differs between two videos."""
    with open_video(before) as one, open_video(after) as other:
        count = range(one.info.num_frames)
        pairs = zip(one.require_frames(count), other.require_frames(count), strict=True)
        return [bool(np.abs(corner(a.pixels) - corner(b.pixels)).mean() > CHANGED) for a, b in pairs]


def audio_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(audio=0)
            if packet.pts is not None
        ]


TIMINGS = {
    "constant rate": {},
    "29.97 frames per second": {"pts": [1001 * i for i in range(30)], "time_base": Fraction(1, 30000)},
    "uneven times from 5 s on": {
        "pts": [5000 + 33 * i + 7 * (i % 3) for i in range(30)],
        "time_base": Fraction(1, 1000),
    },
    "a long rest": {"pts": [i if i < 20 else i + 90 for i in range(30)]},
}


@pytest.mark.parametrize("case", TIMINGS)
def test_captions_hold_as_long_as_their_segments_and_times_stay(tmp_path: Path, case: str) -> None:
    source, copy = tmp_path / "in.mkv", tmp_path / "out.mp4"
    if case != "uneven times from 5 s on":
        source = tmp_path / "in.mp4"
    media.render(source, 30, **TIMINGS[case])
    with open_video(source) as video:
        times, info = video.times, video.info
    # Half-open: from a frame's own time up to, and without, another's.
    segments = [Segment(times[4], times[9], "wave", 0, 0.9), Segment(times[15], times[25], "nod", 1, 0.5)]
    told: list[tuple[int, int]] = []
    notes = render_segments(source, copy, segments, on_progress=lambda done, total: told.append((done, total)))
    assert notes == ()
    assert told == [(i + 1, 30) for i in range(30)]
    with open_video(copy) as video:
        assert np.abs(video.times - times).max() < 1e-6
        assert video.info.duration_seconds == pytest.approx(info.duration_seconds, abs=1e-3)
        assert video.info.codec == "h264"
    assert changed(source, copy) == [any(s.start_seconds <= t < s.end_seconds for s in segments) for t in times]
    assert [media.number_in(frame) for frame in read_frames(copy, range(30))] == list(range(30))


def test_several_labels_stand_above_each_other_and_never_fill_the_picture(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    media.render(source, 2, size=(240, 320))
    plain = read_frames(source, [0])[0].astype(float)
    heights = []
    for count in (1, 2, 3, 40):
        copy = tmp_path / f"{count}.mp4"
        segments = [
            Segment(0, 1, f"a label that is much too long for the picture {i} " * 5, i, 0.5) for i in range(count)
        ]
        render_segments(source, copy, segments)
        touched = np.abs(read_frames(copy, [0])[0].astype(float) - plain).mean(axis=(1, 2)) > CHANGED
        heights.append(int(touched.sum()))
        assert not touched[: 240 // 4].any()
    assert heights[0] < heights[1] < heights[2] < heights[3]


@pytest.mark.parametrize("size", [(96, 160), (18, 24)], ids=str)
def test_no_segments_give_the_video_itself(tmp_path: Path, size: tuple[int, int]) -> None:
    source, copy = tmp_path / "in.mp4", tmp_path / "out.mp4"
    media.render(source, 5, size=size)
    render_segments(source, copy, [])
    before, after = (read_frames(path, range(5)).astype(float) for path in (source, copy))
    assert np.abs(before - after).mean() < 4
    render_segments(source, tmp_path / "tiny.mp4", [Segment(0, 1, "wave", 0, 1.0)])


def test_pictures_are_upright_and_odd_sides_made_even(tmp_path: Path) -> None:
    source, copy = tmp_path / "in.mkv", tmp_path / "out.mp4"
    media.render(source, 3, size=(97, 161), codec="ffv1", pixel_format="bgr0")
    render_segments(source, copy, [])
    before, after = read_frames(source, [2])[0], read_frames(copy, [2])[0]
    assert after.shape == (98, 162, 3)
    assert np.abs(after[:97, :161].astype(float) - before).mean() < 6
    turned, upright = tmp_path / "turned.mp4", tmp_path / "upright.mp4"
    media.render(turned, 3, rotation=(90, False, False))
    render_segments(turned, upright, [])
    with open_video(turned) as one, open_video(upright) as other:
        assert (other.info.height, other.info.width, other.info.rotation) == (160, 96, 0)
        assert (one.info.height, one.info.width) == (160, 96)
    assert np.abs(read_frames(turned, [1]).astype(float) - read_frames(upright, [1])).mean() < 6


def test_pixels_keep_their_shape(tmp_path: Path) -> None:
    source, copy = tmp_path / "in.mp4", tmp_path / "out.mp4"
    media.render(source, 3, aspect=Fraction(4, 3))
    render_segments(source, copy, [])
    with open_video(copy) as video:
        assert video.info.sample_aspect_ratio == Fraction(4, 3)


def test_sound_that_mp4_holds_is_copied_as_it_is(tmp_path: Path) -> None:
    source, copy = tmp_path / "in.mp4", tmp_path / "out.mp4"
    media.render(source, 30, audio=True)
    assert render_segments(source, copy, []) == ()
    assert audio_packets(copy) == audio_packets(source)


def test_other_sound_is_encoded_again_and_said_so(tmp_path: Path) -> None:
    source, copy = tmp_path / "in.mov", tmp_path / "out.mp4"
    tone = 0.5 * np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000)
    with av.open(str(source), "w") as out:
        video, sound = out.add_stream("libx264", rate=10), out.add_stream("pcm_s16le", rate=8000, layout="mono")
        video.height, video.width, video.pix_fmt = 96, 160, "yuv420p"
        for number in range(10):
            out.mux(video.encode(av.VideoFrame.from_ndarray(media.picture(number), format="rgb24")))
        block = av.AudioFrame.from_ndarray((tone * 32767).astype(np.int16)[None], format="s16", layout="mono")
        block.sample_rate, block.pts, block.time_base = 8000, 0, Fraction(1, 8000)
        out.mux(sound.encode(block))
        for stream in (video, sound):
            out.mux(stream.encode(None))
    (note,) = render_segments(source, copy, [])
    assert "from pcm_s16le to AAC" in note
    with av.open(str(copy)) as container:
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(heard) / 8000 == pytest.approx(1.0, abs=0.3)
    spectrum = np.abs(np.fft.rfft(heard[2000:6000]))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=4)


def test_frames_of_a_folder_can_be_rendered(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(5):
        (folder / f"frame_{number + 1:010d}.jpg").write_bytes(media.jpeg_bytes(number))
    render_segments(folder, tmp_path / "out.mp4", [], fps=10)
    with open_video(tmp_path / "out.mp4") as video:
        assert video.info.num_frames == 5
        assert np.diff(video.times) == pytest.approx(0.1)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    media.render(source, 10, audio=True)
    copies = [tmp_path / "one.mp4", tmp_path / "two.mp4"]
    for copy in copies:
        render_segments(source, copy, [Segment(0, 0.2, "wave", 0, 0.5)])
    assert copies[0].read_bytes() == copies[1].read_bytes()


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    source, taken = tmp_path / "in.mp4", tmp_path / "out.mp4"
    media.render(source, 3)
    taken.write_bytes(b"dear")
    for target in (taken, source):
        before = target.read_bytes()
        with pytest.raises(OutputError, match="exists and is not overwritten"):
            render_segments(source, target, [])
        assert target.read_bytes() == before


def test_a_name_that_is_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    source, output = tmp_path / "in.mp4", tmp_path / "out.mp4"
    media.render(source, 3)
    with pytest.raises(OutputError, match="exists and is not overwritten"):
        render_segments(source, output, [], on_progress=lambda *_: output.write_bytes(b"dear") and None)
    assert output.read_bytes() == b"dear"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


@pytest.mark.parametrize("name", ["out.avi", "nowhere/out.mp4"])
def test_a_place_that_cannot_be_written_is_said_so(tmp_path: Path, name: str) -> None:
    media.render(tmp_path / "in.mp4", 3)
    with pytest.raises(OutputError, match=r"cannot write .*out\.|out\.mp4 cannot be written"):
        render_segments(tmp_path / "in.mp4", tmp_path / name, [])
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_full_disk_is_said_so_and_leaves_nothing(tmp_path: Path) -> None:
    media.render(tmp_path / "in.mp4", 60, noise=60)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*out\.mp4|out\.mp4 cannot be written"):
            render_segments(tmp_path / "in.mp4", tmp_path / "out.mp4", [])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_a_video_that_cannot_be_read_throughout_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    media.render(source, 60, noise=40, options={"g": "10"})
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    source.write_bytes(data)
    with pytest.raises(VideoError):
        render_segments(source, tmp_path / "out.mp4", [])
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]
