"""`tada detect` as a person runs it."""

from __future__ import annotations

import csv
import io
import itertools
import json
import random
import re
import resource
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest

from tadacli.cli.progress import clock
from tests import media
from tests.cli.conftest import Tada, with_thresholds
from tests.reports.test_detection_page import Elements

KEYS = {"video", "duration_seconds", "model", "windows", "segments", "gaps", "status", "settings", "run"}


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of six seconds."""
    path = tmp_path_factory.mktemp("kitchen") / "a kitchen.mp4"
    media.render(path, 180, options={"g": "24"})
    return path


@pytest.fixture
def detect(tada: Tada, untrained: Path):
    """`detect(*arguments)` with the untrained model and thresholds that it reaches."""

    def call(*arguments: object) -> tuple[int, bytes, str]:
        return tada("detect", "--model", untrained, "--threshold", 0.12, *arguments)

    return call


def test_json_of_one_video_is_its_result(detect, kitchen: Path, tmp_path: Path) -> None:
    code, out, err = detect(kitchen, "--window", "2s", "--stride", "1s", "-o", tmp_path / "out.json")
    result = json.loads((tmp_path / "out.json").read_text())
    assert (code, out) == (0, b"")
    assert "1 of 1 video searched" in err
    assert result.keys() >= KEYS
    assert result["video"] == str(kitchen)
    assert result["duration_seconds"] == 6.0
    assert result["windows"] == 5
    assert result["segments"]
    for segment in result["segments"]:
        assert segment.keys() == {"start_seconds", "end_seconds", "label", "index", "score", "peak_score"}
        assert 0 <= segment["start_seconds"] < segment["end_seconds"] <= 6
        assert segment["score"] >= 0.06
        assert segment["peak_score"] >= max(0.12, segment["score"])


def test_exclusive_labels_follow_each_other(detect, kitchen: Path, tmp_path: Path) -> None:
    kept = tmp_path / "scores.npz"
    _, out, _ = detect(kitchen, "--window", "1s", "--stride", "250ms", "--exclusive", "--save-scores", kept)
    result = json.loads(out)
    segments = result["segments"]
    assert segments
    assert result["settings"]["segments"]["exclusive"] is True
    for one, following in itertools.pairwise(segments):
        assert one["end_seconds"] <= following["start_seconds"]
        assert one["end_seconds"] != following["start_seconds"] or one["label"] != following["label"]
    _, again, _ = detect("--from-scores", kept, "--exclusive")
    assert json.loads(again)["segments"] == segments
    code, _, err = detect("--from-scores", kept, "--exclusive", "--smooth", "1s")
    assert code == 2
    assert "no use for smoothing" in err


def test_labels_that_exclude_each_other_are_found_one_at_a_time_unless_something_else_is_asked_for(
    tada: Tada, untrained: Path, exclusive: Path, kitchen: Path, tmp_path: Path
) -> None:
    """The scores are the same for both files of weights, and so are the segments that are found in the same way."""
    kept = {model: tmp_path / f"{model.stem}.npz" for model in (untrained, exclusive)}
    for model, scores in kept.items():
        tada("detect", kitchen, "--model", model, "--window", "1s", "--stride", "250ms", "--save-scores", scores)

    def found(model: Path, *told: object) -> tuple[dict, str]:
        code, out, err = tada("detect", "--from-scores", kept[model], "--threshold", 0.12, *told)
        assert code == 0, err
        return json.loads(out), err

    for told, same_as, note in (
        ((), ("--exclusive",), "one label at a time, as the labels of "),
        (("--no-exclusive",), (), ""),
        (("--exclusive",), ("--exclusive",), ""),
        (("--contrast",), ("--contrast",), ""),
        (("--smooth", "1s"), ("--smooth", "1s"), "one at a time has no use for smoothing"),
    ):
        row, err = found(exclusive, *told)
        expected, _ = found(untrained, *same_as)
        assert row["segments"] == expected["segments"]
        assert row["segments"]
        assert row["settings"] == expected["settings"]
        assert [text for text in row["notes"] if "exclude each other" in text] == [
            text for text in row["notes"] if note and note in text
        ]
        assert (note in err) if note else ("exclude" not in err)
    assert found(exclusive)[0]["segments"] != found(untrained)[0]["segments"]
    page = tmp_path / "page.html"
    found(exclusive, "--report", page)
    assert "one label at a time: the most likely sequence of labels" in page.read_text()


def test_windows_of_several_lengths_look_for_each_label_by_itself(tada: Tada, exclusive: Path, kitchen: Path) -> None:
    code, out, err = tada("detect", kitchen, "--model", exclusive, "--threshold", 0.12, "--window", "1s,2s")
    assert code == 0, err
    assert "exclusive" not in json.loads(out)["settings"]["segments"]
    assert "one at a time has no use for windows of several lengths" in err


def test_contrast_is_that_of_kept_scores_too(detect, kitchen: Path, tmp_path: Path) -> None:
    told = ("--contrast", "--threshold", 0, "--format", "json")
    kept = tmp_path / "scores.npz"
    code, out, err = detect(kitchen, "--window", "1s", "--stride", "250ms", *told, "--save-scores", kept)
    assert code == 0, err
    assert json.loads(out)["settings"]["segments"]["contrast"] is True
    assert detect("--from-scores", kept, *told)[1] == out


def test_json_of_several_videos_lists_them(detect, kitchen: Path, videos: Path, tmp_path: Path) -> None:
    code, _, err = detect(kitchen, videos / "broken.mp4", "-o", tmp_path / "out.json")
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    assert code == 3
    assert [each["status"] for each in results] == ["ok", "error"]
    assert "error:" in err
    assert "1 of 2 videos searched; 1 failed" in err


def test_a_pipe_gets_json_lines_and_a_terminal_a_table(detect, kitchen: Path) -> None:
    _, out, _ = detect(kitchen)
    assert json.loads(out)["status"] == "ok"
    _, out, _ = detect(kitchen, "--format", "table")
    table = out.decode()
    assert table.splitlines()[0] == str(kitchen)
    assert "0:00:0" in table
    assert "note: the labels name the camera's motion" in table
    _, out, _ = detect(kitchen, "--format", "table", "--threshold", "0.99")
    assert "nothing found" in out.decode()


def test_a_window_classified_by_itself_has_the_scores_that_were_kept(
    tada: Tada, detect, untrained: Path, kitchen: Path, tmp_path: Path
) -> None:
    from tadacli.detection.score_file import read_scores

    detect(kitchen, "--window", "1500ms", "--save-scores", tmp_path / "s.npz")
    kept = read_scores(tmp_path / "s.npz")
    for (start, end), scores in list(zip(kept.spans.tolist(), kept.scores[""], strict=True))[::3]:
        _, out, _ = tada(
            "classify",
            kitchen,
            "--model",
            untrained,
            "--start",
            start,
            "--end",
            end,
            "--sampling",
            "native",
            "--topk",
            9,
        )
        answers = {each["index"]: each["score"] for each in json.loads(out)["topk"]}
        assert answers == {index: float(f"{score:.7g}") for index, score in enumerate(scores.astype(float))}


def test_csv_has_a_line_for_each_segment(detect, kitchen: Path) -> None:
    _, lines, _ = detect(kitchen)
    _, table, _ = detect(kitchen, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    segments = json.loads(lines)["segments"]
    assert [(float(row["start_seconds"]), row["label"]) for row in rows] == [
        (segment["start_seconds"], segment["label"]) for segment in segments
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--window", "0s"], "no length of time above zero"),
        (["--window", "1s", "--stride", "2s"], "leaves out what lies between"),
        (["--start", "5", "--end", "2"], "empty or reversed"),
        (["--start", "5 minutes"], "no time"),
        (["--threshold", "1.5"], "threshold"),
        (["--truth", "mine.csv"], "--truth is shown on the page"),
        (["--truth", "none.csv", "--report", "page.html"], "none.csv"),
        (["--low-threshold", "0.9"], "low threshold"),
        (["--threshold", "high"], "--threshold high is no score"),
        (["--threshold", "auto"], "camera_motion carries no thresholds"),
        (["--threshold", "auto", "--low-threshold", "0.1"], "does not go with"),
        (["--label", "pan up"], "no label 'pan up'"),
        (["-o", "out.xyz"], "not clear from its name"),
        (["-o", "out.srt", "--resume"], "--resume continues a file"),
        (["--report", "page.txt"], "another ending"),
        (["--from-scores", "scores.npz"], "takes the place of videos"),
        (["--format", "epic"], "a verb and a noun"),
        (["--smooth", "5f"], "number of frames"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(detect, kitchen: Path, arguments: list[str], message: str) -> None:
    code, out, err = detect(kitchen, *arguments)
    assert (code, out) == (2, b"")
    assert message in err.splitlines()[0]
    assert err.startswith("error: ")
    assert len(err.splitlines()) <= 2


def test_an_unknown_format_names_the_known_ones(detect, kitchen: Path) -> None:
    code, _, err = detect(kitchen, "--format", "docx")
    assert code == 2
    assert "srt" in err


def test_gaps_are_allowed_on_request(detect, kitchen: Path) -> None:
    code, out, _ = detect(kitchen, "--window", "1s", "--stride", "2s", "--allow-gaps")
    assert code == 0
    assert json.loads(out)["windows"] == 3


@pytest.mark.parametrize("form", ["srt", "vtt", "audacity", "activitynet", "eaf"])
def test_other_formats_are_those_of_convert(tada: Tada, detect, kitchen: Path, tmp_path: Path, form: str) -> None:
    detect(kitchen, "-o", tmp_path / "out.jsonl")
    code, expected, _ = tada("convert", tmp_path / "out.jsonl", "--to", form)
    assert code == 0
    code, out, _ = detect(kitchen, "--format", form)
    assert (code, out) == (0, expected)
    # ELAN's documents name the video by its way from where they lie.
    assert tada("convert", tmp_path / "out.jsonl", "--to", form, "-o", tmp_path / "converted")[0] == 0
    detect(kitchen, "--format", form, "-o", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == (tmp_path / "converted").read_bytes()


def test_several_videos_get_a_subtitle_file_each(detect, videos: Path, tmp_path: Path) -> None:
    code, _, _ = detect(videos / "clip 0.mp4", videos / "clip 1.mp4", "--format", "srt", "-o", tmp_path / "subs")
    assert code == 0
    assert sorted(file.name for file in (tmp_path / "subs").iterdir()) == ["clip 0.srt", "clip 1.srt"]


# --- scores -----------------------------------------------------------------------------------------


def test_kept_scores_give_what_a_full_run_gives_with_any_settings(
    tada: Tada, untrained: Path, kitchen: Path, tmp_path: Path
) -> None:
    scores = tmp_path / "scores.npz"
    windows = ("--window", "1s,2s", "--stride", "500ms")
    tada("detect", kitchen, "--model", untrained, *windows, "--save-scores", scores)
    rng = random.Random(0)
    for number in range(50):
        threshold = round(rng.uniform(0.09, 0.14), 3)
        settings = ["--threshold", threshold, "--low-threshold", round(threshold * rng.random(), 4)]
        settings += ["--nms", rng.choice(["hard", "soft", "none"]), "--nms-iou", round(rng.random(), 2)]
        settings += ["--smooth", rng.choice(["0", "1s", "2.5s"]), "--merge-gap", rng.choice(["0", "600ms"])]
        settings += ["--min-duration", rng.choice(["0", "1s"])]
        settings += rng.choice([[], ["--topk", 2], ["--topk-per-class", 1], ["--background", "static"]])
        form = rng.choice(["json", "jsonl", "csv", "srt", "activitynet"])
        full = tada("detect", kitchen, "--model", untrained, *windows, *settings, "--format", form)
        kept = tada("detect", "--from-scores", scores, *settings, "--format", form)
        assert kept[:2] == full[:2], f"number {number}: {settings}"


def test_scores_of_several_videos_go_into_a_folder(detect, videos: Path, tmp_path: Path) -> None:
    names = ["clip 0.mp4", "clip 1.mp4"]
    _, full, _ = detect(*(videos / name for name in names), "--save-scores", tmp_path / "kept")
    files = sorted((tmp_path / "kept").iterdir())
    assert [file.name for file in files] == ["clip 0.npz", "clip 1.npz"]
    code, out, _ = detect("--from-scores", files[0], "--from-scores", files[1])
    assert (code, out) == (0, full)


def test_scores_of_different_windows_do_not_mix(detect, videos: Path, tmp_path: Path) -> None:
    detect(videos / "clip 0.mp4", "--save-scores", tmp_path / "a.npz")
    detect(videos / "clip 1.mp4", "--window", "1s", "--save-scores", tmp_path / "b.npz")
    code, _, err = detect("--from-scores", tmp_path / "a.npz", "--from-scores", tmp_path / "b.npz")
    assert code == 2
    assert "different models or window settings" in err


# --- files that are there, full disks, kills ---------------------------------------------------------


@pytest.mark.parametrize("option", ["-o", "--save-scores", "--report", "--render"])
def test_no_file_is_overwritten(detect, kitchen: Path, tmp_path: Path, option: str) -> None:
    suffix = {"-o": ".json", "--save-scores": ".npz", "--report": ".html", "--render": ".mp4"}[option]
    file = tmp_path / f"mine{suffix}"
    file.write_text("precious")
    code, _, err = detect(kitchen, option, file)
    assert code == 1
    assert "exists and is not overwritten" in err
    assert file.read_text() == "precious"


def test_an_output_that_cannot_be_written_is_said_before_the_work(detect, kitchen: Path, tmp_path: Path) -> None:
    for option, name in (("-o", "x.json"), ("--report", "x.html"), ("--save-scores", "x.npz")):
        code, _, err = detect(kitchen, option, tmp_path / "missing" / name)
        assert code == 1
        assert "cannot be written" in err


def test_a_device_is_no_output(detect, kitchen: Path) -> None:
    code, _, err = detect(kitchen, "-o", "/dev/null", "--format", "jsonl")
    assert code == 1
    assert "not a regular file" in err


def test_a_full_disk_is_a_clear_error_and_what_was_saved_goes_on(detect, kitchen: Path, tmp_path: Path) -> None:
    """The journal has room for some groups and a part of the next one."""
    options = (kitchen, "--window", "1s", "--batch-size", "1", "--resume", "-o", tmp_path / "out.jsonl")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, most))
    try:
        code, _, err = detect(*options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert code == 1
    assert "File too large" in err
    assert "--resume" in err
    unfinished = (tmp_path / "out.jsonl.unfinished").read_bytes()
    assert len(unfinished) == 700
    assert unfinished.count(b"\n") > 1
    assert detect(*options)[0] == 0
    _, expected, _ = detect(kitchen, "--window", "1s", "--batch-size", "1")
    assert (tmp_path / "out.jsonl").read_bytes() == expected


def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    kitchen: Path, videos: Path, untrained: Path, tmp_path: Path
) -> None:
    """Real processes and real kills; more moments are covered in this process, at the journal's every line."""
    inputs = [str(kitchen), str(videos / "clip 3.mp4")]

    def command(output: Path) -> list[str]:
        options = ["--window", "1s", "--stride", "100ms", "--threshold", "0.12", "--batch-size", "1", "--resume"]
        return [
            sys.executable,
            "-m",
            "tadacli",
            "detect",
            *inputs,
            "--model",
            str(untrained),
            *options,
            "-o",
            str(output),
        ]

    clean, killed = tmp_path / "clean.csv", tmp_path / "killed.csv"
    subprocess.run(command(clean), check=True, capture_output=True)
    unfinished = killed.with_name(killed.name + ".unfinished")
    for lines in (3, 12, 40):
        process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            if unfinished.exists() and unfinished.read_bytes().count(b"\n") >= lines:
                process.send_signal(signal.SIGKILL)
                process.wait()
                break
            time.sleep(0.002)
    subprocess.run(command(killed), check=True, capture_output=True)
    assert killed.read_bytes() == clean.read_bytes()
    assert not unfinished.exists()


