"""What workers are to do, as it is sent to them: small, and without a library that computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tadacli.cluster.items import Item
from tadacli.cluster.ledger import Kind
from tadacli.results import Run
from tadacli.scoring.options import ClassificationOptions, ScoringOptions
from tadacli.zoo import Trust

if TYPE_CHECKING:
    from tadacli.datasets import DatasetName
    from tadacli.detection.feature_file import StoredType
    from tadacli.detection.feature_layouts import FeatureLayout
    from tadacli.detection.settings import SegmentSettings
    from tadacli.sampling.settings import WindowSettings
    from tadacli.sampling.shares import Share
    from tadacli.sampling.snippets import SnippetSettings

Row: TypeAlias = Mapping[str, Any]

# Without a frame, a view or a result for so long, a worker takes its input for one that never ends.
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Seat:
    """A worker's place.

    Attributes:
        number: Its number from 0 on; of several GPUs that "auto" or "cuda" mean, it is the one that is used.
        device: What it computes on.
        threads: The threads that it computes with on a CPU; None for as many as PyTorch takes by itself.
    """

    number: int
    device: str = "auto"
    threads: int | None = None


class Processing(Protocol):
    """A model, ready to make results of videos.

    Attributes:
        run: What the results belong to.
        notes: What is to be known about the model.
        about: What the file of results says once for all of them, besides the run; JSON-ready.
        num_at_once: How many videos it has in work: one is scored, and the others are decoded meanwhile.
    """

    run: Run
    notes: tuple[str, ...]
    about: Mapping[str, Any]
    num_at_once: int

    def begin(self, item: Item) -> Callable[[], Row]:
        """Begin with a video; what is returned gives its row, and is called in the order of beginning."""
        ...

    def failed(self, item: Item, reason: str) -> Row:
        """The row of a video of which there is no result, for this reason."""
        ...


class SharedProcessing(Processing, Protocol):
    """A model that makes results also of shares of a video; `begin` may give a row that says how many there are."""

    def begin_share(self, item: Item, share: Share) -> Callable[[], Row]:
        """Begin with a share of a video's windows; what is returned gives what is kept of it."""
        ...

    def begin_whole(self, item: Item, shares: Iterable[Row]) -> Callable[[], Row]:
        """Begin with a video of which the shares are there; what is returned gives its row, as that of `begin`."""
        ...


class Work(Protocol):
    """What is to be done, small enough to be sent to every worker.

    Attributes:
        kind: The command whose results are made.
        divides: Whether long videos are given out in shares.
    """

    @property
    def kind(self) -> Kind:
        """See above."""
        ...

    @property
    def divides(self) -> bool:
        """See above."""
        ...

    def ready(self, seat: Seat, on_step: Callable[[], object]) -> Processing:
        """The model of a worker, loaded.

        Args:
            seat: The worker's place.
            on_step: Called from time to time while a video is worked on.

        Raises:
            TadaError: The model cannot be loaded, or the options do not go with it.
        """
        ...


@dataclass(frozen=True)
class ModelChoice:
    """A model as `load_model` takes it, on a device that each worker has."""

    name: str
    weights: str | None = None
    trust: Trust | None = None
    labels: tuple[str, ...] = ()
    dtype: str = "float32"


@dataclass(frozen=True)
class ClassifyWork:
    """Videos are classified, as `tada classify` does it with these options."""

    model: ModelChoice
    options: ClassificationOptions
    max_download: int
    kind: Kind = "classify"
    divides: bool = False

    def ready(self, seat: Seat, on_step: Callable[[], object]) -> Processing:
        """As `Work` says it."""
        from tadacli.cluster.classifying import Classifying

        return Classifying(self, seat, on_step)


@dataclass(frozen=True)
class DetectWork:
    """Videos are searched, as `tada detect` does it with these settings; scores go to the file of an item.

    Of a longer video than `share_seconds` the windows are scored by several workers; None for by one. `index` is a
    folder of each worker's machine in which it keeps frame tables.
    """

    model: ModelChoice
    windows: WindowSettings
    segments: SegmentSettings
    max_download: int
    share_seconds: float | None = None
    index: str | None = None
    kind: Kind = "detect"

    @property
    def divides(self) -> bool:
        """As `Work` says it."""
        return self.share_seconds is not None

    def ready(self, seat: Seat, on_step: Callable[[], object]) -> Processing:
        """As `Work` says it."""
        from tadacli.cluster.detecting import Detecting

        return Detecting(self, seat, on_step)


@dataclass(frozen=True)
class FeaturesWork:
    """Features of videos are written, as `tada features` does it with these settings, to the file of each item.

    `share_seconds` and `index` are as of `DetectWork`.
    """

    model: ModelChoice
    snippets: SnippetSettings
    stored: StoredType
    layout: FeatureLayout
    max_download: int
    share_seconds: float | None = None
    index: str | None = None
    kind: Kind = "features"

    @property
    def divides(self) -> bool:
        """As `Work` says it."""
        return self.share_seconds is not None

    def ready(self, seat: Seat, on_step: Callable[[], object]) -> Processing:
        """As `Work` says it."""
        from tadacli.cluster.detecting import Extracting

        return Extracting(self, seat, on_step)


@dataclass(frozen=True)
class EvalWork:
    """Samples of a data set are scored, as `tada eval` does it; every worker reads the annotations.

    `index` is as of `DetectWork`.
    """

    model: ModelChoice
    dataset: DatasetName
    annotations: str | None
    data_root: str | None
    split: str | None
    scoring: ScoringOptions
    fps: float | None
    index: str | None = None
    kind: Kind = "eval"
    divides: bool = False

    def ready(self, seat: Seat, on_step: Callable[[], object]) -> Processing:
        """As `Work` says it."""
        from tadacli.cluster.evaluating import Evaluating

        return Evaluating(self, seat, on_step)


@dataclass(frozen=True)
class Assignment:
    """An input for a worker, and whether it is to be the only one that the worker has in work meanwhile.

    It may be a `share` of an input's windows, which is `whole`, or one of which `num_shares` shares are there.
    """

    id: str
    item: Item
    alone: bool = False
    share: Share | None = None
    whole: str = ""
    num_shares: int = 0


@dataclass(frozen=True)
class Outcome:
    """That the result of an input is there: its id, its status, and the error of one that failed.

    `seconds` is how long the video lasts, 0 where that is not known. Or, with `num_shares`, that there is no result
    yet, and the video is to be given out in so many shares.
    """

    id: str
    status: str
    error: str = ""
    seconds: float = 0.0
    num_shares: int = 0
