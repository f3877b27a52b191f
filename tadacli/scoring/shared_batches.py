"""The scores of many videos, each video's views in batches of their own or in full ones shared with its neighbours."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor

from tadacli.profiling import Stage, count, during, steps
from tadacli.scoring.views import DecodedViews, class_scores, mean_scores, normalised_views, score_decoded
from tadacli.zoo.loading import Model

Item = TypeVar("Item")
Scores = dict[str, Tensor]


def score_in_order(
    videos: Iterable[tuple[Item, DecodedViews | None]],
    *,
    model: Model,
    batch_size: int,
    fill_batches: bool = False,
    on_views: Callable[[int], object] | None = None,
) -> Generator[tuple[Item, Scores | None], None, None]:
    """The scores of each video, see `score_decoded`, in order; None for one without views, which failed.

    With `fill_batches` the views of a video share batches of `batch_size` with those of the next ones, so that few
    views, one perhaps, do not leave a fast device idle. All batches have that shape, the last one is filled up: as
    in a layer each view is worked out by itself, its scores depend on the video and the settings, not on what it
    shares a batch with. A result then comes when the batch with its last view is full.
    """
    if fill_batches:
        yield from _in_full_batches(videos, model, batch_size, on_views)
        return
    for item, views in videos:
        if views is None:
            yield item, None
            continue
        yield item, score_decoded(views, model=model, batch_size=batch_size, on_views=on_views)
        del item, views  # before another one is decoded


@dataclass
class _Waiting(Generic[Item]):
    """A video whose views are being scored: what was found of each head, view by view."""

    item: Item
    num_views: int
    is_window: bool
    found: dict[str, list[Tensor]] = field(default_factory=dict)
    num_scored: int = 0

    def scores(self) -> Scores | None:
        """The mean over the views; None for a video that failed."""
        if not self.num_views:
            return None
        # Added up in the order of the views, wherever the batches ended.
        totals = {name: torch.stack(each).sum(dim=0) for name, each in self.found.items()}
        return mean_scores(totals, num_views=self.num_views, is_window=self.is_window)


def _in_full_batches(
    videos: Iterable[tuple[Item, DecodedViews | None]],
    model: Model,
    batch_size: int,
    on_views: Callable[[int], object] | None,
) -> Generator[tuple[Item, Scores | None], None, None]:
    waiting: deque[_Waiting[Item]] = deque()
    group: list[tuple[_Waiting[Item], Tensor]] = []

    def score() -> None:
        with during(Stage.PREPARE):
            batch = torch.stack([view for _, view in group] + [group[-1][1]] * (batch_size - len(group)))
        with during(Stage.NETWORK):
            found = class_scores(model, batch)
        for row, (video, _) in enumerate(group):
            video.num_scored += 1
            for name, probabilities in found.items():
                video.found.setdefault(name, []).append(probabilities[row])
        count(views=len(group))
        group.clear()

    def done() -> Iterator[tuple[Item, Scores | None]]:
        while waiting and waiting[0].num_scored == waiting[0].num_views:
            video = waiting.popleft()
            if on_views is not None and video.num_views:
                on_views(video.num_views)
            yield video.item, video.scores()

    for item, views in videos:
        video = _Waiting(item, 0 if views is None else views.num_views, views is not None and views.is_window)
        waiting.append(video)
        if views is not None:
            for view in steps(Stage.PREPARE, normalised_views(views, model.spec.input)):
                group.append((video, view))
                if len(group) == batch_size:
                    score()
        del item, views, video  # before another one is decoded
        yield from done()
    if group:
        score()
    yield from done()
