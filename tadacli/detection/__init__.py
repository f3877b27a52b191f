"""What happens in a long video, and when: windows scored in one pass, scores made segments.

Here: the pass over one video, score files, curves and thresholds, NMS, actions out of verbs and nouns. Not here: which
windows there are (`sampling`), the formats that segments are written in (`formats`), and metrics (`evaluation`).
"""
