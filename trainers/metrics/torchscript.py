"""Features from a TorchScript file of the user's: uint8 images (n, c, h, w) in, features (n, d) out.

For FIDs that can be compared with the literature: the file ``inception-2015-12-05.pt`` that NVIDIA publishes with
StyleGAN2-ADA and StyleGAN3 (a conversion of the original Inception graph), 10,000 or 50,000 samples, and
``evaluate.resize: 299``. Loading a TorchScript file runs code from it, so the settings must carry its sha256, and
nothing of the file is read as code before that agrees.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import Evaluate
from trainers.data import Space
from trainers.errors import UnusableSettingError

PREFIX = "torchscript:"


class TorchScriptExtractor(nn.Module):
    """The loaded file, behind the conversion from images (n, c, h, w) in [-1, 1]."""

    def __init__(self, path: Path, resize: int | None) -> None:
        super().__init__()
        self.script = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
        self.resize = resize
        self.keywords = {"return_features": True} if "return_features" in str(self.script.forward.schema) else {}

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, d); of grey images three equal channels are shown."""
        levels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        levels = levels.expand(-1, 3, -1, -1) if levels.shape[1] == 1 else levels
        if self.resize is not None:  # on bytes, torch's antialiased bicubic is PIL's
            levels = F.interpolate(levels, (self.resize, self.resize), mode="bicubic", antialias=True)
        features: Tensor = self.script(levels, **self.keywords)
        return features


def load_torchscript(settings: Evaluate, space: Space) -> tuple[nn.Module, str]:
    """The extractor of ``evaluate.extractor`` and the sha256 of its file.

    Raises UnusableSettingError where the file is missing, is not the one promised, or gives something else than (n, d).
    """
    path = Path(settings.extractor.removeprefix(PREFIX))
    if not path.is_file():
        raise UnusableSettingError(f"evaluate.extractor: no file {str(path)!r}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if settings.extractor_sha256 != digest:
        raise UnusableSettingError(
            f"evaluate.extractor_sha256: {path.name} has {digest}, the settings say "
            f"{settings.extractor_sha256 or 'nothing'}; loading it runs its code, so set this only if you trust it"
        )
    net = TorchScriptExtractor(path, settings.resize).eval()
    shape = tuple(net(torch.zeros(2, *space.shape)).shape)
    if len(shape) != 2 or shape[0] != 2:
        raise UnusableSettingError(f"evaluate.extractor: {path.name} gave {shape} for 2 images; expected (2, features)")
    return net, digest