def test_with_auto_segments_reach_the_thresholds_of_the_model_also_from_kept_scores(
    tada: Tada, untrained: Path, kitchen: Path, tmp_path: Path
) -> None:
    model = with_thresholds(untrained, tmp_path / "two.safetensors", [1.0, 1.0, 0.08, 1.0, 1.0, 0.09, 1.0, 1.0, 1.0])
    scores, page = tmp_path / "scores.npz", tmp_path / "page.html"
    options = ("--threshold", "auto", "--report")
    code, out, _ = tada("detect", kitchen, "--model", model, "--save-scores", scores, *options, page)
    row = json.loads(out)
    assert code == 0
    assert {segment["index"] for segment in row["segments"]} == {2, 5}
    assert row["settings"]["segments"]["threshold"] == "auto"
    assert tada("detect", "--from-scores", scores, *options, tmp_path / "again.html")[:2] == (0, out)
    for drawn in ("[0.08,0.04]", "[0.09,0.045]"):  # those of the two classes, in their lanes
        assert f'"thresholds":{drawn}' in page.read_text().replace(", ", ",").replace(": ", ":")
    tada("detect", kitchen, "--model", untrained, "--save-scores", tmp_path / "plain.npz")
    code, _, err = tada("detect", "--from-scores", tmp_path / "plain.npz", "--threshold", "auto")
    assert code == 2
    assert "carries no thresholds" in err


