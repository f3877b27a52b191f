"""Labelled data: what annotation files say, which video each item is, and which side of a split it is on.

Here: samples, one module for each data set or kind of file, `loading` for any of them, checks, overlaps, splits, and
data of one's own. Only `check` and `overlaps` open videos. Not here: predictions (`evaluation`), and the formats that
results are written in (`formats`).
"""
