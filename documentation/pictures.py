"""The pictures of the README: the report of `tada detect` over a rendered video, and a terminal in which it runs.

    python -m documentation.pictures [FOLDER]

Writes `report.png` and `terminal.webp`, by default to docs/pictures. It needs Chromium with its driver, and selenium.
"""

from __future__ import annotations

import argparse
import contextlib
import html
import io
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from tadacli.camera_motion.virtual_camera import CameraMove, render_sequence

ROOT = Path(__file__).resolve().parents[1]
MOTIONS = ("pan left", "static", "zoom in", "pan right", "tilt up")
NUM_COLOURS = 256
NUM_COLUMNS = 80
COMMAND = "tada detect film.mp4 --window 1s --stride 250ms --report film.html"
_TERMINAL_PAGE = """<!doctype html><meta charset="utf-8"><style>body{{margin:0;background:#1e1e2e}}
pre{{margin:0;padding:14px 16px;color:#e6e9ef;font:15px/1.17 "DejaVu Sans Mono",monospace}}b{{color:#a6e3a1}}</style>
<pre>{text}</pre>"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs" / "pictures")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as made, chromium() as browser:
        moves = [(CameraMove(motion, 0.2), 3.0) for motion in MOTIONS]
        render_sequence(Path(made, "film.mp4"), moves=moves, height=270, width=480)
        output = on_a_terminal(COMMAND, Path(made))
        picture_of_report(browser, Path(made, "film.html"), folder / "report.png")
        picture_of_terminal(browser, output, Path(made), folder / "terminal.webp")


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A headless Chromium with a driver."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def picture_of_report(browser: Any, page: Path, target: Path) -> None:
    """Takes a picture of the upper part of a report, in few colours, so that it is small."""
    browser.set_window_size(1180, 980)
    browser.get(page.as_uri())
    browser.execute_async_script(
        "const done = arguments[0], video = document.querySelector('video');"
        "if (!video) return done(); video.addEventListener('seeked', () => setTimeout(done, 2000));"
        "video.currentTime = 7.5; setTimeout(done, 8000);"
    )
    _write(_shot(browser), target)


def picture_of_terminal(browser: Any, output: str, folder: Path, target: Path) -> None:
    """Writes what a terminal shows, all of it first, for who sees one frame alone, and then step by step."""
    width, height = NUM_COLUMNS * 9 + 50, 18 * (output.count("\n") + 1) + 40
    browser.set_window_size(width, height + 150)
    frames = []
    for typed in (f"{COMMAND}\n{output}", "█", f"{COMMAND[:11]}█", f"{COMMAND}█"):
        page = folder / "terminal.html"
        page.write_text(_TERMINAL_PAGE.format(text=f"<b>$</b> {html.escape(typed)}"), encoding="utf-8")
        browser.get(page.as_uri())
        frames.append(_shot(browser).crop((0, 0, width, height)))
    times = [5000, 600, 600, 1200]
    frames[0].save(target, save_all=True, append_images=frames[1:], duration=times, loop=0, lossless=True, method=6)


def on_a_terminal(command: str, folder: Path) -> str:
    """What a terminal of 80 columns shows of the command in the end."""
    master, slave = pty.openpty()
    arguments = [sys.executable, "-m", "tadacli", *command.split()[1:]]
    environment = os.environ | {"COLUMNS": str(NUM_COLUMNS), "TERM": "xterm", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(arguments, cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    said = bytearray()
    with contextlib.suppress(OSError):  # what a terminal gives that nobody holds open any more
        while block := os.read(master, 1 << 16):
            said += block
    os.close(master)
    if process.wait() != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}: {said.decode()}")
    return _last_state(said.decode())


def _last_state(said: str) -> str:
    """What stays of a terminal's bytes: what a line was overwritten with, without the signs that move the cursor."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", lambda found: "\r" if found[0].endswith("K") else "", said)
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in plain.replace("\r\n", "\n").split("\n")]
    folded = [line[at : at + NUM_COLUMNS] for line in lines for at in range(0, len(line), NUM_COLUMNS)]
    return "\n".join(folded) + "\n"


def _shot(browser: Any) -> Image.Image:
    return Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")


def _write(image: Image.Image, target: Path) -> None:
    image.quantize(NUM_COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()