# --- report and rendered video ----------------------------------------------------------------------


def test_report_and_rendered_video_are_written(detect, kitchen: Path, tmp_path: Path) -> None:
    report, drawn, truth = tmp_path / "page.html", tmp_path / "drawn.mp4", tmp_path / "mine.csv"
    truth.write_text("video,label,start,end\na kitchen,zoom in,0,2\na kitchen,hop,1,2\n")
    code, _, err = detect(kitchen, "--report", report, "--render", drawn, "--truth", truth)
    assert code == 0
    assert re.search(r"agreement with mine.csv: kappa -?0\.\d\d on a grid of 0.1 s, F1 [01]\.\d\d at tIoU 0.5", err)
    page = report.read_text()
    assert "a kitchen.mp4" in page
    assert "data:image/jpeg;base64," in page
    elements = Elements(report.read_bytes())
    shown = {"lowest": 0.01, "threshold": 0.12, "low_threshold": None, "lowest_low": 0.005, "ends_lower": True}
    assert elements.data()["thresholds"] == {**shown, "of_head": False}
    assert elements.data()["truth"] == {"name": "mine.csv", "spans": [[0, 2, "zoom in"], [1, 2, "hop"]]}
    (scores,) = [json.loads(text) for _, attributes, text in elements.found if attributes.get("class") == "scores"]
    lanes = {each["label"] for each in elements.data()["classes"]}
    assert lanes - {each["label"] for each in scores["classes"]} == {"hop"}
    from tadacli.video.reading import probe

    assert probe(drawn).num_frames == 180


