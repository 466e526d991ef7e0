"""A trained generator in plain PyTorch: from the registry or from a checkpoint."""

from __future__ import annotations

import io
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UserError
from orchestrator.paths import Home
from trainers.families import FAMILIES

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from trainers.config import Config
    from trainers.data import Space

REGISTERED = ("models:/", "runs:/")
Label = str | int | Mapping[str, Any]


@dataclass(frozen=True)
class Generator:
    """``module`` is the network, in eval mode on the CPU; ``config`` what it was trained with; ``space`` what it
    makes.
    """

    config: Config
    module: nn.Module
    space: Space

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        raw: bool = False,
        trusted: Collection[str] = (),
        home: str | Path | None = None,
        profile: str | None = None,
    ) -> Generator:
        """From ``models:/NAME@ALIAS`` of the home's or the profile's registry, or from a checkpoint folder. MLflow is
        asked here, and never again.

        ``raw`` takes the plain weights of a checkpoint instead of the averaged ones. Code of its own that a checkpoint
        brings is run where the same files lie in the current folder, or its sha256 is ``trusted``. Raises UserError
        where there is no such model, trainers.errors.CheckpointError for a damaged checkpoint.
        """
        uri = registry_of(Home.at(home, profile)) if str(source).startswith(REGISTERED) else ""
        return opened(str(source), raw, trusted, uri)

    def __call__(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """``latents`` (n, latent_dim), standard normal, to images (n, C, H, W) in [-1, 1], points (n, 2), code points
        (n, length), or clips (n, frames, C, H, W). ``labels`` (n,) are numbers of classes; a conditional generator
        takes any where they are missing.
        """
        made: Tensor = self.module(latents, labels)
        return made

    def sample(
        self,
        n: int | None = None,
        *,
        seeds: Sequence[int] | None = None,
        label: Label | Sequence[Label] | None = None,
        truncation: float | None = None,
        frames: int | None = None,
    ) -> NDArray[Any]:
        """An example for each of ``seeds``, or of 0 to n - 1 (by default 64 of them), and a function of it: uint8
        (n, H, W, C), float32 points (n, 2), strings (n,), or uint8 clips (n, frames, H, W, C), of as many frames as
        were learned if not told; where ``space`` has a window, float32 (n, H, W, C) in the units of the training files.

        ``label`` is a class by name or number, or conditions by name, as ``{"weather": "snow", "fog": 0.3}``: one for
        all, or a list with one for each. ``truncation`` cuts latents off at that value: less varied, more typical
        (BigGAN). Raises trainers.errors.UnusableSettingError for a condition that it does not know.
        """
        from trainers.errors import UnusableSettingError
        from trainers.sample import conditions, sample, tabled

        if n is not None and seeds is not None:
            raise UnusableSettingError(f"sample: {n} examples or those of {len(seeds)} seeds? give one of both")
        rows = np.arange(64 if n is None else n) if seeds is None else np.array(seeds, np.int64)
        labels = conditions(tabled(label, len(rows), self.config, self.space), self.config, self.space, rows)
        return sample(self.module, self.config, rows, labels, truncation, self.space.window, frames)

    def translate(self, pictures: NDArray[np.uint8]) -> NDArray[Any]:
        """Pictures (n, H, W, C) of the source, uint8 and of the size of ``space``, in the look of the target: as many,
        each a function of its picture alone. Raises trainers.errors.UnusableSettingError where this is no translator.
        """
        from trainers.sample import translated

        return translated(self.module, self.config, pictures)

    def grid(self, n: int = 64) -> Image:
        """The first ``n`` examples as one picture."""
        from trainers.pictures import draw

        return draw(self.sample(n), self.space.centers, window=self.space.window)

    def __repr__(self) -> str:
        model, shape = self.config.model, "x".join(map(str, self.space.shape))
        return f"Generator({model.generator}, {model.latent_dim} latents to {shape})"

    def _repr_png_(self) -> bytes:
        """For a notebook; of a translator, which makes nothing of nothing, there is none."""
        if FAMILIES[self.config.family].translates:
            raise NotImplementedError  # as IPython wants it
        buffer = io.BytesIO()
        self.grid().save(buffer, "PNG")
        return buffer.getvalue()


def registry_of(home: Home) -> str:
    """Where the registered models of a home, or of its profile, are; MLFLOW_TRACKING_URI says otherwise for a home."""
    own = home.profile.tracking
    return own if own != "auto" else os.environ.get("MLFLOW_TRACKING_URI") or home.mlflow_database


def opened(source: str, raw: bool, trusted: Collection[str], uri: str) -> Generator:
    """As ``Generator.load``, from the registry at ``uri``."""
    if source.startswith(REGISTERED):
        if raw:
            raise UserError(f"--raw: {source} has the averaged generator only; give the folder of a checkpoint")
        from orchestrator.registry.drawing import load

        return Generator(*load(uri, source))
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(f"{source} is neither a registered model (models:/NAME@ALIAS) nor a checkpoint folder")
    from trainers.files.sealed import MANIFEST, facts
    from trainers.reading.owncode import standing
    from trainers.state import load_generator, load_space, newest

    if not (folder / MANIFEST).exists() and (found := newest(folder / "checkpoints") or newest(folder)):
        raise UserError(f"{source} is a folder of checkpoints: name one, such as {found}")

    here = standing(facts(folder)["config"], Path())
    config, module = load_generator(folder, ema=not raw, trusted={*trusted, *here})
    return Generator(config, module, load_space(folder))
