"""Models with their weights: what is known about each, how weights get here, and how they become a model.

Here: the manifest and the label lists, fetching, conversion, the store, safe reading of checkpoints, the number type a
model computes in. Not here: the networks (`models`), and the form of a model's settings (`specs`).
"""
