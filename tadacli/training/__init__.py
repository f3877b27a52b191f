"""Fine-tuning: data into batches, the loop and its checkpoint, and what is left of a run.

Here: the whole run in one call, recipes and settings, augmentation, the starting point, validation, the run folder and
its model card. Not here: reading annotations (`datasets`), and the recipe of the built-in weights (`camera_motion`).
"""

from __future__ import annotations

from typing import Literal

# Here, where the command line finds them without loading anything.
DEFAULT_RECIPE = "finetune"
Init = Literal["weights", "imagenet", "clip", "random"]
HeadKind = Literal["temporal", "pyramid", "bmn"]
Unlabelled = Literal["background", "ignore"]  # what the time of long videos is that has no label
