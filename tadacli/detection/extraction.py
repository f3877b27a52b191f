"""Features of the snippets of videos, in one pass over each that decodes each frame once."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tadacli.detection.cuts import cuts_outside, finder_versions
from tadacli.detection.feature_file import VALUES, Columns, StoredType, score_name
from tadacli.detection.feature_layouts import FeatureStore
from tadacli.detection.features import FeatureContract, VideoFeatures
from tadacli.detection.journal import WindowJournal
from tadacli.detection.row_files import RowFile
from tadacli.detection.scored_windows import video_notes
from tadacli.detection.shares import Shared
from tadacli.detection.window_pass import Group, Journal, OnProgress, WindowPass, Worked, pass_over
from tadacli.detection.window_scores import mean_rows
from tadacli.errors import TadaError, VideoError
from tadacli.formats.feature_rows import FeatureRow, feature_row
from tadacli.profiling import Stage, during
from tadacli.results import DetectionStatus, Note, NoteKind, Run, RunSettings
from tadacli.sampling.pace import SAME_TIME_SECONDS
from tadacli.sampling.shares import Share
from tadacli.sampling.snippets import SnippetSettings
from tadacli.sampling.spans import unseen_seconds
from tadacli.sampling.windows import WindowPlan
from tadacli.scoring.provenance import machine_settings, run_of
from tadacli.scoring.views import features_and_scores, padded_batch, require_features
from tadacli.version import __version__
from tadacli.video.inputs import DEFAULT_MAX_DOWNLOAD, file_size
from tadacli.video.source import Seconds
from tadacli.zoo.addresses import address
from tadacli.zoo.loading import Model, load_model

_KIND = "tada features 1"  # of a journal
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Extraction:
    """What came of one video: its features, or why there are none.

    Attributes:
        path: The video, as it was given.
        status: "ok", "partial" (see `features.gaps`) or "error" (then `error` says why and there are no features).
        error: Why there are none.
        features: The features; of those that were written, without a column: `read_features` has all of them.
        num_columns: Columns of the features.
        file: Where they were written, or what describes the files they were written to.
        size_bytes: Size of the video's file, if it is known.
    """

    path: str
    status: DetectionStatus
    error: str = ""
    features: VideoFeatures | None = None
    num_columns: int = 0
    file: Path | None = None
    size_bytes: int | None = None


def features(
    videos: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    model: str | os.PathLike[str] | Model | None = None,
    weights: str | os.PathLike[str] | None = None,
    snippets: SnippetSettings | None = None,
    device: str = "auto",
    dtype: str = "float32",
    index: str | os.PathLike[str] | None = None,
) -> list[Extraction]:
    """The features of the snippets of each video, what a network makes of them before its heads, in order.

    They are in memory: N rows of C float32 a video. `tada features --output DIR` writes them as they come. A video
    that fails has status "error" and stops nothing.

    Args:
        videos: A path or URL, or several, as `classify` takes them.
        model: A known name, a run's folder, a weights file that says what it is, or what `load_model` returned; then
            `weights`, `device` and `dtype` are not used. By default `weights`, or else the built-in model.
        weights: A file of weights for a known name; by default those that were fetched.
        snippets: Which snippets there are (`snippet_settings()` reads words such as "64f"); by default each is as long
            as a clip of the model, and one begins every eighth of that.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "float32", "bfloat16", "float16", or "auto" for the faster here.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Returns:
        A result for each video, with its `features` (see `VideoFeatures`), whose times are presentation times.

    Raises:
        UsageError: For settings out of range, or a model without features, before anything is decoded.
        TadaError: For a model that cannot be loaded, or whose features are not numbers.

    Example:
        >>> import tempfile, tadacli
        >>> from tadacli.camera_motion.virtual_camera import render_sample
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = render_sample(f"{folder}/video.mp4")
        ...     (result,) = tadacli.features(f"{folder}/video.mp4", device="cpu")
        >>> result.status, result.features.values.shape, result.features.spans[0].round(3).tolist()
        ('ok', (30, 192), [0.0, 1.067])
    """
    if isinstance(videos, (str, os.PathLike)):
        videos = [videos]
    if not isinstance(model, Model):
        model = load_model(model, weights=weights, device=device, dtype=dtype)
    chosen = snippets or SnippetSettings()
    job = feature_job([address(video) for video in videos], model=model, snippets=chosen, index=index)
    return list(iter_features(job))


@dataclass(frozen=True)
class FeatureJob:
    """Videos of which features are made, how, and the run that they belong to."""

    videos: Sequence[str]
    model: Model
    snippets: SnippetSettings
    stored: StoredType
    run: Run
    max_download: int
    index: str | os.PathLike[str] | None = None

    @property
    def contract(self) -> FeatureContract:
        """What the features will be a function of."""
        model, spec = self.model, self.model.spec.input
        return FeatureContract(
            spec=model.spec,
            weights_sha256=model.weights_sha256,
            tool_version=self.run.tool_version,
            fps=spec.target_fps,
            snippet_seconds=self.snippets.snippet_seconds(spec),
            stride_seconds=self.snippets.stride_seconds(spec),
            first_centre_seconds=self.snippets.first_centre(spec),
            crops=self.snippets.crops,
            settings=self.run.settings,
        )


def feature_job(
    videos: Sequence[str],
    *,
    model: Model,
    snippets: SnippetSettings,
    stored: StoredType = "float32",
    max_download: int = DEFAULT_MAX_DOWNLOAD,
    index: str | os.PathLike[str] | None = None,
) -> FeatureJob:
    """The job of making features of the snippets of videos.

    Args:
        videos: Paths or URLs.
        model: The model.
        snippets: Which snippets there are, and what is kept of them.
        stored: The type that features are rounded to where they are written.
        max_download: The largest file in bytes that is fetched for a URL.
        index: A folder in which the frame tables of video files are kept (see `tadacli.video.open_video`).

    Returns:
        The job, for `iter_features`.

    Raises:
        UsageError: The model has no features, or the lengths are none.
    """
    require_features(model)
    settings: RunSettings = {**snippets.to_dict(model.spec.input, model.device.type), **machine_settings(model)}
    if snippets.cuts == "auto":
        settings["versions"] = {**settings["versions"], **finder_versions()}
    run = run_of(
        model.spec,
        settings={**settings, "stored": stored},
        weights_sha256=model.weights_sha256,
        tool_version=__version__,
    )
    return FeatureJob(videos, model, snippets, stored, run, max_download, index)


def iter_features(
    job: FeatureJob,
    *,
    store: FeatureStore | None = None,
    on_video: Callable[[str], object] | None = None,
    on_progress: OnProgress | None = None,
) -> Generator[Extraction, None, None]:
    """The result of each video, in order, as soon as it is known; close the iterator to end early.

    Args:
        job: What is to be done.
        store: Where features are written. What it holds is not made again; beside each file that is not whole yet lies
            a journal with the snippets that are done, after which a later run goes on. Without a store features stay in
            memory.
        on_video: Called with the path of each video before it is opened.
        on_progress: Called with where a video starts and ends and how far it is done, in seconds.

    Yields:
        A result for each video; one that fails has status "error".

    Raises:
        OutputError: For a file that cannot be written, or was made with other settings.
        TadaError: For features that are not numbers.
    """
    for video in job.videos:
        held = None if store is None else store.held(video, job.run.id, size_bytes=file_size(video))
        if held is not None:
            facts, num_columns = held
            yield _written(video, facts, num_columns, store)
            continue
        if on_video is not None:
            on_video(video)
        try:
            if store is None:
                made = _in_memory(job, video, on_progress)
                yield Extraction(
                    video, made.status, features=made, num_columns=made.values.shape[1], size_bytes=made.size_bytes
                )
            else:
                facts, num_columns = _to_store(job, video, store, on_progress)
                yield _written(video, facts, num_columns, store)
        except VideoError as error:
            yield Extraction(video, "error", error.reason, size_bytes=file_size(video))


def extraction_row(result: Extraction, run: Run) -> FeatureRow:
    """The row of one video.

    Args:
        result: What came of it.
        run: What the features were made with.
    """
    found = result.features
    if found is None:
        return feature_row(result.path, result.status, run, error=result.error, size_bytes=result.size_bytes)
    return feature_row(
        result.path,
        result.status,
        run,
        file=None if result.file is None else str(result.file),
        size=(len(found.values), result.num_columns),
        num_planned=found.num_planned or 0,
        stride_seconds=found.stride_seconds,
        span=(found.start_seconds, found.duration_seconds),
        gaps=found.gaps,
        notes=found.notes,
        cuts=found.cuts,
        size_bytes=result.size_bytes,
    )


def _written(video: str, facts: VideoFeatures, num_columns: int, store: FeatureStore | None) -> Extraction:
    file = None if store is None else store.files[video]
    return Extraction(video, facts.status, "", facts, num_columns, file, facts.size_bytes)


def _in_memory(job: FeatureJob, video: str, on_progress: OnProgress | None) -> VideoFeatures:
    parts: dict[str, list[NDArray[np.float32]]] = {}

    def take(group: Group) -> None:
        for name, values in group.rows.items():
            parts.setdefault(name, []).append(values)

    done = _pass(job, video, take, on_progress=on_progress)
    rows = {name: np.concatenate(values) for name, values in parts.items()}
    heads = job.model.spec.heads if job.snippets.with_scores else ()
    return _features(job, done, rows[VALUES], {name: rows[score_name(name)] for name in heads})


def _to_store(
    job: FeatureJob, video: str, store: FeatureStore, on_progress: OnProgress | None
) -> tuple[VideoFeatures, int]:
    """Writes the features of a video, from its journal: they are never in memory as a whole."""
    file = store.journal_of(video)
    with features_in_pieces(job, video, journal=file, on_progress=on_progress) as made, during(Stage.OUTPUT):
        facts, columns = made
        store.write(video, facts, columns, stored=job.stored)
    file.unlink(missing_ok=True)
    return facts, columns.pieces[VALUES][0]


@contextmanager
def features_in_pieces(
    job: FeatureJob, video: str, *, journal: Path | None, on_progress: OnProgress | None = None
) -> Iterator[tuple[VideoFeatures, Columns]]:
    """The features of a video, which are never in memory as a whole: all but their columns, and these in pieces.

    Args:
        job: How they are made.
        video: The video.
        journal: A file that keeps what is done, after which a later run of the same job goes on; it is left as it is.
            Without one they are in a temporary file, inside of the context alone.
        on_progress: Called with where a video starts and ends and how far it is done, in seconds.

    Raises:
        VideoError: There can be none.
        OutputError: They cannot be kept.
        TadaError: For features that are not numbers.
    """
    widths: dict[str, int] = {}
    files: dict[str, RowFile] = {}
    with ExitStack() as opened:
        log: WindowJournal | None = None
        if journal is not None:
            log = WindowJournal(journal, kind=_KIND, run_id=job.run.id, video=video, size_bytes=file_size(video))
            opened.callback(log.close)

        def take(group: Group) -> None:
            for name, values in group.rows.items():
                widths[name] = values.shape[1]
                if log is None:
                    if name not in files:
                        files[name] = opened.enter_context(RowFile())
                    files[name].append(values)

        done = _pass(job, video, take, journal=log, on_progress=on_progress)
        count = int(done.is_done.sum())
        nothing = np.empty((count, 0), np.float32)
        heads = job.model.spec.heads if job.snippets.with_scores else ()
        facts = _features(job, done, nothing, dict.fromkeys(heads, nothing))

        def pieces_of(name: str) -> Iterator[NDArray[np.float32]]:
            if log is None:
                return files[name].pieces(_ROWS_AT_ONCE)
            return (group.rows[name] for group in log.groups() if name in group.rows)

        yield facts, Columns(count, {name: (width, partial(pieces_of, name)) for name, width in widths.items()})


def _pass(
    job: FeatureJob,
    video: str,
    take: Callable[[Group], object],
    *,
    journal: Journal | None = None,
    on_progress: OnProgress | None = None,
    share: Share | None = None,
) -> WindowPass:
    batch_size = job.snippets.batch_size_on(job.model.device.type)
    return pass_over(
        video,
        model=job.model,
        layout=job.snippets,
        work=_FeatureWork(job.model, batch_size, job.snippets.crops, job.snippets.with_scores),
        take=take,
        batch_size=batch_size,
        fps=job.snippets.fps,
        cuts=job.snippets.cuts,
        journal=journal,
        on_progress=on_progress,
        max_download=job.max_download,
        index=job.index,
        share=share,
    )


def shared_snippets(job: FeatureJob) -> Shared:
    """What `iter_features` does with a video, to be shared out."""
    snippets, score = job.snippets, partial(_pass, job, take=lambda _: None)
    is_one = snippets.cuts == "auto"
    return Shared(lambda _: snippets, score, _KIND, job.run.id, snippets.fps, job.max_download, job.index, is_one)


def _features(
    job: FeatureJob, done: WindowPass, values: NDArray[np.float32], scores: Mapping[str, NDArray[np.float32]]
) -> VideoFeatures:
    plan, spec = done.plan, job.model.spec
    centres = job.snippets.centres(plan.start, plan.end, spec=spec.input)
    ((_, laid),) = job.snippets.laid(plan.start, plan.end, cuts=plan.cuts, fps=float(done.info.fps), spec=spec.input)
    numbers, (spans, _, _) = plan.numbers()[done.is_done], plan.rows()
    return VideoFeatures(
        path=done.path,
        values=values,
        spans=spans[done.is_done],
        centres=centres[numbers],
        stride_seconds=job.contract.stride_seconds,
        duration_seconds=plan.end,
        gaps=done.gaps,
        contract=job.contract,
        scores=scores,
        start_seconds=plan.start,
        size_bytes=done.size_bytes,
        num_planned=plan.num_laid,
        notes=(
            *video_notes(done.info),
            *_unseen(job.contract, laid, plan),
            *cuts_outside(job.snippets.cuts, done.info),
        ),
        cuts=plan.cuts if job.snippets.cuts else None,
        info=done.info,
        num_frames_used=done.num_frames_used,
    )


def _unseen(contract: FeatureContract, spans: Seconds, plan: WindowPlan) -> list[Note]:
    """A note where snippets that are shorter than their stride leave time out, or shots that no centre is in."""
    if contract.stride_seconds <= contract.snippet_seconds + SAME_TIME_SECONDS and not plan.cuts:
        return []
    unseen, whole = unseen_seconds(spans, plan.start, plan.end), plan.end - plan.start
    text = (
        f"snippets of {contract.snippet_seconds:.3g} s every {contract.stride_seconds:.3g} s"
        f"{' that keep to their shots' if plan.cuts else ''} do not look at "
        f"{unseen:.1f} of {whole:.1f} s ({100 * unseen / whole:.0f} %)"
    )
    return [Note(NoteKind.UNSEEN, text)] if unseen > SAME_TIME_SECONDS else []


@dataclass(frozen=True)
class _FeatureWork:
    """Features of snippets: the mean over the clips of each, those of its crops beside each other."""

    model: Model
    batch_size: int
    num_crops: int
    with_scores: bool

    def of_clips(self, views: Sequence[Tensor], counts: Sequence[int]) -> Worked:
        """The features of snippets that have `counts` many of these views each; nothing for no snippet."""
        model, size = self.model, self.batch_size
        parts: list[Tensor] = []
        score_parts: dict[str, list[Tensor]] = {name: [] for name in model.spec.heads if self.with_scores}
        for first in range(0, len(views), size):
            group = views[first : first + size]
            found, scores = features_and_scores(model, padded_batch(group, size), with_scores=self.with_scores)
            parts.append(found[: len(group)].double())
            for name, values in scores.items():
                score_parts[name].append(values[: len(group)])
        if not counts:
            return Worked({})
        of_snippets = torch.split(torch.cat(parts), list(counts))
        by_crop = [each.reshape(-1, self.num_crops, each.shape[1]) for each in of_snippets]
        features = torch.stack([each.mean(dim=0).flatten() for each in by_crop]).float()
        if not bool(features.isfinite().all()):
            raise TadaError(
                "the features are not numbers; the weights or the dtype cannot be right",
                hint="use --dtype float32, or fetch the weights again",
            )
        rows = {
            score_name(name): mean_rows(name, values, counts, num_columns=0) for name, values in score_parts.items()
        }
        return Worked({VALUES: features.numpy(), **rows})
