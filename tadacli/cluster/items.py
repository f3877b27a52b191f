"""What is worked on: an input, and the id under which its one result is kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from tadacli.sampling.shares import Share
from tadacli.video.lists import ListedPart

DIVIDED = "divided"  # the status of what is no result: the video is to be given out in shares


@dataclass(frozen=True, slots=True)
class Item:
    """A video as it was listed.

    Attributes:
        path: The video, as it was named; a `ListedPart` where a list names a part of it, or gives it an id.
        version: By which a video is seen to be another one than before, the size of a file in bytes, the etag of one in
            a store; None if unknown.
        file: Where something is written that is made of the video besides its row, such as its features; None if
            nothing is.
        sample: Of an item of a data set, its id there, as several may be of one video.
    """

    path: str
    version: int | str | None = None
    file: str | None = None
    sample: str | None = None

    def id_in(self, run_id: str) -> str:
        """The id of its result in a run: a hash of all that the result depends on, 32 hexadecimal digits.

        Args:
            run_id: Of the run, which stands for the model, its weights and the settings.
        """
        facts: list[object] = [run_id, self.path, self.version, *([] if self.file is None else [self.file])]
        facts += [] if self.sample is None else ["sample", self.sample]
        facts += ["part", *self.path.part] if isinstance(self.path, ListedPart) else []
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def share_id(item_id: str, share: Share) -> str:
    """The id under which what one share of a video's windows gives is kept until all are there."""
    facts = [item_id, "share", share.number, share.count]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
