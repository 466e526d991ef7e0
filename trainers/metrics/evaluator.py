"""From a generator to its numbers: fixed latents, features on every rank, one gathering, one verdict for all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from trainers.config import Config
from trainers.data import Dataset
from trainers.health import WATCHED, WITHIN
from trainers.metrics.coding import Coded
from trainers.metrics.conditions import comparable
from trainers.metrics.real import RemoteCache, real_side
from trainers.metrics.table import METRICS, OF_PICTURES, Comparison, Measure
from trainers.randomness import normal
from trainers.reading.registry import lookup
from trainers.report import UNDEFINED
from trainers.watching.pulse import Pulse
from trainers.world import World

FEWEST, MOST = 1_000, 2_000  # samples that the verdict looks at
AT_ONCE = 512  # samples that are drawn together, unless training shows fewer at a time
PLAIN = ("misfit", "mode_diversity")
"""What is measured of the plain generator too, where there is an average that may differ from it."""

Inputs = tuple[Tensor, ...]
Generator = Callable[..., Tensor]


class Evaluator:
    """Measures generators of one training. Call it on every rank: all of them get the same numbers.

    ``watched`` is what the last call found for the verdict, of 1,000 to 2,000 samples whatever ``evaluate.samples`` is:
    fewer tell too little, more cost too much. ``failures`` says in words which measures of the last call have no value
    and why; a measure that fails or is not finite is missing from the result and never ends the training.
    ``extractor_id`` and ``provenance`` say under which conditions the values hold: those measured under different ones
    must not be compared. ``inputs`` are rows for the generator where these aren't latents: as many are judged as there
    are, at most ``evaluate.samples``.
    """

    watches: tuple[str, ...] = WATCHED
    of_plain: tuple[str, ...] = PLAIN
    """What the verdict hears of the two generators, beside what was asked for."""

    def __init__(
        self,
        config: Config,
        dataset: Dataset,
        world: World,
        remote_cache: RemoteCache | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        evaluate = config.evaluate
        self._real = real_side(config, dataset, world, remote_cache)
        self._at_once = min(AT_ONCE, max(1, config.train.batch_size // world.size))
        self._world, self._samples = world, min(evaluate.samples, len(inputs[0])) if inputs else evaluate.samples
        self._to_watch = self._samples if inputs else min(max(evaluate.samples, FEWEST), MOST)
        self._made = max(self._samples, self._to_watch)
        if inputs is None:
            inputs = (normal((self._made, config.model.latent_dim), config.train.seed, "evaluate"),)
        if config.model.conditional:
            inputs = (*inputs, dataset.conditions(self._made, config.train.seed))
        self._asked = inputs[1] if config.model.conditional else None
        if self._asked is not None and comparable(
            self._real.labels, self._asked[: self._to_watch], dataset.space.conditions
        ):
            self.watches, self.of_plain = (*self.watches, WITHIN), (*self.of_plain, WITHIN)
        self._wanted, self._watched, self._of_plain = map(_measures, (evaluate.metrics, self.watches, self.of_plain))
        self._shape = dataset.space.shape if set(self._wanted) & set(OF_PICTURES) else None
        self._inputs = tuple(share(rows[: self._made], world) for rows in inputs)
        self._few_inputs = tuple(share(rows[: self._to_watch], world) for rows in inputs)
        self._critic: nn.Module | None = None
        self._coded: Coded | None = None
        self._plain_coded: Coded | None = None
        self.watched: dict[str, float] = {}
        self.failures: list[str] = []
        self.extractor_id = self._real.extractor.id
        self.provenance: dict[str, str | int | bool] = {
            "data": dataset.fingerprint[:12],
            "extractor": self.extractor_id,
            **self._real.extractor.told,
            "n_real": min(len(dataset), evaluate.real_samples),
            "n_fake": self._samples,
            "split": "train",
            "resize": f"{evaluate.resize} pixels, bicubic, antialiased" if evaluate.resize else "none",
            "ema": config.train.ema_half_life > 0,
        }

    @torch.no_grad()
    def __call__(
        self, generator: Generator, plain: Generator | None = None, critic: nn.Module | None = None
    ) -> dict[str, float]:
        """The measures of a generator in evaluation mode, a function from latents (n, latent_dim), and conditions if it
        is conditional, to images. Conditions are those of ``Dataset.conditions``. What only the verdict asked for is
        among them.

        Of ``plain``, the generator behind an average, only the verdict hears: ``watched["raw_misfit"]`` and so on.
        ``critic`` is the discriminator as it is.
        """
        self._critic = critic
        features, failure = self._features(generator, self._inputs)
        more, _ = (None, "") if plain is None else self._features(plain, self._few_inputs)
        if self._world.any(features is None):
            self.watched, self.failures = {}, [f"no measure: {self._world.agree(failure) or 'another rank failed'}"]
            return {}
        assert features is not None
        fake = self._world.all_gather(features)[: self._made].cpu()
        raw = None
        if plain is not None and not self._world.any(more is None):
            assert more is not None
            raw = self._world.all_gather(more)[: self._to_watch].cpu()
        found = self._measure(fake, raw) if self._world.rank == 0 else None
        metrics, self.watched, self.failures = self._world.agree(found)
        return dict(metrics)

    def _features(self, generator: Generator, inputs: Inputs) -> tuple[Tensor | None, str]:
        """Of this rank's share; None and the reason where the generator or the extractor fails."""
        batches = zip(*(torch.split(rows, self._at_once) for rows in inputs), strict=True)
        try:
            parts = [self._seen(generator(*(rows.to(self._world.device) for rows in batch))) for batch in batches]
            return torch.cat(parts), ""
        except Exception as error:  # code from outside; whatever it is, the training is worth more than the number
            return None, f"{type(error).__name__}: {error}"

    def _seen(self, made: Tensor) -> Tensor:
        """What is gathered of examples: their features, and where a measure looks at them the values themselves."""
        self._world.pulse.measured()
        features = self._real.extractor(made)
        return features if self._shape is None else torch.cat((features, made.flatten(1).to(features)), 1)

    def _measure(self, fake: Tensor, raw: Tensor | None) -> tuple[dict[str, float], dict[str, float], list[str]]:
        pulse = self._world.pulse
        metrics, failures = _taken(self._wanted, self._comparison(fake, self._samples), pulse)
        if self._to_watch == self._samples:
            missing = [measure for measure in self._watched if measure not in self._wanted]
            watched, more = _taken(missing, self._comparison(fake, self._samples), pulse)
            watched = {**metrics, **watched}
        else:
            watched, more = _taken(self._watched, self._comparison(fake, self._to_watch), pulse)
        plain = None if raw is None else self._comparison(raw, self._to_watch)._replace(coded=self._plain_coded)
        of_plain = {} if plain is None else _taken(self._of_plain, plain, pulse)[0]
        seen = watched | {f"raw_{name}": of_plain[name] for name in self.of_plain if name in of_plain}
        return {**watched, **metrics}, seen, list(dict.fromkeys([*failures, *more]))

    def _comparison(self, fake: Tensor, count: int) -> Comparison:
        asked, pictures, fake = None if self._asked is None else self._asked[:count], None, fake[:count]
        if self._shape is not None:
            fake, pictures = torch.tensor_split(fake, (-math.prod(self._shape),), dim=1)
            pictures = pictures.float().reshape(-1, *self._shape)
        return Comparison(
            self._real.half(count), fake, self._coded, asked=asked, pictures=pictures, critic=self._critic
        )


