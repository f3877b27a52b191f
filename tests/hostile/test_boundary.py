"""No exception that one video causes ends a batch: ten kinds, at ten places and more, in every command that has one."""

from __future__ import annotations

import importlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from tadacli.classification import classify, iter_classifications
from tadacli.datasets.check import FindingKind, check_dataset
from tadacli.datasets.samples import Dataset, Sample
from tadacli.detection.detecting import detect, detection_job
from tadacli.detection.jobs import iter_detections
from tadacli.detection.settings import SegmentSettings
from tadacli.errors import OutputError, VideoError
from tadacli.evaluation.scoring import score_samples
from tadacli.sampling.settings import window_settings
from tadacli.scoring.options import ClassificationOptions, scoring_options
from tadacli.video.boundary import VideoBoundary
from tadacli.zoo.loading import Model, load_model
from tests import media, trees
from tests.cli.conftest import Tada, tada, untrained  # noqa: F401 - fixtures

LABELS = ("a", "b", "c")
KINDS: list[Exception] = [
    ValueError("side data of a type\nthat nobody \x1b[31m knows"),
    KeyError("pts"),
    IndexError("list index out of range"),
    TypeError("'NoneType' object is not subscriptable"),
    AttributeError("'NoneType' object has no attribute 'format'"),
    RuntimeError("shapes cannot be multiplied"),
    MemoryError(),
    RecursionError("maximum recursion depth exceeded"),
    OverflowError("Python int too large to convert to C long"),
    OSError(5, "Input/output error"),
    ZeroDivisionError("division by zero"),
    StopIteration(),
]


def outcome(results: Any) -> list[tuple[str, str]]:
    return [(each.status, each.error) for each in results]


def classified(videos: list[Path], model: Model) -> list[tuple[str, str]]:
    return outcome(classify(videos, model=model, views="2x1"))


def classified_together(videos: list[Path], model: Model) -> list[tuple[str, str]]:
    options = ClassificationOptions(scoring_options(views="2x1", batch_size=2, fill_batches=True))
    return outcome(iter_classifications(videos, model=model, options=options))


def detected(videos: list[Path], model: Model) -> list[tuple[str, str]]:
    return outcome(detect(videos, model=model, windows=window_settings(window="0.5s", stride="0.5s")))


def evaluated(videos: list[Path], model: Model) -> list[tuple[str, str]]:
    return outcome(score_samples([Sample(path.name, path, {"": 1}) for path in videos], model=model, workers=2))


def checked(videos: list[Path], _: Model) -> list[tuple[str, str]]:
    samples = tuple(Sample(path.name, path, {"": 1}, 0.0, 1.0) for path in videos)
    data = Dataset("csv", {"": LABELS}, samples)
    found = check_dataset({"train": data}, workers=2).findings
    findings = {each.id: each for each in found if each.kind is FindingKind.UNREADABLE}
    return [("error", findings[path.name].reason) if path.name in findings else ("ok", "") for path in videos]


