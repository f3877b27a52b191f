"""Scores of clips: views of a video through a network, and what is said of how they came about.

Here: views, shared batches, probabilities, the provenance of results. Not here: loops over videos (`classification`,
`detection`, `evaluation`).
"""
