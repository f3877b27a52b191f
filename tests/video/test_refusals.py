"""Files that are no videos, or none that can be read: what the message says."""

from __future__ import annotations

import av
import pytest
from PIL import Image

from tadacli.errors import VideoError
from tadacli.video.reading import probe
from tests.media import picture, render, render_audio

ENCRYPTION = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}


@pytest.mark.parametrize("flags", ["faststart", "", "frag_keyframe+empty_moov"], ids=["first", "last", "fragments"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_common_encryption_is_named_wherever_the_index_is(tmp_path, codec, flags):
    path = tmp_path / "v.mp4"
    container_options = ENCRYPTION | ({"movflags": flags} if flags else {})
    render(path, 10, codec=codec, noise=200, container_options=container_options)
    with pytest.raises(VideoError, match=r"v\.mp4 is encrypted$") as caught:
        probe(path)
    assert "decrypt" in caught.value.hint


def test_animated_webp_is_named(tmp_path):
    path = tmp_path / "a.webp"
    first, *others = (Image.fromarray(picture(number)) for number in range(4))
    first.save(path, save_all=True, append_images=others, duration=40)
    with pytest.raises(VideoError, match="animated WebP picture, and FFmpeg has no decoder for the animation"):
        probe(path)


def test_sound_with_a_cover_is_no_video(tmp_path):
    render_audio(tmp_path / "sound.m4a")
    path = tmp_path / "covered.m4a"
    with av.open(str(tmp_path / "sound.m4a")) as source, av.open(str(path), "w", format="mp4") as out:
        old = source.streams.audio[0]
        sound, cover = out.add_stream_from_template(old), out.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 96, 160, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        out.mux(cover.encode(av.VideoFrame.from_ndarray(picture(0), format="rgb24")))
        out.mux(cover.encode(None))
        for packet in source.demux(old):
            if packet.size:
                packet.stream = sound
                out.mux(packet)
    with pytest.raises(VideoError, match="has no video stream, only audio and a cover picture"):
        probe(path)
