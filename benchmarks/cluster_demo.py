"""Starts Ray and a bucket on this machine, scores videos in the bucket with two workers, and says what it did.

python -m benchmarks.cluster_demo
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from tadacli.camera_motion.virtual_camera import render_sample

MOTIONS = ("pan left", "pan right", "zoom in", "static")


def main() -> None:
    """Make the videos, put them into the bucket, run the commands, and show what is there."""
    with tempfile.TemporaryDirectory(prefix="tada-demo-") as home:
        demo(Path(home))


def demo(home: Path) -> None:
    """All of it, in a folder that goes afterwards."""
    import fsspec
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HOME": str(home),
    }
    bucket = fsspec.filesystem("s3")
    bucket.mkdir("demo")
    print(f"a bucket on this machine, s3://demo at {host}:{port}, with {len(MOTIONS)} videos", flush=True)
    for motion in MOTIONS:
        render_sample(home / "video.mp4", motion=motion)
        bucket.put_file(str(home / "video.mp4"), f"demo/videos/{motion}.mp4")
    ray = "--engine ray --address local --engine-workers 2"
    tada(f"classify s3://demo/videos/ -o s3://demo/found.csv --device cpu --topk 1 {ray}")
    tada(f"collect s3://demo/found.csv.run -o {shlex.quote(str(home / 'found.jsonl'))}")
    bucket.invalidate_cache()
    print("what is in the bucket now:")
    names = bucket.find("demo")
    for name in [each for each in names if "/results/" not in each and "/videos/" not in each]:
        print(f"  s3://{name}")
    print(f"  and {sum('/results/' in name for name in names)} results, one for each video")
    print(bucket.cat_file("demo/found.csv").decode(), end="")
    server.stop()


def tada(words: str) -> None:
    """Say a command, and run it."""
    print(f"$ tada {words}", flush=True)
    subprocess.run([sys.executable, "-m", "tadacli", *shlex.split(words)], check=True)


if __name__ == "__main__":
    main()
