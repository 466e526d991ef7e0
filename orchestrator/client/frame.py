"""Trials as a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

FACTS = ("state", "rung", "images", "score", "verdict", "images_per_second")
MORE = ("reasons", "violations", "error", "mlflow_run_id", "checkpoint")


def frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Of ``status.rows``: a row per trial, its settings as ``params.NAME`` and what was last measured as
    ``metrics.NAME``, in the words of MLflow.
    """
    index = pd.Index([row["id"] for row in rows], name="trial")
    spread = [
        {fact: row[fact] for fact in FACTS}
        | {f"{group}.{name}": value for group in ("params", "metrics") for name, value in row[group].items()}
        | {fact: row[fact] for fact in MORE}
        for row in rows
    ]
    names = dict.fromkeys(name for row in spread for name in row if name not in MORE)
    return pd.DataFrame(spread, index=index, columns=[*(names or FACTS), *MORE])
