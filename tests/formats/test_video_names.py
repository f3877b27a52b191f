"""Ids of videos and the names of their files: short, each another one, the same each time."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tadacli.errors import OutputError
from tadacli.formats.video_names import output_names, video_id, video_ids
from tadacli.video.inputs import ARCHIVE_SUFFIXES

FOLDERS = ("", "a/", "b/", "a/b/", "/x/a/", "a-b/")
NAMES = (
    "clip.mp4",
    "clip.mkv",
    "clip",
    "CLIP.MP4",
    "a-clip.mp4",
    "clip-2.mp4",
    "b-clip",
    "caf\udce9.mp4",
    "clip.mp4.tar",
)
paths = st.builds(str.__add__, st.sampled_from(FOLDERS), st.sampled_from(NAMES))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/P01_11.mp4", "P01_11"),
        ("P01_11.MOV", "P01_11"),
        ("frames/P01_11/", "P01_11"),
        ("session.2/day.one", "day.one"),
        ("https://host/v/abc.webm?token=a/b#t=3", "abc"),
        ("https://host", "host"),
        ("caf\udce9.mp4", "caf\udce9"),
        (".mp4", ".mp4"),
        ("/", "video"),
        *((f"P01_11{suffix}", "P01_11") for suffix in ARCHIVE_SUFFIXES),
    ],
)
def test_an_id_is_the_name_without_what_the_file_is(path: str, name: str) -> None:
    assert video_id(path) == name


def test_ids_are_given_by_path_and_belong_to_one_video() -> None:
    assert video_ids(["b/two.mp4", "one.mkv"]) == {"b/two.mp4": "two", "one.mkv": "one"}
    with pytest.raises(OutputError, match=r"a/one\.mp4 and one\.mkv would both be the video one"):
        video_ids(["a/one.mp4", "b/two.mp4", "one.mkv"])


@pytest.mark.parametrize(
    ("given_paths", "names"),
    [
        (["a/one.mp4", "b/two.mp4"], ["one", "two"]),
        (["a/clip.mp4", "b/clip.mp4", "b/two.mp4"], ["a-clip", "b-clip", "two"]),
        (["x/a/clip.mp4", "y/a/clip.mp4"], ["x-a-clip", "y-a-clip"]),
        (["clip.mp4", "clip.mkv"], ["clip.mp4", "clip.mkv"]),
        (["Clip.mp4", "clip.mp4"], ["Clip.mp4", "clip.mp4-2"]),
        (["a/clip.mp4", "b/clip.mp4", "c/a-clip.mp4"], ["a-clip.mp4", "b-clip", "c-a-clip"]),
    ],
)
def test_videos_of_one_name_are_told_apart(given_paths: list[str], names: list[str]) -> None:
    assert output_names(given_paths, ".srt") == {
        path: f"{name}.srt" for path, name in zip(given_paths, names, strict=True)
    }


@settings(max_examples=200, deadline=None)
@given(st.lists(paths, unique=True, max_size=12))
def test_names_are_unique_everywhere_and_always_the_same(given_paths: list[str]) -> None:
    names = output_names(given_paths, ".srt")
    assert list(names) == given_paths
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names.values()}) == len(given_paths)
    assert not any("/" in name for name in names.values())
    assert names == output_names(given_paths, ".srt")
    if len({video_id(path).casefold() for path in given_paths}) == len(given_paths):
        assert list(names.values()) == [video_id(path) + ".srt" for path in given_paths]