PLACES = [
    (classified, "av.open"),
    (classified, "tadacli.classification.local_path"),
    (classified, "tadacli.classification.open_video"),
    (classified, "tadacli.classification.is_short"),
    (classified, "tadacli.scoring.views.plan_clips"),
    (classified, "tadacli.scoring.views.resize_frames"),
    (classified, "tadacli.scoring.views.crop_frames"),
    (classified, "tadacli.scoring.views.class_scores"),
    (classified_together, "tadacli.scoring.views.crop_frames"),
    (detected, "av.open"),
    (detected, "tadacli.detection.window_pass.open_video"),
    (detected, "tadacli.detection.window_pass.WindowPlan"),
    (detected, "tadacli.detection.window_pass.preprocess"),
    (detected, "tadacli.detection.window_scores.class_scores"),
    (detected, "tadacli.detection.jobs.detection_of"),
    (evaluated, "tadacli.evaluation.scoring.open_video"),
    (evaluated, "tadacli.evaluation.scoring.annotated_part"),
    (evaluated, "tadacli.scoring.views.class_scores"),
    (checked, "av.open"),
    (checked, "tadacli.datasets.check.open_video"),
    (checked, "tadacli.datasets.check.annotated_part"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    trees.write_model(path, {"": LABELS})
    return load_model(path, device="cpu")


def render_white(path: Path) -> None:
    """A video of one second that is known by its pixels wherever they are seen."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=Fraction(30))
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for _ in range(30):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 96, 3), 255, np.uint8), format="rgb24")))
        out.mux(stream.encode(None))


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A good video, twelve bad ones, and a good one."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("first", "last"):
        media.render(folder / f"{name}.mp4", 30)
    render_white(folder / "0 bad.mp4")
    for number in range(1, len(KINDS)):
        shutil.copy(folder / "0 bad.mp4", folder / f"{number} bad.mp4")
    return [folder / "first.mp4", *(folder / f"{number} bad.mp4" for number in range(len(KINDS))), folder / "last.mp4"]


def is_about_the_bad_one(values: Any) -> bool:
    for value in values:
        named = getattr(value, "info", value)
        named = getattr(named, "path", named)
        if isinstance(named, (str, os.PathLike)) and os.fspath(named).endswith("bad.mp4"):
            return True
        if isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
            value = torch.stack(value)
        if isinstance(value, (np.ndarray, torch.Tensor)):
            top = 240 if value.dtype in (np.uint8, torch.uint8) or value.max() > 3 else 0.95
            if float(torch.as_tensor(value).float().amin(dim=tuple(range(1, value.ndim))).max()) > top:
                return True
    return False


def inject(monkeypatch: pytest.MonkeyPatch, place: str, errors: Sequence[BaseException]) -> None:
    """Raise the errors, one after the other, where the function at `place` is called for a bad video."""
    module, _, name = place.rpartition(".")
    real = getattr(importlib.import_module(module), name)
    coming = itertools.cycle(errors)

    def raising(*args: Any, **kwargs: Any) -> Any:
        if is_about_the_bad_one([*args, *kwargs.values()]):
            raise next(coming)
        return real(*args, **kwargs)

    monkeypatch.setattr(place, raising)


@pytest.mark.parametrize(("run", "place"), PLACES, ids=lambda each: getattr(each, "__name__", each))
def test_any_exception_is_an_error_of_its_video_alone(
    run: Callable[[list[Path], Model], list[tuple[str, str]]],
    place: str,
    model: Model,
    videos: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        inject(patch, place, KINDS)
        first, *bad, last = run(videos, model)
    assert [first, last] == [("ok", "")] * 2
    names = {type(error).__name__ for error in KINDS}
    for video, (status, error) in zip(videos[1:-1], bad, strict=True):
        assert status == "error"
        assert video.name in error
        assert error.isprintable()
        # FFmpeg's own errors are errors of the system, too, and the reader has words for those.
        assert any(name in error for name in names) or "Input/output error" in error
    assert len({error.partition("bad.mp4")[2] for _, error in bad}) >= 10


@pytest.mark.parametrize("run", [classified, detected, evaluated, checked], ids=lambda each: each.__name__)
def test_an_interrupt_is_no_error_of_a_video(
    run: Callable[..., Any], model: Model, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, "av.open", [KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        run(videos, model)


def test_what_a_caller_raises_is_no_error_of_a_video(model: Model, videos: list[Path]) -> None:
    def give_up(*_: object) -> None:
        raise RuntimeError("enough")

    job = detection_job(
        [str(videos[0])], model=model, windows=window_settings(window="0.5s"), segments=SegmentSettings()
    )
    with pytest.raises(RuntimeError, match="enough"):
        list(iter_detections(job, on_progress=give_up))
    with pytest.raises(RuntimeError, match="enough"):
        list(iter_classifications(videos, model=model, on_views=give_up))


def test_a_batch_too_large_for_the_device_is_the_fault_of_no_video(
    model: Model, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, "tadacli.scoring.views.class_scores", [torch.OutOfMemoryError("CUDA out of memory")])
    with pytest.raises(torch.OutOfMemoryError):
        classified(videos, model)


def test_those_that_share_a_batch_that_fails_are_named_together(
    model: Model, videos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    inject(monkeypatch, "tadacli.scoring.views.class_scores", KINDS)
    found = classified_together(videos, model)
    assert [status for status, _ in found] == ["ok", *["error"] * len(KINDS), "ok"]
    options = ClassificationOptions(scoring_options(views="1x1", batch_size=14, fill_batches=True))
    together = outcome(iter_classifications(videos, model=model, options=options))
    assert [status for status, _ in together] == ["error"] * len(videos)
    assert all(each == together[0] for each in together)
    assert all(str(video) in together[0][1] for video in videos)


def test_errors_about_something_else_go_through() -> None:
    with pytest.raises(OutputError, match="disk full"), VideoBoundary("video.mp4"):
        raise OutputError("disk full")


def test_a_download_is_called_by_its_url() -> None:
    boundary = VideoBoundary("http://host/video.mp4")
    with pytest.raises(VideoError) as surprise, boundary:
        raise ValueError(f"no {boundary.reads('/tmp/tada-1/download.mp4')}")
    assert surprise.value.message == "http://host/video.mp4 failed with ValueError: no http://host/video.mp4"
    with pytest.raises(VideoError) as known, boundary:
        raise VideoError("/tmp/tada-1/download.mp4 is empty")
    assert known.value.message == "http://host/video.mp4 is empty"


@pytest.mark.parametrize("command", ["classify", "detect"])
def test_a_run_goes_on_after_such_a_row_and_the_traceback_is_shown_on_demand(
    command: str,
    tada: Tada,  # noqa: F811
    untrained: Path,  # noqa: F811
    videos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output, some = tmp_path / "rows.jsonl", [videos[0], videos[1], videos[-1]]
    monkeypatch.setenv("TADA_DEBUG", "1")
    with monkeypatch.context() as patch:
        inject(patch, "av.open", KINDS[:1])
        code, _, said = tada(command, *some[:2], "--model", untrained, "--device", "cpu", "-o", output)
    assert code == 3
    assert "Traceback (most recent call last)" in said
    assert "failed with ValueError: side data of a type\\u000athat nobody \\u001b[31m knows" in said
    first = output.read_bytes()
    code, _, _ = tada(command, *some, "--model", untrained, "--device", "cpu", "-o", output, "--resume")
    assert code == 3
    assert output.read_bytes().startswith(first)
    assert len(output.read_text().splitlines()) == 3


def test_no_traceback_without_being_asked(
    model: Model, videos: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    inject(monkeypatch, "av.open", KINDS[1:2])
    classified(videos[:2], model)
    assert capfd.readouterr().err == ""


def test_a_failing_iterator_ends_only_its_video(model: Model, videos: list[Path], monkeypatch: Any) -> None:
    """What is raised between two frames, not by a call, is caught as well."""

    def breaks(*_: object, **__: object) -> Iterator[Any]:
        yield from ()
        raise LookupError("no more frames")

    with monkeypatch.context() as patch:
        patch.setattr("tadacli.scoring.views.normalised_views", breaks)
        assert [status for status, _ in classified(videos[:2], model)] == ["error"] * 2
