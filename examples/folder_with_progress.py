"""Search all videos of a folder, with a bar, and write a table.

python examples/folder_with_progress.py FOLDER TABLE.csv
"""

import sys
from pathlib import Path

from tqdm import tqdm

import tadacli


def main(folder: str, table: str) -> None:
    videos = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".mp4", ".mov", ".mkv"))
    results = tadacli.Detections()
    with tqdm(total=1.0, bar_format="{l_bar}{bar}| {desc}") as bar:

        def show(progress: tadacli.Progress) -> None:
            bar.set_description(Path(progress.path).name, refresh=False)
            bar.update(progress.overall - bar.n)

        for found in tadacli.iter_detect(videos, window="1s", progress=show):
            results.append(found)
            if found.status == "error":  # one bad file stops nothing
                bar.write(f"{found.path}: {found.error}")
    results.filter(min_score=0.5).to_pandas().to_csv(table, index=False)
    print(f"{len(results) - len(results.failed)} of {len(results)} videos searched, {table} is written")


if __name__ == "__main__":
    main(*sys.argv[1:])
