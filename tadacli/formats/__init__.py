"""Files of results: rows and segments in every format that is written, and results read back.

Here: records, growing files that resume, one module for each outside format, the table of all formats. Not here: pages
for people (`reports`), annotations (`datasets`), and predictions of other tools (`evaluation`).
"""
