"""What the bytes of a container declare: right for whole files, and no surprise whatever is in them."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.video.bitstream import MATROSKA, MP4
from tadacli.video.container_bytes import (
    avi_frames_are_whole,
    count_recordings,
    ends_beyond,
    has_destroyed_parts,
    shows_as_stored,
)
from tests.media import render

KINDS = [
    (MP4, "mp4", "libx264", {}),
    (MP4, "mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    (MATROSKA, "mkv", "libx264", {}),
    (MATROSKA, "mkv", "libx264", {"live": "1"}),
    ("avi", "avi", "mpeg4", {}),
    ("flv", "flv", "libx264", {}),
    ("mpegts", "ts", "libx264", {}),
    ("mpegts", "m2ts", "libx264", {}),
    ("mpeg", "mpg", "mpeg2video", {}),
    ("gif", "gif", "gif", {}),
]
MAGIC = [b"\0\0\0\x10ftyp", b"\0\0\0\0moov", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67", b"RIFF\xff\0\0\0AVI ", b"FLV\1\1"]
MAGIC += [b"\x47" + bytes(187), b"\0\0\1\xba", b"GIF89a", b"\xff\xd8\xff", b""]


@pytest.mark.parametrize(
    ("format_name", "suffix", "options"),
    [(MP4, "mp4", {}), (MP4, "mp4", {"movflags": "frag_keyframe+empty_moov"}), (MATROSKA, "mkv", {})],
)
def test_containers_say_whether_a_video_is_turned(
    tmp_path: Path, format_name: str, suffix: str, options: dict[str, str]
) -> None:
    plain, turned = (tmp_path / f"{name}.{suffix}" for name in ("plain", "turned"))
    render(plain, 3, container_options=options)
    render(turned, 3, container_options=options, rotation=(90, False, False))
    assert shows_as_stored(str(plain), format_name)
    assert not shows_as_stored(str(turned), format_name)
    data = plain.read_bytes()
    end_of_tracks = max(data.rfind(b"avc1"), data.rfind(b"V_MPEG4"))
    for number in range(0, end_of_tracks, 7):  # cut before it is said what is there, it is no longer sure
        (tmp_path / "cut").write_bytes(data[:number])
        assert not shows_as_stored(str(tmp_path / "cut"), format_name)
    assert not shows_as_stored(str(plain), "mpegts")
    (tmp_path / "more").write_bytes(data + b"\0\0\0\x08trak")
    assert shows_as_stored(str(tmp_path / "more"), format_name) == (format_name == MATROSKA), "what FFmpeg reads, too"


@pytest.mark.parametrize(
    ("format_name", "suffix", "old", "new"),
    [
        (MP4, "mp4", b"avc1\0", b"encv\0"),
        (MP4, "mp4", b"tkhd\0", b"tkhd\2"),
        (MP4, "mp4", b"mvhd", b"tkhd"),
        (MP4, "mp4", b"tkhd", b"tkhe"),
        (MATROSKA, "mkv", b"V_MPEG4", b"V_MPE\x50\x35"),
        (MATROSKA, "mkv", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75"),
    ],
    ids=["encrypted", "another version", "a matrix elsewhere", "no track", "encrypted tracks", "pictures first"],
)
def test_containers_that_are_not_plain_are_left_to_the_decoder(
    tmp_path: Path, format_name: str, suffix: str, old: bytes, new: bytes
) -> None:
    path = tmp_path / f"v.{suffix}"
    render(path, 3)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    assert not shows_as_stored(str(path), format_name)


@pytest.mark.parametrize("size", [1 << 44, (1 << 56) - 2, (1 << 62), (1 << 64) - 1])
def test_parts_that_claim_to_end_where_no_file_reaches_end_there(tmp_path: Path, size: int) -> None:
    mp4, mkv = tmp_path / "v.mp4", tmp_path / "v.mkv"
    mp4.write_bytes(b"\0\0\0\x10ftypisom\0\0\0\0" + b"\0\0\0\x01free" + size.to_bytes(8, "big") + bytes(64))
    head = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
    mkv.write_bytes(head + b"\xec\x01" + min(size, (1 << 56) - 2).to_bytes(7, "big") + bytes(64))
    for path, format_name in ((mp4, MP4), (mkv, MATROSKA)):
        assert not shows_as_stored(str(path), format_name)
        assert verdicts(path, format_name)[2] == 1


def verdicts(path: Path, format_name: str) -> tuple[bool, bool, int]:
    """Whether a file is cut, has destroyed parts, and how many recordings it holds."""
    return (
        ends_beyond(str(path), format_name),
        has_destroyed_parts(str(path), format_name),
        count_recordings(str(path), format_name),
    )


@pytest.mark.parametrize(("format_name", "suffix", "codec", "options"), KINDS)
def test_whole_files(tmp_path, format_name, suffix, codec, options):
    path = tmp_path / f"v.{suffix}"
    pixel_format = "rgb8" if suffix == "gif" else "yuv420p"
    render(path, 30, codec=codec, container_options=options, noise=60, pixel_format=pixel_format)
    assert verdicts(path, format_name) == (False, False, 1)


@given(
    magic=st.sampled_from(MAGIC),
    repeats=st.integers(1, 20),
    rest=st.binary(min_size=1, max_size=600),
    seed=st.integers(0, 99),
)
def test_any_bytes_have_an_answer(magic, repeats, rest, seed):
    data = bytearray(magic * repeats + rest)
    generator = random.Random(seed)
    for _ in range(seed % 8):
        data[generator.randrange(len(data))] = generator.randrange(256)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "v")
        path.write_bytes(data)
        for format_name in (MP4, MATROSKA, "avi", "flv", "mpegts", "mpeg", "gif", "mjpeg"):
            is_cut, is_destroyed, count = verdicts(path, format_name)
            assert isinstance(is_cut, bool)
            assert isinstance(is_destroyed, bool)
            assert count >= 1
        assert isinstance(avi_frames_are_whole(str(path)), bool)
