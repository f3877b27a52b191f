"""What fetching a model means before it is done: from where, how much, under which licence, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tadacli.errors import CheckpointError
from tadacli.specs import ModelFacts
from tadacli.zoo import manifest, store
from tadacli.zoo.addresses import address, credentials_of
from tadacli.zoo.image_weights import ImageWeights
from tadacli.zoo.manifest import ModelCard
from tadacli.zoo.mirror_lists import mirror_address
from tadacli.zoo.sources import Source, drive_source
from tadacli.zoo.stated import CONFIGURATION


@dataclass(frozen=True)
class Offer:
    """A download that a person is asked about.

    `num_bytes` is its size, about right unless `is_exact`, None where nobody knows it; `place` is what has the file,
    as people call it; `licence` is "" where it is not known.
    """

    num_bytes: int | None
    is_exact: bool
    place: str
    licence: str

    def __str__(self) -> str:
        """The offer in words: about 110 MB from Google Drive, licence Apache-2.0."""
        size = "a file of unknown size"
        if self.num_bytes is not None:
            size = f"{'' if self.is_exact else 'about '}{store.size_text(self.num_bytes)}"
        licence = f"licence {self.licence}" if self.licence else "licence unknown, see its page"
        return f"{size} from {self.place}, {licence}"


def offer_of(spec: ModelFacts, *, mirror: str | None = None) -> Offer:
    """What the weights of a known model are and where they are tried first; no server is asked.

    Args:
        spec: Its settings.
        mirror: Where to try before anywhere else, see `sources_of`.

    Returns:
        The offer.
    """
    known = store.locked(spec.name)
    exact = spec.source.size_bytes or (known.size_bytes if known is not None else 0)
    sources = sources_of(spec, mirror=mirror)
    place = _place(sources[0]) if sources else "nowhere"
    return Offer(exact or manifest.cards()[spec.name].about_bytes, bool(exact), place, spec.source.licence)


def not_here(card: ModelCard) -> CheckpointError:
    """The error that says that the weights of a known model are not on this machine, and where to get them."""
    size = card.about_bytes
    amount = "" if size is None else f" (about {size / 1e6:.0f} MB)"
    return CheckpointError(
        f"the weights of {card.name} are not on this machine",
        hint=f"tada fetch {card.name}{amount}, or give the file with --weights FILE",
    )


def sources_of(spec: ModelFacts | ImageWeights, *, mirror: str | None = None) -> list[Source]:
    """Where the published file of a model can be had, in the order in which it is tried.

    A mirror, any URL or folder that fsspec opens, has it as `NAME.pyth`, and beside it the configuration of a model of
    the hub as `NAME.configuration.json`; in its address `{file}` may stand for that.
    """
    sources = [_at_mirror(mirror, f"{spec.name}.pyth")] if mirror else []
    if spec.source.url:
        sources.append(Source(spec.source.url))
    if spec.source.google_drive:
        sources.append(drive_source(spec.source.google_drive))
    return sources


def configuration_sources_of(spec: ModelFacts, *, mirror: str | None = None) -> list[Source]:
    """The same for the configuration of a model of the hub; none for other models."""
    if not spec.source.configuration:
        return []
    sources = [_at_mirror(mirror, f"{spec.name}.{CONFIGURATION}")] if mirror else []
    return [*sources, Source(spec.source.configuration)]


def _at_mirror(mirror: str, file: str) -> Source:
    shown = address(mirror)
    return Source(mirror_address(shown, file), mirror=shown, file=file, credentials=credentials_of(shown))


def plan_of(
    spec: ModelFacts | ImageWeights, *, file: Path | None = None, mirror: str | None = None, offline: bool = False
) -> str:
    """What `fetching.fetch_each` would do for a model, in words; no server is asked."""
    target = store.weights_path(spec.name)
    if spec.source.file:
        return "comes with tada; there is nothing to fetch"
    if file is not None:
        return f"convert {file} to {target}"
    if store.stored(spec.name) is not None:
        return f"here: hash {target} again"
    if offline:
        return "not here, and --offline forbids to download it"
    places = ", else ".join(source.url for source in sources_of(spec, mirror=mirror))
    size = None if isinstance(spec, ImageWeights) else manifest.cards()[spec.name].about_bytes
    amount = "a file of unknown size" if size is None else f"about {store.size_text(size)}"
    if spec.source.configuration:
        amount = f"{CONFIGURATION} and {amount}"
    return f"download {amount} from {places or 'nowhere: no source is known'}; convert to {target}"


def _place(source: Source) -> str:
    """What has the file, as people call it: the host, without what else is in an address."""
    if source.google_drive:
        return "Google Drive"
    parts = urlsplit(source.url)
    return parts.hostname or source.url
