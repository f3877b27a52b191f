"""How good predictions are: data sets scored by a model or from files, by the official metrics.

Here: evaluating a model, prediction files, readers of saved predictions, metrics, calibration, the report as a value.
Not here: annotations (`datasets`), and the pages and files that show a report (`reports`).
"""
