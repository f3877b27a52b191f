"""Long videos that several workers search: which are, what each worker makes of one, and the result of all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tadacli.cluster.items import DIVIDED
from tadacli.detection.shares import Shared, join_journals

if TYPE_CHECKING:
    from tadacli.cluster.items import Item
    from tadacli.cluster.work import Row
    from tadacli.sampling.shares import Share


class Dividing:
    """Divides videos that are longer than `share_seconds`, None for none.

    Args:
        shared: What is shared out.
        share_seconds: How much of a video's timeline is a share at most.
        on_step: Called from time to time.
    """

    def __init__(self, shared: Shared | None, share_seconds: float | None, on_step: Callable[[], object]) -> None:
        self._shared, self._seconds, self._on_step = shared, share_seconds, on_step

    def divided(self, item: Item) -> Row | None:
        """That a video is to be given out in so many shares; None for one that is not."""
        if self._shared is None or self._seconds is None:
            return None
        count = self._shared.num_shares(item.path, share_seconds=self._seconds)
        return None if count == 1 else {"path": item.path, "status": DIVIDED, "shares": count}

    def share(self, item: Item, share: Share) -> Row:
        """What is kept of a share until all are there."""
        assert self._shared is not None
        journal = self._shared.journal_of(item.path, share, on_progress=lambda *_: self._on_step())
        return {"path": item.path, "status": "ok", "journal": journal}


class ShareError(Exception):
    """A share of which there is only the reason why nobody could make it."""


def write_journal(shares: Iterable[Row], file: Path) -> None:
    """Write the journal of a video of which these are the shares. Raises `ShareError` for one that is an error."""

    def journals() -> Iterable[str]:
        for share in shares:
            if share["status"] == "error":
                raise ShareError(share["error"])
            yield str(share.get("journal", ""))

    join_journals(journals(), file)
