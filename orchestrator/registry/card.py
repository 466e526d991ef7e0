"""The model card of a generator (Mitchell et al. 2019), in Markdown: what MLflow shows of a registered model and its
versions, and a file beside the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LICENCE = "Licence: not stated. What the licence of the training data demands of generators belongs here."


def of_model(model: str, alias: str, space: Mapping[str, Any], conditional: bool, translates: bool = False) -> str:
    """What holds for every version: what it makes, how to load it. ``space`` is as in a checkpoint's manifest."""
    shape = " x ".join(map(str, space["shape"]))
    if translates:
        lines = [f"**{model}** translates pictures of shape {shape}. The same picture gives the same translation.", ""]
        lines += ["```python", "import mlflow", "", f'translator = mlflow.pyfunc.load_model("models:/{model}@{alias}")']
        lines += ["translations = translator.predict(pictures)  # uint8 (n, height, width, channels)", "```", ""]
        return "\n".join([*lines, LICENCE])
    classes = f", of {space['classes']} classes{_named(space.get('names'))}" if conditional else ""
    table = '{"seed": [0, 1, 2], "label": [0, 1, 2]}' if conditional else '{"seed": [0, 1, 2]}'
    lines = [f"**{model}** generates examples of shape {shape}{classes}. The same seed gives the same example.", ""]
    lines += ["```python", "import mlflow, pandas", ""]
    lines += [f'generator = mlflow.pyfunc.load_model("models:/{model}@{alias}")']
    lines += [f"examples = generator.predict(pandas.DataFrame({table}))", "```", ""]
    return "\n".join([*lines, LICENCE])


def of_version(tags: Mapping[str, str]) -> str:
    """What holds for one version, from the evidence of its promotion (tags without ``gansweep.``)."""
    lines = [f"Trial {tags['trial']} of sweep **{tags['sweep']}**, verdict **{tags['verdict']}**", ""]
    if "forced.reason" in tags:
        lines += [f"**Promoted against the gate** ({tags['forced.refused']}): {tags['forced.reason']}", ""]
    scores = _part(tags, "metric.")
    if scores:
        lines += ["| measure | value |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in scores.items())]
        measured = ", ".join(f"{name} {value}" for name, value in _part(tags, "measured.").items())
        lines += ["", f"Measured with: {measured}", ""]
    if "confirmed.median" in tags:
        lines += [f"On fresh seeds: {tags['confirmed.scores']}; median {tags['confirmed.median']}", ""]
    lines += [f"Objective: {tags['objective']}. Data: fingerprint `{tags['data.fingerprint']}`"]
    return "\n".join(lines)


def _part(tags: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in tags.items() if name.startswith(prefix)}


def _named(names: Any) -> str:
    return f" ({', '.join(map(str, names))})"[:500] if names else ""
