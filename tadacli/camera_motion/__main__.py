"""Trains the built-in weights: `python -m tadacli.camera_motion --output weights`."""

from tadacli.camera_motion.recipe import main

if __name__ == "__main__":
    main()
