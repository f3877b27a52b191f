"""The views of videos: each frame decoded once, views scored in batches, their scores averaged.

A video's views have batches of their own, or full ones that they share with those of its neighbours.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from tadacli.errors import TadaError, UsageError, VideoError
from tadacli.models.arithmetic import repeatable_arithmetic
from tadacli.profiling import Stage, count, during, steps
from tadacli.results import FrameTime
from tadacli.runtimes.networks import ExportedNetwork
from tadacli.sampling.plan import Part, check_length_known, plan_clips
from tadacli.sampling.windows import window_clips
from tadacli.scoring.options import ScoringOptions
from tadacli.specs import EvalProtocol, InputSpec
from tadacli.transforms import centre_box, crop_frames, picked_pixels, resize_frames, resized_size
from tadacli.video.boundary import VideoBoundary
from tadacli.video.source import Picked, Pixels, VideoSource
from tadacli.zoo.loading import Model


class _Named(Protocol):
    @property
    def path(self) -> str: ...


Item = TypeVar("Item", bound=_Named)


@dataclass(frozen=True)
class DecodedViews:
    """The frames of a video's clips, ready to be scored, in a few MB for each frame.

    `plan` are the frame numbers of each clip; `images` the frames, resized on the model's device, (3, H', W'), of
    which one crop needs the centre only, and `times` their presentation times in seconds, by number. `is_window`
    tells that they are those of a window of `tada detect`, which is scored in full batches and keeps single precision.
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


def decode_views(
    source: VideoSource,
    *,
    model: Model,
    views: EvalProtocol,
    part: Part | None = None,
    stop: threading.Event | None = None,
) -> DecodedViews:
    """The views of a video, each frame decoded once; the part of scoring that needs no network.

    Args:
        source: The opened video.
        model: The model, whose input settings hold.
        views: How many clips and crops; a window has the clips that fit it, and one crop.
        part: The part of the video; None for all of it.
        stop: Gives up between two frames once it is set.

    Raises:
        VideoError: For a frame that cannot be had, and where the length is not known that frames depend on.
        CancelledError: Once `stop` is set.
    """
    spec = model.spec.input
    check_length_known(source.info)
    plan: Sequence[Sequence[int]]
    if part is not None and part.sampling is not None:
        window = part.within(source.info)
        plan = window_clips(source, spec, sampling=part.sampling, window=window).tolist()
        num_crops, is_window = 1, True
    else:
        plan = plan_clips(source, spec, num_clips=views.num_clips, part=part)
        num_crops, is_window = views.num_crops, False
    images, times = _decode(source, plan, num_crops, model, stop)
    return DecodedViews(plan, images, times, num_crops, is_window)


def _decode(
    source: VideoSource,
    plan: Sequence[Sequence[int]],
    num_crops: int,
    model: Model,
    stop: threading.Event | None,
) -> tuple[dict[int, Tensor], dict[int, float]]:
    """Every wanted frame once, resized on the model's device, and its time."""
    images: dict[int, Tensor] = {}
    times: dict[int, float] = {}
    wanted = sorted({index for clip in plan for index in clip})
    spec, info, num_before = model.spec.input, source.info, source.num_decoded
    places = picked_pixels((info.height, info.width), spec, num_crops=num_crops, device=model.device)
    picked, whole = (None, None) if places is None else (Picked(*places), (info.height, info.width))
    try:
        for frame in steps(Stage.DECODE, source.require_frames(wanted, picked=picked)):
            if stop is not None and stop.is_set():
                raise CancelledError
            with during(Stage.PREPARE):
                images[frame.index] = view_image(frame.pixels, model, num_crops=num_crops, whole=whole)
            times[frame.index] = frame.time_seconds
    finally:
        count(decoded=source.num_decoded - num_before, used=len(images))
    return images, times


def view_image(frame: Pixels, model: Model, *, num_crops: int, whole: tuple[int, int] | None = None) -> Tensor:
    """A frame (H, W, 3) resized on the model's device, (3, H', W'); of which one crop needs the centre only.

    With the size of the `whole` frame, `frame` are the pixels of it that `picked_pixels` names.
    """
    spec, box = model.spec.input, None
    if num_crops == 1:
        size = resized_size(*(whole or frame.shape[:2]), short_side=spec.short_side)
        box = centre_box(*size, crop_size=spec.crop_size)
    pixels = torch.from_numpy(frame).to(model.device)[None]
    return resize_frames(pixels, short_side=spec.short_side, box=box, whole=whole)[0]


# --- scoring ----------------------------------------------------------------------------------------


