"""Folders and tars of pictures that are frames: their names, JPEG and PNG, and their rate."""

from __future__ import annotations

import io
import tarfile
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tadacli.errors import VideoError
from tadacli.results import NoteKind
from tadacli.video import iter_frames, probe, read_frames
from tadacli.video.png import decode_png
from tests.media import jpeg_bytes, number_in, picture


def png_bytes(number: int, mode: str = "RGB") -> bytes:
    data = io.BytesIO()
    Image.fromarray(picture(number)).convert(mode).save(data, "PNG")
    return data.getvalue()


def frames_folder(folder: Path, names: list[str], *, first: int = 1) -> Path:
    """A folder of frames by these names, whose pixels number them from `first`."""
    folder.mkdir()
    for number, name in enumerate(names, start=first):
        (folder / name).write_bytes(png_bytes(number) if name.lower().endswith("png") else jpeg_bytes(number))
    (folder / "._notes.jpg").write_bytes(b"what a Mac leaves behind")
    (folder / "cover.jpg").write_bytes(b"no number")
    return folder


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("frame_{:010d}.jpg", 1),
        ("frame_{:05d}.jpg", 1),
        ("frame{:04d}.png", 1),
        ("img_{:05d}.jpg", 1),
        ("image_{:05d}.jpg", 0),
        ("{:06d}.jpg", 0),
        ("{}.jpg", 1),
        ("{}.png", 0),
        ("img_{:03d}.PNG", 1),
        ("image-{}.jpeg", 1),
    ],
)
@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz"])
def test_frames_by_any_of_the_usual_names(tmp_path: Path, pattern: str, first: int, kind: str) -> None:
    names = [pattern.format(number) for number in range(first, first + 12)]
    path = frames_folder(tmp_path / "v", names, first=first)
    if kind != "folder":
        path = tmp_path / f"v.{kind}"
        with tarfile.open(path, "w" if kind == "tar" else "w:gz") as tar:
            for name in [*names, "cover.jpg", "._notes.jpg"]:
                tar.add(tmp_path / "v" / name, arcname=f"v/{name}")
    info = probe(path)
    assert (info.num_frames, info.height, info.width) == (12, 96, 160)
    assert info.codec == ("png" if pattern.lower().endswith("png") else "mjpeg")
    assert [number_in(pixels) for pixels in read_frames(path, [0, 9, 11])] == [first, first + 9, first + 11]
    (tmp_path / "v" / names[5]).write_bytes(b"not a picture")
    if kind == "folder":
        with pytest.raises(VideoError, match=f"{names[5]} of .*v is not a whole"):
            read_frames(path, [5])


def test_png_frames_are_exact(tmp_path: Path) -> None:
    folder = frames_folder(tmp_path / "v", ["0.png", "1.png"], first=0)
    for index, frame in enumerate(iter_frames(folder, [0, 1])):
        assert np.array_equal(frame.pixels, picture(index))


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "1", "I;16"])
def test_png_pictures_of_all_kinds_are_shown_as_rgb(tmp_path: Path, mode: str) -> None:
    folder = tmp_path / "v"
    folder.mkdir()
    image = Image.fromarray(picture(5))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.convert(mode)
    image.save(folder / "1.png")
    (pixels,) = read_frames(folder, [0])
    assert pixels.shape == (96, 160, 3)
    assert pixels.dtype == np.uint8
    assert number_in(pixels) == 5


def test_no_flipped_bit_of_a_png_picture_passes() -> None:
    data, right = png_bytes(2), picture(2)
    for position in range(8, len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        pixels = decode_png(bytes(damaged))
        assert isinstance(pixels, str) or np.array_equal(pixels, right), position


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


@pytest.mark.parametrize("damage", ["flipped", "cut", "bomb", "animation"])
def test_damaged_png_frames_are_refused_by_name(tmp_path: Path, damage: str) -> None:
    folder = frames_folder(tmp_path / "v", ["1.png", "2.png", "3.png"])
    data = bytearray((folder / "2.png").read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    elif damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "bomb":
        data[8:33] = chunk(b"IHDR", (60000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0]))
    else:
        images = [Image.fromarray(picture(number)) for number in range(2)]
        images[0].save(folder / "2.png", "PNG", save_all=True, append_images=images[1:])
        data = bytearray((folder / "2.png").read_bytes())
    (folder / "2.png").write_bytes(data)
    assert [number_in(pixels) for pixels in read_frames(folder, [0, 2])] == [1, 3]
    with pytest.raises(VideoError, match=r"2\.png of .*v is "):
        read_frames(folder, [1])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ["img_00001.jpg", "img_00002.jpg", "img_00001.png"],
            r"several series of frames, named as img_00001\.jpg, img",
        ),
        (["img_1.jpg", "frame_1.jpg"], "several series of frames, named as frame_1.jpg, img_1.jpg"),
        (["1.jpg", "02.jpg", "03.jpg"], r"several series of frames, named as 1\.jpg, 01\.jpg"),
        (["1.jpg", "2.jpg", "4.jpg"], "lacks frames 3$"),
        (["0.jpg", "2.jpg"], "lacks frames 1$"),
        (["7.jpg", "8.jpg"], "is a folder that holds no numbered frames"),
    ],
)
def test_frames_that_are_not_one_whole_series_are_refused(tmp_path: Path, names: list[str], reason: str) -> None:
    with pytest.raises(VideoError, match=reason):
        probe(frames_folder(tmp_path / "v", names))


def test_frames_as_published_count_alone(tmp_path: Path) -> None:
    names = ["frame_0000000001.jpg", "frame_0000000002.jpg", "img_00001.jpg", "flow_x_00001.jpg"]
    assert probe(frames_folder(tmp_path / "v", names)).num_frames == 2


def test_flow_beside_frames_is_no_frame(tmp_path: Path) -> None:
    assert probe(frames_folder(tmp_path / "v", ["img_00001.jpg", "flow_x_00001.jpg"])).num_frames == 1


def test_a_rate_that_nothing_says_is_noted(tmp_path: Path) -> None:
    folder = frames_folder(tmp_path / "v", ["1.jpg", "2.jpg"])
    info = probe(folder)
    assert (info.fps, [note.kind for note in info.notes]) == (30, [NoteKind.ASSUMED_RATE])
    info = probe(folder, fps=12.5)
    assert (info.fps, info.notes, info.duration_seconds) == (Fraction(25, 2), (), 0.16)
    assert probe(frames_folder(tmp_path / "P01_11", ["1.jpg", "2.jpg"])).notes == ()
