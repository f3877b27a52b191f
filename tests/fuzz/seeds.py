"""Small whole videos of every kind that is read, for the fuzzer to damage."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.media import jpeg_bytes, render

NUM_FRAMES = 16
_HEIGHT, _WIDTH = 48, 80
_X264 = {"g": "6", "preset": "veryfast"}
_X265 = {"x265-params": "keyint=6:min-keyint=6:scenecut=0:log-level=none"}
_GROUPS = {"g": "6"}


@dataclass(frozen=True)
class _Kind:
    """How one kind of file is rendered; `size` is (height, width) in pixels, which some codecs prescribe."""

    codec: str
    suffix: str
    pixel_format: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    container_options: Mapping[str, str] = field(default_factory=dict)
    format_name: str | None = None
    size: tuple[int, int] = (_HEIGHT, _WIDTH)


_KINDS = {
    "h264 mp4": _Kind("libx264", "mp4", options=_X264 | {"bf": "2"}),
    "h264 mp4 faststart": _Kind("libx264", "mp4", options=_X264, container_options={"movflags": "faststart"}),
    "h264 mp4 fragments": _Kind(
        "libx264", "mp4", options=_X264, container_options={"movflags": "frag_keyframe+empty_moov"}
    ),
    "h264 mov": _Kind("libx264", "mov", options=_X264 | {"bf": "2"}),
    "h264 mkv": _Kind("libx264", "mkv", options=_X264 | {"bf": "2"}),
    "h264 ts": _Kind("libx264", "ts", options=_X264 | {"bf": "2"}),
    "h264 flv": _Kind("libx264", "flv", options=_X264),
    "h264 avi": _Kind("libx264", "avi", options=_X264 | {"bf": "0"}),
    "h264 raw": _Kind("libx264", "h264", options=_X264),
    "hevc mp4": _Kind("libx265", "mp4", options=_X265),
    "hevc mkv": _Kind("libx265", "mkv", options=_X265),
    "hevc ts": _Kind("libx265", "ts", options=_X265),
    "vp8 webm": _Kind("libvpx", "webm", options=_GROUPS | {"b": "400k"}),
    "vp9 webm": _Kind("libvpx-vp9", "webm", options=_GROUPS | {"deadline": "realtime", "cpu-used": "8"}),
    "vp9 ivf": _Kind("libvpx-vp9", "ivf", options=_GROUPS | {"deadline": "realtime", "cpu-used": "8"}),
    "av1 mp4": _Kind("libsvtav1", "mp4", options=_GROUPS | {"preset": "12"}),
    "mpeg4 avi": _Kind("mpeg4", "avi", options=_GROUPS | {"bf": "2"}),
    "mpeg4 mp4": _Kind("mpeg4", "mp4", options=_GROUPS),
    "mpeg1video mpg": _Kind("mpeg1video", "mpg", options=_GROUPS | {"bf": "2"}),
    "mpeg2video mpg": _Kind("mpeg2video", "mpg", options=_GROUPS | {"bf": "2"}, format_name="vob"),
    "mpeg2video ts": _Kind("mpeg2video", "ts", options=_GROUPS | {"bf": "2"}),
    "mpeg2video raw": _Kind("mpeg2video", "m2v", options=_GROUPS, format_name="mpeg2video"),
    "mpeg2video mxf": _Kind("mpeg2video", "mxf", options=_GROUPS),
    "h263 3gp": _Kind("h263", "3gp", options=_GROUPS, size=(144, 176)),
    "flv1 flv": _Kind("flv", "flv", options=_GROUPS),
    "wmv2 asf": _Kind("wmv2", "wmv", options=_GROUPS),
    "msmpeg4 avi": _Kind("msmpeg4", "avi", options=_GROUPS),
    "mjpeg avi": _Kind("mjpeg", "avi", "yuvj420p"),
    "mjpeg raw": _Kind("mjpeg", "mjpeg", "yuvj420p"),
    "mjpeg mov": _Kind("mjpeg", "mov", "yuvj420p"),
    "ffv1 mkv": _Kind("ffv1", "mkv", options={"level": "3", "slicecrc": "1", "slices": "4"}),
    "ffv1 avi": _Kind("ffv1", "avi", options={"level": "1"}),
    "huffyuv avi": _Kind("huffyuv", "avi", "yuv422p"),
    "prores mov": _Kind("prores_ks", "mov", "yuv422p10le"),
    "png mov": _Kind("png", "mov", "rgb24"),
    "apng": _Kind("apng", "apng", "rgb24"),
    "gif": _Kind("gif", "gif", "rgb8"),
    "y4m": _Kind("rawvideo", "y4m", format_name="yuv4mpegpipe"),
}


@dataclass(frozen=True)
class Seed:
    """A whole video in a file, or in a tar or folder of JPEG frames, as its bytes; frames of a folder lie one after the
    other, `parts` long each."""

    name: str
    suffix: str
    data: bytes
    parts: tuple[int, ...] = ()

    def write(self, data: bytes, folder: Path) -> Path:
        """Writes what became of the data; the path of the video. A folder is made of the parts, as far as they go."""
        path = folder / f"video{self.suffix}"
        if not self.parts:
            path.write_bytes(data)
            return path
        path.mkdir(exist_ok=True)
        at = 0
        for number, size in enumerate(self.parts, 1):
            (path / f"frame_{number:010d}.jpg").write_bytes(data[at : at + size])
            at += size
        return path


def all_seeds(folder: Path) -> list[Seed]:
    """Every kind of video, rendered into a folder that is empty."""
    seeds = [_rendered(name, kind, folder) for name, kind in _KINDS.items()]
    frames = [jpeg_bytes(number, height=_HEIGHT, width=_WIDTH) for number in range(NUM_FRAMES)]
    seeds.append(Seed("jpeg folder", "", b"".join(frames), tuple(map(len, frames))))
    return [*seeds, _tar("jpeg tar", ".tar", frames, "w"), _tar("jpeg tar.gz", ".tar.gz", frames, "w:gz")]


def _rendered(name: str, kind: _Kind, folder: Path) -> Seed:
    path = folder / f"{name.replace(' ', '_')}.{kind.suffix}"
    render(
        path,
        NUM_FRAMES,
        codec=kind.codec,
        pixel_format=kind.pixel_format,
        options=kind.options,
        container_options=kind.container_options,
        format_name=kind.format_name,
        size=kind.size,
        noise=30,
    )
    return Seed(name, f".{kind.suffix}", path.read_bytes())


def _tar(name: str, suffix: str, frames: list[bytes], mode: str) -> Seed:
    content = io.BytesIO()
    opened: Callable[..., tarfile.TarFile] = tarfile.open
    with opened(fileobj=content, mode=mode) as tar:
        for number, data in enumerate(frames, 1):
            member = tarfile.TarInfo(f"frame_{number:010d}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return Seed(name, suffix, content.getvalue())
