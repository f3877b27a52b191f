"""Models as files that other runtimes take, each proven to give what the model gives.

Here: which graph a network becomes, how it is written with all that is needed to use it, the proof on clips, and fewer
bits. Not here: reading and running such files (`runtimes`), and the portable form of layers (`models`).
"""

# What commands offer, where asking for it loads nothing.
MOST_RELATIVE_ERROR = 1e-4  # of a file's outputs, to the network's
DEFAULT_MIN_AGREEMENT = 0.98  # of the best classes in fewer bits
