"""Known models into the store: from the first source that has the file, or from a file that a person downloaded."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from tadacli.errors import (
    CheckpointError,
    FetchError,
    NoConnectionError,
    OutputError,
    SpecError,
    TadaError,
    UndecidedError,
)
from tadacli.files import new_file, write_new
from tadacli.zoo import manifest, store
from tadacli.zoo.class_names import check_labels
from tadacli.zoo.configuration import Configuration, fetch_configuration, read_configuration
from tadacli.zoo.downloading import PATIENCE, OnMessage, OnProgress, Patience, Room, discard, download, storing
from tadacli.zoo.image_weights import IMAGE_WEIGHTS, ImageWeights, convert_image_weights
from tadacli.zoo.manifest import Known, ModelCard
from tadacli.zoo.mirror_lists import check_listed
from tadacli.zoo.offers import sources_of
from tadacli.zoo.renaming import renamed
from tadacli.zoo.sources import Source
from tadacli.zoo.stated import NOTHING_DECIDED, Decided
from tadacli.zoo.store import FileHash, StoredWeights

# The converted weights are about as large as the original, and both are here for a moment.
_ROOM = Room(copies=2)
Fetchable = Known | ImageWeights


@dataclass(frozen=True)
class Fetched:
    """Weights that are now in the store: how they came, and whether their original was seen for the first time.

    Those of the built-in model lie elsewhere, and of one "mirrored" the published file was in the mirror that is being
    filled: `weights` is None.
    What is seen for the first time, with no hash in the manifest, is trusted; only that file is taken from then on.
    `notes` are what a person should know of the model's settings.
    """

    name: str
    how: Literal["built in", "stored", "downloaded", "imported", "mirrored"]
    weights: StoredWeights | None
    is_first_use: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotFetched:
    """Why the weights of a model could not be fetched, or are not what they were."""

    name: str
    error: TadaError


def fetch_each(
    specs: Sequence[Fetchable],
    *,
    decided: Decided = NOTHING_DECIDED,
    file: Path | None = None,
    mirror: str | None = None,
    offline: bool = False,
    keep_original: bool = False,
    patience: Patience = PATIENCE,
    on_progress: Callable[[str, int, int | None], None] = lambda _name, _done, _total: None,
    on_message: OnMessage = lambda _text: None,
) -> Iterator[Fetched | NotFetched]:
    """Each model in the store, one after the other, even where another cannot be fetched.

    Once no source of a model could be reached, no others are tried: that would take as long for each of them.

    Args:
        specs: The models, the card of one whose settings come with its file; or image weights to start training from.
        decided: What a person says of their settings, see `completing.complete`.
        file: The published file of the only model, in place of a download; of one of the hub the folder, too.
        mirror: Where to try first, see `sources_of`.
        offline: Whether to forbid any transfer.
        keep_original: Whether to keep the published file beside the converted one.
        patience: How often and how long to wait for a server.
        on_progress: Gets a model's name, the bytes that are here and how many there will be, if known.
        on_message: Gets what is done or waited for, in words.

    Yields:
        What came of each model, in order.

    Raises:
        OutputError: The disk is full or cannot be written: the others would fail as well.
        TadaError: The only model cannot be fetched.
    """
    cut_off: NoConnectionError | None = None
    for spec in specs:
        try:
            check_labels(spec, decided.labels)  # before anything is downloaded
            if spec.source.file:
                fetched = Fetched(spec.name, "built in", None)
            elif file is not None:
                fetched = fetch_file(spec, file, decided=decided, keep_original=keep_original)
            else:
                fetched = fetch(
                    spec,
                    decided=decided,
                    mirror=mirror,
                    offline=offline,
                    cut_off=cut_off,
                    keep_original=keep_original,
                    patience=patience,
                    on_progress=partial(on_progress, spec.name),
                    on_message=on_message,
                )
        except TadaError as error:
            if len(specs) == 1 or isinstance(error, OutputError):
                raise
            if isinstance(error, NoConnectionError):
                cut_off = cut_off or error
            yield NotFetched(spec.name, error)
        else:
            yield fetched


def verify_each(names: Sequence[str] = ()) -> Iterator[StoredWeights | NotFetched]:
    """Hash stored weights again: those of the models named, or all there are.

    Yields:
        The weights that are what was written, and what is wrong with the others.

    Raises:
        SpecError: There is no model of a name; then nothing is hashed.
    """
    for name in names:
        if name not in manifest.cards() and name not in IMAGE_WEIGHTS:
            raise SpecError(f"unknown model {name!r}", hint="tada models says which there are")
    for name in list(names) or [weights.name for weights in store.all_stored()]:
        weights = store.stored(name)
        try:
            if weights is None:
                raise CheckpointError(f"the weights of {name} are not in the store", hint=f"tada fetch {name}")
            store.verify(weights)
        except CheckpointError as error:
            yield NotFetched(name, error)
        else:
            yield weights


def fetch(
    spec: Fetchable,
    *,
    decided: Decided = NOTHING_DECIDED,
    mirror: str | None = None,
    offline: bool = False,
    cut_off: NoConnectionError | None = None,
    keep_original: bool = False,
    patience: Patience = PATIENCE,
    on_progress: OnProgress = lambda _done, _total: None,
    on_message: OnMessage = lambda _text: None,
) -> Fetched:
    """The weights of a model in the store, downloaded and converted unless they are there and undamaged.

    A second run for the same model waits for the first and takes its result. The arguments are those of `fetch_each`;
    `cut_off` is what was found before where no source of another model could be reached: none is asked then.

    Raises:
        NoConnectionError: No source can be reached.
        FetchError: No source gives the file, or one gives another file than before.
        CheckpointError: It is no safe weights file of this model.
        SpecError: This version cannot build the network.
        UndecidedError: The file differs from what is known of the model, or does not say all that is not.
        UsageError: The classes have names, or are not as many as the labels.
        OutputError: The disk is full or cannot be written.
    """
    with _only_run(spec.name, on_message):
        present = _undamaged(spec.name, on_message)
        if present is not None and decided.trust == "manifest" and _was_trusted(present):
            present = None
        if present is not None and decided.labels and not isinstance(spec, ImageWeights):
            present = renamed(spec, present, decided, partial=_downloads() / f"{spec.name}.converted")
        if present is not None and (not keep_original or store.original_path(spec.name).is_file()):
            return Fetched(spec.name, "stored", present)
        if offline:
            raise FetchError(
                f"the weights of {spec.name} are not in {store.store_folder()}, and --offline forbids to download them",
                hint=f"fetch them without --offline, or give a file: tada fetch --from FILE {spec.name}",
            )
        sources = sources_of(spec, mirror=mirror)
        if not sources:
            raise FetchError(
                f"nothing says where {spec.name} can be had",
                hint=f"give --mirror URL, or a file: tada fetch --from FILE {spec.name}",
            )
        if cut_off is not None:
            raise NoConnectionError(
                f"{spec.name} was not tried, since there is no connection", hint="the same command tries it again"
            )
        if not isinstance(spec, ModelCard | ImageWeights):
            from tadacli.zoo.checkpoints import empty_network  # torch is slow to import, and not needed above

            empty_network(spec)  # better refused now than after the download
        configuration = None
        if not isinstance(spec, ImageWeights) and spec.source.configuration:
            spec, configuration = fetch_configuration(
                spec, _downloads(), mirror=mirror, patience=patience, on_message=on_message
            )
        keep = partial(_keep, decided=decided, keep_original=keep_original, configuration=configuration)
        return _from_first(spec, sources, keep, patience, on_progress, on_message)


def fetch_file(
    spec: Fetchable, file: Path, *, decided: Decided = NOTHING_DECIDED, keep_original: bool = False
) -> Fetched:
    """The weights of a model in the store, from its published file on this disk, which is left as it is.

    Of a model of the hub `file` is the folder of both files, or the weights, beside which the configuration lies.
    Raises what `fetch` raises.
    """
    has_configuration = not isinstance(spec, ImageWeights) and bool(spec.source.configuration)
    if not file.is_file() and not (has_configuration and file.is_dir()):
        raise FetchError(f"there is no file {file}", hint="check the path given to --from")
    with _only_run(spec.name, lambda _text: None):
        configuration = None
        if not isinstance(spec, ImageWeights) and has_configuration:
            from tadacli.zoo.hub import hub_files

            file, beside = hub_files(file)
            configuration = read_configuration(spec, beside)
        keep = partial(_keep, decided=decided, keep_original=keep_original, configuration=configuration)
        return keep(spec, file, how="imported", source=str(file))


def _from_first(
    spec: Fetchable,
    sources: Sequence[Source],
    keep: Callable[..., Fetched],
    patience: Patience,
    on_progress: OnProgress,
    on_message: OnMessage,
) -> Fetched:
    errors: list[TadaError] = []
    for source in sources:
        on_message(f"{spec.name}: downloading {source.url}")
        part = _part(spec.name, source)
        complete = part.with_suffix(".pyth")
        if complete.is_file():
            complete.replace(part)  # a run was stopped while it converted this
        try:
            download(
                source,
                part,
                expected_bytes=_expected_size(spec),
                room=_ROOM,
                patience=patience,
                on_progress=on_progress,
                on_message=on_message,
            )
            with storing(part.parent):
                part.replace(complete)
            check_listed(source, complete, patience=patience, on_message=on_message)
            return keep(spec, complete, how="downloaded", source=source.url)
        except (OutputError, UndecidedError):
            if complete.is_file():
                complete.replace(part)  # all of it is here; only room for the rest is missing, or a person's word
            raise
        except (FetchError, CheckpointError) as error:
            if complete.is_file():  # it was not the file we want, and will not be the next time
                discard(part)
            errors.append(error)
            if source != sources[-1]:
                on_message(f"{spec.name}: {error.message}; trying the next source")
        finally:
            complete.unlink(missing_ok=True)
    raise _none_worked(spec.name, sources, errors)


def _none_worked(name: str, sources: Sequence[Source], errors: Sequence[TadaError]) -> TadaError:
    hint = f"download {sources[-1].url} in a browser, then: tada fetch --from FILE {name}"
    is_cut_off = all(isinstance(error, NoConnectionError) for error in errors)
    if is_cut_off:
        hint = f"see whether this machine has a network (HTTPS_PROXY names a proxy); elsewhere {hint}"
    if len(errors) == 1:
        error = errors[0]
        return type(error)(f"{name}: {error.message}", hint=f"{error.hint}; or {hint}" if error.hint else hint)
    reasons = "; ".join(error.message for error in errors)
    kind = NoConnectionError if is_cut_off else FetchError
    return kind(f"{name}: none of {len(errors)} sources gave the file: {reasons}", hint=hint)


def _keep(
    spec: Fetchable,
    file: Path,
    *,
    how: Literal["downloaded", "imported"],
    source: str,
    decided: Decided,
    keep_original: bool,
    configuration: Configuration | None,
) -> Fetched:
    """Check the original, convert it, and put the result into the store; the lock file remembers the original."""
    from tadacli.zoo.conversion import convert

    with storing(store.store_folder()):
        original = store.hash_file(file)
        is_first_use = _check_original(spec, file, original)
        partial = _downloads() / f"{spec.name}.converted"
        try:
            if isinstance(spec, ImageWeights):
                notes: tuple[str, ...] = ()
                convert_image_weights(file, partial, weights=spec, original=original)
            else:
                beside = None if configuration is None else configuration.stated
                notes = convert(
                    file, partial, spec=spec, original=original, decided=decided, configuration=beside
                ).notes
            if keep_original:
                _copy_original(file, store.original_path(spec.name))
            if configuration is not None:
                if keep_original:
                    write_new(store.original_configuration_path(spec.name), configuration.content, replace=True)
                store.lock(store.configuration_name(spec.name), configuration.original)
            store.lock(spec.name, original)
            weights = store.put(partial, name=spec.name, original=original, source=source)
        finally:
            partial.unlink(missing_ok=True)
        for left in _downloads().glob(f"{spec.name}.*.part*"):
            left.unlink()
    return Fetched(spec.name, how, weights, is_first_use, notes)


def _check_original(spec: Fetchable, file: Path, original: FileHash) -> bool:
    """Whether this is the first sight of the file, with nothing to hold it to. Raises `FetchError` if it is another."""
    known = store.locked(spec.name)
    if spec.source.sha256:
        wanted, who = spec.source.sha256, "the published file"
    else:
        wanted, who = (known.sha256 if known else "", "the file that was first fetched")
    if wanted and original.sha256 != wanted:
        hint = "download it again, from a source that you trust"
        if not spec.source.sha256:
            hint = f"if the authors replaced it, and you trust the new one, remove {spec.name} from {store.lock_file()}"
        raise FetchError(
            f"{file} is not {who} of {spec.name}: its SHA-256 is {original.sha256} "
            f"({original.size_bytes:,} bytes), not {wanted}",
            hint=hint,
        )
    others = [name for name in store.locked_names(original) if name != spec.name]
    if others and not wanted:
        raise FetchError(f"{file} is the file of {others[0]}, not of {spec.name}", hint="give the file of this model")
    return not wanted


def _expected_size(spec: Fetchable) -> int | None:
    if spec.source.size_bytes:
        return spec.source.size_bytes
    known = store.locked(spec.name)
    return known.size_bytes if known and not spec.source.sha256 else None


def _undamaged(name: str, on_message: OnMessage) -> StoredWeights | None:
    weights = store.stored(name)
    if weights is not None:
        try:
            store.verify(weights)
        except CheckpointError as error:
            on_message(f"{error.message}; fetching it again")
            return None
    return weights


def _was_trusted(weights: StoredWeights) -> bool:
    """Whether the settings of a file were taken where others are known."""
    from tadacli.zoo.checkpoints import settings_of

    _, stated = settings_of(weights.path)
    return stated is not None and stated.is_trusted


def _copy_original(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with file.open("rb") as original, new_file(target, replace=True) as copy:
        shutil.copyfileobj(original, copy)


@contextlib.contextmanager
def _only_run(name: str, on_message: OnMessage) -> Iterator[None]:
    """One run at a time for each model, on this machine; the lock goes with the process that holds it."""
    with storing(_downloads()):
        _downloads().mkdir(parents=True, exist_ok=True)
        lock = FileLock(_downloads() / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_message(f"{name}: another run is fetching it; waiting for that")
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _downloads() -> Path:
    return store.store_folder() / "downloads"


def _part(name: str, source: Source) -> Path:
    """Each source has a part of its own: two of them may have different files."""
    return _downloads() / f"{name}.{hashlib.sha256(source.url.encode()).hexdigest()[:8]}.part"
