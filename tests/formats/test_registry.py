"""The table of formats: every name an option takes, and the suffixes that stand for one."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from tadacli.cli.asked_output import asked_output
from tadacli.errors import UsageError
from tadacli.formats.labelled import LabelledVideo
from tadacli.formats.registry import (
    CLASSIFY_SUFFIXES,
    DETECT_SUFFIXES,
    SEGMENT_FORMATS,
    ClassifyFormat,
    ConvertFormat,
    DetectFormat,
    RowsName,
    SegmentsName,
)
from tadacli.formats.row_formats import DETECTION_FORMATS, FORMATS


def test_every_name_has_its_format_and_every_format_its_name() -> None:
    assert set(get_args(RowsName)) == FORMATS.keys() == DETECTION_FORMATS.keys()
    assert set(get_args(SegmentsName)) == SEGMENT_FORMATS.keys()
    assert set(get_args(ClassifyFormat)) == {"table", "parquet", *FORMATS}
    assert set(get_args(DetectFormat)) == {"table", "parquet", *DETECTION_FORMATS, *SEGMENT_FORMATS}
    assert set(get_args(ConvertFormat)) == {*DETECTION_FORMATS, *SEGMENT_FORMATS, "parquet"}
    assert all(form.name == name for name, form in SEGMENT_FORMATS.items())


def test_a_suffix_stands_for_one_format() -> None:
    assert CLASSIFY_SUFFIXES == {
        ".csv": "csv",
        ".tsv": "tsv",
        ".json": "json",
        ".jsonl": "jsonl",
        ".parquet": "parquet",
        ".txt": "table",
    }
    assert DETECT_SUFFIXES == {
        **CLASSIFY_SUFFIXES,
        ".srt": "srt",
        ".vtt": "vtt",
        ".edl": "edl",
        ".otio": "otio",
        ".fcpxml": "fcpxml",
        ".eaf": "eaf",
        ".boris": "boris",
    }


def test_a_format_says_what_to_install_before_the_work_is_done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tadacli.formats.registry.find_spec", lambda _: None)
    for name in ("otio", "fcp7xml", "premiere-xml"):
        with pytest.raises(UsageError, match=f"{name} needs a package that is not installed") as failed:
            asked_output(
                f"csv,{name}",
                tmp_path,
                None,
                resume=False,
                results="detections",
                known=[*SEGMENT_FORMATS, "csv"],
                by_suffix={},
            )
        assert "tadacli[editors]" in failed.value.hint
        with pytest.raises(UsageError):
            SEGMENT_FORMATS[name].encode_labelled([LabelledVideo("a.mp4", (), fps=25)])
    assert SEGMENT_FORMATS["fcpxml"].encode_labelled([LabelledVideo("a.mp4", (), fps=25)])
