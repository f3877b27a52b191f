"""What a video shows: plan the views, decode each frame once, score the views, average the scores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tadacli.errors import TadaError, UsageError, VideoError
from tadacli.inputs import local_path
from tadacli.results import Classification, FrameTime, Prediction, VideoInfo
from tadacli.sampling import (
    WindowSampling,
    clip_indices,
    frames_on_screen,
    frames_within,
    interval_length,
)
from tadacli.score_fitting import class_probabilities
from tadacli.specs import EvalProtocol, InputSpec, ModelSpec, ScoreLimit
from tadacli.transforms import crop_frames, resize_frames
from tadacli.video import open_video
from tadacli.video_source import VideoSource
from tadacli.window_plan import part_of, times_shown, window_clips
from tadacli.zoo import DEFAULT_MODEL, Model, load_model

# The models were trained and evaluated on clips of about ten seconds that show one thing.
MODEL_RANGE_SECONDS = 10.0
# "Well beyond" that range, a single answer for the whole video is seldom what was asked for.
LONG_VIDEO_SECONDS = 3 * MODEL_RANGE_SECONDS

DEFAULT_BATCH_SIZE = 8
DEFAULT_TOPK = 5


@dataclass(frozen=True)
class Part:
    """A part of a video, [start_seconds, end_seconds) in presentation time; None is the video's own end.

    Without `sampling` it is taken as if it were a video of its own. With it, as `tada detect` takes a window:
    the clips of `window_clip_times`, their centre crops.
    """

    start_seconds: float | None = None
    end_seconds: float | None = None
    sampling: WindowSampling | None = None

    def within(self, info: VideoInfo) -> tuple[float, float]:
        """(start, end) in seconds, inside the video. Raises `VideoError` if there is nothing of it."""
        return part_of(info, self.start_seconds, self.end_seconds)


def classify(
    videos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    model: str | os.PathLike[str] | Model = DEFAULT_MODEL,
    weights: str | os.PathLike[str] | None = None,
    views: str | EvalProtocol | None = None,
    part: Part | None = None,
    topk: int = DEFAULT_TOPK,
    min_score: ScoreLimit = 0.0,
    batch_size: int = DEFAULT_BATCH_SIZE,
    device: str = "auto",
    dtype: str = "float32",
) -> list[Classification]:
    """One result for each video, in order; a video that fails has status "error" and stops nothing.

    `videos` are paths or http(s) URLs of video files, or folders or tars of numbered JPEG frames. `model` is
    a known name, a weights file of our own, or what `load_model` returned (then `weights`, `device` and
    `dtype` are not used). `views` is "CLIPSxCROPS"; by default the protocol the model was published with.
    `part` is the part of each video to look at; by default all of it. Classes below `min_score` are left out;
    "auto" leaves out those below the thresholds that the model carries for each class. None may be left, which
    says that there is nothing here that the model knows.

    Raises `TadaError` children for settings that cannot be meant, before anything is decoded.
    """
    if isinstance(videos, (str, os.PathLike)):
        videos = [videos]
    if not isinstance(model, Model):
        model = load_model(model, weights=weights, device=device, dtype=dtype)
    options = check_options(views=views, topk=topk, min_score=min_score, batch_size=batch_size, part=part)
    protocol = options or model.spec.protocol
    least_scores(model.spec, min_score)
    return [
        classify_video(
            video, model=model, views=protocol, part=part, topk=topk, min_score=min_score, batch_size=batch_size
        )
        for video in videos
    ]


def check_options(
    *, views: str | EvalProtocol | None, topk: int, min_score: ScoreLimit, batch_size: int, part: Part | None = None
) -> EvalProtocol | None:
    """The views asked for, None for the model's own. Raises `UsageError` for options out of range."""
    if part is not None and part.sampling is not None and views is not None:
        raise UsageError(
            "views and a window's sampling exclude each other", hint="give --views or --sampling, not both"
        )
    start, end = (None, None) if part is None else (part.start_seconds, part.end_seconds)
    if start is not None and end is not None and start >= end:
        raise UsageError(f"the range from {start:g} s to {end:g} s is empty or reversed")
    if topk < 1:
        raise UsageError(f"top {topk} names no class", hint="use --topk 1 or more")
    if batch_size < 1:
        raise UsageError(f"a batch of {batch_size} views is not possible", hint="use --batch-size 1 or more")
    if min_score != "auto" and not 0 <= min_score <= 1:
        raise UsageError(f"minimum score {min_score} is not between 0 and 1")
    return parse_views(views) if isinstance(views, str) else views


