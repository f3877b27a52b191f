"""Readers of saved predictions, a module for each source: our own results, EPIC-KITCHENS-100, ActivityNet.

Every file may be gzipped. Not here: the file of predictions that `tada eval` keeps (`evaluation.prediction_file`).
"""