def _measures(names: Iterable[str]) -> list[Measure]:
    """Each function once, in order."""
    return list(dict.fromkeys(lookup(METRICS, name, "evaluate.metrics") for name in names))


def _taken(measures: Iterable[Measure], comparison: Comparison, pulse: Pulse) -> tuple[dict[str, float], list[str]]:
    metrics: dict[str, float] = {}
    failures: list[str] = []
    for measure in measures:
        pulse.measured()  # each may take minutes, of many samples
        try:
            values = {name: float(value) for name, value in measure(comparison).items()}
        except Exception as error:  # whatever it is, the training is worth more than the number
            failures.append(f"no {_names(measure)}: {error}")
            continue
        for name, value in values.items():
            if math.isfinite(value):
                metrics[name] = value
            else:
                failures.append(f"no {name}: {UNDEFINED} {value}")
    return metrics, failures


def _names(measure: Measure) -> str:
    return ", ".join(name for name, m in METRICS.items() if m is measure) or getattr(measure, "__name__", repr(measure))


def share(latents: Tensor, world: World) -> Tensor:
    """This rank's rows, equally many on each rank; what is over at the end of the last one is cut after gathering."""
    each = -(-len(latents) // world.size)
    return torch.cat([latents, latents[: each * world.size - len(latents)]])[each * world.rank :][:each]
