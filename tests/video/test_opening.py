"""A file that is opened without decoding says what one says of which FFmpeg has decoded the start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.stream import VideoStream

from tadacli.errors import VideoError
from tadacli.results import VideoInfo
from tadacli.video import container as container_module
from tadacli.video import opening
from tadacli.video.container import open_stream, read_packets
from tadacli.video.damage import Damage
from tadacli.video.opening import open_for_frames
from tadacli.video.reading import open_video, probe
from tadacli.video.source import Frame
from tests import media

X264 = {"preset": "veryfast", "g": "12"}
PYRAMID = {**X264, "bf": "5", "x264-params": "b-pyramid=normal:ref=5"}
FAST = {"deadline": "realtime"}
# Name -> encoder, format of pixels, options, shape of a pixel, whether it can be opened without decoding.
FILES = {
    "plain.mp4": ("libx264", "yuv420p", X264, None, True),
    "plain.mov": ("libx264", "yuv420p", X264, None, True),
    "plain.mkv": ("libx264", "yuv420p", X264, None, True),
    "no_reordering.mkv": ("libx264", "yuv420p", {**X264, "bf": "0"}, None, True),
    "no_reordering.mp4": ("libx264", "yuv420p", {**X264, "bf": "0"}, None, True),
    "baseline.mp4": ("libx264", "yuv420p", {**X264, "profile": "baseline"}, None, True),
    "pyramid.mkv": ("libx264", "yuv420p", PYRAMID, None, True),
    "pyramid.mp4": ("libx264", "yuv420p", PYRAMID, None, True),
    "shape.mp4": ("libx264", "yuv420p", X264, Fraction(4, 3), True),
    "full_range.mp4": ("libx264", "yuvj420p", X264, None, False),
    "colour.mp4": ("libx264", "yuv444p", X264, None, False),
    "shape.mkv": ("libx264", "yuv420p", X264, Fraction(4, 3), False),
    "hidden shape.mp4": ("libx264", "yuv420p", {**X264, "x264-params": "sar=4/3"}, None, False),
    "vp8.webm": ("libvpx", "yuv420p", FAST, None, True),
    "vp9.webm": ("libvpx-vp9", "yuv420p", FAST, None, True),
    "vp9.mp4": ("libvpx-vp9", "yuv444p", FAST, None, True),
    "mpeg4.mp4": ("mpeg4", "yuv420p", {}, None, False),
    "h264.ts": ("libx264", "yuv420p", X264, None, False),
}


def said(stream: VideoStream) -> list[object]:
    """What a frame table is made of, and what reading frames depends on."""
    decoder, container = stream.codec_context, stream.container
    assert isinstance(container, av.container.InputContainer)
    packets = [
        None if packet is None else (packet.pts, packet.duration, packet.is_keyframe, packet.is_corrupt, bytes(packet))
        for packet in read_packets(container, stream)
    ]
    shape, size = stream.sample_aspect_ratio or 1, (decoder.height, decoder.width)
    return [decoder.codec.name, size, decoder.reorder_depth, shape, stream.average_rate, stream.time_base, packets]


@contextmanager
def watched_opening(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether FFmpeg may decode, of each opening."""
    found, honest = [], av.open

    def watch(*arguments, **options):
        found.append("codec_whitelist" not in options["options"])
        return honest(*arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(container_module.av, "open", watch)
        yield found


def assert_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both ways of opening say the same; returns whether nothing was decoded."""
    with watched_opening(monkeypatch) as may_decode, open_for_frames(str(path)) as (_, stream):
        assert stream is not None
        pixel_format = stream.codec_context.pix_fmt
        without = said(stream)
    with open_stream(str(path)) as (_, stream):
        assert stream is not None
        assert pixel_format in (None, stream.codec_context.pix_fmt), path.name
        assert without == said(stream), path.name
    return not may_decode[-1]


@pytest.mark.parametrize("name", FILES)
def test_headers_say_what_decoding_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    codec, pixel_format, options, aspect, is_plain = FILES[name]
    path = tmp_path / name
    media.render(path, 40, codec=codec, pixel_format=pixel_format, options=options, aspect=aspect)
    assert assert_same(path, monkeypatch) is is_plain


def test_headers_of_real_videos_say_what_decoding_would(monkeypatch: pytest.MonkeyPatch) -> None:
    num_plain = 0
    for path in sorted(media.shared_folder().rglob("*")):
        if path.suffix.lower() not in (".mp4", ".mov", ".mkv", ".webm", ".3gp"):
            continue
        try:
            probe(path)
        except VideoError:
            continue
        num_plain += assert_same(path, monkeypatch)
    assert num_plain > 40


def found_in(path: Path) -> str | tuple[VideoInfo, list[float], list[bytes | str]]:
    """The facts and the frames of a video, or why there are none."""
    try:
        with open_video(path) as source:
            frames = source.iter_frames(range(source.info.num_frames), skip_unreadable=True)
            seen = [frame.pixels.tobytes() if isinstance(frame, Frame) else frame.reason for frame in frames]
            return source.info, source.times.tolist(), seen
    except VideoError as error:
        return str(error)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_whatever_bit_of_the_headers_is_damaged_decoding_would_tell_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"a.{suffix}"
    media.render(path, 8, options={"preset": "veryfast", "g": "4", "bf": "1", "x264-params": "ref=16"}, size=(32, 64))
    with av.open(str(path)) as container:
        header = bytes(container.streams.video[0].codec_context.extradata or b"")
    content = path.read_bytes()
    start, pictures, num_opened_by_headers = content.index(header), header.rindex(b"\x68"), 0
    for bit in range(8 * len(header)):
        damaged = bytearray(content)
        damaged[start + bit // 8] ^= 0x80 >> bit % 8
        path.write_bytes(damaged)
        with watched_opening(monkeypatch) as may_decode:
            found = found_in(path)
        num_opened_by_headers += not any(may_decode)
        with monkeypatch.context() as patched:
            patched.setattr(opening, "_may_say_all", lambda _: False)
            decoded = found_in(path)
        if bit // 8 < pictures or found == decoded:
            assert found == decoded, f"bit {bit} of {len(header)} bytes"
        else:  # without the set for pictures nothing decodes, which no header says, and which is told of each frame
            assert isinstance(decoded, str)
            assert set(found[2]) == {Damage.LOST}
    assert num_opened_by_headers > 20


def test_a_container_that_claims_all_levels_of_a_byte_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where H.264 says nothing of them, FFmpeg has another format of pixels then."""
    path = tmp_path / "a.mp4"
    media.render(path, 20, options=X264)
    data, at = bytearray(path.read_bytes()), 0
    assert data.index(b"mdat") < data.index(b"moov"), "what moves is after the pictures"
    boxes = []
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        at = data.index(name, at) + 4
        boxes.append(at - 8)
    end = boxes[-1] + int.from_bytes(data[boxes[-1] :][:4], "big")
    colours = b"colrnclx" + bytes([0, 2, 0, 2, 0, 2, 0x80])
    data[end:end] = (4 + len(colours)).to_bytes(4, "big") + colours
    for box in boxes:
        data[box : box + 4] = (int.from_bytes(data[box:][:4], "big") + 4 + len(colours)).to_bytes(4, "big")
    path.write_bytes(data)
    assert probe(path).pixel_format == "yuvj420p"
    assert not assert_same(path, monkeypatch)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_shape_of_pixels_is_that_of_the_stream_where_headers_are_not_all(tmp_path: Path, suffix: str) -> None:
    """A second set of parameters, in the first packet, says another shape than that of the headers."""
    shaped, path = tmp_path / f"shaped.{suffix}", tmp_path / f"a.{suffix}"
    media.render(tmp_path / "square.mp4", 20, options=X264)
    media.render(shaped, 20, options={**X264, "x264-params": "sar=12/11"})
    with av.open(str(shaped)) as container:
        record = bytes(container.streams.video[0].codec_context.extradata or b"")
    length = int.from_bytes(record[6:8], "big")
    more = record[8 + length + 1 :]
    sets = record[8 : 8 + length], more[2 : 2 + int.from_bytes(more[:2], "big")]
    prefix = b"".join(len(each).to_bytes(4, "big") + each for each in sets)
    with av.open(str(tmp_path / "square.mp4")) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(each for each in source.demux(video=0) if each.size):
            copy = av.Packet(prefix + bytes(packet) if number == 0 else bytes(packet))
            copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
            copy.is_keyframe = packet.is_keyframe
            out.mux(copy)
    with open_stream(str(path)) as (_, stream):
        assert stream is not None
        expected = stream.sample_aspect_ratio
    assert expected == Fraction(12, 11)
    assert probe(path).sample_aspect_ratio == expected


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_frames_that_ffmpeg_crops_less_than_headers_say_have_the_size_that_it_gives(
    tmp_path: Path, suffix: str
) -> None:
    """It crops nothing from the left that is not a multiple of what its decoder likes."""
    path = tmp_path / f"a.{suffix}"
    media.render(path, 20, options={**X264, "x264-params": "crop-rect=4,2,6,8"})
    with av.open(str(path)) as container:
        sizes = {(frame.height, frame.width) for frame in container.decode(video=0)}
    with open_video(path) as source:
        assert {(source.info.height, source.info.width)} == sizes
        assert {frame.pixels.shape[:2] for frame in source.require_frames(range(20))} == sizes


def test_of_several_streams_one_is_chosen_by_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    media.render(one, 20, options=X264)
    with av.open(str(one)) as source, av.open(str(two), "w") as out:
        streams = [out.add_stream_from_template(source.streams.video[0]) for _ in range(2)]
        for packet in source.demux(video=0):
            for stream in streams if packet.size else ():
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts, copy.time_base, copy.stream = packet.pts, packet.dts, packet.time_base, stream
                copy.is_keyframe = packet.is_keyframe
                out.mux(copy)
    assert not assert_same(two, monkeypatch)


def test_files_are_opened_in_several_threads_without_a_word(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """PyAV's log is of the whole process: a line on its way while a thread sets it back would show a traceback."""
    path = tmp_path / "plain.mp4"
    media.render(path, 20, options=X264)

    def read() -> None:
        for _ in range(60):
            with open_video(path) as source:
                next(source.iter_frames([0]))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert capfd.readouterr() == ("", "")


def test_opening_without_a_decoder_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "plain.mp4"
    media.render(path, 20, options=X264)
    before = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with caplog.at_level(logging.DEBUG):
            assert probe(path).num_frames == 20
    finally:
        av.logging.set_level(before)
    assert not caplog.records
