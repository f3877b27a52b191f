"""Models with their weights: what is known about each, how weights get here, and how they become a model.

Here: the manifest and the label lists, what files state of themselves, fetching, conversion, the store, safe reading of
checkpoints, the number type a model computes in. Not here: the networks (`models`), and the form of a model's settings
(`specs`).
"""

from typing import Literal

# What commands offer, where asking for it loads nothing.
DEFAULT_MODEL = "r2plus1d_tiny.camera_motion"  # the built-in one
DEVICE_NAMES = "auto, cpu, gpu, cuda, cuda:1 or mps"
DtypeName = Literal["float32", "bfloat16", "float16"]  # what a network computes in; scores are float32 in any case
Trust = Literal["manifest", "file"]  # whose settings count where what is known of a model and its file differ
