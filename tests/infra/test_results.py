"""Pages of results say what their files hold."""

from __future__ import annotations

import json
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "infra/results"


def test_the_page_about_64_slots_says_which_bars_were_missed() -> None:
    seen = json.loads((RESULTS / "scale.json").read_text())
    lags = [sample["lag_s"] for sample in seen["samples"]]
    begin, middle, end = seen["memory_mib"]
    _, missed = (RESULTS / "scale.md").read_text().split("**Not reached**")
    for line in (
        f"**CPU**: {seen['driver_cpu_share']:.0%} of a core".replace("%", " %"),
        f"**Lag**: above 30 s in {sum(lag > 30 for lag in lags)} of {len(lags)} samples, {max(lags)} s at most",
        f"**Memory**: not flat. {begin} MiB after 15 s, {middle} in the middle, {end} at the end",
        f"**Load**: {seen['reports_per_second']} reports a second of the 50",
    ):
        assert line in missed
