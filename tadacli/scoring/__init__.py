"""Scores of clips: views of a video through a network, and what is said of how they came about.

Here: views, shared batches, probabilities, the provenance of results. Not here: loops over videos (`classification`,
`detection`, `evaluation`).
"""

# What commands offer, where asking for it loads nothing.
DEFAULT_BATCH_SIZE = 8
DEFAULT_TOPK, DEFAULT_MIN_SCORE = 5, 0.0