def test_a_page_of_several_videos_is_put_together_also_after_a_kill(
    kitchen: Path, videos: Path, tmp_path: Path
) -> None:
    """All in processes of their own, as the number of threads is a setting of the run."""
    (tmp_path / "no.mp4").write_text("no video")
    inputs = [kitchen, tmp_path / "no.mp4", videos / "clip 3.mp4"]
    words = ["--window", "1s", "--stride", "500ms", "--sampling", "stretch", "--device", "cpu", "--resume"]

    def command(name: str) -> list[str]:
        files = ["-o", tmp_path / f"{name}.jsonl", "--report", tmp_path / f"{name}.html"]
        return [sys.executable, "-m", "tadacli", "detect", *map(str, [*inputs, *words, *files])]

    def finish(name: str) -> bytes:
        done = subprocess.run(command(name), capture_output=True, text=True, check=False)
        assert done.returncode == 3, done.stderr
        assert "on the page" not in done.stderr
        assert not list(tmp_path.glob("*.parts"))
        return (tmp_path / f"{name}.html").read_bytes()

    clean = finish("clean")
    found = re.findall(r'data-title="([^"]+)" data-found="([^"]+)"', clean.decode())
    assert [name for name, _ in found] == ["a kitchen.mp4", "no.mp4", "clip 3.mp4"]
    assert found[1][1] == "could not be read"
    process = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        if list((tmp_path / "killed.html.parts").glob("*.part")):
            process.send_signal(signal.SIGKILL)
            process.wait()
            break
        time.sleep(0.002)
    assert not (tmp_path / "killed.html").exists()
    assert finish("killed") == clean
    assert finish("killed") == clean  # once more, when all is done


