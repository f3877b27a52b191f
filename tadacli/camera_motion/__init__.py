"""Where the built-in weights come from: a virtual camera over generated scenes and running footage.

Here: the scenes, the labelled clips, the recipe and its card. `python -m tadacli.camera_motion` trains the weights.
Not here: the training loop (`training`).
"""
