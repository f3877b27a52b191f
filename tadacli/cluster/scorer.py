"""Videos scored in a pipeline of another engine: a callable on a batch, with the ledger of a run behind it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tadacli.cluster.items import Item
from tadacli.cluster.ledger import Ledger
from tadacli.cluster.stores import open_store
from tadacli.cluster.work import Assignment, ClassifyWork, ModelChoice, Row, Seat, Work
from tadacli.errors import UsageError
from tadacli.scoring import DEFAULT_TOPK
from tadacli.scoring.options import ClassificationOptions, scoring_options
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD, version_of
from tadacli.zoo import DEFAULT_MODEL

if TYPE_CHECKING:
    from tadacli.cluster.worker import Worker

# Engines may call from several threads, and there is one model in a process.
_ONE_AT_A_TIME = threading.Lock()


class Scorer:
    """Classifies the videos of a batch: a column of paths in, columns of results out.

    It is small and can be sent to another process; the model is loaded with the first batch there. Each result is
    kept in the folder of a run before it is returned: a batch that is tried again is not scored again, and a video
    that has ended three processes comes back as an error, in place of ending a fourth.

    Args:
        run: The folder of the run, or the URL of one in an object store, seen alike by all processes. What it holds
            belongs to one model with one set of options.
        model: A model as `tadacli.classify` takes it, by name or path; by default the built-in one.
        weights: A file of weights for a known name.
        column: The column with the paths or URLs of the videos.
        views: How many views are averaged: "CLIPSxCROPS"; by default as many as the model was published with.
        topk: At most so many labels are in a row.
        batch_size: Views scored at once.
        device: "auto", "cpu", "cuda" or another one.
        dtype: "float32", "bfloat16", "float16" or "auto".
        patience_seconds: How long nothing may happen with a video before the process ends itself, for the engine to
            start another one; None for ever, for a process that does more than this.

    Raises:
        UsageError: For options out of range.

    Example:
        >>> import tempfile, tadacli.cluster
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = render_sample(f"{folder}/video.mp4")
        ...     scorer = tadacli.cluster.Scorer(f"{folder}/run", device="cpu")
        ...     batch = scorer({"path": [f"{folder}/video.mp4", "none.mp4"]})
        >>> list(batch["status"]), list(batch["label"])
        (['ok', 'error'], ['pan left', None])
    """

    def __init__(
        self,
        run: str | os.PathLike[str],
        *,
        model: str | None = None,
        weights: str | None = None,
        column: str = "path",
        views: str | None = None,
        topk: int = DEFAULT_TOPK,
        batch_size: int | None = None,
        device: str = "auto",
        dtype: str = "float32",
        patience_seconds: float | None = None,
    ) -> None:
        options = ClassificationOptions(scoring_options(views=views, batch_size=batch_size), topk=topk)
        choice = ModelChoice(model or DEFAULT_MODEL, weights, dtype=dtype)
        self._work: Work = ClassifyWork(choice, options, DEFAULT_MAX_DOWNLOAD)
        self._place, self._column, self._seat = os.fspath(run), column, Seat(0, device)
        self._patience = patience_seconds
        self._ready_here: tuple[Worker, Ledger] | None = None

    def __call__(self, batch: Any) -> Any:
        """The batch with columns of results.

        Args:
            batch: A mapping from names to columns, such as Ray Data's, or a data frame of pandas.

        Returns:
            The same kind, with `status`, `error`, the best `label` and its `score`, None where there is none, and
            `row`, all that a line of `tada classify` says, as JSON. Of a model with several heads `label` and `score`
            are those of the first.

        Raises:
            UsageError: The column is missing.
            OutputError: The folder holds another run, or cannot be written.
            TadaError: The model cannot be loaded.
        """
        names = list(batch.keys()) if isinstance(batch, Mapping) else list(getattr(batch, "columns", ()))
        if self._column not in names:
            there = ", ".join(map(str, names)) or "none"
            raise UsageError(f"the batch has no column {self._column!r}", hint=f"its columns are {there}")
        with _ONE_AT_A_TIME:
            rows = [self._row(str(path)) for path in batch[self._column]]
        best = [_best(row) for row in rows]
        columns: dict[str, list[Any]] = {
            "status": [row["status"] for row in rows],
            "error": [row["error"] for row in rows],
            "label": [label for label, _ in best],
            "score": [score for _, score in best],
            "row": [json.dumps(row) for row in rows],
        }
        if isinstance(batch, Mapping):
            return {**batch, **columns}
        return batch.assign(**columns)

    def __getstate__(self) -> dict[str, Any]:
        """What is sent to another process: not the model."""
        return {**self.__dict__, "_ready_here": None}

    def _row(self, path: str) -> Row:
        worker, ledger = self._ready()
        item = Item(path, version_of(path))
        item_id = item.id_in(worker.processing.run.id)
        worker.finish(worker.begin(Assignment(item_id, item)))
        row = ledger.row(item_id)
        assert row is not None  # it is there when the worker is done
        return row

    def _ready(self) -> tuple[Worker, Ledger]:
        """The worker of this process, with its model, and where it keeps what it makes."""
        if self._ready_here is None:
            from tadacli.cluster.worker import Worker, worker_name

            ledger = Ledger(open_store(self._place))
            worker = Worker(self._work, self._seat, ledger, name=worker_name(), patience_seconds=self._patience)
            ledger.claim(self._work.kind, worker.processing.run, worker.processing.about)
            self._ready_here = worker, ledger
        return self._ready_here


def _best(row: Row) -> tuple[str | None, float | None]:
    """The best label of a row and its score."""
    heads = row.get("heads")
    found = next(iter(heads.values()), []) if isinstance(heads, Mapping) else row.get("topk", [])
    return (found[0]["label"], found[0]["score"]) if found else (None, None)
