"""Exported networks: what such a file says of itself, and how another runtime computes what it holds.

Here: the metadata of exported files, reading them so that no file runs code or fills the memory, and networks whose
arithmetic is done by onnxruntime or by an exported graph of PyTorch. Not here: how such files are made and proven
(`exporting`), and which model a name means (`zoo`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

ONNX, PT2 = ".onnx", ".pt2"
SUFFIXES = (ONNX, PT2)
# The names under which a graph takes clips, or features and which of them there are, and gives what comes of them.
CLIPS, STEPS, KNOWN = "clips", "features", "known"
FEATURES, LOGITS = "features", "logits"


@dataclass(frozen=True)
class Runtime:
    """What computes an exported file: its name and version, and of onnxruntime the provider, else ""."""

    name: str
    version: str
    provider: str = ""

    def to_dict(self) -> dict[str, str]:
        """The same, JSON-ready, without what is not there."""
        values = {"name": self.name, "version": self.version, "provider": self.provider}
        return {key: value for key, value in values.items() if value}


def is_exported_file(path: str | os.PathLike[str]) -> bool:
    """Whether a path has the ending of an exported network."""
    return Path(path).suffix.lower() in SUFFIXES


def logits_name(head: str) -> str:
    """What the logits of a head are called in a graph; a single head has the name ""."""
    return f"{LOGITS}.{head}" if head else LOGITS
