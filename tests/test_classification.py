"""Scores of a video: against a plain computation, over batch sizes, and for videos that fail."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import inspect
import math
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

import tadacli
from tadacli.classification import Classifier, classification_run, iter_classifications
from tadacli.concurrency import default_workers
from tadacli.errors import TadaError, UsageError
from tadacli.models import build
from tadacli.sampling.clips import clip_indices
from tadacli.scoring.options import ClassificationOptions, parse_views, scoring_options
from tadacli.specs import EvalProtocol, ModelSpec
from tadacli.transforms import preprocess
from tadacli.zoo.loading import Model
from tadacli.zoo.manifest import manifest
from tests import media

SCORE_TOLERANCE = 1e-5


def model_of(spec: ModelSpec, *, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    network = build(spec.architecture, num_classes=spec.num_classes, **spec.arguments).eval()
    for name, parameter in network.named_parameters():
        if "_rf.b" in name or "head" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return Model(spec, network, torch.device("cpu"), torch.float32, Path("none"), "0" * 64)


@pytest.fixture
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def interval_model() -> Model:
    return model_of(manifest()["r2plus1d_tiny.camera_motion"])


@pytest.fixture(scope="module")
def two_headed_model() -> Model:
    spec = dataclasses.replace(
        manifest()["r2plus1d_tiny.camera_motion"],
        heads={"verb": tuple(f"v{i}" for i in range(97)), "noun": tuple(f"n{i}" for i in range(300))},
        input=dataclasses.replace(manifest()["tada2d_r50.ssv2_8f"].input, short_side=64, crop_size=64),
    )
    return model_of(spec)


@pytest.fixture(scope="module")
def multi_label_model(interval_model: Model) -> Model:
    spec = dataclasses.replace(interval_model.spec, exclusive_labels=False, multi_label=True)
    return dataclasses.replace(interval_model, spec=spec)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    media.render(path, 90)
    return path


def plain_scores(path: Path, model: Model, views: EvalProtocol) -> dict[str, np.ndarray]:
    """The published procedure without anything shared: every view decoded, prepared and scored by itself."""
    spec = model.spec.input
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    totals: dict[str, np.ndarray] = {}
    for clip in range(views.num_clips):
        indices = clip_indices(
            spec.sampling,
            len(frames),
            fps=30.0,
            clip_frames=spec.clip_frames,
            frame_stride=spec.frame_stride,
            target_fps=spec.target_fps,
            num_clips=views.num_clips,
            clip_index=clip,
        )
        crops = preprocess(
            np.stack([frames[index] for index in indices]),
            short_side=spec.short_side,
            crop_size=spec.crop_size,
            num_crops=views.num_crops,
            mean=spec.mean,
            std=spec.std,
        )
        for crop in crops:
            with torch.inference_mode():
                logits = model.network(crop[None])
            for name, values in (logits if isinstance(logits, dict) else {"": logits}).items():
                scores = values[0].sigmoid() if model.spec.multi_label else values[0].softmax(-1)
                totals[name] = totals.get(name, 0) + scores.numpy() / len(crops)
    return {name: total / views.num_clips for name, total in totals.items()}


@pytest.mark.parametrize("views", ["1x1", "4x3"])
@pytest.mark.parametrize("which", ["interval_model", "two_headed_model", "multi_label_model"])
def test_scores_are_those_of_the_plain_procedure(request, video: Path, views: str, which: str) -> None:
    model = request.getfixturevalue(which)
    expected = plain_scores(video, model, parse_views(views))
    (result,) = tadacli.classify(video, model=model, views=views, topk=1000)
    assert result.status == "ok"
    for name, labels in model.spec.heads.items():
        scores = {prediction.index: prediction.score for prediction in result.heads[name]}
        assert [result.heads[name][0].label] == [labels[int(expected[name].argmax())]]
        assert np.abs(np.array([scores[i] for i in range(len(labels))]) - expected[name]).max() < SCORE_TOLERANCE


def test_scores_are_the_same_for_every_company_and_near_for_every_batch_size(video, interval_model) -> None:
    alone = tadacli.classify([video], model=interval_model, views="3x3", batch_size=4, topk=9)
    again = tadacli.classify([video, video, video], model=interval_model, views="3x3", batch_size=4, topk=9)
    assert again == alone * 3
    reference = {each.index: each.score for each in alone[0].heads[""]}
    for batch_size in (1, 2, 5, 9, 64):
        (other,) = tadacli.classify(video, model=interval_model, views="3x3", batch_size=batch_size, topk=9)
        assert all(abs(each.score - reference[each.index]) < SCORE_TOLERANCE for each in other.heads[""])


def test_frames_used_are_listed_with_their_presentation_times(tmp_path: Path, interval_model: Model) -> None:
    times = [number * 40 + (500 if number >= 20 else 0) for number in range(60)]  # a gap after frame 19
    media.render(tmp_path / "vfr.mkv", 60, pts=times, time_base=media.Fraction(1, 1000))
    (result,) = tadacli.classify(tmp_path / "vfr.mkv", model=interval_model, views="2x1")
    assert result.status == "ok"
    for clip in result.clips:
        assert len(clip) == 8
        for frame in clip:
            assert frame.time_seconds == pytest.approx(times[frame.index] / 1000, abs=1e-3)


@pytest.mark.parametrize("num_frames", [1, 5, 31])
def test_a_video_shorter_than_a_clip_is_classified_and_marked(tmp_path: Path, num_frames: int, interval_model) -> None:
    media.render(tmp_path / "short.mp4", num_frames)
    (result,) = tadacli.classify(tmp_path / "short.mp4", model=interval_model, views="1x1")
    assert result.status == "short"
    assert len(result.heads[""]) == 5
    assert [frame.index for frame in result.clips[0]][-1] == num_frames - 1


def test_a_bad_video_has_its_reason_and_stops_nothing(tmp_path: Path, video: Path, interval_model: Model) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    media.render_audio(tmp_path / "sound.m4a")
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    names = ["text.mp4", "empty.mp4", "sound.m4a", "cut.mp4", "gone.mp4"]
    results = tadacli.classify([*(tmp_path / name for name in names), video], model=interval_model)
    assert [result.status for result in results] == ["error"] * 5 + ["ok"]
    assert len({result.error for result in results[:5]}) == 5
    assert all(result.heads == {} and result.clips == () for result in results[:5])


def test_what_is_done_is_not_done_again(tmp_path: Path, video: Path, interval_model: Model) -> None:
    """Nor opened: it may be gone."""
    videos, gone, asked = [tmp_path / "gone.mp4", video], {str(tmp_path / "gone.mp4")}, list[str]()
    results = iter_classifications(videos, model=interval_model, done=gone, on_video=asked.append)
    assert [(result.path, result.status) for result in results] == [(str(video), "ok")]
    assert asked == [str(video)]


def test_a_file_cut_short_is_never_taken_for_a_whole_one(tmp_path: Path, interval_model: Model) -> None:
    """Cut anywhere, it either gives the result of the whole file or an error."""
    # The index in front, as a download has it; noise, so that the cuts fall on frames.
    media.render(tmp_path / "whole.mp4", 60, container_options={"movflags": "faststart"}, noise=60)
    (whole,) = tadacli.classify(tmp_path / "whole.mp4", model=interval_model, views="2x1")
    content = (tmp_path / "whole.mp4").read_bytes()
    statuses = []
    for percent in range(2, 100, 7):
        cut = tmp_path / f"{percent}.mp4"
        cut.write_bytes(content[: len(content) * percent // 100])
        (result,) = tadacli.classify(cut, model=interval_model, views="2x1")
        statuses.append(result.status)
        if result.status != "error":
            assert (result.heads, result.clips) == (whole.heads, whole.clips)
            assert any("cut short" in note.text for note in result.notes)
    assert statuses[0] == "error"
    assert "ok" in statuses


def test_labels_below_the_minimum_score_are_left_out(video: Path, interval_model: Model) -> None:
    (all_labels,) = tadacli.classify(video, model=interval_model, topk=9)
    middle = all_labels.heads[""][4].score
    (some,) = tadacli.classify(video, model=interval_model, topk=9, min_score=middle)
    assert some.heads[""] == all_labels.heads[""][:5]


class Fixed(torch.nn.Module):
    """The same logits for every view, by head."""

    def __init__(self, logits: dict[str, list[float]]) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, clips: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        named = {name: torch.tensor([values] * len(clips)) for name, values in self.logits.items()}
        return named.get("", named)


def fixed_model(logits: dict[str, list[float]], **fitted: dict) -> Model:
    """A model that always answers with these logits; its classes are named a, b, c, ..."""
    spec = dataclasses.replace(
        manifest()["r2plus1d_tiny.camera_motion"],
        heads={name: tuple("abcdef"[: len(values)]) for name, values in logits.items()},
        **fitted,
    )
    return Model(spec, Fixed(logits), torch.device("cpu"), torch.float32, Path("none"), "0" * 64)


# Softmax gives 3/4 and 1/4; at a temperature of 1/2, 9/10 and 1/10.
TWO = {"": [math.log(3.0), 0.0]}


def test_logits_are_divided_by_the_temperature_of_their_head(video: Path) -> None:
    (plain,) = tadacli.classify(video, model=fixed_model(TWO), views="2x3")
    assert [each.score for each in plain.heads[""]] == pytest.approx([0.75, 0.25])
    (sharp,) = tadacli.classify(video, model=fixed_model(TWO, temperatures={"": 0.5}), views="2x3")
    assert [each.score for each in sharp.heads[""]] == pytest.approx([0.9, 0.1])
    heads = {"verb": TWO[""], "noun": TWO[""]}
    (one,) = tadacli.classify(video, model=fixed_model(heads, temperatures={"noun": 0.5}))
    assert [one.heads[name][0].score for name in heads] == pytest.approx([0.75, 0.9])


@pytest.mark.parametrize(
    ("thresholds", "topk", "expected"),
    [
        ((0.7, 0.2), 5, "ab"),
        ((0.8, 0.2), 5, "b"),
        ((0.7, 0.3), 5, "a"),
        ((0.8, 0.3), 5, ""),
        ((0.8, 0.2), 1, "b"),  # the best of those that are worth saying
        ((0.0, 0.0), 1, "a"),
    ],
)
def test_with_auto_each_class_is_held_to_its_own_threshold(
    video: Path, thresholds: tuple[float, float], topk: int, expected: str
) -> None:
    model = fixed_model(TWO, thresholds={"": thresholds})
    (result,) = tadacli.classify(video, model=model, min_score="auto", topk=topk)
    assert result.status == "ok"
    assert "".join(each.label for each in result.heads[""]) == expected
    (everything,) = tadacli.classify(video, model=model)
    assert "".join(each.label for each in everything.heads[""]) == "ab"  # thresholds are not used unasked


def test_with_auto_each_head_is_held_to_its_own_thresholds(video: Path) -> None:
    thresholds = {"verb": (0.8, 0.2), "noun": (0.8, 0.3)}
    model = fixed_model({"verb": TWO[""], "noun": TWO[""]}, thresholds=thresholds)
    (result,) = tadacli.classify(video, model=model, min_score="auto")
    assert {name: [each.label for each in found] for name, found in result.heads.items()} == {"verb": ["b"], "noun": []}


def test_auto_is_refused_for_a_model_without_thresholds(interval_model: Model) -> None:
    with pytest.raises(UsageError, match="carries no thresholds"):
        tadacli.classify([], model=interval_model, min_score="auto")


def test_long_videos_and_camera_labels_come_with_a_note(tmp_path: Path, interval_model: Model) -> None:
    media.render(tmp_path / "long.mp4", 40, pts=list(range(0, 1600, 40)))
    (result,) = tadacli.classify(tmp_path / "long.mp4", model=interval_model)
    assert "not an action" in result.notes[0].text
    assert "tada detect" in result.notes[1].text


def test_scores_that_are_no_numbers_are_an_error(video: Path) -> None:
    model = model_of(manifest()["r2plus1d_tiny.camera_motion"])
    torch.nn.init.constant_(model.network.head.out.bias, float("inf"))
    with pytest.raises(TadaError, match="not numbers"):
        tadacli.classify(video, model=model)


@pytest.mark.parametrize("text", ["", "10", "10x", "x3", "0x3", "10x2", "10x0", "-1x3", "1e1x3", "10x3x1", "²x3"])
def test_views_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse_views(text)


@pytest.mark.parametrize("option", [{"topk": 0}, {"batch_size": 0}, {"min_score": 1.5}, {"min_score": float("nan")}])
def test_options_out_of_range(interval_model: Model, option: dict) -> None:
    with pytest.raises(UsageError):
        tadacli.classify([], model=interval_model, **option)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_types_agree_on_the_answer(tmp_path: Path, video: Path, dtype: str) -> None:
    spec = manifest()["r2plus1d_tiny.camera_motion"]
    from tadacli.zoo.checkpoints import write_checkpoint

    write_checkpoint(tmp_path / "m.safetensors", model_of(spec).network.state_dict(), spec)
    (exact,) = tadacli.classify(video, model=tmp_path / "m.safetensors", device="cpu")
    (narrow,) = tadacli.classify(video, model=tmp_path / "m.safetensors", device="cpu", dtype=dtype)
    assert narrow.heads[""][0].label == exact.heads[""][0].label
    assert narrow.heads[""][0].score == pytest.approx(exact.heads[""][0].score, abs=0.05)


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_a_cut_file_without_an_index_is_an_error(tmp_path: Path, interval_model: Model, suffix: str) -> None:
    """Without knowing how long the video was, the published frames cannot be chosen."""
    codec = "libx264" if suffix == "mkv" else "mpeg4"
    media.render(tmp_path / f"whole.{suffix}", 60, codec=codec, noise=60)
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(content[: len(content) * 2 // 3])
    whole, cut = tadacli.classify(
        [tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"], model=interval_model, views="1x1"
    )
    assert whole.status == "ok"
    assert cut.status == "error"
    assert "does not say how many it had" in cut.error


def test_an_error_names_the_url_and_not_the_download(tmp_path: Path, interval_model: Model) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    handler = functools.partial(_Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/text.mp4"
        (result,) = tadacli.classify(url, model=interval_model)
        server.shutdown()
        thread.join()
    assert (result.path, result.status) == (url, "error")
    assert url in result.error
    assert "tada-" not in result.error


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_jpeg_frames_are_classified_like_a_file(tmp_path: Path, interval_model: Model, kind: str) -> None:
    frames = tmp_path / "P01_101"
    frames.mkdir()
    for number in range(1, 61):
        (frames / f"frame_{number:010d}.jpg").write_bytes(media.jpeg_bytes(number))
    path = frames
    if kind == "tar":
        path = tmp_path / "P01_101.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(frames, arcname=".")
    (result,) = tadacli.classify(path, model=interval_model, views="1x1")
    assert result.status == "ok"
    assert [frame.time_seconds for frame in result.clips[0]] == [frame.index / 50 for frame in result.clips[0]]


@pytest.mark.usefixtures("_threads")
def test_the_number_of_threads_of_a_cpu_belongs_to_a_run(interval_model: Model) -> None:
    """Each adds up a part of a sum, so that last digits depend on how many there are."""
    runs = {}
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        runs[number] = classification_run(interval_model, ClassificationOptions())
    assert len({run.id for run in runs.values()}) == 3
    assert [run.settings.get("threads") for run in runs.values()] == [None, 2, 3]


@pytest.mark.parametrize("name", ["classify", "detect"])
def test_a_model_has_the_defaults_of_the_function(name: str) -> None:
    """They are written twice, as the zoo imports nothing that stands above it."""
    of_model = inspect.signature(getattr(tadacli.Model, name)).parameters
    of_function = inspect.signature(getattr(tadacli, name)).parameters
    shared = set(of_model) & set(of_function)
    assert set(of_function) - shared == {"model", "weights", "device", "dtype"}
    assert {each: of_model[each].default for each in shared} == {each: of_function[each].default for each in shared}


def test_an_accelerator_has_videos_decoded_ahead_as_far_as_their_views_fit(interval_model: Model) -> None:
    def num_ahead(model: Model, views: str) -> int:
        options = ClassificationOptions(scoring_options(views=views))
        return Classifier(model, options=options).num_ahead

    there = dataclasses.replace(interval_model, device=torch.device("cuda"))
    frames = interval_model.spec.input.clip_frames
    assert num_ahead(interval_model, "1x1") == 1
    assert num_ahead(there, "1x1") == default_workers()
    assert num_ahead(there, f"{200 // frames}x1") == 1
