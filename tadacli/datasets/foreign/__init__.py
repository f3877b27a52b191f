"""Labels as other annotation programs and data sets write them: a module for each family of files.

Each module tells from the content whether a file is of its family, and reads its labels as marks: which video, which
label, from when to when, in seconds or in frames. Here, too: the table of all families, and how marks become labelled
spans. Not here: labels of ActivityNet and documents of ELAN, which have modules of their own in `datasets`.
"""
