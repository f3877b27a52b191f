"""Held-out items as they were decoded, for the next evaluation, which looks at the same frames of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import torch

from tadacli.datasets.samples import Sample
from tadacli.evaluation.scoring import Decoded
from tadacli.scoring.views import DecodedViews
from tadacli.training.frame_cache import identity_of


class KeptViews:
    """The views of items in memory, for several threads; of an item that cannot be read nothing is kept.

    Args:
        num_bytes: No more than so many are used; what is there stays.
    """

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes, self.used_bytes = num_bytes, 0
        self._found: dict[str, tuple[bytes, Decoded, torch.device]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, sample: Sample, *, decode: Callable[[Sample], Decoded]) -> Decoded:
        """What `decode` gives for a sample, from where it is kept or anew if its file is another one by now."""
        identity = identity_of(sample)
        there = self._found.get(sample.id)
        if there is not None and there[0] == identity:
            _, (item, views), device = there
            return item, _on(views, device) if isinstance(views, DecodedViews) else views
        item, views = decode(sample)
        if identity is not None and there is None and isinstance(views, DecodedViews):
            self._keep(sample.id, identity, (item, views))
        return item, views

    def _keep(self, name: str, identity: bytes, found: Decoded) -> None:
        item, views = found
        assert isinstance(views, DecodedViews)
        size = sum(image.numel() * image.element_size() for image in views.images.values())
        with self._lock:
            if name in self._found or self.used_bytes + size > self.num_bytes:
                return
            self.used_bytes += size
            devices = [image.device for image in views.images.values()]
            # Copies: an image may be a part of a larger one, which it would keep, too.
            alone = {number: image.cpu().clone() for number, image in views.images.items()}
            self._found[name] = identity, (item, replace(views, images=alone)), devices[0]


def _on(views: DecodedViews, device: torch.device) -> DecodedViews:
    return replace(views, images={number: image.to(device) for number, image in views.images.items()})
