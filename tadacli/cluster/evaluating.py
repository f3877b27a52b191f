"""What a worker of `tada eval` does with one sample: what the command does, to the byte."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from tadacli.cluster.models import loaded
from tadacli.concurrency import default_workers
from tadacli.datasets.loading import DatasetSource, load_for_heads
from tadacli.evaluation.evaluating import of_model, scores_run
from tadacli.evaluation.prediction_file import Header, ItemScores
from tadacli.evaluation.scoring import Decoded, SampleScorer

if TYPE_CHECKING:
    from tadacli.cluster.items import Item
    from tadacli.cluster.work import EvalWork, Row, Seat


class Evaluating:
    """What `tada eval` does. The next samples are decoded while one is scored."""

    def __init__(self, work: EvalWork, seat: Seat, on_step: Callable[[], object]) -> None:
        model = loaded(work.model, seat)
        source = DatasetSource(work.dataset, work.annotations, work.data_root, work.split)
        truth = load_for_heads(source, model.spec.heads, multi_label=model.spec.multi_label)
        truth = of_model(truth, model, fps=work.fps)
        self.run = scores_run(truth, model, work.scoring, fps=work.fps)
        header = Header(truth.name, source.split_name, len(truth.samples), None, self.run, model.spec.heads)
        self.about: Mapping[str, Any] = {
            "header": header.encode().decode(),
            "heads": {name: list(labels) for name, labels in model.spec.heads.items()},
            "multi_label": model.spec.multi_label,
        }
        self.notes = tuple(map(str, model.notes))
        num_ahead = 1 if model.device.type == "cpu" else default_workers()
        self.num_at_once = 1 + num_ahead
        self._pool = ThreadPoolExecutor(num_ahead, thread_name_prefix="tada-worker-decode")
        self._samples = {sample.id: sample for sample in truth.samples}
        self._scorer, self._on_step = SampleScorer(model, work.scoring, index=work.index), on_step

    def begin(self, item: Item) -> Callable[[], Row]:
        """As `work.Processing` says it."""
        assert item.sample is not None  # of a data set
        return partial(self._row, self._pool.submit(self._scorer.decode, self._samples[item.sample]))

    def failed(self, item: Item, reason: str) -> Row:
        """As `work.Processing` says it."""
        sample = self._samples[item.sample or ""]
        spans = sample.start_seconds, sample.end_seconds
        return vars(ItemScores(sample.id, item.path, "error", reason, {}, *spans))

    def _row(self, decoding: Future[Decoded]) -> Row:
        decoded = decoding.result()
        self._on_step()
        (scores,) = self._scorer.score([decoded], on_views=lambda _: self._on_step())
        return vars(scores)
