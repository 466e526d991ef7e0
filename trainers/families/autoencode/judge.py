"""From an autoencoder to its numbers: those of its samples, and those of its codes and reconstructions."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from trainers.config import Config
from trainers.data import Dataset, Examples, Rows
from trainers.metrics import RemoteCache
from trainers.metrics.coding import Coded
from trainers.metrics.evaluator import Evaluator, Generator, share
from trainers.models.autoencoder import Autoencoder
from trainers.randomness import stream
from trainers.world import World

CODES = ("mse_share", "code_modes")


class CodingEvaluator(Evaluator):
    """Measures samples as those of any generator, and codes and reconstructions of as many training and held-out
    examples.

    The verdict hears the worse of the two: where the posterior has collapsed, reconstructions are as far from what they
    should be as one average picture, and a code of few nats tells few modes apart, however good the samples are.
    """

    watches = (*Evaluator.watches, *CODES)
    of_plain = (*Evaluator.of_plain, *CODES)

    def __init__(self, config: Config, dataset: Dataset, world: World, remote_cache: RemoteCache | None = None) -> None:
        super().__init__(config, dataset, world, remote_cache)
        train, held_out = (_some(rows, config.evaluate.samples) for rows in (dataset.train, dataset.test))
        self._mean = train.floats().mean(0)
        self._counts = len(train), len(held_out)
        self._train, self._held_out = (rows[share(torch.arange(len(rows)), world)] for rows in (train, held_out))

    @torch.no_grad()
    def __call__(
        self, generator: Generator, plain: Generator | None = None, critic: nn.Module | None = None
    ) -> dict[str, float]:
        """The measures of an ``Autoencoder`` in evaluation mode, for the verdict those of a ``plain`` one too."""
        self._coded, self._plain_coded = self._code(generator), None if plain is None else self._code(plain)
        metrics = super().__call__(generator, plain, critic)
        for prefix in ("", "raw_"):
            self.watched |= _worse(self.watched, prefix)
        return metrics

    def _code(self, network: Generator) -> Coded:
        """Of all ranks' shares."""
        assert isinstance(network, Autoencoder)
        made = [self._real.extractor(network.reconstruct(examples)) for examples in self._parts(self._train)]
        errors, spreads, means, divergences = [], [], [], []
        for examples in self._parts(self._held_out):
            code = network.encode(examples)
            errors.append((network.decode(code.mean) - examples).square().flatten(1).mean(1))
            spreads.append((self._mean.to(examples.device) - examples).square().flatten(1).mean(1))
            means.append(code.mean)
            divergences.append(code.divergence())
        trained, held_out = self._counts
        rest = (self._gathered(rows, held_out) for rows in (errors, spreads, means, divergences))
        coded = Coded(self._gathered(made, trained), *rest)
        return coded if network.variational else coded._replace(divergences=None)

    def _parts(self, rows: Examples) -> Iterator[Tensor]:
        for part in torch.split(torch.arange(len(rows)), self._at_once):
            yield rows[part].floats().to(self._world.device)

    def _gathered(self, parts: list[Tensor], count: int) -> Tensor:
        return self._world.all_gather(torch.cat(parts))[:count].cpu()


def _some(rows: Rows, count: int) -> Examples:
    """The first of those that real features are made of."""
    return rows[torch.randperm(len(rows), generator=stream("real"))[:count]]


def _worse(watched: dict[str, float], prefix: str) -> dict[str, float]:
    """What is watched of samples, where codes or reconstructions are worse than these."""
    found = {}
    far, apart = (watched.get(f"{prefix}{name}") for name in CODES)
    if far is not None:
        found[f"{prefix}misfit"] = max(watched.get(f"{prefix}misfit", 0.0), far)
    for name in ("mode_diversity", "diversity"):
        if apart is not None and f"{prefix}{name}" in watched:
            found[f"{prefix}{name}"] = min(watched[f"{prefix}{name}"], apart)
    return found
