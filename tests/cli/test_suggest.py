"""What is suggested to be labelled: doubt, few examples, several videos; and that guesses never pass for labels."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tadacli.datasets.annotations import read_annotations
from tadacli.datasets.labels_of_people import read_labels_of_people
from tadacli.datasets.own_data import WantedSplits, own_data
from tadacli.detection.score_file import write_scores
from tadacli.detection.scored_windows import WindowScores
from tadacli.detection.span_choice import (
    Candidate,
    LabelledPart,
    candidates_of_row,
    candidates_of_scores,
    choose_spans,
)
from tadacli.detection.suggesting import suggest
from tadacli.errors import UsageError
from tadacli.reports import suggestion_page, video_links
from tadacli.results import Prediction, VideoInfo
from tadacli.zoo.manifest import manifest
from tests import media

LABELS = ("open", "close", "pour")
SURE, TORN = (0.96, 0.02, 0.02), (0.45, 0.44, 0.11)


def scores_of(path: str, rows: list[tuple[float, ...]], *, start: float = 0.0) -> WindowScores:
    """A video of windows of a second, one after the other, with these scores."""
    spans = start + np.stack([np.arange(len(rows)), np.arange(1, len(rows) + 1)], axis=1).astype(np.float64)
    spec = replace(manifest()["r2plus1d_tiny.camera_motion"], heads={"": LABELS}, exclusive_labels=False)
    return WindowScores(
        path=path,
        size_bytes=1000,
        spec=spec,
        weights_sha256="a" * 64,
        tool_version="0.1.0",
        settings={"window": "1s", "stride": "1s"},
        info=VideoInfo(path, 25 * len(rows), Fraction(25), float(len(rows)), 96, 160, 0, "h264", start_seconds=start),
        range_seconds=(start, start + len(rows)),
        spans=spans,
        used=spans,
        scale=np.zeros(len(rows), dtype=np.int64),
        scores={"": np.array(rows, dtype=np.float32)},
        gaps=(),
        num_windows_planned=len(rows),
        num_frames_used=25 * len(rows),
    )


def candidate(path: str, start: float, label: str, doubt: float) -> Candidate:
    return Candidate(path, start, start + 1, (Prediction(label, LABELS.index(label), 0.5),), doubt)


def test_spans_lie_one_after_the_other_and_have_the_mean_of_their_windows() -> None:
    found = candidates_of_scores(scores_of("a.mp4", [SURE, SURE, TORN, SURE, TORN], start=10.0), span_seconds=2.0)
    assert [(each.start_seconds, each.end_seconds) for each in found] == [(10, 12), (12, 14), (14, 15)]
    assert [each.guesses[0].label for each in found] == ["open"] * 3
    assert found[1].guesses[0].score == pytest.approx((0.45 + 0.96) / 2)
    assert found[1].guesses[1].label == "close"
    margins = [0.94, (0.01 + 0.94) / 2, 0.01]
    assert [each.doubt for each in found] == pytest.approx([1 - each for each in margins])


def test_the_model_is_asked_where_it_is_in_doubt() -> None:
    videos = [candidates_of_scores(scores_of("a.mp4", [SURE] * 6 + [TORN] + [SURE] * 5), span_seconds=1.0)]
    (first, *_) = choose_spans(videos, budget=3)
    assert (first.rank, first.span.start_seconds) == (1, 6)


def test_labels_with_few_examples_and_other_videos_come_first() -> None:
    many = [candidate("a.mp4", at, "open", 0.8) for at in range(3)]
    rare, elsewhere = candidate("a.mp4", 3, "pour", 0.7), candidate("b.mp4", 0, "open", 0.75)
    chosen = [each.span for each in choose_spans([[*many, rare], [elsewhere]], budget=3)]
    assert chosen == [many[0], elsewhere, rare]
    known = [LabelledPart("c.mp4", at, at + 1, "open") for at in range(5)]
    assert choose_spans([[*many, rare]], budget=1, labelled=known)[0].span == rare


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 8), st.sampled_from(LABELS), st.floats(0, 1)), max_size=20
    ),
    st.integers(1, 12),
)
def test_nothing_is_suggested_twice_or_although_it_is_labelled(rows: list[tuple], budget: int) -> None:
    videos = [
        [candidate(path, at / 2, label, doubt) for path, at, label, doubt in rows if path == name] for name in "ab"
    ]
    known = [LabelledPart("a", 1.0, 2.0, "open")]
    chosen = [each.span for each in choose_spans(videos, budget=budget, labelled=known)]
    spans = [(each.path, each.start_seconds, each.end_seconds) for each in chosen] + [("a", 1.0, 2.0)]
    for i, (path, start, end) in enumerate(spans):
        assert not any(path == p and start < e and s < end for p, s, e in spans[i + 1 :])
    assert len(chosen) <= budget
    assert choose_spans(videos, budget=budget, labelled=known) == choose_spans(videos, budget=budget, labelled=known)


def test_scores_of_several_videos_and_labels_that_are_there(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").touch()
        rows = [SURE] * 4 + [TORN] * 4
        write_scores(tmp_path / f"{name}.npz", scores_of(str(tmp_path / f"{name}.mp4"), rows, start=5.0))
    labels = tmp_path / "labels.csv"
    labels.write_text("video,start,end,label\nb.mp4,4,8,close\nelsewhere.mp4,0,1,open\n")
    found = suggest([tmp_path / "a.npz", tmp_path / "b.npz"], budget=9, labelled=labels)
    assert [(Path(row["path"]).name, len(row["segments"])) for row in found.rows] == [("a.mp4", 2), ("b.mp4", 1)]
    first = found.rows[0]["segments"][1]
    assert first == {
        "start_seconds": 9.0,
        "end_seconds": 13.0,
        "label": "open",
        "index": 0,
        "score": first["score"],
        "rank": 1,
    }
    assert (found.labels, found.num_videos, found.failed) == (LABELS, 2, ())


def test_of_results_the_segments_are_what_can_be_labelled(tada, tmp_path: Path) -> None:
    write_scores(tmp_path / "a.npz", scores_of("a.mp4", [SURE] * 3 + [(0.1, 0.6, 0.3)] * 3 + [SURE] * 3))
    results = tmp_path / "found.jsonl"
    assert tada("detect", "--from-scores", tmp_path / "a.npz", "-o", results, "-q")[0] == 0
    row = json.loads(results.read_text())
    assert [each["label"] for each in row["segments"]] == ["open", "close", "open"]
    assert [each.span.guesses[0].label for each in suggest(results, budget=1).choices] == ["close"]
    row["segments"][1] |= {"origin": "machine", "checked": True}
    results.write_text(json.dumps(row))
    assert all(each.guesses[0].label == "open" for each in candidates_of_row(row))
    assert len(suggest(str(results)).choices) == 2


def test_guesses_are_no_labels_until_a_person_says_so(tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").touch()
    write_scores(Path("a.npz"), scores_of("a.mp4", [SURE] * 4 + [TORN] * 8))
    code, _, err = tada("suggest", "a.npz", "--budget", "9", "-o", "todo.jsonl")
    assert (code, err) == (0, "3 spans to label, in 1 of 1 video; there is no more to be had of 9\n")
    code, _, err = tada("convert", "todo.jsonl", "--to", "csv", "-o", "todo.csv")
    assert Path("todo.csv").read_text().splitlines()[1].startswith("a.mp4,0.0,4.0,open,0.9")
    row = json.loads(Path("todo.jsonl").read_text())
    row["segments"][0] |= {"origin": "corrected", "label": "pour", "checked": True}
    row["segments"][1] |= {"origin": "machine", "checked": True}
    row |= {"removed": []}
    Path("mine.jsonl").write_text(json.dumps(row))
    mine, todo = read_labels_of_people(Path("mine.jsonl")).spans, read_annotations("todo.csv").spans
    for spans, usable in ((mine, ["pour", "open"]), (todo, [])):
        assert [span.label for span in spans if not span.reason] == usable
        assert len(spans) == 3
        assert all("suggestion" in span.reason for span in spans if span.reason)
    (found,) = own_data(Path("mine.jsonl"), None, None, None, WantedSplits()).parts.values()
    assert (len(found.samples), [each.reason for each in found.unused]) == (
        2,
        ["it is a suggestion that nobody checked"],
    )
    code, _, err = tada(
        "eval", "--dataset", "activitynet", "--annotations", "mine.jsonl", "--predictions", "todo.jsonl"
    )
    assert (code, "1 label that tada suggest guessed" in err) == (2, True)


def test_the_page_shows_the_spans_and_the_table_their_rank(
    tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        write_scores(Path(f"{name}.npz"), scores_of(f"{name}.mp4", [SURE] * 4 + [TORN] * 4))
    code, out, err = tada("suggest", "a.npz", "b.npz", "--budget", "3", "--format", "table", "--report", "todo.html")
    assert code == 0
    assert [line.split()[1] for line in out.decode().splitlines()[3:6]] == ["1", "2", "3"]
    page = Path("todo.html").read_text()
    assert page.count('class="video"') == 2
    assert '"rank":1' in page.replace(" ", "")
    assert "cannot be read" in err  # there are no such videos
    code, _, err = tada("suggest", "a.npz", "--report", "todo.html")
    assert (code, "todo.html" in err) == (1, True)


def test_a_page_holds_no_more_videos_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    for file in files:
        media.render(file, 40)
        write_scores(file.with_suffix(".npz"), scores_of(str(file), [TORN]))
    for module in (video_links, suggestion_page):
        monkeypatch.setattr(module, "MAX_INLINE_BYTES", files[0].stat().st_size + 10)
    found = suggest([file.with_suffix(".npz") for file in files])
    page, notes = suggestion_page.suggestion_page(found.rows, labels=found.labels, page_path=tmp_path / "page.html")
    assert notes == ()
    assert page.count(b'data-type="video/mp4"') == 1
    assert b'"url":"b.mp4"' in page


def test_labels_that_hold_independently_are_in_doubt_each_by_itself() -> None:
    """Two labels that are both sure to hold are no doubt, although no margin is between them."""
    scores = scores_of("a.mp4", [(0.99, 0.98, 0.01), (0.99, 0.55, 0.01)])
    spec = replace(scores.spec, multi_label=True)
    sure, torn = candidates_of_scores(replace(scores, spec=spec), span_seconds=1.0)
    assert sure.doubt == pytest.approx(0.04, abs=1e-6)
    assert torn.doubt == pytest.approx(0.9, abs=1e-6)
    (choice, _) = choose_spans([[sure, torn]], budget=2)
    assert choice.span == torn
    assert 0 < choice.value <= 1


def test_no_run_of_detect_goes_on_with_suggestions(tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_scores(Path("a.npz"), scores_of("a.mp4", [SURE] * 4))
    assert tada("suggest", "a.npz", "-o", "todo.jsonl")[0] == 0
    suggested = json.loads(Path("todo.jsonl").read_text())
    assert suggested["settings"]["suggested"] == {"budget": 20, "span_seconds": 4.0, "num_labelled": 0}
    kept = Path("todo.jsonl").read_bytes()
    code, _, err = tada("detect", "--from-scores", "a.npz", "-o", "todo.jsonl", "--resume")
    assert (code, Path("todo.jsonl").read_bytes()) == (1, kept), err


def test_a_terminal_gets_the_table_in_its_colours(tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    write_scores(Path("a.npz"), scores_of("a\x1b[2J.mp4", [TORN] * 4))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, _ = tada("suggest", "a.npz")
    assert code == 0
    assert b"\x1b[1m" in out
    assert b"u001b" not in out.replace(b"a\\u001b[2J", b"")
    assert b"\x1b[2J" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.npz", "--budget", "0"], "a budget of 0"),
        (["a.npz", "--span", "0s"], "spans of 0 s are not possible"),
        (["a.npz", "found.jsonl"], "found.jsonl is no score file"),
        (["gone.npz"], "gone.npz"),
        (["a.npz", "--report", "page.htm"], "page.html"),
        (["a.npz", "--data-root", "videos"], "no labels"),
        (["found.jsonl", "--span", "2s"], "found.jsonl are its segments"),
        (["a.npz", "--format", "parquet"], "--output FILE.parquet"),
        (["a.npz", "--format", "csv,srt", "-o", "several"], "in one format"),
        (["a.npz", "--format", "strt"], "did you mean srt?"),
    ],
)
def test_what_makes_no_sense_is_said(tada, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments, said) -> None:
    monkeypatch.chdir(tmp_path)
    write_scores(Path("a.npz"), scores_of("a.mp4", [TORN]))
    code, out, err = tada("suggest", *arguments)
    assert code in (1, 2)
    assert out == b""
    assert said in err
    assert "Traceback" not in err


def test_no_file_is_an_error() -> None:
    with pytest.raises(UsageError, match="no file"):
        suggest([])
