"""A small network that reads moving digits frame by frame, and what it sees of a clip as features.

Every frame is looked at around the centre of its ink, so that the same digit is read alike wherever it is. It is
trained once per machine, on fresh clips of the training digits.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.data import moving
from trainers.data.dataset import Dataset
from trainers.data.digits import split_digits
from trainers.data.moving import DIGIT, Bouncing, centres
from trainers.errors import UnusableSettingError
from trainers.metrics.kept import alone, fitted, kept
from trainers.world import World

SIDE, HIDDEN = 12, 32
"""Pixels around the centre of the ink; units of the last hidden layer."""
PLACES = 4
"""Of a clip's path, from its first frame to its last."""
STEPS, BATCH, PEAK_LR, FRESH = 800, 96, 4e-3, 4_000
LEARNED = 16
"""Frames, and pixels of their side, of the clips that it learns from; others look alike around the ink."""


class MovingReader(nn.Module):
    """Features (n, 76) of clips (n, frames, 1, side, side) in [-1, 1]: what is seen on average, and how much that
    changes from frame to frame; where the ink is, how far it moves from frame to frame, and how much that changes.

    The first and the third have variance 1 over real clips, and their changes are in the same units: so it counts
    whether a clip goes on as it began, and a frozen or shuffled one is another one.
    """

    NAME = "moving-reader"

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1), nn.GELU(), nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1), nn.GELU(),
            nn.Flatten(), nn.Linear(64 * 9, HIDDEN), nn.GELU(),
        )  # fmt: skip
        self.head = nn.Linear(HIDDEN, 10)
        self.center: Tensor
        self.scale: Tensor
        self.register_buffer("center", torch.zeros(2 * HIDDEN + 2 * PLACES + 4))
        self.register_buffer("scale", torch.ones(2 * HIDDEN + 2 * PLACES + 4))

    def forward(self, clips: Tensor) -> Tensor:
        """(n, frames, 1, side, side) -> (n, 76)."""
        return self.features(clips, self.hidden(clips))

    def classify(self, features: Tensor) -> Tensor:
        """The digit (n,) that is seen on average, of features (n, 76), on the CPU."""
        hidden = features.to(self.scale.device).float() * self.scale + self.center
        digits: Tensor = self.head(hidden[:, :HIDDEN]).argmax(1).cpu()
        return digits

    def features(self, clips: Tensor, hidden: Tensor) -> Tensor:
        """The same, of what ``hidden`` has seen."""
        return (self._described(clips, hidden) - self.center) / self.scale

    def digits(self, hidden: Tensor) -> Tensor:
        """The digit in each frame (n, frames), of what ``hidden`` has seen."""
        digits: Tensor = self.head(hidden).argmax(2)
        return digits

    def _described(self, clips: Tensor, hidden: Tensor) -> Tensor:
        x, y = centres(clips[:, :, 0])
        path = torch.stack((x, y), 2)
        steps = path.diff(dim=1)
        places = path[:, torch.linspace(0, path.shape[1] - 1, PLACES).long()].flatten(1)
        changes = hidden.diff(dim=1).abs().mean(1)
        return torch.cat((hidden.mean(1), changes, places, steps.abs().mean(1), steps.diff(dim=1).abs().mean(1)), 1)

    def hidden(self, clips: Tensor) -> Tensor:
        """What is seen of each frame (n, frames, 32)."""
        hidden: Tensor = self.body(around_ink(clips.flatten(0, 1)))
        return hidden.view(*clips.shape[:2], HIDDEN)

    @torch.no_grad()
    def fit(self, clips: Tensor) -> None:
        """Takes the scale of what is seen and of steps from real clips; changes are in these units."""
        seen = torch.cat([self._described(part, self.hidden(part)) for part in torch.split(clips, 256)])
        self.center.copy_(seen.mean(0))
        spread = seen.std(0).clamp(min=1e-3)
        hidden, _, places, steps, _ = torch.split(spread, [HIDDEN, HIDDEN, 2 * PLACES, 2, 2])
        self.scale.copy_(torch.cat((hidden, hidden, places, steps, steps)))


def around_ink(pictures: Tensor) -> Tensor:
    """Squares (n, 1, 12, 12) around the centre of the ink of pictures (n, 1, side, side), bilinear between pixels."""
    side, off = pictures.shape[-1], torch.arange(SIDE, device=pictures.device) - (SIDE - 1) / 2
    x, y = ((2 * (centre[:, None] + off) + 1) / side - 1 for centre in centres(pictures[:, 0]))
    grid = torch.stack((x[:, None].expand(-1, SIDE, -1), y[:, :, None].expand(-1, -1, SIDE)), 3)
    return 2 * F.grid_sample((pictures + 1) / 2, grid, align_corners=False) - 1


def load_moving_reader(dataset: Dataset, world: World) -> MovingReader:
    """From the cache, or trained. Raises UnusableSettingError where these are no moving digits."""
    if not isinstance(dataset.law, Bouncing):
        raise UnusableSettingError("evaluate.extractor: 'moving-reader' reads moving-digits only; use 'auto'")
    law = Bouncing(room=LEARNED - DIGIT, frames=LEARNED)
    digest = hashlib.sha256(Path(__file__).read_bytes() + Path(moving.__file__).read_bytes())
    digest.update(torch.__version__.split("+")[0].encode())
    name = f"moving-reader-{digest.hexdigest()[:16]}"
    trained = partial(_trained, law)
    return kept(name, MovingReader, lambda: alone(trained), first=world.rank == 0, wait=lambda: world.agree(None))


def _trained(law: Bouncing) -> MovingReader:
    clips, reader = moving.drawn(law, split_digits()[0], "to read", FRESH), MovingReader()

    def loss() -> Tensor:
        rows, frames = torch.randint(len(clips), (BATCH,)), torch.randint(law.frames, (BATCH,))
        hidden = reader.body(around_ink(clips.values[rows, frames].float() / 127.5 - 1))
        assert clips.labels is not None
        return F.cross_entropy(reader.head(hidden), clips.labels[rows], label_smoothing=0.1)

    fitted(reader, (loss() for _ in range(STEPS)), STEPS, PEAK_LR).fit(clips[torch.arange(1_000)].floats())
    return reader
