"""``gansweep sample``: examples from a registered generator or a checkpoint folder, as a picture or an array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UserError


def sample(
    source: str, number: int, output: Path, seed: int, label: str | None, raw: bool, uri: str, trusted: Sequence[str]
) -> tuple[int, ...]:
    """Write ``number`` examples, of seeds ``seed``, ``seed`` + 1, …, to ``output`` (.png or .npy); returns the shape of
    one. ``raw``: of the plain generator instead of the averaged one. Code that a checkpoint brings is run where its
    sha256 is ``trusted``, or that of the same files here.
    """
    from trainers.pictures import draw

    if output.suffix not in (".png", ".npy"):
        raise UserError(f"-o {output}: the name must end in .png (a grid) or .npy (the array)")
    made = _made(source, np.arange(seed, seed + number, dtype=np.int64), label, raw, uri, trusted)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.suffix == ".npy":
            np.save(output, made)
        else:
            draw(made).save(output)
    except OSError as error:
        raise UserError(f"-o {output} can't be written: {error.strerror}") from None
    return made.shape[1:]


def _made(
    source: str, seeds: NDArray[np.int64], label: str | None, raw: bool, uri: str, trusted: Sequence[str]
) -> NDArray[Any]:
    if source.startswith(("models:/", "runs:/")):
        if raw:
            raise UserError(f"--raw: {source} has the averaged generator only; give the folder of a checkpoint")
        from orchestrator.registry.models import sample as from_registry

        return from_registry(uri, source, seeds, label)
    if not Path(source).is_dir():
        raise UserError(f"{source} is neither a registered model (models:/NAME@ALIAS) nor a checkpoint folder")
    from trainers.owncode import standing
    from trainers.sample import class_numbers
    from trainers.sample import sample as from_generator
    from trainers.sealed import facts
    from trainers.state import load_generator, load_space

    here = standing(facts(Path(source))["config"], Path())
    config, generator = load_generator(Path(source), ema=not raw, trusted={*trusted, *here})
    labels = None if label is None else class_numbers([label] * len(seeds), config, load_space(Path(source)))
    return from_generator(generator, config, seeds, labels)