@dataclass
class _Waiting(Generic[Item]):
    """A video whose views are being scored: what was found of each head, view by view, or why it cannot be."""

    item: Item
    num_views: int
    is_window: bool
    failure: VideoError | None
    found: dict[str, list[Tensor]] = field(default_factory=dict)
    num_scored: int = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing more comes of it."""
        return self.failure is not None or self.num_scored == self.num_views

    def scores(self) -> dict[str, Tensor] | VideoError:
        """The mean over the views, or why there is none."""
        if self.failure is not None:
            return self.failure
        # Added up in the order of the views, wherever the batches ended.
        totals = {name: torch.stack(each).sum(dim=0) for name, each in self.found.items()}
        return mean_scores(totals, num_views=self.num_views, is_window=self.is_window)

    def prepared(self, views: DecodedViews, spec: InputSpec) -> Iterator[Tensor]:
        """The views as the network takes them; ends early if that fails."""
        try:
            with VideoBoundary(self.item.path):
                yield from steps(Stage.PREPARE, normalised_views(views, spec))
        except VideoError as error:
            self.failure = error


def _waiting(item: Item, views: DecodedViews | VideoError) -> _Waiting[Item]:
    if isinstance(views, VideoError):
        return _Waiting(item, 0, is_window=False, failure=views)
    return _Waiting(item, views.num_views, views.is_window, failure=None)


def score_in_order(
    videos: Iterable[tuple[Item, DecodedViews | VideoError]],
    *,
    model: Model,
    options: ScoringOptions,
    on_views: Callable[[int], object] | None = None,
) -> Generator[tuple[Item, dict[str, Tensor] | VideoError], None, None]:
    """The scores of each video, in order: by head name, float64 (num_classes,), the mean over its views of what
    `class_probabilities` makes of the logits.

    Of a video that failed, while it was decoded or scored, the error. The views of a video are scored in groups of
    `options.batch_size`, the last one filled up. With `options.fill_batches` they share batches with those of the next
    videos, so that few views, one perhaps, do not leave a fast device idle. All batches have that shape, the last one
    is filled up: as in a layer each view is worked out by itself, its scores depend on the video and the settings, not
    on what it shares a batch with. A result then comes when the batch with its last view is full.

    Args:
        videos: What the caller knows a video by, and its decoded views or why there are none; decoded one at a time,
            when asked for.
        model: The model.
        options: How; its `views` are not used, as the views are decoded.
        on_views: Called with the number of views that were scored, after each batch, or after each video with
            `fill_batches`.

    Raises:
        TadaError: For scores that are not numbers.
        torch.OutOfMemoryError: A batch does not fit on the device, which is the fault of no video.
    """
    waiting: deque[_Waiting[Item]] = deque()
    group: list[tuple[_Waiting[Item], Tensor]] = []

    def score(batch_size: int) -> None:
        rows = [(video, view) for video, view in group if video.failure is None]
        group.clear()
        if not rows:
            return
        try:
            found = _batch_scores(rows, batch_size, model)
        except VideoError as error:
            for video, _ in rows:
                video.failure = error
            return
        for row, (video, _) in enumerate(rows):
            video.num_scored += 1
            for name, probabilities in found.items():
                video.found.setdefault(name, []).append(probabilities[row])
        count(views=len(rows))
        if on_views is not None and not options.fill_batches:
            on_views(len(rows))

    def done() -> Iterator[tuple[Item, dict[str, Tensor] | VideoError]]:
        while waiting and waiting[0].is_done:
            video = waiting.popleft()
            if on_views is not None and video.num_views and options.fill_batches:
                on_views(video.num_views)
            yield video.item, video.scores()

    size = options.views_at_once
    for item, views in videos:
        video = _waiting(item, views)
        waiting.append(video)
        if not isinstance(views, VideoError):
            size = options.views_at_once
            if not options.fill_batches and not views.is_window:
                size = min(size, views.num_views)
            for view in video.prepared(views, model.spec.input):
                group.append((video, view))
                if len(group) == size:
                    score(size)
            if group and not options.fill_batches:
                score(size)
        del item, views, video  # before another one is decoded
        yield from done()
    if group:
        score(size)
    yield from done()


def _batch_scores(rows: Sequence[tuple[_Waiting[Item], Tensor]], batch_size: int, model: Model) -> dict[str, Tensor]:
    """Scores of one batch by head, (batch_size, num_classes). Raises `VideoError` that names the videos in it."""
    with VideoBoundary(", ".join(dict.fromkeys(video.item.path for video, _ in rows))) as boundary:
        with during(Stage.PREPARE):
            batch = padded_batch([view for _, view in rows], batch_size)
        with during(Stage.NETWORK):
            try:
                return class_scores(model, batch)
            except torch.OutOfMemoryError:
                with boundary.lifted():
                    raise


def mean_scores(totals: Mapping[str, Tensor], *, num_views: int, is_window: bool) -> dict[str, Tensor]:
    """The scores of a video from their sums over its views, by head. Raises `TadaError` if they are not numbers."""
    scores = {name: total / num_views for name, total in totals.items()}
    if is_window:  # to the digits that windows keep
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


def normalised_views(decoded: DecodedViews, spec: InputSpec) -> Iterator[Tensor]:
    """Normalised views (3, T, crop, crop): every crop of the first clip, then of the next one."""
    for clip in decoded.plan:
        frames = [decoded.images[index] for index in clip]
        yield from crop_frames(
            frames, crop_size=spec.crop_size, num_crops=decoded.num_crops, mean=spec.mean, std=spec.std
        )


def padded_batch(views: Sequence[Tensor], size: int) -> Tensor:
    """A batch (size, 3, T, H, W) of at most as many views, filled up with the last one.

    One shape throughout keeps every view's arithmetic the same, wherever in the list it stands.
    """
    return views[0][None] if size == 1 else torch.stack([*views, *[views[-1]] * (size - len(views))])


@torch.inference_mode()
def class_scores(model: Model, batch: Tensor) -> dict[str, Tensor]:
    """Scores of each head, float64 on the CPU, (B, num_classes) by head name, of views (B, 3, T, H, W).

    They are the softmax, or of a multi-label model the sigmoid. The logits of a head are divided by its temperature if
    the model has one.
    """
    with repeatable_arithmetic():
        return _probabilities(model, model.network(batch.to(model.dtype)))


@torch.inference_mode()
def features_and_scores(model: Model, batch: Tensor, *, with_scores: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """What the network makes of views before its heads, and what these make of it.

    Args:
        model: The model, whose network has features (see `require_features`).
        batch: Views (B, 3, T, H, W).
        with_scores: Whether the scores are wanted, too.

    Returns:
        Features (B, D), float32 on the CPU, and scores as `class_scores` gives them, or none.
    """
    with repeatable_arithmetic():
        features, logits = features_and_logits(model.network, batch.to(model.dtype))
        scores = _probabilities(model, logits) if with_scores else {}
        return features.float().cpu(), scores


def features_and_logits(network: nn.Module, clips: Tensor) -> tuple[Tensor, Tensor | dict[str, Tensor]]:
    """Features (B, D) of clips (B, 3, T, H, W), and the logits of the heads on them, for several by name.

    Args:
        network: A network with features, see `require_features`.
        clips: The clips, as it takes them.
    """
    if isinstance(network, ExportedNetwork):  # which makes both in one pass
        return network.features_and_logits(clips)
    whole = cast(FeatureNetwork, network)
    features = whole.forward_features(clips)
    return features, whole.head(features)


class FeatureNetwork(Protocol):
    """A network whose heads work on pooled features."""

    @property
    def head(self) -> Callable[[Tensor], Tensor | dict[str, Tensor]]: ...

    def forward_features(self, x: Tensor) -> Tensor: ...


def require_features(model: Model) -> None:
    """Raises `UsageError` for a model whose network has no features before its heads."""
    network = model.network
    has_features = hasattr(network, "forward_features") and hasattr(network, "head")
    if not has_features and not isinstance(network, ExportedNetwork):
        raise UsageError(
            f"{model.spec.name} has no features of clips", hint="use a model that classifies: tada models lists them"
        )


def _probabilities(model: Model, logits: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    named = logits if isinstance(logits, dict) else {"": logits}
    temperatures, multi_label = model.spec.temperatures, model.spec.multi_label
    return {
        name: class_probabilities(values, temperatures.get(name), multi_label=multi_label)
        for name, values in named.items()
    }


def class_probabilities(logits: Tensor, temperature: float | None, *, multi_label: bool = False) -> Tensor:
    """Softmax over the last dimension of logits divided by the temperature, float64 on the CPU; None divides nothing.

    Of a multi-label model it is the sigmoid of each. Everything that scores a view does it here, so that what is fitted
    on scores is used on the same ones.
    """
    values = logits.float()
    if temperature is not None:
        values = values / temperature
    # In double precision a sigmoid next to 1 still says how far it is from it.
    return (values.cpu().double().sigmoid() if multi_label else values.softmax(dim=-1)).cpu().double()


def kept_digits(scores: Tensor) -> list[float]:
    """Scores (num_classes,) as they are ranked and written, with seven digits.

    That is what float32 holds; more would show the order of summation, not the score.
    """
    return [float(f"{value:.7g}") for value in scores.tolist()]
