"""Settings of a trial as Optuna keeps them: a choice is null, bool, number or text there; a list goes as its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.settings.dimension import Dimension
from orchestrator.spec import Sweep


def kept(params: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as Optuna keeps them."""
    return {name: kept_value(value) for name, value in params.items()}


def unkept(params: Mapping[str, Any], sweep: Sweep) -> dict[str, Any]:
    """The reverse of ``kept``."""
    return {name: unkept_value(value, sweep.search.space.get(name)) for name, value in params.items()}


def kept_value(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | tuple) else value


def unkept_value(value: Any, dimension: Dimension | None) -> Any:
    if not isinstance(value, str) or dimension is None:
        return value
    return next((choice for choice in dimension.choice or () if kept_value(choice) == value), value)
