"""The judge of clips: features with what changes, identity and law of motion, and two rivals that have real frames."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainers.config import Config
from trainers.data import Dataset, Rows
from trainers.metrics import Evaluator, RemoteCache
from trainers.metrics.evaluator import Generator
from trainers.metrics.moving_reader import MovingReader
from trainers.metrics.table import Comparison
from trainers.metrics.video import Moved, motion
from trainers.randomness import stream
from trainers.world import World

AT_ONCE = 64


class ClipJudge(Evaluator):
    """Adds motion, and where the law is known classes and paths, to what is seen of clips; and to what was
    asked for the same of rivals, ``frozen_fid`` and so on.
    """

    def __init__(self, config: Config, dataset: Dataset, world: World, remote_cache: RemoteCache | None = None) -> None:
        super().__init__(config, dataset, world, remote_cache)
        self._shape = None  # no measure of clips looks at their pixels, and they would be too many to gather
        self._law, self._frames = dataset.law, dataset.space.shape[0]
        reader = self._real.extractor.net
        self._reader = reader if isinstance(reader, MovingReader) else None
        count = min(len(dataset), config.evaluate.real_samples)
        parts = [dataset.train[rows].floats() for rows in torch.split(torch.arange(count), AT_ONCE)]
        self._real_motion = float(torch.cat([motion(part) for part in parts]).double().mean())
        self._of_rivals: dict[str, float] = {}
        rivals = {"frozen": frozen, "shuffled": shuffled}
        scores = {name: self(Rival(dataset.test, how, world)) for name, how in rivals.items()}
        asked = config.evaluate.metrics
        self._of_rivals = {
            f"{rival}_{name}": found[name] for rival, found in scores.items() for name in asked if name in found
        }

    def __call__(
        self, generator: Generator, plain: Generator | None = None, critic: nn.Module | None = None
    ) -> dict[str, float]:
        """The measures of a generator that makes clips (n, frames, C, H, W) of latents, beside the rivals'."""
        return super().__call__(generator, plain, critic) | self._of_rivals

    def _seen(self, made: Tensor) -> Tensor:
        amount = motion(made)[:, None]
        if self._law is None or self._reader is None:
            columns = [self._real.extractor(made), amount]
        else:
            hidden, paths = self._reader.hidden(made), self._law.paths(made).flatten(1)
            columns = [self._reader.features(made, hidden), amount, self._reader.digits(hidden), paths]
        return torch.cat([column.float() for column in columns], 1)

    def _comparison(self, fake: Tensor, count: int) -> Comparison:
        frames = self._frames if self._law is not None and self._reader is not None else 0
        known = fake.shape[1] - 1 - 3 * frames
        features, amount, classes, paths = torch.split(fake[:count], [known, 1, frames, 2 * frames], 1)
        moved = Moved(amount[:, 0], self._real_motion)
        if frames:
            moved = Moved(amount[:, 0], self._real_motion, self._law, classes, paths.reshape(-1, frames, 2))
        return super()._comparison(features, count)._replace(moved=moved)


class Rival:
    """In place of a generator: held-out clips, with their frames changed."""

    def __init__(self, clips: Rows, how: Callable[[Tensor, Tensor], Tensor], world: World) -> None:
        self._clips, self._how, self._next = clips, how, world.rank * len(clips) // world.size

    def __call__(self, latents: Tensor) -> Tensor:
        rows = (self._next + torch.arange(len(latents))) % len(self._clips)
        self._next += len(latents)
        return self._how(self._clips[rows].floats(), rows).to(latents.device)


def frozen(clips: Tensor, rows: Tensor) -> Tensor:
    """Each of its first frame only."""
    return clips[:, :1].expand_as(clips)


def shuffled(clips: Tensor, rows: Tensor) -> Tensor:
    """Each in an order that depends on its number."""
    orders = [torch.randperm(clips.shape[1], generator=stream("shuffled", row)) for row in rows.tolist()]
    return clips[torch.arange(len(clips))[:, None], torch.stack(orders)]
