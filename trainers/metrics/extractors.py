"""What turns images into features, each named by its content: two values are comparable only under one
``name@hash``."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import TORCHSCRIPT, Evaluate
from trainers.data import Dataset, Examples, Space
from trainers.data.digits import split_digits
from trainers.data.painted import LOOKS
from trainers.errors import UnusableSettingError
from trainers.metrics.digits_cnn import DigitsCNN, load_digits_cnn
from trainers.metrics.moving_reader import MovingReader, load_moving_reader
from trainers.metrics.painted_cnn import PaintedCNN, fresh
from trainers.metrics.reader import Reader, accuracy, load_reader
from trainers.metrics.torchscript import load_torchscript
from trainers.models.sequences import Alphabet
from trainers.randomness import normal
from trainers.reading.registry import lookup
from trainers.world import World


class Extractor:
    """A frozen network from images to features; ``id`` is its name and a hash of its content, ``told`` what else a
    reader of its values should know.
    """

    def __init__(self, name: str, net: nn.Module, device: torch.device, digest: str | None = None) -> None:
        self.net = net.eval().requires_grad_(False).to(device)
        self.id = f"{name}@{(digest or _content_hash(net))[:12]}"
        self.device = device
        self.classify = net.classify if isinstance(net, DigitsCNN | MovingReader) else None
        self.read = net.read if isinstance(net, Reader) else None
        self.told: dict[str, str] = {}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (n, d) in float32 of images (n, c, h, w) in [-1, 1], points (n, d), or code points (n, length)."""
        parts = [self.net(part.to(self.device, torch.float32)) for part in torch.split(images, 512)]
        return torch.cat(parts).float()


class RandomConv(nn.Module):
    """A pyramid of random convolutions over images of any size: no download, no training, yet it orders real failures.

    Each level is pooled to 2 x 2 means, so that both texture and layout count. Random features carry perceptual
    distances well enough to rank generators (Naeem et al., arXiv 2002.09797, section 4.2, on untrained VGG features).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = [channels, 32, 64, 128, 128, 128]
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(widths))
        for level, conv in enumerate(self.convs):
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            weight = normal(tuple(conv.weight.shape), "random-conv", channels, level, "weight")
            conv.weight.data = weight * (2 / weight[0].numel()) ** 0.5
            conv.bias.data = 0.1 * normal(tuple(conv.bias.shape), "random-conv", channels, level, "bias")

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, up to 1920) of images (n, c, h, w); larger than 64 x 64 they are shrunk first."""
        x = images
        if max(x.shape[-2:]) > 64:
            x = F.interpolate(x, (64, 64), mode="bilinear", antialias=True)
        pooled = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            pooled.append(F.adaptive_avg_pool2d(x, 2).flatten(1))
            if min(x.shape[-2:]) < 4:
                break
            x = F.avg_pool2d(x, 2)
        return torch.cat(pooled, 1)


