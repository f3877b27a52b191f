"""Heads over features in time: sequences with labelled segments, what a head is to say of them, and its training.

Here: windows of sequences, targets and losses, the fit and its settings. Not here: the networks (`models`), and how
what they say becomes spans (`detection.head_decoding`).
"""