def least_scores(spec: ModelSpec, min_score: ScoreLimit) -> dict[str, Sequence[float]]:
    """The score that each class needs to be reported, by head. Raises `UsageError` for "auto" without thresholds."""
    if min_score == "auto":
        return dict(spec.require_thresholds())
    return {name: [min_score] * len(labels) for name, labels in spec.heads.items()}


def parse_views(text: str) -> EvalProtocol:
    """The views of "CLIPSxCROPS", for example "10x3". Raises `UsageError` for anything else."""
    clips, separator, crops = text.partition("x")
    if not (separator and clips.isascii() and clips.isdigit() and int(clips) and crops in ("1", "3")):
        raise UsageError(
            f"views {text!r} cannot be read",
            hint="give clips x crops, crops being 1 or 3, for example --views 10x3",
        )
    return EvalProtocol(int(clips), int(crops))


def classify_video(
    video: str | os.PathLike[str],
    *,
    model: Model,
    views: EvalProtocol,
    part: Part | None = None,
    topk: int = DEFAULT_TOPK,
    min_score: ScoreLimit = 0.0,
    batch_size: int = DEFAULT_BATCH_SIZE,
    on_views: Callable[[int], object] | None = None,
) -> Classification:
    """The result for one video; failures of the video itself become a result of status "error".

    Its views are scored in groups of `batch_size`, the last one padded, none shared with another video:
    the scores are a function of the video and the settings. `on_views` is told how many were scored.
    """
    least = least_scores(model.spec, min_score)
    path = file = os.fspath(video)
    try:
        with local_path(path) as file, open_video(file) as source:
            scores, clips = score_views(
                source, model=model, views=views, part=part, batch_size=batch_size, on_views=on_views
            )
            info = source.info
            seconds, num_frames = extent(source, part)
    except VideoError as error:
        reason = f"{error.message}; {error.hint}" if error.hint else error.message
        reason = reason.replace(file, path)  # a download has a name of its own that says nothing
        return Classification(path=path, status="error", model=model.spec.name, error=reason)
    heads = {
        name: rank(scores[name], labels, topk=topk, least=least[name]) for name, labels in model.spec.heads.items()
    }
    return Classification(
        path=path,
        status="short" if is_short(num_frames, info, model.spec.input) else "ok",
        model=model.spec.name,
        heads=heads,
        clips=clips,
        video=info,
        notes=_notes(info, seconds, model),
    )


def extent(source: VideoSource, part: Part | None) -> tuple[float, int]:
    """Length in seconds and number of frames of what is looked at."""
    if part is None:
        return source.info.duration_seconds, source.info.num_frames
    start, end = part.within(source.info)
    first, behind = frames_within(times_shown(source), start, end)
    return end - start, max(1, behind - first)


@dataclass(frozen=True)
class DecodedViews:
    """The frames of a video's clips, ready to be scored, in a few MB for each frame.

    `plan` are the frame numbers of each clip; `images` the frames, resized on the model's device, (3, H', W'), and
    `times` their presentation times in seconds, by number. `is_window` tells that they are those of a window of
    `tada detect`, which is scored in full batches and keeps single precision.
    """

    plan: Sequence[Sequence[int]]
    images: Mapping[int, Tensor]
    times: Mapping[int, float]
    num_crops: int
    is_window: bool

    @property
    def num_views(self) -> int:
        """Views that are scored: every crop of every clip."""
        return len(self.plan) * self.num_crops

    @property
    def clips(self) -> tuple[tuple[FrameTime, ...], ...]:
        """The frames of each clip with their times."""
        return tuple(tuple(FrameTime(index, self.times[index]) for index in clip) for clip in self.plan)