class RandomConv1d(nn.Module):
    """The same over text of any length, from its code points; each level is pooled to 2 means."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.alphabet = Alphabet(space)
        self.convs = nn.ModuleList(nn.Conv1d(i, 64, 3, padding=1) for i in (self.alphabet.size, 64, 64))
        for level, conv in enumerate(self.convs):
            assert isinstance(conv, nn.Conv1d) and conv.bias is not None
            weight = normal(tuple(conv.weight.shape), "random-conv1d", space.alphabet, level, "weight")
            conv.weight.data = weight * (2 / weight[0].numel()) ** 0.5
            conv.bias.data = 0.1 * normal(tuple(conv.bias.shape), "random-conv1d", space.alphabet, level, "bias")

    def forward(self, points: Tensor) -> Tensor:
        """Features (n, 384) of code points (n, length)."""
        x, pooled = self.alphabet.one_hot(points.long()).transpose(1, 2), []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.2)
            pooled.append(F.adaptive_avg_pool1d(x, 2).flatten(1))
        return torch.cat(pooled, 1)


class RandomConvOfClips(RandomConv):
    """The same over clips: what three frames in a row show, on average over a few places in the clip."""

    SEEN, PLACES = 3, 4

    def __init__(self, space: Space) -> None:
        self.seen = min(self.SEEN, space.shape[0])
        super().__init__(space.shape[1] * self.seen)

    def forward(self, clips: Tensor) -> Tensor:
        """Features (n, up to 1920) of clips (n, frames, c, h, w)."""
        starts = torch.linspace(0, clips.shape[1] - self.seen, self.PLACES).long().tolist()
        parts = [super(RandomConvOfClips, self).forward(clips[:, at : at + self.seen].flatten(1, 2)) for at in starts]
        return torch.stack(parts).mean(0)


def build(settings: Evaluate, dataset: Dataset, world: World) -> Extractor:
    """The extractor that the settings name for such data; ``auto`` chooses.

    Every rank of ``world`` calls it, since one may have to wait for another. Raises UnusableSettingError.
    """
    name = settings.extractor
    if name.startswith(TORCHSCRIPT):
        net, digest = load_torchscript(settings, dataset.space)
        return Extractor(Path(name.removeprefix(TORCHSCRIPT)).name, net, world.device, digest)
    if name == "auto":
        name = _automatic(dataset)
    extractor = Extractor(name, lookup(EXTRACTORS, name, "evaluate.extractor")(dataset, world), world.device)
    if extractor.classify:
        held_out = dataset.test if isinstance(extractor.net, PaintedCNN | MovingReader) else split_digits()[1]
        extractor.told = {"extractor_accuracy": _accuracy(extractor, held_out[torch.arange(len(held_out))])}
    if isinstance(extractor.net, Reader):
        extractor.told = {"extractor_accuracy": accuracy(extractor.net, dataset.test)}
    return extractor


def _automatic(dataset: Dataset) -> str:
    if dataset.space.alphabet:
        return "random-conv"
    if dataset.space.is_clip:
        return "moving-reader" if dataset.law else "random-conv"
    if not dataset.space.is_image:
        return "raw"
    if dataset.name in LOOKS:
        return "painted-cnn"
    if dataset.fresh is not None:
        return "reader"
    return "digits-cnn" if dataset.name in ("digits", "stacked-digits") else "random-conv"


def _raw(dataset: Dataset, world: World) -> nn.Module:
    return nn.Flatten()


def _digits_cnn(dataset: Dataset, world: World) -> nn.Module:
    digits, _ = split_digits()
    assert digits.labels is not None
    return load_digits_cnn(digits.values, digits.labels, first=world.rank == 0, wait=lambda: world.agree(None))


def _painted_cnn(dataset: Dataset, world: World) -> nn.Module:
    if dataset.name not in LOOKS:
        raise UnusableSettingError(f"evaluate.extractor: 'painted-cnn' reads {' and '.join(LOOKS)} only; use 'auto'")
    pictures = fresh(dataset.name)
    assert pictures.labels is not None
    first, wait = world.rank == 0, lambda: world.agree(None)
    return load_digits_cnn(pictures.values, pictures.labels, first, wait, PaintedCNN)


def _random_conv(dataset: Dataset, world: World) -> nn.Module:
    if dataset.space.is_clip:
        return RandomConvOfClips(dataset.space)
    return RandomConv1d(dataset.space) if dataset.space.alphabet else RandomConv(dataset.space.shape[0])


EXTRACTORS: dict[str, Callable[[Dataset, World], nn.Module]] = {
    "raw": _raw,
    "digits-cnn": _digits_cnn,
    "painted-cnn": _painted_cnn,
    "random-conv": _random_conv,
    "moving-reader": load_moving_reader,
    "reader": load_reader,
}


def _accuracy(extractor: Extractor, held_out: Examples) -> str:
    """Of a classifier of digits, on those that it was not trained on."""
    assert extractor.classify is not None and held_out.labels is not None
    right = torch.eq(extractor.classify(extractor(held_out.floats())), held_out.labels)
    return f"{float(right.float().mean()):.1%} of {len(held_out)} held-out digits"


def _content_hash(net: nn.Module) -> str:
    """Of structure, code and weights."""
    digest = hashlib.sha256(repr(net).encode())
    if not type(net).__module__.startswith(("torch.", "trainers.")):
        digest.update(inspect.getsource(type(net)).encode())
    for name, values in net.state_dict().items():
        digest.update(name.encode())
        digest.update(values.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
