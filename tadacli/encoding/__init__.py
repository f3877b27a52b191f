"""How frames and sound become a video file: MP4 that players know, at the presentation times of the video.

Here: the H.264 encoder, packets that are copied as they are, and the sound of a span, copied or encoded again. Not
here: which frames (`excerpts`), what is drawn on them (`reports`), and how files are read (`video`).
"""