def score_views(
    source: VideoSource,
    *,
    model: Model,
    views: EvalProtocol,
    part: Part | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    on_views: Callable[[int], object] | None = None,
) -> tuple[dict[str, Tensor], tuple[tuple[FrameTime, ...], ...]]:
    """Scores of a video by head name, float64 (num_classes,), and the frames of each clip.

    Scores are the mean over views of the softmax (the published sum, divided by the number of views).
    """
    decoded = decode_views(source, model=model, views=views, part=part)
    return score_decoded(decoded, model=model, batch_size=batch_size, on_views=on_views), decoded.clips


def decode_views(source: VideoSource, *, model: Model, views: EvalProtocol, part: Part | None = None) -> DecodedViews:
    """The views of a video, each frame decoded once; the part of scoring that needs no network.

    Raises `VideoError` for a frame that cannot be had, and where the length is not known that frames depend on.
    """
    spec = model.spec.input
    if not source.info.num_frames_known:
        raise VideoError(
            f"{source.info.path} is cut short after {source.info.num_frames} frames, and does not say how many it had",
            hint="fetch it again; the frames to look at cannot be chosen without the length",
        )
    plan: Sequence[Sequence[int]]
    if part is not None and part.sampling is not None:
        window = part.within(source.info)
        plan = window_clips(source.info, times_shown(source), spec, sampling=part.sampling, window=window).tolist()
        num_crops, is_window = 1, True
    else:
        plan = plan_clips(source, spec, num_clips=views.num_clips, part=part)
        num_crops, is_window = views.num_crops, False
    images, times = _decode(source, plan, model)
    return DecodedViews(plan, images, times, num_crops, is_window)


def score_decoded(
    decoded: DecodedViews,
    *,
    model: Model,
    batch_size: int = DEFAULT_BATCH_SIZE,
    on_views: Callable[[int], object] | None = None,
) -> dict[str, Tensor]:
    """Scores by head name, float64 (num_classes,): the mean over the views of the softmax."""
    size = batch_size if decoded.is_window else min(batch_size, decoded.num_views)
    totals: dict[str, Tensor] = {}
    coming = _views(decoded.plan, decoded.images, decoded.num_crops, model.spec.input)
    for batch, count in batches(coming, size=size):
        for name, probabilities in class_scores(model, batch).items():
            summed = probabilities[:count].sum(dim=0)
            totals[name] = totals[name] + summed if name in totals else summed
        if on_views is not None:
            on_views(count)
    scores = {name: total / decoded.num_views for name, total in totals.items()}
    if decoded.is_window:  # to the digits that windows keep
        scores = {name: values.float().double() for name, values in scores.items()}
    for name, values in scores.items():
        check_finite(name, values)
    return scores


def check_finite(head: str, scores: Tensor) -> None:
    """Raises `TadaError` for scores that are not numbers: broken weights, or a dtype too small for them."""
    if not bool(scores.isfinite().all()):
        raise TadaError(
            f"the {head} scores are not numbers; the weights or the dtype cannot be right".replace("  ", " "),
            hint="use --dtype float32, or fetch the weights again",
        )


def plan_clips(source: VideoSource, spec: InputSpec, *, num_clips: int, part: Part | None = None) -> list[list[int]]:
    """The frame numbers of every clip of a video, or of a part of it taken as a video of its own."""
    info, first, behind = source.info, 0, source.info.num_frames
    if part is not None:
        start, end = part.within(info)
        first, behind = frames_within(times_shown(source), start, end)
        if first == behind:  # between two frames: the one on screen
            first = int(frames_on_screen(times_shown(source), np.array([start]))[0])
            behind = first + 1
    plan = [
        clip_indices(
            spec.sampling,
            behind - first,
            fps=float(info.fps),
            clip_frames=spec.clip_frames,
            frame_stride=spec.frame_stride,
            target_fps=spec.target_fps,
            num_clips=num_clips,
            clip_index=clip_index,
        )
        for clip_index in range(num_clips)
    ]
    return [[first + index for index in clip] for clip in plan]


