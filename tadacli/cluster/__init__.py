"""Videos scored by several processes or machines, each once: who gets which, what is done, and the results as one.

What a worker does with a video is what the command does in one process; that is `classification`, `detection` and
`evaluation`. Training on several GPUs is not here, but in `training` and `distributed`.
"""

from tadacli.cluster.scorer import Scorer as Scorer