def test_a_page_says_how_many_videos_it_lacks(detect, kitchen: Path, videos: Path, tmp_path: Path) -> None:
    words = ["--window", "1s", "--stride", "1s", "--sampling", "stretch", "--resume", "-o", tmp_path / "found.jsonl"]
    assert detect(kitchen, *words)[0] == 0
    page = tmp_path / "page.html"
    code, _, err = detect(kitchen, videos / "clip 3.mp4", *words, "--report", page)
    assert (code, page.read_text().count('class="video"')) == (0, 1)
    assert "1 of 2 videos are on the page; the others were done before it was asked for" in err
    code, _, err = detect(kitchen, videos / "clip 3.mp4", "--render", tmp_path / "drawn.mp4")
    assert (code, "--render shows one video, and these are 2" in err) == (2, True)


def test_damage_is_told_as_gaps(detect, kitchen: Path, tmp_path: Path) -> None:
    from tests.detection.test_detecting import damaged

    damaged(kitchen, tmp_path / "bad.mp4")
    code, out, err = detect(
        tmp_path / "bad.mp4",
        "--window",
        "1s",
        "--stride",
        "500ms",
        "--sampling",
        "stretch",
        "--report",
        tmp_path / "page.html",
        "--render",
        tmp_path / "drawn.mp4",
    )
    result = json.loads(out)
    assert code == 3
    assert result["status"] == "partial"
    assert 0 < result["windows"] < result["windows_planned"]
    assert result["gaps"][0]["start_seconds"] < result["gaps"][0]["end_seconds"]
    assert "gap: " in err
    assert "gaps" in (tmp_path / "page.html").read_text()
    assert not (tmp_path / "drawn.mp4").exists()
    assert "drawn.mp4" in err


