"""The table of the experiment: accuracies over seeds, paired differences, and the authors' figures beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Run = dict[str, Any]  # what `experiment.train_and_test` returns
Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

NETWORKS = ("TSN", "TAda2D", "R(2+1)D", "R(2+1)D with TAdaConv")
R3D_NETWORKS = ("r3d_18", "r3d_18 with TAdaConv")
LITE0_NETWORKS = ("EfficientNet-Lite0", "EfficientNet-Lite0 with TAdaConv")
TASK_NETWORKS = {
    "camera": NETWORKS,
    "actions": NETWORKS,
    "r3d_18": R3D_NETWORKS,
    "lite0_order": LITE0_NETWORKS,
    "lite0_actions": LITE0_NETWORKS,
}
# (with, without): what is compared. All but the third are the question; that is what order is worth by itself.
PAIRS = (
    ("TAda2D", "TSN"),
    ("R(2+1)D with TAdaConv", "R(2+1)D"),
    ("R(2+1)D", "TSN"),
    ("r3d_18 with TAdaConv", "r3d_18"),
    ("EfficientNet-Lite0 with TAdaConv", "EfficientNet-Lite0"),
)
TITLES = {
    "camera": "Motion of a virtual camera",
    "actions": "Actions in segments of real video",
    "r3d_18": "Motion of a virtual camera: torchvision's r3d_18 and add_tadaconv",
    "lite0_order": "Clips that order decides: EfficientNet-Lite0 from ImageNet, and add_tadaconv",
    "lite0_actions": "Actions in segments of real video: EfficientNet-Lite0 from ImageNet, and add_tadaconv",
}
# Labels with fewer than twelve segments, and the one that takes active in, by what they are counted as.
MERGED = {"lying": "lie", "falled": "lie", "sleeping": "lie", "active": "walk or active", "walk": "walk or active"}
# The poses of these are the same, and only their order tells them apart.
ORDER_CLASSES = dict.fromkeys(("actions", "lite0_actions"), ("sitdown", "standup", "falling"))
NUM_RESAMPLES = 10_000

# The authors' figures, percent: top-1 of TAda! (ICLR 2022), table 3, their own implementations of the bases; 8 frames.
# HACS is the average mAP of detection on features; the number without TAdaConv is the one that their model card pairs
# with it under another data set's name.
PUBLISHED = (
    ("SlowOnly 8x8, all TAdaConv", "74.56 to 75.85 (+1.29)", "60.31 to 63.30 (+2.99)", ""),
    ("SlowFast 8x8, all TAdaConv", "76.19 to 77.43 (+1.24)", "61.54 to 63.88 (+2.34)", ""),
    ("R(2+1)D, TAdaConv for the 2-D convolutions", "73.63 to 75.19 (+1.56)", "61.06 to 62.86 (+1.80)", ""),
    ("R(2+1)D, TAdaConv for all convolutions", "73.63 to 75.36 (+1.73)", "61.06 to 63.78 (+2.72)", ""),
    ("R3D, TAdaConv for the 3-D convolutions", "73.83 to 74.91 (+1.08)", "59.86 to 62.85 (+2.99)", ""),
    ("TSN to TAda2D", "TAda2D 76.7", "TAda2D 64.0", "28.6 to 32.3 (+3.7)"),
)


def read_runs(path: Path) -> list[Run]:
    """The trainings of a result file."""
    try:
        runs: list[Run] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path} is no result file of this experiment: {error}") from error
    return runs


@dataclass(frozen=True)
class Scores:
    """Answers of one network: (S, N) over the seeds whose folds are all there, and N items in the order of `ids`."""

    network: str
    runs: tuple[Run, ...]
    seeds: tuple[int, ...]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    truth: Indices
    answers: Indices
    backwards: Indices

    @property
    def right(self) -> NDArray[np.bool_]:
        """(S, N): whether an answer is right."""
        return np.asarray(self.answers == self.truth)

    def accuracy(self, answers: Indices, classes: Sequence[str] | None = None) -> Numbers:
        """(S,) percent of right `answers`, of the items of some classes if they are named."""
        return np.asarray(100 * (answers == self.truth)[:, self.items_of(classes)].mean(axis=1))

    def items_of(self, classes: Sequence[str] | None) -> NDArray[np.bool_]:
        """(N,): whether an item is of one of the classes; of all if none is named."""
        if classes is None:
            return np.ones(len(self.truth), dtype=np.bool_)
        return np.isin(self.truth, [self.classes.index(name) for name in classes])

    def by_class(self) -> Numbers:
        """(S, classes that occur) percent right."""
        return np.stack([self.accuracy(self.answers, [self.classes[index]]) for index in np.unique(self.truth)], axis=1)


def scores_of(runs: Sequence[Run], network: str, *, num_folds: int) -> Scores | None:
    """The scores of a network from the runs of a task; None if no seed has all its folds."""
    own = [run for run in runs if run["network"] == network]
    counts = Counter(run["seed"] for run in own)
    seeds = tuple(sorted(seed for seed, count in counts.items() if count == num_folds))
    if not seeds:
        return None
    rows = {seed: _rows([run for run in own if run["seed"] == seed]) for seed in seeds}
    ids = sorted(rows[seeds[0]])
    if any(sorted(rows[seed]) != ids for seed in seeds):
        raise SystemExit(f"the seeds of {network} were not tested on the same items")
    first = rows[seeds[0]]
    return Scores(
        network=network,
        runs=tuple(run for run in own if run["seed"] in seeds),
        seeds=seeds,
        ids=tuple(ids),
        groups=tuple(first[name][0] for name in ids),
        classes=tuple(own[0]["classes"]),
        truth=np.array([first[name][1] for name in ids]),
        answers=np.array([[rows[seed][name][2] for name in ids] for seed in seeds]),
        backwards=np.array([[rows[seed][name][3] for name in ids] for seed in seeds]),
    )


def _rows(runs: Sequence[Run]) -> dict[str, tuple[str, int, int, int]]:
    """(group, truth, answer, answer backwards) of each item, over the folds."""
    columns = ("ids", "groups", "truth", "answers", "backwards")
    rows = [row for run in runs for row in zip(*(run[column] for column in columns), strict=True)]
    found = {row[0]: row[1:] for row in rows}
    if len(found) != len(rows):
        raise SystemExit("an item was tested in two folds, or two items have one id")
    return found


@dataclass(frozen=True)
class Difference:
    """A difference in percent points and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def meaning(self) -> str:
        """What the interval says."""
        if self.low > 0:
            return "more"
        return "less" if self.high < 0 else "none shown"


