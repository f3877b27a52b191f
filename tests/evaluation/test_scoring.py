"""Scores of a data set: those of the single videos, in order, however many are decoded at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.classification import classify
from tadacli.datasets.samples import Dataset, Sample
from tadacli.errors import UsageError
from tadacli.evaluation import scoring as dataset_scoring
from tadacli.evaluation.prediction_file import ItemScores, Shard
from tadacli.evaluation.scoring import NO_FILE, check_heads, score_samples, shard_of
from tadacli.sampling.plan import Part
from tadacli.scoring.options import ScoringOptions
from tadacli.specs import EvalProtocol
from tadacli.zoo.loading import Model, load_model
from tests import trees

VIEWS = ScoringOptions(EvalProtocol(2, 1))
LABELS = tuple(f"class {number}" for number in range(20))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    trees.write_model(path, {"": LABELS})
    return load_model(path)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """Whole videos, spans of one and of a damaged one, a file that is none, and a row without a file."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(4):
        trees.render(folder / f"{number}.mp4", number, 20 + 30 * (number == 3))
    (folder / "text.mp4").write_text("nothing to see\n")
    trees.render(folder / "damaged.mp4", 8, 60)
    trees.BREAKS["damaged"](folder / "damaged.mp4")
    damaged = folder / "damaged.mp4"
    trees.render(folder / "brief.mp4", 9, 6)
    long = folder / "3.mp4"
    return [
        Sample("a", folder / "0.mp4", {"": 1}),
        Sample("b", None, {"": 1}),
        Sample("c", long, {"": 2}, 0.2, 0.9),
        Sample("d", long, {"": 2}, 1.0, 2.5),
        Sample("e", folder / "text.mp4", {"": 3}),
        Sample("f", long, {"": 3}, 40.0, 41.0),
        Sample("g", folder / "brief.mp4", {"": 3}),
        Sample("h", long, {"": 2}, 0.1, 0.4),
        Sample("i", folder / "1.mp4", {}),
        Sample("j", folder / "2.mp4", {"": 4}, end_seconds=0.5),
        Sample("k", damaged, {"": 4}, 0.9, 1.5),
        Sample("l", damaged, {"": 4}, 0.3, 1.1),
        Sample("m", damaged, {"": 4}, 0.9, 1.9),
        Sample("n", damaged, {"": 4}, 0.0, 0.3),
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_scores_are_those_of_each_video_by_itself(model: Model, samples: list[Sample], batch_size: int) -> None:
    items = list(score_samples(samples, model=model, options=ScoringOptions(EvalProtocol(3, 1), batch_size), workers=3))
    assert [item.id for item in items] == [sample.id for sample in samples]
    for sample, item in zip(samples, items, strict=True):
        if sample.path is None:
            assert (item.status, item.error, item.path) == ("error", NO_FILE, "")
            continue
        span = (sample.start_seconds, sample.end_seconds)
        (single,) = classify(
            sample.path,
            model=model,
            views=EvalProtocol(3, 1),
            part=None if span == (None, None) else Part(*span),
            topk=len(LABELS),
            batch_size=batch_size,
        )
        assert (item.status, item.error, item.path) == (single.status, single.error, str(sample.path))
        by_index = {answer.index: answer.score for answer in single.heads.get("", ())}
        assert list(item.scores.get("", [])) == [by_index[index] for index in sorted(by_index)]
        assert item.size_bytes == sample.path.stat().st_size
    by_id = {item.id: item for item in items}
    assert {name for name, item in by_id.items() if item.status == "error"} == {"b", "e", "f", "l"}
    assert {name for name, item in by_id.items() if item.status == "short"} == {"g", "h", "n"}
    assert by_id["d"].cut_seconds == pytest.approx(2.5 - 50 / 30, abs=1e-6)
    assert {name for name, item in by_id.items() if item.cut_seconds} == {"d"}


@pytest.mark.parametrize("workers", [2, 5, 20])
def test_the_number_of_workers_changes_nothing(model: Model, samples: list[Sample], workers: int) -> None:
    alone = list(score_samples(samples, model=model, options=VIEWS, workers=1))
    assert list(score_samples(samples, model=model, options=VIEWS, workers=workers)) == alone


def test_an_iterator_closed_early_leaves_no_thread_and_reads_little_ahead(model: Model, samples: list[Sample]) -> None:
    taken: list[str] = []

    def asked() -> Iterator[Sample]:
        for sample in samples * 5:
            taken.append(sample.id)
            yield sample

    coming = score_samples(asked(), model=model, options=VIEWS, workers=2)
    first = next(coming)
    assert isinstance(first, ItemScores)
    coming.close()
    assert len(taken) <= 2 + 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tada-decode")]


def test_no_workers_cannot_decode(model: Model, samples: list[Sample]) -> None:
    with pytest.raises(UsageError, match="0 workers"):
        next(score_samples(samples, model=model, options=VIEWS, workers=0))


@given(num_samples=st.integers(0, 50), count=st.integers(1, 12))
def test_shards_hold_every_sample_once_in_order(num_samples: int, count: int) -> None:
    samples = [Sample(str(number), None) for number in range(num_samples)]
    parts = [list(shard_of(samples, Shard(number, count))) for number in range(1, count + 1)]
    assert [sample for part in parts for sample in part] == samples
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("number", "count"), [(0, 3), (4, 3), (1, 0), (-1, 2)])
def test_a_shard_beyond_the_parts_is_refused(number: int, count: int) -> None:
    with pytest.raises(UsageError, match="there is no shard"):
        shard_of([], Shard(number, count))


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"": LABELS[:-1]}, "tells 20 classes apart, ours has 19"),
        ({"": (*LABELS[:2], "other", *LABELS[3:])}, "class 2 is 'class 2' for .* but 'other' in ours"),
        ({"": (LABELS[1], LABELS[0], *LABELS[2:])}, "class 0 is 'class 0' for .* but 'class 1' in ours"),
        ({"verb": LABELS, "noun": LABELS}, "the heads of .* are not those of ours"),
    ],
    ids=["number", "name", "order", "heads"],
)
def test_a_model_of_other_classes_is_refused(model: Model, heads: dict[str, tuple[str, ...]], message: str) -> None:
    check_heads(Dataset("ours", {"": LABELS}, ()), model)
    with pytest.raises(UsageError, match=message):
        check_heads(Dataset("ours", heads, ()), model)


def test_a_video_is_opened_once_for_the_spans_in_a_row(
    model: Model, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = dataset_scoring.open_video

    def counted(path: str, **how: float | None) -> object:
        opened.append(Path(path).name)
        return real(path, **how)

    monkeypatch.setattr(dataset_scoring, "open_video", counted)
    by_id = {sample.id: sample for sample in samples}
    list(score_samples([by_id[name] for name in "acdhi"], model=model, options=VIEWS, workers=1))
    assert opened == ["0.mp4", "3.mp4", "1.mp4"]
