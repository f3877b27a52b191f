"""The folders of frames among the shared cases, against their row of truth.csv."""

from __future__ import annotations

import csv

from tadacli.training.data import load_finetune_data
from tadacli.video import probe
from tests.media import shared_folder


def test_class_folders_of_frame_folders():
    folder = shared_folder() / "cases"
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        assert "frames/img_00001" in [row["file"] for row in csv.DictReader(file)]
    data = load_finetune_data(folder / "frames" / "img_00001")
    samples = [*data.train.samples, *data.validation.samples]
    assert data.heads == {"": ("fall", "walk")}
    assert len(samples) == 6
    assert [probe(str(sample.path)).num_frames for sample in samples] == [40] * 6