def is_short(num_frames: int, info: VideoInfo, spec: InputSpec) -> bool:
    """Whether this many frames of the video are fewer than one clip spans, so that the last ones are repeated."""
    if spec.sampling == "segment":
        return num_frames < spec.clip_frames
    length = interval_length(spec.clip_frames, spec.frame_stride, target_fps=spec.target_fps, fps=float(info.fps))
    return num_frames < length


def kept_digits(scores: Tensor) -> list[float]:
    """Scores (num_classes,) as they are ranked and written, with seven digits.

    That is what float32 holds; more would show the order of summation, not the score.
    """
    return [float(f"{value:.7g}") for value in scores.tolist()]


def rank(scores: Tensor, labels: Sequence[str], *, topk: int, least: Sequence[float]) -> tuple[Prediction, ...]:
    """The best of the classes that have their `least` score, best first; equal scores in the order of their index."""
    values = kept_digits(scores)
    reported = [index for index, value in enumerate(values) if value >= least[index]]
    best = sorted(reported, key=lambda index: (-values[index], index))[:topk]
    return tuple(Prediction(labels[index], index, values[index]) for index in best)


def _decode(
    source: VideoSource, plan: Sequence[Sequence[int]], model: Model
) -> tuple[dict[int, Tensor], dict[int, float]]:
    """Every wanted frame once, resized on the model's device, and its time."""
    images: dict[int, Tensor] = {}
    times: dict[int, float] = {}
    wanted = sorted({index for clip in plan for index in clip})
    for index, time_seconds, frame in source.iter_frames(wanted):
        pixels = torch.from_numpy(frame).to(model.device)[None]
        images[index] = resize_frames(pixels, short_side=model.spec.input.short_side)[0]
        times[index] = time_seconds
    return images, times


def _views(
    plan: Sequence[Sequence[int]], images: Mapping[int, Tensor], num_crops: int, spec: InputSpec
) -> Iterator[Tensor]:
    """Normalised views (3, T, crop, crop): every crop of the first clip, then of the next one."""
    for clip in plan:
        frames = torch.stack([images[index] for index in clip])
        yield from crop_frames(frames, crop_size=spec.crop_size, num_crops=num_crops, mean=spec.mean, std=spec.std)


def batches(views: Iterable[Tensor], *, size: int) -> Iterator[tuple[Tensor, int]]:
    """Groups of `size` and the number of real views in each; the last one is filled up with its last view.

    One shape throughout keeps every view's arithmetic the same, wherever in the list it stands.
    """
    group: list[Tensor] = []
    for view in views:
        group.append(view)
        if len(group) == size:
            yield torch.stack(group), size
            group = []
    if group:
        yield torch.stack(group + [group[-1]] * (size - len(group))), len(group)


@torch.inference_mode()
def class_scores(model: Model, batch: Tensor) -> dict[str, Tensor]:
    """Softmax of each head, float64 on the CPU, (B, num_classes) by head name, of views (B, 3, T, H, W).

    The logits of a head are divided by its temperature if the model has one.
    """
    logits = model.network(batch.to(model.dtype))
    named = logits if isinstance(logits, dict) else {"": logits}
    temperatures = model.spec.temperatures
    return {name: class_probabilities(values, temperatures.get(name)) for name, values in named.items()}


def _notes(info: VideoInfo, seconds: float, model: Model) -> tuple[str, ...]:
    notes = [model.spec.note] if model.spec.note else []
    if seconds > LONG_VIDEO_SECONDS:
        notes.append(
            f"the video lasts {seconds:.0f} s, the model expects about "
            f"{MODEL_RANGE_SECONDS:.0f} s and gives one answer for all of it; "
            "tada detect finds what happens when"
        )
    if info.truncated:
        notes.append("the file is cut short; every frame that was asked for is there")
    return tuple(notes)
