"""Several videos on their way at once: one is decoded while another is scored, and no result changes."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tadacli import classification
from tadacli.classification import classify, iter_classifications
from tadacli.datasets.samples import Sample
from tadacli.evaluation.scoring import score_samples
from tadacli.profiling import Profile, Stage, profiled
from tadacli.results import Classification
from tadacli.scoring.options import ClassificationOptions, ScoringOptions, scoring_options
from tadacli.specs import EvalProtocol
from tadacli.video.source import Frame
from tadacli.zoo.loading import Model, load_model
from tadacli.zoo.manifest import manifest
from tests import media

VIEWS = EvalProtocol(2, 1)
DEADLINE_SECONDS = 60
LABELS = ("a", "b")


class Watched(torch.nn.Module):
    """Scores clips by their mean brightness, and calls `watch` with the number of the call first."""

    def __init__(self, watch: Callable[[int], object]) -> None:
        super().__init__()
        self.watch, self.numbers = watch, itertools.count()

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        self.watch(next(self.numbers))
        means = clips.mean(dim=(1, 2, 3, 4))
        return torch.stack([means, -means], dim=1)


def model_that(watch: Callable[[int], object] = lambda _: None) -> Model:
    spec = dataclasses.replace(manifest()["r2plus1d_tiny.camera_motion"], heads={"": LABELS}, thresholds={})
    return Model(spec, Watched(watch), torch.device("cpu"), torch.float32, Path("none"), "0" * 64)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six videos, the third of which is none."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        media.render(folder / f"{number}.mp4", 40 + number)
    (folder / "2.mp4").write_text("no video")
    return [folder / f"{number}.mp4" for number in range(6)]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the videos that have been opened, as they are."""
    names: list[str] = []
    real = classification.open_video

    def noted(path: str, **how: Any) -> Any:
        names.append(Path(path).name)
        return real(path, **how)

    monkeypatch.setattr(classification, "open_video", noted)
    return names


def asked(views: str = str(VIEWS), batch_size: int = 8, *, fill_batches: bool = False) -> ClassificationOptions:
    return ClassificationOptions(scoring_options(views=views, batch_size=batch_size, fill_batches=fill_batches))


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def decoding_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("tada-decode")]


def test_results_and_progress_are_those_of_one_video_after_the_other(videos: list[Path]) -> None:
    model, seen = model_that(), []
    alone = [classify(video, model=model, views="3x3", batch_size=4)[0] for video in videos]
    together = iter_classifications(videos, model=model, options=asked("3x3", 4), on_views=seen.append)
    for expected in alone:
        assert next(together) == expected
        assert seen == ([] if expected.status == "error" else [4, 4, 1])
        seen.clear()
    assert [result.status for result in alone] == ["ok", "ok", "error", "ok", "ok", "ok"]
    assert list(together) == []
    assert decoding_threads() == []


def test_the_next_video_is_read_while_one_is_scored_and_no_other(videos: list[Path], opened: list[str]) -> None:
    """The network waits until the next video has been opened, which it would do forever if that came afterwards."""
    seen: list[list[str]] = []

    def watch(number: int) -> None:
        position = [0, 1, 3, 4, 5][number]
        wait_for(lambda: len(opened) >= min(position + 2, 6))
        time.sleep(0.02)  # long enough for one more to be opened, if one could
        seen.append(list(opened))

    list(iter_classifications(videos, model=model_that(watch), options=asked()))
    names = [video.name for video in videos]
    assert seen == [names[:2], names[:3], names[:5], names, names]