def paired_difference(
    left: Scores, right: Scores, classes: Sequence[str] | None = None, *, draw_seeds: bool = False, seed: int = 0
) -> Difference:
    """How much more often `left` is right than `right`, on the same items, each averaged over its seeds.

    The interval is a percentile bootstrap: groups (videos) are drawn with replacement, all items of a group together
    and for both networks, so it tells how far the answer hangs on these videos. With `draw_seeds` the seeds of each
    network are drawn, too: what another training of the same networks might have given.
    """
    if left.ids != right.ids:
        raise SystemExit(f"{left.network} and {right.network} were not tested on the same items")
    chosen = left.items_of(classes)
    place = np.unique(np.array(left.groups)[chosen], return_inverse=True)[1]
    counts = np.bincount(place)
    rng = np.random.default_rng(seed)
    groups = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), NUM_RESAMPLES)
    value, drawn = 0.0, np.zeros(NUM_RESAMPLES)
    for network, sign in ((left, 1), (right, -1)):
        by_seed = np.stack([np.bincount(place, 100.0 * row[chosen]) for row in network.right])
        even = np.full(len(by_seed), 1 / len(by_seed))
        shares = rng.multinomial(len(even), even, NUM_RESAMPLES) / len(even) if draw_seeds else even[None]
        drawn += sign * (shares @ by_seed * groups).sum(axis=1)
        value += sign * float((even @ by_seed).sum() / counts.sum())
    low, high = np.quantile(drawn / (groups @ counts), [0.025, 0.975])
    return Difference(value, float(low), float(high))


