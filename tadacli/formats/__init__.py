"""Files of results: rows and segments in every format that is written, and results read back.

Here: records, growing files that resume, one module for each outside format, the table of all formats, and pickles of
arrays, read without running code. Not here: pages for people (`reports`), annotations (`datasets`), and what the
predictions of other tools mean (`evaluation`).
"""
