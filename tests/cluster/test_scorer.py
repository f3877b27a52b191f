"""A batch of paths in, columns of results out, whatever calls it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pandas as pd
import pytest

from tadacli.cluster import Scorer
from tadacli.cluster.items import Item
from tadacli.cluster.ledger import MOST_ATTEMPTS, Ledger
from tadacli.cluster.stores import LocalStore
from tadacli.errors import OutputError, UsageError
from tadacli.video.inputs import version_of
from tests import media


def test_columns_of_results_are_added(tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    media.render(video, 36)
    scorer = pickle.loads(pickle.dumps(Scorer(tmp_path / "run", device="cpu", column="video")))
    frame = pd.DataFrame({"video": [str(video), "none.mp4"], "mine": [1, 2]})
    found = scorer(frame)
    assert list(found.columns) == ["video", "mine", "status", "error", "label", "score", "row"]
    assert list(found["status"]) == ["ok", "error"]
    row = json.loads(found["row"][0])
    assert (found["label"][0], found["score"][0]) == (row["topk"][0]["label"], row["topk"][0]["score"])
    assert pd.isna(found["label"][1])

    again = pickle.loads(pickle.dumps(scorer))
    ledger = Ledger(LocalStore(tmp_path / "run"))
    media.render(tmp_path / "poison.mp4", 36)
    poison = str(tmp_path / "poison.mp4")
    for number in range(MOST_ATTEMPTS):
        assert ledger.attempt(Item(poison, version_of(poison)).id_in(row["run"]), f"worker {number}") is not None
    columns = again({"video": [poison, str(video)]})
    assert columns["status"] == ["error", "ok"]
    assert "3 workers ended while they worked on it" in columns["error"][0]
    assert columns["row"][1] == found["row"][0]

    with pytest.raises(UsageError, match="no column 'video'"):
        scorer({"path": []})
    with pytest.raises(OutputError, match="topk is 5 there and 1 now"):
        Scorer(tmp_path / "run", device="cpu", topk=1)({"path": [str(video)]})