# --- Markdown -----------------------------------------------------------------------------------------------


def as_markdown(runs: Sequence[Run]) -> str:
    """The whole table. Ends the program for results of one task with different settings."""
    if not runs:
        raise SystemExit("there are no results yet")
    parts = [
        _task([run for run in runs if run["task"] == task], task) for task in sorted({run["task"] for run in runs})
    ]
    short = ["## In short", summary(runs)] if any(run["network"] in NETWORKS for run in runs) else []
    return "\n\n".join([*short, *parts, _published()])


def summary(runs: Sequence[Run]) -> str:
    """Two tables of the tasks that compare the same four networks: accuracies, and differences with what is shown."""
    tasks = {
        task: {each.network: each for each in _scores([run for run in runs if run["task"] == task], task)}
        for task in ("camera", "actions")
    }
    columns = [(task, None) for task in tasks] + [("actions", ORDER_CLASSES["actions"])]
    titles = [TITLES[task].lower() if order is None else ", ".join(order) for task, order in columns]
    rows, gaps = [], []
    for network in NETWORKS:
        found = [tasks[task].get(network) for task, _ in columns]
        cells = [
            "-"
            if each is None
            else f"{_spread(each.accuracy(each.answers, order))}; "
            f"{each.accuracy(each.backwards, order).mean():.1f} backwards"
            for each, (_, order) in zip(found, columns, strict=True)
        ]
        rows.append([network, *cells])
    for with_it, without in PAIRS:
        row = [f"{with_it} over {without}"]
        for task, order in columns:
            own = tasks[task]
            if with_it not in own or without not in own:
                row.append("-")
                continue
            gap = paired_difference(own[with_it], own[without], order, draw_seeds=True)
            row.append(f"{gap.value:+.1f} ({gap.low:+.1f} to {gap.high:+.1f}): {gap.meaning}")
        if set(row[1:]) != {"-"}:
            gaps.append(row)
    differences = _table(["difference, 95 % over items and seeds", *titles], gaps)
    return "\n".join([*_table(["percent right", *titles], rows), "", *differences])


def _scores(runs: Sequence[Run], task: str) -> list[Scores]:
    """The scores of the networks of a task that have a whole seed. Ends the program for differing settings."""
    settings = runs[0]["settings"] if runs else {}
    for run in runs:
        if run["settings"] != settings:
            name = next(name for name in settings if run["settings"].get(name) != settings[name])
            raise SystemExit(f"{task}: results with {name} {settings[name]} and {run['settings'].get(name)} do not mix")
    found = [scores_of(runs, network, num_folds=settings["folds"]) for network in TASK_NETWORKS[task] if runs]
    return [each for each in found if each is not None]


def _task(runs: Sequence[Run], task: str) -> str:
    scores = _scores(runs, task)
    if not scores:
        return f"## {TITLES[task]}\n\nNo seed has all its folds yet."
    merged = [f"{old} is counted as {new}" for old, new in MERGED.items()] if task == "actions" else []
    about = " ".join([_about(runs, scores), *([f"Rare labels are merged: {', '.join(merged)}."] if merged else [])])
    lines = [f"## {TITLES[task]}", "", about, "", *_accuracies(scores, task), "", *_by_class(scores)]
    return "\n".join([*lines, "", *_differences(scores, task)])


