"""What a video shows: plan the views, decode each frame once, score the views, average the scores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from torch import Tensor

from tadacli.concurrency import map_ahead
from tadacli.errors import UsageError, VideoError
from tadacli.profiling import Stage, during
from tadacli.results import Classification, FrameTime, Note, NoteKind, Prediction, VideoInfo
from tadacli.sampling.plan import Part, extent, is_short
from tadacli.scoring.shared_batches import score_in_order
from tadacli.scoring.views import DEFAULT_BATCH_SIZE, DecodedViews, decode_views
from tadacli.specs import EvalProtocol, ModelSpec, ScoreLimit
from tadacli.video.inputs import is_url, local_path
from tadacli.video.reading import open_video
from tadacli.zoo import DEFAULT_MODEL
from tadacli.zoo.loading import Model, load_model

# The models were trained and evaluated on clips of about ten seconds that show one thing.
MODEL_RANGE_SECONDS = 10.0
# "Well beyond" that range, a single answer for the whole video is seldom what was asked for.
LONG_VIDEO_SECONDS = 3 * MODEL_RANGE_SECONDS

DEFAULT_TOPK = 5


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
    return list(
        classify_videos(
            videos, model=model, views=protocol, part=part, topk=topk, min_score=min_score, batch_size=batch_size
        )
    )


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


def classify_videos(
    videos: Iterable[str | os.PathLike[str]],
    *,
    model: Model,
    views: EvalProtocol,
    part: Part | None = None,
    topk: int = DEFAULT_TOPK,
    min_score: ScoreLimit = 0.0,
    batch_size: int = DEFAULT_BATCH_SIZE,
    fill_batches: bool = False,
    on_views: Callable[[int], object] | None = None,
) -> Generator[Classification, None, None]:
    """The result of each video, in order; failures of a video itself become a result of status "error".

    While a video is scored the next one is decoded, unless it is a URL: a download comes when it is its turn, for it
    cannot be told to end. The views of a video are scored in groups of `batch_size`, the last one padded, none
    shared with another video unless `fill_batches` is set (see `score_in_order`): its scores are a function of the
    video and the settings. `on_views` is told how many were scored. Close the iterator to end early.
    """
    least = least_scores(model.spec, min_score)
    stop = threading.Event()

    def decode(path: str) -> _Decoded:
        return _decode_video(path, model=model, views=views, part=part, stop=stop)

    def decode_file(path: str) -> tuple[str, _Decoded | None]:
        return path, None if is_url(path) else decode(path)

    def in_turn(coming: Iterable[tuple[str, _Decoded | None]]) -> Iterator[_Decoded]:
        for path, ready in coming:
            decoded = decode(path) if ready is None else ready
            yield decoded
            del ready, decoded  # before another one is decoded

    paths = (os.fspath(video) for video in videos)
    with closing(map_ahead(decode_file, paths, workers=1, stop=stop)) as coming:
        scored = score_in_order(
            in_turn(coming),
            model=model,
            batch_size=batch_size,
            fill_batches=fill_batches,
            on_views=on_views,
        )
        for opened, scores in scored:
            yield _result(opened, scores, model, topk=topk, least=least)


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
    """The result for one video, as `classify_videos` gives it."""
    (result,) = classify_videos(
        [video],
        model=model,
        views=views,
        part=part,
        topk=topk,
        min_score=min_score,
        batch_size=batch_size,
        on_views=on_views,
    )
    return result


@dataclass(frozen=True)
class _Opened:
    """A video and what its result says besides the scores; or why it has none."""

    path: str
    error: str = ""
    info: VideoInfo | None = None
    clips: tuple[tuple[FrameTime, ...], ...] = ()
    extent: tuple[float, int] = (0.0, 0)


_Decoded = tuple[_Opened, DecodedViews | None]


def _decode_video(
    path: str,
    *,
    model: Model,
    views: EvalProtocol,
    part: Part | None,
    stop: threading.Event,
) -> _Decoded:
    file = path
    try:
        with ExitStack() as opened:
            with during(Stage.OPEN):
                file = opened.enter_context(local_path(path))
                source = opened.enter_context(open_video(file))
            decoded = decode_views(source, model=model, views=views, part=part, stop=stop)
            return _Opened(path, "", source.info, decoded.clips, extent(source, part)), decoded
    except VideoError as error:
        reason = f"{error.message}; {error.hint}" if error.hint else error.message
        return _Opened(path, reason.replace(file, path)), None  # a download has a name of its own that says nothing


def _result(
    opened: _Opened,
    scores: Mapping[str, Tensor] | None,
    model: Model,
    *,
    topk: int,
    least: Mapping[str, Sequence[float]],
) -> Classification:
    info, (seconds, num_frames) = opened.info, opened.extent
    if scores is None or info is None:
        return Classification(path=opened.path, status="error", model=model.spec.name, error=opened.error)
    heads = {
        name: rank(scores[name], labels, topk=topk, least=least[name]) for name, labels in model.spec.heads.items()
    }
    return Classification(
        path=opened.path,
        status="short" if is_short(num_frames, info, model.spec.input) else "ok",
        model=model.spec.name,
        heads=heads,
        clips=opened.clips,
        video=info,
        notes=_notes(info, seconds, model),
    )


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


def _notes(info: VideoInfo, seconds: float, model: Model) -> tuple[Note, ...]:
    notes = [Note(NoteKind.MODEL, model.spec.note)] if model.spec.note else []
    if seconds > LONG_VIDEO_SECONDS:
        text = (
            f"the video lasts {seconds:.0f} s, the model expects about "
            f"{MODEL_RANGE_SECONDS:.0f} s and gives one answer for all of it; "
            "tada detect finds what happens when"
        )
        notes.append(Note(NoteKind.LONG_VIDEO, text))
    if info.truncated:
        notes.append(Note(NoteKind.CUT_SHORT, "the file is cut short; every frame that was asked for is there"))
    return tuple(notes)
