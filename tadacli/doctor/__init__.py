"""Is the installation sound: versions, codecs, the store, and a small video through the whole tool.

Here: the checks of `tada doctor`, each a list of findings with the command that mends them.
"""
