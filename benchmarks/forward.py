"""Forward time of TAda2D-R50 against its grouped-convolution form, in one run on this machine.

    python -m benchmarks.forward [--batch 1 4] [--rounds 5] [--threads N] [--markdown]

The two forms take turns, so that a change of the machine's speed meets both; the ratio is the median over
rounds of grouped / ours. Beside it stands the achieved rate of multiply-adds, and that of a large matrix
product in the same run.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import torch

from benchmarks.grouped import grouped_form
from tadacli.models import build
from tadacli.models.tada2d import FrameResNet

GMACS_PER_CLIP = 43.13  # 8 x 256 x 256, see tests/models/test_tada2d.py
MATRIX_SIZE = 4096


def main() -> None:
    """Measure and print one line for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    network = build("tada2d_r50", num_classes=400).eval()
    assert isinstance(network, FrameResNet)
    published = grouped_form(network)
    print(f"{_machine()}, {options.threads} threads, {options.rounds} rounds, float32, 8x256x256")
    print("| batch | grouped / ours: median (min to max) | ours, GMAC/s | matrix product, GMAC/s | share |")
    print("| --- | --- | --- | --- | --- |")
    with torch.inference_mode():
        for batch in options.batch:
            print(_measure(network, published, batch=batch, rounds=options.rounds))


def _measure(network: FrameResNet, published: FrameResNet, *, batch: int, rounds: int) -> str:
    clip = torch.randn(batch, 3, 8, 256, 256)
    difference = (network(clip) - published(clip)).abs().max() / published(clip).abs().max()  # also the warm-up
    assert difference < 1e-4, f"the two forms disagree by {difference:.1e}"
    matrix = torch.randn(MATRIX_SIZE, MATRIX_SIZE)
    matrix @ matrix
    ours, grouped, product = [], [], []
    for _ in range(rounds):
        ours.append(_seconds(lambda: network(clip)))
        grouped.append(_seconds(lambda: published(clip)))
        product.append(_seconds(lambda: matrix @ matrix))
    ratios = [slow / fast for slow, fast in zip(grouped, ours, strict=True)]
    rate = GMACS_PER_CLIP * batch / statistics.median(ours)
    peak = MATRIX_SIZE**3 / 1e9 / statistics.median(product)
    return (
        f"| {batch} | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
        f"| {rate:.0f} | {peak:.0f} | {rate / peak:.2f} |"
    )


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _machine() -> str:
    today = datetime.now(UTC).date().isoformat()
    system = f"{platform.machine()} {platform.system()}"
    return f"{today}, {system}, Python {platform.python_version()}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