def test_a_range_and_frames_of_jpeg_files(detect, tmp_path: Path) -> None:
    folder = tmp_path / "P01_11"
    folder.mkdir()
    for number in range(150):
        (folder / f"frame_{number + 1:010d}.jpg").write_bytes(media.jpeg_bytes(number))
    code, out, _ = detect(folder, "--window", "500ms", "--start", "0:01", "--end", "2")
    result = json.loads(out)
    assert code == 0
    assert result["fps"] == 60.0
    assert result["duration_seconds"] == 2.5
    assert result["windows"] == 3
    assert all(1 <= segment["start_seconds"] < segment["end_seconds"] <= 2 for segment in result["segments"])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00:00.000"),
        (61.5, "0:01:01.500"),
        (3599.9996, "1:00:00.000"),
        (-1.25, "-0:00:01.250"),
        (7200, "2:00:00.000"),
    ],
)
def test_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_times_in_timecode_and_frames(tada, untrained: Path, tmp_path: Path) -> None:
    """On the screen in their place, in a file beside seconds; in timecode from that of the file on."""
    video = tmp_path / "tape.mov"
    media.render(video, 60, timecode="23:59:59:20")
    search = ("detect", video, "--model", untrained, "--threshold", "0", "--window", "1s", "--topk", "1")
    kept = tmp_path / "kept.npz"
    code, out, err = tada(*search, "--save-scores", kept, "--times", "timecode", "--format", "csv")
    (line,) = csv.DictReader(io.StringIO(out.decode()))
    assert code == 0, err
    again = ("detect", "--from-scores", kept, "--threshold", "0", "--topk", "1")
    start = round(float(line["start_seconds"]) * 30) + 20
    assert line["start_timecode"] == (
        f"23:59:59:{start}" if start < 30 else f"00:00:0{start // 30 - 1}:{start % 30:02d}"
    )
    code, out, _ = tada(*again, "--times", "timecode", "--format", "table")
    assert (line["start_timecode"] in out.decode(), line["end_timecode"] in out.decode()) == (True, True)
    code, out, _ = tada(*again, "--times", "frames", "--format", "table")
    assert f" {round(float(line['end_seconds']) * 30)} " in out.decode()
    code, _, err = tada(*again, "--times", "frames", "--format", "srt")
    assert (code, "--times are those of tables" in err) == (2, True)


