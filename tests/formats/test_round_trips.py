"""Labels that go from any format of annotators to any other, and come back as far as both can hold them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tadacli.datasets.annotations import read_annotations
from tadacli.datasets.label_videos import label_videos
from tadacli.datasets.spans import Annotations
from tadacli.formats.labelled import LabelledSegment, LabelledVideo
from tadacli.formats.registry import SEGMENT_FORMATS
from tadacli.formats.segment_files import convert_labels, write_file
from tests.media import render

# Those that can be read again; of subtitles, Audacity labels and files of editors nothing says that they are classes.
NAMES = [
    name
    for name, form in SEGMENT_FORMATS.items()
    if name not in ("epic", "srt", "vtt", "audacity") and not form.holds.timecode
]
ALWAYS_SCORED = ("activitynet", "thumos")
IN_SECONDS = [name for name in NAMES if SEGMENT_FORMATS[name].holds.seconds]
FPS, NUM_FRAMES = 25, 50
MILLISECOND = 0.0005 + 1e-9

Fact = tuple[str, str, float, float, float | None]
# On whole frames, so that formats that count them hold them, too; two of one label overlap, and two touch.
EVENTS: Sequence[Fact] = [
    ("a", "walk", 0.0, 0.6, 0.75),
    ("a", "walk", 0.4, 1.0, 0.5),
    ("a", "walk", 1.0, 1.2, 0.25),
    ("a", "fall", 0.52, 2.0, 0.125),
    ("b", "fall", 0.04, 1.96, 1.0),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of two seconds."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("a", "b"):
        render(folder / f"{name}.mp4", NUM_FRAMES, time_base=Fraction(1, FPS))
    return folder


def videos_of(facts: Sequence[Fact], folder: Path) -> list[LabelledVideo]:
    labels = sorted({label for _, label, *_ in facts})
    return [
        LabelledVideo(
            path=str(folder / f"{name}.mp4"),
            segments=tuple(
                LabelledSegment(start, end, label, labels.index(label), score)
                for video, label, start, end, score in facts
                if video == name
            ),
            fps=FPS,
            num_frames=NUM_FRAMES,
            duration_seconds=NUM_FRAMES / FPS,
            height=64,
            width=64,
        )
        for name in sorted({video for video, *_ in facts})
    ]


def written(name: str, videos: Sequence[LabelledVideo], output: Path) -> list[Path]:
    """The files of some videos."""
    output.mkdir()
    form = SEGMENT_FORMATS[name]
    contents = convert_labels(videos, form, output if form.per_video else output / f"labels{form.suffix}")
    for file, content in contents.items():
        assert file is not None
        write_file(file, content, make_folder=False)
    return [file for file in contents if file is not None]


def read(files: Sequence[Path], folder: Path) -> Annotations:
    """What the files say, together, with no word about their format."""
    found = [read_annotations(file, data_root=folder) for file in files]
    spans = tuple(span for each in found for span in each.spans)
    assert [span.reason for span in spans] == [""] * len(spans)
    return Annotations("all", spans)


def facts_of(annotations: Annotations) -> list[Fact]:
    return sorted(
        (Path(span.path or span.video).stem, span.label, span.start_seconds or 0.0, span.end_seconds or 0.0, span.score)
        for span in annotations.spans
    )


def held(facts: Sequence[Fact], *names: str) -> list[Fact]:
    """What is left of facts after they went through formats."""
    for name in names:
        labels = sorted({label for _, label, *_ in facts})
        holds = SEGMENT_FORMATS[name].holds
        if holds.labels == "number" and not all(label.isdigit() for label in labels):
            facts = [(video, str(labels.index(label)), *rest) for video, label, *rest in facts]  # type: ignore[misc]
        if not holds.scores:
            facts = [(*rest, None) for *rest, _ in facts]  # type: ignore[misc]
        if name in ALWAYS_SCORED:
            facts = [(*rest, 1.0 if score is None else score) for *rest, score in facts]  # type: ignore[misc]
    return sorted(facts)


def assert_same(found: Sequence[Fact], wanted: Sequence[Fact], *, within: float) -> None:
    def key(fact: Fact) -> tuple[object, ...]:
        return (fact[0], fact[1], fact[4] or 0, round(fact[2], 1), round(fact[3], 1))

    assert [fact[:2] for fact in sorted(found)] == [fact[:2] for fact in sorted(wanted)]
    left = list(wanted)
    for fact in found:
        fits = [
            each
            for each in left
            if each[:2] == fact[:2]
            and abs(each[2] - fact[2]) <= within
            and abs(each[3] - fact[3]) <= within
            and each[4] == fact[4]
        ]
        assert fits, (fact, sorted(left, key=key))
        left.remove(min(fits, key=lambda each: abs(each[2] - fact[2])))


@pytest.mark.parametrize(("first", "second"), list(itertools.product(NAMES, NAMES)))
def test_labels_go_from_any_format_to_any_other(tmp_path: Path, folder: Path, first: str, second: str) -> None:
    once = read(written(first, videos_of(EVENTS, folder), tmp_path / "once"), folder)
    assert_same(facts_of(once), held(EVENTS, first), within=0.5 if first in IN_SECONDS else MILLISECOND)
    videos = label_videos(once)
    assert videos.left_out == ()
    assert {Path(video.path).name for video in videos.videos} == {"a.mp4", "b.mp4"}
    twice = read(written(second, videos.videos, tmp_path / "twice"), folder)
    within = 0.5 + 0.5 / FPS if {first, second} & {*IN_SECONDS} else MILLISECOND
    assert_same(facts_of(twice), held(EVENTS, first, second), within=within)


starts = st.integers(0, 1_900_000)
LABELS = ["walk", "日本", "it's <b>", 'a "b"', "ü,x", "two words", "=1+1", "a;b", "3.5", "x (2)", "score"]


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    found=st.lists(
        st.tuples(starts, st.integers(2_000, 100_000), st.sampled_from(LABELS), st.integers(0, 1000)),
        min_size=1,
        max_size=6,
    )
)
def test_random_labels_come_back(
    tmp_path_factory: pytest.TempPathFactory, folder: Path, name: str, found: list[tuple[int, int, str, int]]
) -> None:
    holds = SEGMENT_FORMATS[name].holds
    if holds.labels == "word":
        found = [
            (start, length, label.translate(str.maketrans(" ;,", "___")), score)
            for start, length, label, score in found
        ]
    facts: list[Fact] = [
        ("a", label, start / 1e6, (start + max(length, 60_000 if holds.frames else 0)) / 1e6, score / 1000)
        for start, length, label, score in found
    ]
    files = written(name, videos_of(facts, folder), tmp_path_factory.mktemp("random") / "out")
    within = 0.5 / FPS + 1e-6 if holds.frames else 1.0 if holds.seconds else MILLISECOND
    assert_same(facts_of(read(files, folder)), held(facts, name), within=within)


@pytest.mark.parametrize("name", NAMES)
def test_equal_labels_are_equal_files(tmp_path: Path, folder: Path, name: str) -> None:
    videos = videos_of(EVENTS, folder)
    one, two = (written(name, videos, tmp_path / each) for each in "xy")
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


def test_splits_and_subjects_are_kept_where_there_is_a_place(tmp_path: Path, folder: Path) -> None:
    (video, _) = videos_of(EVENTS, folder)
    named = replace(video, split="train", segments=tuple(replace(each, subject="Cat") for each in video.segments))
    for name in ("actionformer", "charades-json", "createml", "ego4d"):
        for split in ("train", "validation"):
            spans = read(written(name, [replace(named, split=split)], tmp_path / f"{name} {split}"), folder).spans
            assert {span.split for span in spans} == {split}
    for name in ("boris", "boris-csv"):
        spans = read(written(name, [named], tmp_path / name), folder).spans
        assert {span.participant for span in spans} == {"Cat"}
