"""How fast this machine is: networks and decoding, measured for `tada bench`.

Here: what limits classify and detect on one machine. Not here: the ratios that the project claims (`benchmarks/`).
"""