def test_what_a_format_has_no_place_for_is_kept_beside_the_output(tada, untrained: Path, tmp_path: Path) -> None:
    """A rate that timecode is not defined for shows when a video is opened, and must not cost the search."""
    odd, other, out = tmp_path / "odd.mp4", tmp_path / "other.mp4", tmp_path / "lists"
    media.render(odd, 24, rate=Fraction(12), time_base=Fraction(1, 12))
    media.render(other, 30)
    search = ("detect", odd, other, "--model", untrained, "--threshold", "0", "--window", "1s", "--format", "edl")
    code, _, err = tada(*search, "-o", out)
    kept = tmp_path / "lists.rows.jsonl"
    assert (code, [file.name for file in out.iterdir()]) == (2, ["other.edl"])
    assert "error: 12 frames a second is no rate of SMPTE timecode" in err
    assert f"hint: what was found in {odd} is in {kept}; name one to count at: tada convert --fps" in err
    code, converted, _ = tada("convert", kept, "--to", "edl", "--fps", "24")
    assert (code, b"FROM CLIP NAME: odd.mp4" in converted) == (0, True)
    (out / "other.edl").unlink()
    code, _, err = tada(*search, "-o", out)
    assert (code, "lists.rows.jsonl exists" in err) == (1, True)


def test_the_command_says_how_many_windows_were_seen(tada: Tada, tmp_path: Path) -> None:
    media.render(tmp_path / "a.mp4", 120)
    words = ["detect", tmp_path / "a.mp4", "--window", "500ms", "--stride", "100ms", "--adaptive-stride", "8"]
    code, _, said = tada(*words, "--device", "cpu", "--save-scores", tmp_path / "a.npz", "-o", tmp_path / "a.jsonl")
    assert code == 0
    assert "windows went through the network" in said
    assert '"adaptive_stride": 8' in (tmp_path / "a.jsonl").read_text()
    code, _, said = tada("detect", "--from-scores", tmp_path / "a.npz")
    assert (code, "windows went through the network" in said) == (0, True)
    for option in (["--window", "1s"], ["--stride", "50ms"], ["--start", "1"], ["--end", "2"], ["--batch-size", "2"]):
        code, _, said = tada("detect", "--from-scores", tmp_path / "a.npz", *option)
        assert (code, f"leave {option[0]} out" in said) == (2, True)
    code, _, said = tada("detect", "--from-scores", tmp_path / "a.npz", "--adaptive-stride", "8")
    assert (code, "leave --adaptive-stride out" in said) == (2, True)
