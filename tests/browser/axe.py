"""What axe-core finds wrong with a page that is open, for people who see, hear or move differently."""

from __future__ import annotations

from importlib import resources
from typing import Any

_RUN = """
const done = arguments[arguments.length - 1];
axe.run({ resultTypes: ["violations"] }).then((found) => done(found.violations), (error) => done(String(error)));
"""


def findings(browser: Any) -> list[str]:
    """The serious and critical findings on the page that is open: the rule, the element, and what to do."""
    if browser.execute_script("return typeof axe") == "undefined":
        script = resources.files("selenium_axe_python").joinpath("axe-core/axe.min.js").read_text(encoding="utf-8")
        browser.execute_script(script)
    found = browser.execute_async_script(_RUN)
    assert not isinstance(found, str), found
    return [
        f"{rule['id']}: {node['target']}: {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def findings_in_all_looks(browser: Any, widths: tuple[int, ...] = (1400, 420)) -> list[str]:
    """The findings at these widths, in light and dark."""
    found = []
    for width in widths:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        for look in ("light", "dark"):
            features = [
                {"name": "prefers-color-scheme", "value": look},
                {"name": "prefers-reduced-motion", "value": "reduce"},
            ]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            found += [f"{width} {look}: {each}" for each in findings(browser)]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    return found
