"""What results say of a run: all that a model's specification has, so that they can be read again."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from tadacli.results.runs import FeatureSummary, InputSummary, SpecSummary, StepSummary
from tadacli.specs import FeatureInput, FeatureSteps, HeadSpec, InputSpec, ModelSpec, ProposalSpec


@pytest.mark.parametrize(
    ("summary", "specs"),
    [
        (InputSummary, [InputSpec]),
        (FeatureSummary, [FeatureInput]),
        (StepSummary, [FeatureSteps]),
        (SpecSummary, [ModelSpec, ProposalSpec, HeadSpec]),
    ],
)
def test_a_summary_has_every_key_of_a_specification(summary: Any, specs: list[Any]) -> None:
    names = {each.name for spec in specs for each in fields(spec)}
    assert names - {*summary.__annotations__} == set()
