"""Labels that hold together: when data are taken for such, and what samples carry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.datasets import multi_label
from tadacli.datasets.annotations import segment_datasets
from tadacli.datasets.loading import load_csv
from tadacli.datasets.multi_label import Together, held_labels, labels_together
from tadacli.datasets.samples import Dataset, HeldLabel, Sample
from tadacli.datasets.spans import Annotations, LabelledSpan
from tadacli.errors import UsageError
from tadacli.training.data import load_finetune_data

Row = tuple[str, str, float | None, float | None]
NAMES = ("sit", "talk", "wave")


def spans(rows: Sequence[Row]) -> tuple[LabelledSpan, ...]:
    return tuple(
        LabelledSpan(f"line {number}", video, label, start, end, Path(video))
        for number, (video, label, start, end) in enumerate(rows, start=2)
    )


def samples_of(rows: Sequence[Row]) -> Dataset:
    (dataset,) = segment_datasets(Annotations("own.csv", spans(rows)), multi_label=True).values()
    return dataset


def test_a_sample_carries_all_labels_that_hold_during_it() -> None:
    dataset = samples_of(
        [
            ("a.mp4", "wave", 2.0, 4.0),
            ("a.mp4", "sit", 0.0, 10.0),
            ("a.mp4", "talk", 2.0, 4.0),  # the same span as the first
            ("a.mp4", "talk", 3.0, 9.0),
            ("a.mp4", "wave", 10.0, 11.0),  # it only touches
            ("b.mp4", "talk", None, None),
            ("a.mp4", "talk", 2.0, 4.0),
        ]
    )
    assert dataset.heads == {"": NAMES}
    waves, sits, talks, later, whole = dataset.samples
    assert (waves.own_classes, waves.classes) == ((1, 2), (0, 1, 2))
    assert (sits.own_classes, sits.classes) == ((0,), (0, 1))  # somebody talks for most of it
    assert (talks.own_classes, talks.classes) == ((1,), (0, 1))
    assert (later.classes, whole.classes) == ((2,), (1,))
    assert [sits.classes_at(seconds) for seconds in (1.0, 2.0, 3.999, 4.0, 9.0)] == [
        (0,),
        (0, 1, 2),
        (0, 1, 2),
        (0, 1),
        (0,),
    ]
    assert dataset.num_rows == 7
    assert [row.reason for row in dataset.unused] == ["repeats an earlier row"]


def test_of_a_whole_video_what_holds_throughout_is_shown() -> None:
    sample = Sample("a", None, {"": 0}, others=(HeldLabel(1, 0.0, None), HeldLabel(2, 0.0, 1e6)))
    assert sample.classes == (0, 1)
    assert sample.classes_at(5.0) == (0, 1, 2)


times = st.integers(0, 12)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(NAMES), times, times), min_size=1, max_size=25))
def test_what_holds_is_what_every_pair_says(drawn: list[tuple[str, str, int, int]]) -> None:
    rows = [(video, label, float(min(a, b)), float(max(a, b) + 1)) for video, label, a, b in drawn]
    found = held_labels(spans(rows), {label: index for index, label in enumerate(NAMES)})
    for video, _, start, end in rows:
        overlapping = {
            (NAMES.index(label), other_start, other_end)
            for other_video, label, other_start, other_end in rows
            if other_video == video and other_start < end and start < other_end  # type: ignore[operator]
        }
        own, others = found[("", Path(video)), (start, end)]  # type: ignore[index]
        assert own == min(index for index, *span in overlapping if span == [start, end])
        assert {(each.index, each.start_seconds, each.end_seconds) for each in others} == {
            each for each in overlapping if each[0] != own
        }


def test_far_too_many_overlaps_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multi_label, "_MOST_PAIRS", 1000)
    rows: list[Row] = [("a.mp4", NAMES[number % 3], number / 1000, 9.0) for number in range(60)]
    with pytest.raises(UsageError, match="more than 1000 pairs of spans of one video overlap"):
        labels_together(spans(rows))


# --- what data are taken for ------------------------------------------------------------------------------


def alone(count: int) -> list[Row]:
    """Spans one after the other."""
    return [(f"{number % 4}.mp4", NAMES[number % 2], float(number), number + 1.0) for number in range(count)]


@pytest.mark.parametrize(
    ("rows", "together"),
    [
        (alone(5), Together(5, 0, 0)),
        ([*alone(18), ("z.mp4", "sit", 0.0, 1.0), ("z.mp4", "talk", 0.0, 1.0)], Together(19, 1, 0)),
        # A short span within a long one has two labels; half of the long one is not covered.
        ([*alone(18), ("z.mp4", "sit", 0.0, 9.0), ("z.mp4", "talk", 1.0, 2.0)], Together(20, 0, 1)),
        ([*alone(18), ("z.mp4", "sit", 0.0, 4.0), ("z.mp4", "talk", 2.0, 6.0)], Together(20, 0, 2)),
        ([*alone(18), ("z.mp4", "sit", 0.0, 4.0), ("z.mp4", "talk", 3.8, 8.0)], Together(20, 0, 0)),
        ([*alone(18), ("z.mp4", "sit", 0.0, 4.0), ("z.mp4", "sit", 2.0, 6.0)], Together(20, 0, 0)),
    ],
)
def test_spans_have_several_labels_where_others_cover_half_of_them(rows: list[Row], together: Together) -> None:
    assert labels_together(spans(rows)) == together


def test_fewer_than_one_in_twenty_or_than_three_are_taken_for_slips() -> None:
    assert Together(80, 1, 3).is_multi_label
    assert Together(3, 3, 0).is_multi_label
    assert not Together(81, 1, 3).is_multi_label
    assert not Together(3, 1, 1).is_multi_label


def table(folder: Path, rows: Sequence[Row]) -> Path:
    for video in {video for video, *_ in rows}:
        (folder / video).touch()
    lines = [",".join("" if each is None else str(each) for each in row) for row in rows]
    (folder / "own.csv").write_text("path,label,start,end\n" + "\n".join(lines) + "\n")
    return folder / "own.csv"


def test_training_data_say_what_they_are_taken_for(tmp_path: Path) -> None:
    overlapping = [*alone(16), *((f"{n}.mp4", "wave", 100.0, 104.0) for n in range(4)), ("0.mp4", "talk", 102.0, 106.0)]
    overlapping += [("1.mp4", "talk", 101.0, 102.0)]
    file = table(tmp_path, overlapping)
    found = load_finetune_data(file)
    assert found.multi_label
    said = "3 of 22 spans have several labels (0 at the same times, 3 by overlaps)"
    assert found.remarks == (f"{said}: all of them are learned; --no-multi-label learns one label a span",)
    every = (*found.train.samples, *found.validation.samples)
    assert sorted(sample.classes for sample in every if len(sample.classes) > 1) == [(1, 2)] * 3
    counts = found.counts
    assert (
        sum(counts[split][""]["talk"] for split in counts) == 11
    )  # eight by themselves, three with somebody who waves
    off = load_finetune_data(file, multi_label=False)
    assert (off.multi_label, off.remarks) == (False, ())
    assert all(not sample.others for sample in (*off.train.samples, *off.validation.samples))


def test_slips_train_one_label_and_are_told(tmp_path: Path) -> None:
    rows = [*alone(30), ("0.mp4", "wave", 100.0, 104.0), ("1.mp4", "wave", 0.0, 0.5), ("0.mp4", "talk", 101.0, 102.0)]
    found = load_finetune_data(table(tmp_path, rows))
    assert not found.multi_label
    said = "1 of 33 spans have several labels (0 at the same times, 1 by overlaps)"
    assert found.remarks == (
        f"{said}, too few to tell from slips: one label a span is learned; --multi-label learns all of them",
    )
    forced = load_finetune_data(tmp_path / "own.csv", multi_label=True)
    assert forced.multi_label
    assert forced.remarks == (f"{said}; all of them are learned, as asked for",)
    twice = table(tmp_path, [*rows[:-1], ("0.mp4", "talk", 100.0, 104.0)])
    with pytest.raises(UsageError, match="gives 1 spans more than one label") as caught:
        load_finetune_data(twice)
    assert "tada finetune --multi-label" in caught.value.hint


def test_folders_of_classes_can_be_learned_label_by_label(tmp_path: Path) -> None:
    for label in NAMES:
        (tmp_path / label).mkdir()
        for number in range(4):
            (tmp_path / label / f"{number}.mp4").touch()
    found = load_finetune_data(tmp_path, multi_label=True)
    assert found.multi_label
    assert found.validation.multi_label
    assert "no sample has more than one" in found.remarks[0]
    assert not load_finetune_data(tmp_path).multi_label


def test_two_heads_hold_together_already(tmp_path: Path) -> None:
    columns = "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame"
    columns += ",stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
    rows = [
        f"P0{n}_01_0,P0{n},P0{n}_01,00:00:01.000,00:00:00.00,00:00:01.00,1,60,take cup,take,{n},cup,{n},['cup'],[1]"
        for n in (1, 2, 3, 4)
    ]
    (tmp_path / "EPIC_100_train.csv").write_text("\n".join([columns, *rows]) + "\n")
    (tmp_path / "EPIC_100_validation.csv").write_text("\n".join([columns, *rows[:2]]) + "\n")
    with pytest.raises(UsageError, match="several heads, whose labels hold together already"):
        load_finetune_data(dataset="ek100", annotations=tmp_path, data_root=tmp_path, multi_label=True)


def test_a_table_to_measure_on_has_the_same_samples(tmp_path: Path) -> None:
    rows: list[Row] = [("a.mp4", "sit", 0.0, 4.0), ("a.mp4", "talk", 0.0, 4.0), ("b.mp4", "wave", None, None)]
    file = table(tmp_path, rows)
    dataset = load_csv(file, labels=NAMES, multi_label=True)
    assert dataset.multi_label
    assert [sample.classes for sample in dataset.samples] == [(0, 1), (2,)]
    with pytest.raises(UsageError, match="more than one label"):
        load_csv(file, labels=NAMES)
