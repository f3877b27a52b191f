"""Classify and search frames that are in memory.

python examples/numpy_frames.py
"""

import numpy as np

import tadacli

FPS = 30


def frames_of_a_pan(num_frames: int) -> np.ndarray:
    """uint8 (num_frames, 120, 214, 3): a window that moves to the right over a picture of soft spots."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (14, 60, 3)).astype(np.float32)
    picture = coarse.repeat(12, axis=0).repeat(12, axis=1)
    for axis in (0, 1):  # a running mean over 12 pixels makes the squares soft
        picture = np.mean([np.roll(picture, shift, axis) for shift in range(12)], axis=0)
    return np.stack([picture[20:140, 20 + number : 234 + number] for number in range(num_frames)]).astype(np.uint8)


def main() -> None:
    frames = frames_of_a_pan(3 * FPS)
    model = tadacli.load_model()  # once, for both calls
    (result,) = model.classify(frames, fps=FPS)
    print(f"it shows: {result.label}, {result.score:.2f}")
    (found,) = model.detect(frames, fps=FPS, window="1s")
    for segment in found:
        print(f"{segment.start_seconds:.2f} to {segment.end_seconds:.2f} s: {segment.label}")


if __name__ == "__main__":
    main()