def test_a_download_waits_until_it_is_its_turn(
    videos: list[Path], opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    @contextmanager
    def local_path(path: str) -> Iterator[str]:
        if path.startswith("http"):
            assert threading.current_thread() is threading.main_thread()  # where an interrupt ends it
            fetched.append(path)
            path = str(videos[1])
        yield path

    monkeypatch.setattr(classification, "local_path", local_path)
    seen: list[tuple[int, int]] = []
    model = model_that(lambda _: seen.append((len(fetched), len(opened))))
    inputs = ["http://host/1.mp4", videos[0], "http://host/2.mp4"]
    first, second, third = iter_classifications(inputs, model=model, options=asked())
    assert [fetched for fetched, _ in seen] == [1, 1, 2]
    assert (first.path, third.path) == ("http://host/1.mp4", "http://host/2.mp4")
    assert first.heads == third.heads != second.heads


class Endless:
    """A video of which one frame comes after the other, for as long as anybody asks."""

    def __init__(self, source: Any) -> None:
        self._source, self.num_given = source, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def require_frames(self, indices: list[int], **how: Any) -> Iterator[Frame]:
        for frame in self._source.require_frames(indices[:1], **how):
            deadline = time.monotonic() + DEADLINE_SECONDS
            while time.monotonic() < deadline:
                self.num_given += 1
                yield frame
                time.sleep(0.001)
        pytest.fail("nobody stopped asking")


def test_an_interrupt_ends_what_is_being_decoded(videos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    real, endless = classification.open_video, []

    @contextmanager
    def open_video(path: str, **how: Any) -> Iterator[Any]:
        with real(path, **how) as source:
            if path == str(videos[1]):
                endless.append(Endless(source))
            yield endless[0] if endless else source

    monkeypatch.setattr(classification, "open_video", open_video)

    def interrupt(_: int) -> None:
        wait_for(lambda: bool(endless) and endless[0].num_given > 2)
        raise KeyboardInterrupt

    started = time.monotonic()
    with (
        closing(iter_classifications(videos[:2], model=model_that(interrupt), options=asked())) as results,
        pytest.raises(KeyboardInterrupt),
    ):
        next(results)
    assert time.monotonic() - started < DEADLINE_SECONDS
    assert decoding_threads() == []


def test_closing_early_leaves_nothing_behind(videos: list[Path], opened: list[str]) -> None:
    results = iter_classifications(videos, model=model_that(), options=asked())
    assert isinstance(next(results), Classification)
    results.close()
    assert len(opened) <= 3
    assert decoding_threads() == []


class Noted(torch.nn.Module):
    """The network of a model, which notes the shapes of what it is given."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network, self.shapes = network, []

    def forward(self, clips: torch.Tensor) -> Any:
        self.shapes.append(tuple(clips.shape))
        return self.network(clips)


@pytest.mark.parametrize("views", [EvalProtocol(1, 1), EvalProtocol(2, 3)], ids=str)
def test_full_batches_are_shared_and_a_result_is_that_of_the_video_alone(
    videos: list[Path], views: EvalProtocol
) -> None:
    """The built-in network: what is in a batch besides, and where in it a view stands, changes no bit."""
    loaded = load_model("r2plus1d_tiny.camera_motion", device="cpu")
    noted = Noted(loaded.network)
    model = dataclasses.replace(loaded, network=noted)
    numbers: list[int] = []
    together = list(
        iter_classifications(
            videos, model=model, options=asked(str(views), 4, fill_batches=True), on_views=numbers.append
        )
    )
    num_views = views.num_clips * views.num_crops
    assert [result.path for result in together] == [str(video) for video in videos]
    assert [result.status for result in together] == ["ok", "ok", "error", "ok", "ok", "ok"]
    assert noted.shapes == [(4, 3, 8, 64, 64)] * -(-5 * num_views // 4)
    assert numbers == [num_views] * 5
    for video, result in zip(videos, together, strict=True):
        (alone,) = iter_classifications([video], model=loaded, options=asked(str(views), 4, fill_batches=True))
        assert alone == result
        (own,) = iter_classifications([video], model=loaded, options=asked(str(views), 4))
        assert [each.label for each in own.heads.get("", ())] == [each.label for each in result.heads.get("", ())]
        assert [each.score for each in own.heads.get("", ())] == pytest.approx(
            [each.score for each in result.heads.get("", ())], abs=1e-6
        )


def test_an_item_of_a_data_set_scores_in_full_batches_what_the_video_does(videos: list[Path]) -> None:
    model = load_model("r2plus1d_tiny.camera_motion", device="cpu")
    samples = [Sample(id=video.stem, path=video, labels={}) for video in videos]
    items = list(score_samples(samples, model=model, options=ScoringOptions(VIEWS, 3, fill_batches=True), workers=2))
    assert [item.status for item in items] == ["ok", "ok", "error", "ok", "ok", "ok"]
    found = {
        Path(result.path).stem: result
        for result in iter_classifications(
            reversed(videos), model=model, options=dataclasses.replace(asked(batch_size=3, fill_batches=True), topk=9)
        )
    }
    for item in items:
        ranked = {each.index: each.score for each in found[item.id].heads.get("", ())}
        assert list(item.scores.get("", [])) == [ranked[index] for index in range(len(ranked))]


def test_the_frames_of_scored_videos_are_let_go(videos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the videos whose results wait for a full batch only the views are kept, not what they were cut from."""
    alive: list[weakref.ref[Any]] = []
    most = []
    real = classification.decode_views

    def noted(*given: Any, **named: Any) -> Any:
        decoded = real(*given, **named)
        alive.append(weakref.ref(decoded))
        most.append(sum(each() is not None for each in alive))
        return decoded

    monkeypatch.setattr(classification, "decode_views", noted)
    many = [videos[0]] * 12
    results = iter_classifications(many, model=model_that(), options=asked("1x1", 8, fill_batches=True))
    assert len(list(results)) == 12
    assert max(most) <= 4


def test_a_profile_counts_what_was_done_and_changes_nothing(videos: list[Path]) -> None:
    profile = Profile()
    plain = list(iter_classifications(videos, model=model_that(), options=asked("3x3", 4)))
    with profiled(profile):
        watched = list(iter_classifications(videos, model=model_that(), options=asked("3x3", 4)))
    assert watched == plain
    found = profile.report()
    assert found.num_views == 5 * 9
    assert found.num_used == sum(len({each.index for clip in result.clips for each in clip}) for result in plain)
    assert found.num_decoded >= found.num_used
    assert set(found.stages) == {Stage.OPEN, Stage.DECODE, Stage.PREPARE, Stage.NETWORK, Stage.WAITING}
    assert all(0 < seconds <= found.wall_seconds for seconds in found.stages.values())
