"""Peak memory of `tada detect` or `tada features` on a short and on a long video, which must be the same.

    python -m benchmarks.memory [--command detect|features] [--model NAME --weights FILE] [--minutes 10 60]
                                [--cache DIR] [--once FILE] [-- OPTION ...]

The videos are one 20 s encode of 1080p59.94, repeated, or a file of as many seconds; what stands after -- goes to the
command. Each run is a process of its own; beside them stands a process that only imports the same libraries. Peaks are
those that the kernel counts for each process since it began (VmHWM); what getrusage gives is never less than the peak
of the process that started it. Linux only.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.detect import FILES
from benchmarks.long_video import encode, repeat_packets

ENCODED_SECONDS = 20


def peak_of(code: str, *arguments: str) -> int:
    """Peak resident bytes of a Python process that runs `code`."""
    peak = "next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]"
    report = f"import sys; print({peak}, file=sys.__stdout__)"
    wrapped = f"import sys\ntry:\n    {code}\nfinally:\n    {report}"
    out = subprocess.run([sys.executable, "-c", wrapped, *arguments], check=True, capture_output=True, text=True)
    return int(out.stdout.split()[-1]) * 1024


def main() -> None:
    """Prints the peaks and how they compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", choices=["detect", "features"], default="detect")
    parser.add_argument("more", nargs="*", help="options of the command, after --")
    parser.add_argument("--once", type=Path, help="20 seconds of video, in place of an encode")
    parser.add_argument("--model", default="r2plus1d_tiny.camera_motion")
    parser.add_argument("--weights")
    parser.add_argument("--minutes", type=int, nargs=2, default=[10, 60])
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tada-benchmarks")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    once = options.once or options.cache / "once.mp4"
    if not once.exists():
        encode(once, seconds=ENCODED_SECONDS, options=FILES["x264 defaults"])
    bare = peak_of("import torch, torchvision, av, numpy, pandas, tqdm, safetensors, typer, rich")
    print(f"imports alone: {bare / 1e6:.0f} MB")
    peaks = []
    for minutes in options.minutes:
        video = options.cache / f"{minutes} minutes of {once.stem}.mp4"
        if not video.exists():
            repeat_packets(once, video, times=minutes * 60 // ENCODED_SECONDS)
        output = options.cache / "o"
        arguments = [options.command, str(video), "--model", options.model, "--format", "jsonl", "-o", str(output)]
        arguments += options.more
        arguments += ["--weights", options.weights] if options.weights else []
        if options.command == "features":
            shutil.rmtree(output, ignore_errors=True)
        else:
            output.unlink(missing_ok=True)
        run = f"from tadacli.__main__ import main; sys.argv = ['tada', *{arguments!r}]; main()"
        peaks.append(peak_of(run))
        print(
            f"{minutes} minutes: {peaks[-1] / 1e6:.0f} MB, {(peaks[-1] - bare) / 1e6:.0f} MB above imports", flush=True
        )
    print(f"long / short: {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
