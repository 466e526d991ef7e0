"""The model card of a generator (Mitchell et al. 2019), in Markdown: what MLflow shows of a registered model and its
versions, and a file beside the weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from trainers.data import Space
from trainers.data.conditions import Column

LICENCE = "Licence: not stated. State one here, as the licence of the training data allows."
_LICENCE = re.compile(r"Licence: not stated\. .*")  # also in the words of older versions
SAMPLES = "samples.png"
"""The file beside a version's weights."""
_PICTURE = re.compile(r"Samples of version \d+:\n\n!\[samples\]\([^)]*\)")


def picture(model: str, version: str) -> str:
    """The samples of a version. By an address relative to MLflow's pages, so that these show it wherever they are."""
    where = urlencode({"name": model, "version": version, "path": f"artifacts/{SAMPLES}"})
    return f"Samples of version {version}:\n\n![samples](model-versions/get-artifact?{where})"


def renewed(about: str, picture: str, licence: str | None) -> str:
    """The description of a model for a new version, with whatever people wrote into it."""
    with_licence = _LICENCE.sub(lambda _: f"Licence: {licence}", about) if licence else about
    return _PICTURE.sub(lambda _: picture, with_licence)


def of_model(
    model: str, alias: str, space: Space, conditions: Sequence[Column], table: Mapping[str, Any] | None
) -> str:
    """What holds for every version: what it makes, under which conditions, and how to load it and ask it for an example
    ``table``; None of a translator, which is given pictures.
    """
    size = " x ".join(map(str, space.shape))
    if table is None:
        lines = [f"**{model}** translates pictures of shape {size}. The same picture gives the same translation.", ""]
        lines += ["```python", "import mlflow", "", f'translator = mlflow.pyfunc.load_model("models:/{model}@{alias}")']
        lines += ["translations = translator.predict(pictures)  # uint8 (n, height, width, channels)", "```", ""]
        return "\n".join([*lines, LICENCE])
    size += ", in units from {:g} to {:g}".format(*space.window) if space.window else ""
    told = f", by {'; '.join(column.told for column in conditions)[:500]}" if conditions else ""
    what = _what(space, size)
    lines = [f"**{model}** generates {what}{told}. The same seed gives the same example.", ""]
    lines += ["```python", "import mlflow, pandas", ""]
    lines += [f'generator = mlflow.pyfunc.load_model("models:/{model}@{alias}")']
    lines += [f"examples = generator.predict(pandas.DataFrame({table}))", "```", ""]
    return "\n".join([*lines, LICENCE])


def _what(space: Space, size: str) -> str:
    if space.alphabet:
        return f"texts of up to {space.shape[0] - 1} characters"
    if space.is_clip:
        frames, *shape = space.shape
        learned = f"clips of shape {' x '.join(map(str, shape))}, of {frames} frames"
        return f"{learned}, or as many as a column `frames` asks for"
    return f"examples of shape {size}"


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
    lines += [f"Objective: {tags['objective']}"]
    lines += ["", f"Settings that changed on the way: {tags['schedule']}"] if "schedule" in tags else []
    lines += ["", f"Data: {tags['data.told']}"] if "data.told" in tags else []  # an older version did not tell
    lines += ["", f"Fingerprint of the data: `{tags['data.fingerprint']}`"]
    lines += ["", f"Licence: {tags['licence']}"] if "licence" in tags else []
    return "\n".join(lines)


def _part(tags: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): value for name, value in tags.items() if name.startswith(prefix)}
