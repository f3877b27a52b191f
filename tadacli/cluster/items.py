"""What is worked on: an input, and the id under which its one result is kept."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """A video as it was listed.

    Attributes:
        path: The video, as it was named.
        version: By which a video is seen to be another one than before, the size of a file in bytes; None if unknown.
    """

    path: str
    version: int | None = None

    def id_in(self, run_id: str) -> str:
        """The id of its result in a run: a hash of all that the result depends on, 32 hexadecimal digits.

        Args:
            run_id: Of the run, which stands for the model, its weights and the settings.
        """
        text = json.dumps([run_id, self.path, self.version])
        return hashlib.sha256(text.encode()).hexdigest()[:32]
