"""From a generator to its numbers: fixed latents, features on every rank, one gathering, one verdict for all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from trainers.config import Config
from trainers.data import Dataset
from trainers.health import MODES, WATCHED
from trainers.metrics.real import AT_MOST, Shelf, real_side
from trainers.metrics.table import METRICS, Comparison, Measure, Reals
from trainers.randomness import normal, stream
from trainers.registry import lookup
from trainers.world import World


class Evaluator:
    """Measures generators of one training. Call it on every rank: all of them get the same numbers.

    ``failures`` says in words which measures of the last call have no value and why; a measure that fails or is not
    finite is missing from the result and never ends the training. ``extractor_id`` and ``provenance`` say under which
    conditions the values hold: those measured under different ones must not be compared.
    """

    def __init__(self, config: Config, dataset: Dataset, world: World, shelf: Shelf | None = None) -> None:
        evaluate = config.evaluate
        self._real = real_side(config, dataset, world, shelf)
        wanted = (*evaluate.metrics, *WATCHED, MODES)
        self._measures: list[Measure] = list(
            dict.fromkeys(lookup(METRICS, name, "evaluate.metrics") for name in wanted)
        )
        self._world = world
        extractor, train, held_out = self._real
        complete = len(dataset) <= AT_MOST
        self._reals = Reals(train, held_out, dataset.space, extractor.classify, evaluate.samples, complete)
        self._samples = evaluate.samples
        self._latents = _share(
            normal((evaluate.samples, config.model.latent_dim), config.train.seed, "evaluate"), world
        )
        self._labels = None
        if config.model.conditional:
            self._labels = _share(_classes(dataset, evaluate.samples, config.train.seed), world)
        self.failures: list[str] = []
        self.extractor_id = self._real.extractor.id
        self.provenance: dict[str, str | int | bool] = {
            "extractor": self.extractor_id,
            "n_real": min(len(dataset), AT_MOST),
            "n_fake": evaluate.samples,
            "split": "train",
            "resize": evaluate.resize or "none",
            "ema": config.train.ema_half_life > 0,
        }

    @torch.no_grad()
    def __call__(self, generator: Callable[..., Tensor]) -> dict[str, float]:
        """The measures of a generator in evaluation mode, a function from latents (n, latent_dim), and classes (n,) if
        it is conditional, to images. Classes are as frequent as in the training data.
        """
        inputs = [self._latents] if self._labels is None else [self._latents, self._labels]
        batches = zip(*(torch.split(rows, 512) for rows in inputs), strict=True)
        parts = [self._real.extractor(generator(*(rows.to(self._world.device) for rows in b))) for b in batches]
        fake = self._world.all_gather(torch.cat(parts))[: self._samples].cpu()
        found = self._measure(fake) if self._world.rank == 0 else None
        metrics, self.failures = self._world.agree(found)
        return dict(metrics)

    def _measure(self, fake: Tensor) -> tuple[dict[str, float], list[str]]:
        comparison = Comparison(self._reals, fake)
        metrics: dict[str, float] = {}
        failures: list[str] = []
        for measure in self._measures:
            try:
                values = {name: float(value) for name, value in measure(comparison).items()}
            except Exception as error:  # whatever it is, the training is worth more than the number
                failures.append(f"no {_names(measure)}: {error}")
                continue
            for name, value in values.items():
                if math.isfinite(value):
                    metrics[name] = value
                else:
                    failures.append(f"no {name}: it came out as {value}")
        return metrics, failures


def _names(measure: Measure) -> str:
    return ", ".join(name for name, m in METRICS.items() if m is measure) or getattr(measure, "__name__", repr(measure))


def _classes(dataset: Dataset, count: int, seed: int) -> Tensor:
    counts = dataset.train.label_counts
    assert counts is not None  # trainers.check refuses conditional models without labels
    return torch.multinomial(counts.double(), count, replacement=True, generator=stream(seed, "evaluate labels"))


def _share(latents: Tensor, world: World) -> Tensor:
    """This rank's rows, equally many on each rank; what is over at the end of the last one is cut after gathering."""
    each = -(-len(latents) // world.size)
    return torch.cat([latents, latents[: each * world.size - len(latents)]])[each * world.rank :][:each]
