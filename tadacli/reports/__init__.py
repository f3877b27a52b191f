"""What people look at: pages of detections and of evaluations, rendered videos, and the tables behind them.

Here: HTML pages, JSON and CSV of an evaluation, thumbnails, videos with labels drawn in. Not here: formats that other
tools read segments from (`formats`), and the numbers themselves (`evaluation`).
"""
