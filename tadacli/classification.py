"""What a video shows: plan the views, decode each frame once, score the views, average the scores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Container, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from tadacli.concurrency import default_workers, map_ahead
from tadacli.errors import VideoError
from tadacli.profiling import Stage, during
from tadacli.results import (
    Classification,
    Classifications,
    FrameTime,
    Note,
    NoteKind,
    Prediction,
    Progress,
    Run,
    RunSettings,
    VideoInfo,
)
from tadacli.results.progress import ProgressTeller
from tadacli.sampling.plan import Part, is_short, part_of, seconds_of, time_gaps
from tadacli.scoring import DEFAULT_MIN_SCORE, DEFAULT_TOPK
from tadacli.scoring.options import ClassificationOptions, scoring_options
from tadacli.scoring.provenance import describe_run
from tadacli.scoring.views import DecodedViews, decode_views, kept_digits, score_in_order
from tadacli.specs import EvalProtocol, ModelSpec, ScoreLimit
from tadacli.video.array_frames import Times, VideoLike, named_videos
from tadacli.video.boundary import VideoBoundary
from tadacli.video.inputs import is_kept, is_url, local_path
from tadacli.video.lists import name_of
from tadacli.video.reading import open_video
from tadacli.video.source import VideoSource
from tadacli.zoo.addresses import address
from tadacli.zoo.loading import Model, load_model

# The models were trained and evaluated on clips of about ten seconds that show one thing.
MODEL_RANGE_SECONDS = 10.0
# "Well beyond" that range, a single answer for the whole video is seldom what was asked for.
LONG_VIDEO_SECONDS = 3 * MODEL_RANGE_SECONDS


def classify(
    videos: VideoLike | Iterable[VideoLike],
    *,
    model: str | os.PathLike[str] | Model | None = None,
    weights: str | os.PathLike[str] | None = None,
    views: str | EvalProtocol | None = None,
    part: Part | None = None,
    topk: int = DEFAULT_TOPK,
    min_score: ScoreLimit = DEFAULT_MIN_SCORE,
    batch_size: int | None = None,
    fps: float | None = None,
    times: Times | None = None,
    device: str = "auto",
    dtype: str = "float32",
    progress: Callable[[Progress], object] | None = None,
    index: str | os.PathLike[str] | None = None,
) -> Classifications:
    """What each video shows: one result for each, in order.

    A video that fails has status "error" and stops nothing.

    Args:
        videos: A path or URL, or several: video files, folders or tars of numbered frames, JPEG or PNG. Or frames that
            are in memory, an array or tensor uint8 (T, H, W, 3), RGB, or several; the path of their result is "frames".
        model: A known name, a run's folder, a weights file that says what it is, or what `load_model` returned; then
            `weights`, `device` and `dtype` are not used. By default `weights`, or else the built-in model.
        weights: A file of weights for a known name; by default those that were fetched.
        views: How many views are averaged: "CLIPSxCROPS"; by default as many as the model was published with.
        part: The part of each video to look at, in seconds of presentation time; by default all of it.
        topk: At most so many labels are given for each head.
        min_score: Classes below this score, 0 to 1, are left out; "auto" leaves out those below the thresholds that
            the model carries for each class. None may be left: nothing here that the model knows.
        batch_size: Views scored at once; by default 8, and for a window as many as `detect` takes on the device.
        fps: Frames a second of arrays, and of folders and tars of frames; by default what their name says, or else 30,
            with a note.
        times: In the place of `fps` the presentation time of each frame of one array, in seconds, ascending.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "float32", "bfloat16", "float16", or "auto" for the faster here.
        progress: Called with a `Progress` when a video is begun, and after each batch of it.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Returns:
        The results, in a list that has `filter` and `to_pandas`. Scores are the mean over the views of the softmax, 0
        to 1, with seven digits; of a multi-label model of the sigmoid, so that they do not sum to one.

    Raises:
        UsageError: For settings that contradict each other or are out of range, and for arrays that are not of frames,
            before anything is decoded.
        TadaError: For a model that cannot be loaded, or whose scores are not numbers.

    Example:
        >>> import tempfile, tadacli
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = render_sample(f"{folder}/video.mp4")
        ...     (result,) = tadacli.classify(f"{folder}/video.mp4", device="cpu")
        >>> result
        Classification(...video.mp4': pan left 0.9...)
        >>> result.label
        'pan left'
    """
    return Classifications(
        iter_classify(
            videos,
            model=model,
            weights=weights,
            views=views,
            part=part,
            topk=topk,
            min_score=min_score,
            batch_size=batch_size,
            fps=fps,
            times=times,
            device=device,
            dtype=dtype,
            progress=progress,
            index=index,
        )
    )


def iter_classify(
    videos: VideoLike | Iterable[VideoLike],
    *,
    model: str | os.PathLike[str] | Model | None = None,
    weights: str | os.PathLike[str] | None = None,
    views: str | EvalProtocol | None = None,
    part: Part | None = None,
    topk: int = DEFAULT_TOPK,
    min_score: ScoreLimit = DEFAULT_MIN_SCORE,
    batch_size: int | None = None,
    fps: float | None = None,
    times: Times | None = None,
    device: str = "auto",
    dtype: str = "float32",
    progress: Callable[[Progress], object] | None = None,
    index: str | os.PathLike[str] | None = None,
) -> Generator[Classification, None, None]:
    """What each video shows, in order, each result as soon as it is known; close the iterator to end early.

    The arguments are checked and the model is loaded when this is called, not when the first result is asked for.

    Args:
        videos: A path or URL, or several: video files, folders or tars of numbered frames, JPEG or PNG. Or frames that
            are in memory, an array or tensor uint8 (T, H, W, 3), RGB, or several; the path of their result is "frames".
        model: A known name, a run's folder, a weights file that says what it is, or what `load_model` returned; then
            `weights`, `device` and `dtype` are not used. By default `weights`, or else the built-in model.
        weights: A file of weights for a known name; by default those that were fetched.
        views: How many views are averaged: "CLIPSxCROPS"; by default as many as the model was published with.
        part: The part of each video to look at, in seconds of presentation time; by default all of it.
        topk: At most so many labels are given for each head.
        min_score: Classes below this score, 0 to 1, are left out; "auto" leaves out those below the thresholds that
            the model carries for each class. None may be left: nothing here that the model knows.
        batch_size: Views scored at once; by default 8, and for a window as many as `detect` takes on the device.
        fps: Frames a second of arrays, and of folders and tars of frames; by default what their name says, or else 30,
            with a note.
        times: In the place of `fps` the presentation time of each frame of one array, in seconds, ascending.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "float32", "bfloat16", "float16", or "auto" for the faster here.
        progress: Called with a `Progress` when a video is begun, and after each batch of it.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Yields:
        A result for each video, as `classify` gives it.

    Raises:
        UsageError: For settings that contradict each other or are out of range, and for arrays that are not of frames,
            before anything is decoded.
        TadaError: For a model that cannot be loaded, or whose scores are not numbers.

    Example:
        >>> import tempfile, tadacli
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     videos = [render_sample(f"{folder}/{name}.mp4") for name in "ab"]
        ...     for result in tadacli.iter_classify([f"{folder}/a.mp4", f"{folder}/b.mp4"], device="cpu"):
        ...         print(result.label)
        pan left
        pan left
    """
    named = named_videos(videos, fps=fps, times=times, needs_rate=False)
    scoring = scoring_options(views=views, batch_size=batch_size)
    options = ClassificationOptions(scoring, part, topk, min_score, fps, index)
    if not isinstance(model, Model):
        model = load_model(model, weights=weights, device=device, dtype=dtype)
    least_scores(model.spec, min_score)
    protocol, num_scored = scoring.views_of(model.spec), 0
    teller = ProgressTeller(progress, len(named))

    def start(path: str) -> None:
        nonlocal num_scored
        num_scored = 0
        teller.start(path)

    def advance(num_views: int) -> None:
        nonlocal num_scored
        num_scored += num_views
        if part is None or part.sampling is None:  # how many views a window has is known in the end
            teller.reach(num_scored / (protocol.num_clips * protocol.num_crops))

    return iter_classifications(named, model=model, options=options, on_video=start, on_views=advance)


def classification_run(model: Model, options: ClassificationOptions) -> Run:
    """The run that the results of a model with these options belong to.

    Raises `UsageError` for the minimum score "auto" and a model without thresholds.
    """
    least_scores(model.spec, options.min_score)
    options = options.on(model.device.type)
    scoring, part = options.scoring, options.part or Part()
    settings: RunSettings = {
        "views": str(scoring.views_of(model.spec)) if part.sampling is None else None,
        "start_seconds": part.start_seconds,
        "end_seconds": part.end_seconds,
        "sampling": part.sampling,
        "topk": options.topk,
        "min_score": options.min_score,
        "batch_size": scoring.views_at_once,
    }
    if scoring.fill_batches:
        settings["fill_batches"] = True
    if options.fps is not None:
        settings["fps"] = options.fps
    settings["seed"] = 0  # nothing is random; earlier versions had an option for it
    return describe_run(model, settings)


def iter_classifications(
    videos: Iterable[str | os.PathLike[str]],
    *,
    model: Model,
    options: ClassificationOptions | None = None,
    done: Container[str] = (),
    max_download: int | None = None,
    on_video: Callable[[str], object] | None = None,
    on_views: Callable[[int], object] | None = None,
) -> Generator[Classification, None, None]:
    """The result of each video, in order, as soon as it is known; close the iterator to end early.

    While a video is scored the next one is decoded, on an accelerator the next ones, unless it is a URL: a download
    comes when it is its turn, for it cannot be ended from another thread. The views of a video are scored in groups of
    `batch_size`, the last one padded, none shared with another video unless `fill_batches` is set (see
    `score_in_order`): its scores are a function of the video and the options.

    Args:
        videos: Paths or URLs, as `classify` takes them.
        model: The model.
        options: How they are classified.
        done: Paths of videos that are passed over, since their results are there already.
        max_download: The largest file in bytes that is fetched for a URL; by default 4 GB.
        on_video: Called with the path of each video before its result is waited for.
        on_views: Called with the number of views that were scored, after each batch.

    Yields:
        A result for each video; one that fails has status "error".

    Raises:
        UsageError: For the minimum score "auto" and a model without thresholds.
        TadaError: For scores that are not numbers.
    """
    stop = threading.Event()
    classifier = Classifier(model, options=options, max_download=max_download, stop=stop)

    def decode_file(path: str) -> tuple[str, Decoded | None]:
        return path, None if is_url(path) else classifier.decode(path)

    def in_turn(coming: Iterable[tuple[str, Decoded | None]]) -> Iterator[Decoded]:
        for path, ready in coming:
            decoded = classifier.decode(path) if ready is None else ready
            yield decoded
            del ready, decoded  # before another one is decoded

    paths = [path for path in map(address, videos) if path not in done]
    with closing(map_ahead(decode_file, paths, workers=classifier.num_ahead, stop=stop)) as coming:
        results = classifier.score(in_turn(coming), on_views=on_views)
        for path in paths:
            if on_video is not None:
                on_video(path)
            yield next(results)


_FRAMES_AHEAD = 256  # of all videos together; a frame takes about a megabyte


class Classifier:
    """Classifies videos for a caller that says when each is decoded, in any thread, and when it is scored.

    Args:
        model: The model.
        options: How they are classified.
        max_download: The largest file in bytes that is fetched for a URL; by default 4 GB.
        stop: Set when nothing more is wanted; decoding then gives up.

    Raises:
        UsageError: For the minimum score "auto" and a model without thresholds.
    """

    def __init__(
        self,
        model: Model,
        *,
        options: ClassificationOptions | None = None,
        max_download: int | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self._model, self._options = model, (options or ClassificationOptions()).on(model.device.type)
        self._least = least_scores(model.spec, self._options.min_score)
        self._fetch = local_path if max_download is None else partial(local_path, max_bytes=max_download)
        self._stop = stop or threading.Event()

    @property
    def num_ahead(self) -> int:
        """How many videos are best decoded while one is scored.

        A CPU is busy with the network. An accelerator waits for frames, which one core does not decode fast enough for
        it; but the views of each video take memory of it meanwhile.
        """
        part, spec = self._options.part, self._model.spec
        if self._model.device.type == "cpu" or (part is not None and part.sampling is not None):
            return 1
        num_frames = self._options.scoring.views_of(spec).num_clips * spec.input.clip_frames
        return max(1, min(default_workers(), _FRAMES_AHEAD // num_frames))

    def decode(self, path: str) -> Decoded:
        """The views of a video, or why there are none."""
        model, options = self._model, self._options
        views, part = options.scoring.views_of(model.spec), options.part
        try:
            with VideoBoundary(path) as boundary, ExitStack() as opened:
                part = part_of(path, part)
                with during(Stage.OPEN):
                    file = boundary.reads(opened.enter_context(self._fetch(path)))
                    index = options.index if is_kept(file, path) else None
                    source = opened.enter_context(open_video(file, fps=options.fps, index=index))
                decoded = decode_views(source, model=model, views=views, part=part, stop=self._stop)
                short = is_short(source, part, model.spec.input)
                notes = _notes(source, part, decoded.plan, model, is_short=short)
                return _Opened(path, source.info, decoded.clips, short, notes), decoded
        except VideoError as error:
            return _Opened(path), error

    def score(
        self, videos: Iterable[Decoded], *, on_views: Callable[[int], object] | None = None
    ) -> Iterator[Classification]:
        """The results of videos that are decoded, in order; `on_views` is called with the views of each batch."""
        for opened, scores in score_in_order(
            videos, model=self._model, options=self._options.scoring, on_views=on_views
        ):
            yield _result(opened, scores, self._model, topk=self._options.topk, least=self._least)


def least_scores(spec: ModelSpec, min_score: ScoreLimit) -> dict[str, Sequence[float]]:
    """The score that each class needs to be reported, by head. Raises `UsageError` for "auto" without thresholds."""
    if min_score == "auto":
        return dict(spec.require_thresholds())
    return {name: [min_score] * len(labels) for name, labels in spec.heads.items()}


@dataclass(frozen=True)
class _Opened:
    """A video and what its result says besides the scores; no `info` where it could not be opened."""

    path: str
    info: VideoInfo | None = None
    clips: tuple[tuple[FrameTime, ...], ...] = ()
    is_short: bool = False
    notes: tuple[Note, ...] = ()


Decoded = tuple[_Opened, DecodedViews | VideoError]


def _result(
    opened: _Opened,
    scores: Mapping[str, Tensor] | VideoError,
    model: Model,
    *,
    topk: int,
    least: Mapping[str, Sequence[float]],
) -> Classification:
    if isinstance(scores, VideoError):
        return Classification(path=name_of(opened.path), status="error", model=model.spec.name, error=scores.reason)
    heads = {
        name: _rank(scores[name], labels, topk=topk, least=least[name]) for name, labels in model.spec.heads.items()
    }
    return Classification(
        path=name_of(opened.path),
        status="short" if opened.is_short else "ok",
        model=model.spec.name,
        heads=heads,
        clips=opened.clips,
        video=opened.info,
        notes=opened.notes,
        num_labels={name: len(labels) for name, labels in model.spec.heads.items()},
    )


def _rank(scores: Tensor, labels: Sequence[str], *, topk: int, least: Sequence[float]) -> tuple[Prediction, ...]:
    """The best of the classes that have their `least` score, best first; equal scores in the order of their index."""
    values = kept_digits(scores)
    reported = [index for index, value in enumerate(values) if value >= least[index]]
    best = sorted(reported, key=lambda index: (-values[index], index))[:topk]
    return tuple(Prediction(labels[index], index, values[index]) for index in best)


def _notes(
    source: VideoSource, part: Part | None, clips: Sequence[Sequence[int]], model: Model, *, is_short: bool
) -> tuple[Note, ...]:
    """What is to be known about the result of a video, or of a part of it, of which these clips were scored."""
    notes = [Note(NoteKind.MODEL, model.spec.note)] if model.spec.note else []
    notes += source.info.notes
    seconds = seconds_of(source, part)
    if seconds > LONG_VIDEO_SECONDS:
        text = (
            f"the video lasts {seconds:.0f} s, the model expects about "
            f"{MODEL_RANGE_SECONDS:.0f} s and gives one answer for all of it; "
            "tada detect finds what happens when"
        )
        notes.append(Note(NoteKind.LONG_VIDEO, text))
    if source.info.truncated and not any(note.kind == NoteKind.CUT_SHORT for note in source.info.notes):
        notes.append(Note(NoteKind.CUT_SHORT, "the file is cut short; every frame that was asked for is there"))
    gaps = time_gaps(source, model.spec.input, part)
    if gaps:
        lost = sum(end - start for start, end in gaps)
        where = f"{len(gaps)} gap{'s' * (len(gaps) > 1)} in time"
        text = f"{lost:.1f} of {seconds:.1f} s have no frame ({where}); clips are made of the frames that are there"
        notes.append(Note(NoteKind.TIME_GAPS, text))
    num_repeating = sum(len(set(clip)) < len(clip) for clip in clips)
    if num_repeating and not is_short:
        text = f"{num_repeating} of {len(clips)} clips show a frame more than once"
        notes.append(Note(NoteKind.REPEATED, text))
    return tuple(notes)
