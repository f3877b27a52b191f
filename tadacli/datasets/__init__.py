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
# How annotations are written, as `--from-format` calls it; a program that writes several forms has one name.
_Programs = Literal["eaf", "elan-txt", "labelstudio", "boris", "cvat", "via"]
_Published = Literal["activitynet", "captions", "charades", "ego4d", "createml", "thumos", "multithumos", "ava", "tsm"]
AnnotationFormat = Literal["csv", _Programs, _Published]