def _about(runs: Sequence[Run], scores: Sequence[Scores]) -> str:
    settings, first = runs[0]["settings"], scores[0]
    made = runs[-1]["made"]
    largest = 100 * max(Counter(first.truth.tolist()).values()) / len(first.truth)
    videos = len(set(first.groups))
    tested = f"{len(first.ids)} items" + (f" of {videos} videos" if videos < len(first.ids) else "")
    how = f", held out by video in {settings['folds']} folds" if settings["folds"] > 1 else " never trained on"
    seeds = sorted({seed for each in scores for seed in each.seeds})
    unfinished = len(runs) - sum(len(each.runs) for each in scores)
    note = f" {unfinished} trainings of unfinished seeds are left out." if unfinished else ""
    footage = f", footage of {settings['footage']}" if settings["footage"] else ""
    return (
        f"{made['date']}, {made['machine']}, Python {made['python']}, torch {made['torch']}: {settings['minutes']:g} "
        f"minutes of one core for each training, clips of 8 x {settings['view'][0]} x {settings['view'][1]}{footage}. "
        f"Tested on {tested}{how}; the most frequent class is {largest:.1f} % of them. Means over {len(seeds)} seeds "
        f'and their standard deviations, percent; "steps" and the minutes that were really taken are means.{note}'
    )


def _accuracies(scores: Sequence[Scores], task: str) -> list[str]:
    order = ORDER_CLASSES.get(task)
    head = ["network", "parameters", "GMACs", "steps", "minutes", "accuracy", "mean class accuracy"]
    head += [f"accuracy on {', '.join(order)}"] if order else []
    head += ["accuracy backwards", "same answer backwards"]
    rows = []
    for each in scores:
        run = each.runs[0]
        row = [
            each.network,
            f"{run['parameters']:,}",
            f"{run['gmacs']:.3f}",
            f"{np.mean([run['num_steps'] for run in each.runs]):.0f}",
            f"{np.mean([run['cpu_minutes'] for run in each.runs]):.2f}",
            _spread(each.accuracy(each.answers)),
            _spread(each.by_class().mean(axis=1)),
        ]
        row += [_spread(each.accuracy(each.answers, order))] if order else []
        same = 100 * (each.answers == each.backwards).mean(axis=1)
        rows.append([*row, _spread(each.accuracy(each.backwards)), _spread(same)])
    return _table(head, rows)


def _by_class(scores: Sequence[Scores]) -> list[str]:
    first = scores[0]
    counts = Counter(first.truth.tolist())
    head = ["percent right by class", *(f"{first.classes[index]} ({count})" for index, count in sorted(counts.items()))]
    return _table(head, [[each.network, *(f"{v:.1f}" for v in each.by_class().mean(axis=0))] for each in scores])


def _differences(scores: Sequence[Scores], task: str) -> list[str]:
    by_name = {each.network: each for each in scores}
    order = ORDER_CLASSES.get(task)
    drawn = "videos" if len(set(scores[0].groups)) < len(scores[0].ids) else "clips"
    intervals = [f"points of accuracy (95 %, over {drawn})", f"95 % over {drawn} and seeds", "shown"]
    head = ["difference", *intervals]
    head += [f"on {', '.join(order)}: {intervals[0]}", *intervals[1:]] if order else []
    rows = []
    for with_it, without in PAIRS:
        if with_it not in by_name or without not in by_name:
            continue
        row = [f"{with_it} over {without}"]
        for classes in (None, order) if order else (None,):
            pair = by_name[with_it], by_name[without]
            found, wide = (paired_difference(*pair, classes, draw_seeds=seeds) for seeds in (False, True))
            row += [f"{found.value:+.1f} ({found.low:+.1f} to {found.high:+.1f})"]
            row += [f"{wide.low:+.1f} to {wide.high:+.1f}", wide.meaning]
        rows.append(row)
    return _table(head, rows) if rows else []


def _published() -> str:
    head = ["the authors' own figures", "Kinetics-400 top-1", "Something-Something V2 top-1", "HACS average mAP"]
    text = (
        "Published by the authors of TAdaConv, not measured here: networks of full size on large data sets, from "
        "weights of an image network. No figure of theirs for TSN on the first two is known. HACS: 32.3 stands in the "
        "feature list of their repository; 28.6 only in a model card, which names another data set for both."
    )
    return "\n".join(["## The authors' figures", "", text, "", *_table(head, PUBLISHED)])


def _spread(values: Numbers) -> str:
    """Mean and standard deviation over seeds; of one seed there is none."""
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
