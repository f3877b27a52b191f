"""Labelled data: what annotation files say, which video each item is, and which side of a split it is on.

Here: samples, one module for each data set or kind of file, `loading` for any of them, checks, overlaps, splits, and
data of one's own. Only `check`, `overlaps` and `frame_clock` open videos. Not here: predictions (`evaluation`), and
the formats that results are written in (`formats`).
"""

from typing import Literal

# What commands offer, where asking for it loads nothing.
_Large = Literal["k400", "ssv2", "ek100"]
_Small = Literal["ucf101", "hmdb51", "folder", "csv"]
DatasetName = Literal[_Large, _Small]
DetectionDatasetName = Literal["ek100-detection", "activitynet"]
EvalDatasetName = Literal[_Large, DetectionDatasetName, _Small]
FinetuneDatasetName = Literal[_Large, "activitynet", "segments", _Small]
