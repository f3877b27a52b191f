"""The picture of a run's curves: that it comes about for every log there can be, and shows what is in it."""

from __future__ import annotations

import io
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tadacli.errors import UsageError
from tadacli.training.curves import curves_png
from tadacli.training.run_log import LogRow

VALIDATION_RED = (0xD5, 0x5E, 0x00)
TRAINING_BLUE = (0x00, 0x72, 0xB2)


def rows(num_steps: int, *, accuracies: tuple[str, ...] = ("top1",), evaluations: bool = True) -> list[LogRow]:
    found = []
    for step in range(1, num_steps + 1):
        found.append(LogRow(step, "train", step / 10, 4 * step, step, train_loss=9 / step, learning_rate=0.1))
        if evaluations and step % 10 == 0:
            values = {name: float(min(step, 90)) for name in accuracies}
            row = LogRow(step, "evaluation", step / 10, 4 * step, step, validation_loss=9 / step, accuracies=values)
            found.append(row)
    return found


def pixels(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def num_pixels(png: bytes, colour: tuple[int, int, int]) -> int:
    return int((np.abs(pixels(png) - colour).sum(axis=2) < 30).sum())


@pytest.fixture(autouse=True)
def _matplotlib() -> None:
    pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("log", "num_panels"),
    [
        pytest.param(rows(1), 2, id="one row"),
        pytest.param(rows(10)[-1:], 2, id="one evaluation"),
        pytest.param(rows(100), 3, id="one head"),
        pytest.param(rows(30, accuracies=("verb_top1", "noun_top1", "action_top1")), 3, id="two heads"),
        pytest.param(rows(30, evaluations=False), 2, id="no evaluation"),
        pytest.param([LogRow(1, "train", 0.0, 1, 1.0)], 1, id="no numbers"),
        pytest.param([*rows(9), LogRow(10, "train", 1.0, 4, 1.0, train_loss=math.nan)], 2, id="a lost run"),
        pytest.param([*rows(9), LogRow(10, "train", 1.0, 4, 1.0, train_loss=math.inf)], 2, id="an infinite loss"),
        pytest.param([*rows(19), LogRow(20, "evaluation", 2.0, 80, 1.0, validation_loss=math.nan)], 3, id="nan"),
    ],
)
def test_every_log_has_a_picture_with_the_panels_it_has_numbers_for(log: list[LogRow], num_panels: int) -> None:
    height, width = pixels(curves_png(log)).shape[:2]
    assert width == 900
    assert height == round((0.6 + 2.4 * num_panels) * 120)


def test_training_and_validation_are_drawn_where_they_are_known() -> None:
    both, training = curves_png(rows(30)), curves_png(rows(30, evaluations=False))
    assert num_pixels(both, VALIDATION_RED) > 200
    assert num_pixels(training, VALIDATION_RED) == 0
    assert min(num_pixels(both, TRAINING_BLUE), num_pixels(training, TRAINING_BLUE)) > 200


def test_the_best_evaluation_is_marked_where_it_was() -> None:
    log = rows(40)
    later = [
        replace(row, accuracies={"top1": 95.0} if row.step == 20 else {"top1": 1.0}) if row.accuracies else row
        for row in log
    ]

    def columns(png: bytes) -> set[int]:
        """Where a grey dashed line runs over most of the picture's height."""
        grey = np.abs(pixels(png) - 0x55).max(axis=2) < 90
        return set(np.flatnonzero(grey.mean(axis=0) > 0.4).tolist())

    first, second = columns(curves_png(log)), columns(curves_png(later))
    assert max(second) < max(first), "epoch 4 against epoch 2"


def test_the_same_rows_give_the_same_bytes_whatever_a_person_has_set() -> None:
    import matplotlib

    log = rows(100)
    plain = curves_png(log)
    with matplotlib.rc_context({"lines.linewidth": 9, "savefig.dpi": 30, "axes.facecolor": "black"}):
        assert curves_png(log) == plain
        assert matplotlib.rcParams["lines.linewidth"] == 9
    assert b"matplotlib" not in plain


def test_a_log_without_rows_is_refused() -> None:
    with pytest.raises(UsageError, match="no rows yet"):
        curves_png([])


def test_without_matplotlib_a_hint_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError) as caught:
        curves_png(rows(3))
    assert 'pip install "tadacli[curves]"' in caught.value.hint
