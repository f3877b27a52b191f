"""Files cut short whose kind does not say how long they are to be: what of that can be known is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import tadacli
from tadacli.results import NoteKind
from tadacli.video.reading import probe
from tests.media import picture, render

B_FRAMES = {"bf": "2", "g": "12"}
STREAMS = [
    ("ts", "libx264", B_FRAMES, {}),
    ("m2ts", "libx264", B_FRAMES, {}),
    ("mpg", "mpeg2video", B_FRAMES, {}),
    ("vob", "mpeg2video", B_FRAMES, {"format_name": "vob"}),
    ("h264", "libx264", B_FRAMES, {}),
    ("mjpeg", "mjpeg", {}, {"pixel_format": "yuvj420p"}),
    ("y4m", "wrapped_avframe", {}, {}),
    ("gif", "", {}, {}),
]


@pytest.fixture(scope="module", params=STREAMS, ids=[row[0] for row in STREAMS])
def whole(request, tmp_path_factory) -> Path:
    suffix, codec, options, settings = request.param
    path = tmp_path_factory.mktemp("whole") / f"v.{suffix}"
    if suffix == "gif":
        first, *others = (Image.fromarray(picture(number, noise=60)) for number in range(30))
        first.save(path, save_all=True, append_images=others, duration=40)
    else:
        render(path, 30, codec=codec, options=options, noise=60, **settings)
    return path


def test_a_whole_file_is_not_cut(whole):
    info = probe(whole)
    assert (info.num_frames, info.truncated, info.notes) == (30, False, ())


@pytest.mark.parametrize("share", [0.4, 0.55, 0.7, 0.83])
def test_a_cut_stream_says_so(tmp_path, whole, share):
    data, path = whole.read_bytes(), tmp_path / whole.name
    size = int(len(data) * share)
    path.write_bytes(data[: size + (size % 188 == 0)])
    info = probe(path)
    assert (info.truncated, info.num_frames_known) == (True, True)
    assert 0 < info.num_frames < 30
    assert NoteKind.CUT_SHORT in [note.kind for note in info.notes], "beside what the broken last packet is"


def test_what_is_left_of_a_stream_is_classified(tmp_path):
    """No header promised more, so that clips can be chosen; the result says that the file is cut."""
    render(tmp_path / "v.ts", 60, options=B_FRAMES)
    path = tmp_path / "cut.ts"
    path.write_bytes((tmp_path / "v.ts").read_bytes()[: -188 * 20 - 5])
    (result,) = tadacli.classify(path)
    if result.status != "error":  # where the last frame is damaged, and asked for
        assert result.video is not None
        assert result.video.truncated
        assert [note.kind for note in result.notes].count(NoteKind.CUT_SHORT) == 1


@pytest.mark.parametrize(("bytes_left", "is_known"), [(-50, True), (-3000, False)])
def test_avi_that_lacks_only_its_index_has_all_frames(tmp_path, bytes_left, is_known):
    render(tmp_path / "v.avi", 30, codec="mjpeg", pixel_format="yuvj420p")
    path = tmp_path / "cut.avi"
    path.write_bytes((tmp_path / "v.avi").read_bytes()[:bytes_left])
    info = probe(path)
    assert (info.truncated, info.num_frames_known, info.num_frames == 30) == (True, is_known, is_known)
