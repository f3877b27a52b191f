"""How the documentation site is made: pages gathered from the repository, generated references, drawings and pictures.

What the pages say is in `docs/`; this package holds the scripts that complete it, and nothing of it is installed.
"""
