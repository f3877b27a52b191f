"""What happens in a long video, and when: windows scored in one pass, scores made segments.

Here: the pass over one video, features of its snippets and their files, score files, curves and thresholds, NMS,
actions out of verbs and nouns. Not here: which windows and snippets there are (`sampling`), the formats that segments
are written in (`formats`), and metrics (`evaluation`).
"""

from typing import Literal

# What commands offer, where asking for it loads nothing.
DEFAULT_THRESHOLD, DEFAULT_NMS_IOU = 0.4, 0.5
Nms = Literal["hard", "soft", "none"]  # what becomes of segments of one class that claim the same time
DEFAULT_NMS: Nms = "hard"
