"""Features from a TorchScript file of the user's: uint8 images (n, c, h, w) in, features (n, d) out.

For FIDs that can be compared with the literature: the file ``inception-2015-12-05.pt`` that NVIDIA publishes with
StyleGAN2-ADA and StyleGAN3 (a conversion of the original Inception graph), ``evaluate.resize: 299``, 50,000 samples and
as many ``real_samples`` as the data set has. Loading a TorchScript file runs code from it, so the settings must carry
its sha256, and nothing of the file is read as code before that agrees.
"""

from __future__ import annotations

import hashlib
import io

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import TORCHSCRIPT, Evaluate
from trainers.data import Space
from trainers.errors import UnusableSettingError
from trainers.files.places import opened


class TorchScriptExtractor(nn.Module):
    """The loaded file, behind the conversion from images (n, c, h, w) in [-1, 1]."""

    def __init__(self, data: bytes, resize: int | None) -> None:
        super().__init__()
        self.script = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
        self.resize = resize
        self.keywords = {"return_features": True} if "return_features" in str(self.script.forward.schema) else {}

    def forward(self, images: Tensor) -> Tensor:
        """Features (n, d); of grey images three equal channels are shown."""
        levels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        levels = levels.expand(-1, 3, -1, -1) if levels.shape[1] == 1 else levels
        if self.resize is not None:  # on bytes, torch's antialiased bicubic is PIL's
            side = self.resize, self.resize
            levels = F.interpolate(levels.cpu(), side, mode="bicubic", antialias=True).to(images.device)  # CPU only
        features: Tensor = self.script(levels, **self.keywords)
        return features


def load_torchscript(settings: Evaluate, space: Space) -> tuple[nn.Module, str]:
    """The extractor of ``evaluate.extractor`` and the sha256 of its file.

    Raises UnusableSettingError where the file is missing, is not the one promised, or gives something else than (n, d).
    """
    place = settings.extractor.removeprefix(TORCHSCRIPT)
    data = _read(place)
    digest = hashlib.sha256(data).hexdigest()
    if settings.extractor_sha256 != digest:
        raise UnusableSettingError(
            f"evaluate.extractor_sha256: {place} has {digest}, the settings say "
            f"{settings.extractor_sha256 or 'nothing'}; loading it runs its code, so set this only if you trust it"
        )
    try:
        net = TorchScriptExtractor(data, settings.resize).eval()
        shape = tuple(net(torch.zeros(2, *space.shape)).shape)
    except Exception as error:  # the file's own code may raise anything
        message = f"{place} is no TorchScript file, or refuses 2 images of shape {space.shape}: {error}"
        raise UnusableSettingError(f"evaluate.extractor: {message}") from error
    if len(shape) != 2 or shape[0] != 2:
        raise UnusableSettingError(f"evaluate.extractor: {place} gave {shape} for 2 images; expected (2, features)")
    return net, digest


def _read(place: str) -> bytes:
    """A file here, or an object under ``s3://`` (endpoint and keys from the environment)."""
    try:
        files, path = opened(place)
        with files.open_input_file(path) as file:
            return bytes(file.read())
    except OSError as error:
        raise UnusableSettingError(f"evaluate.extractor: {place} cannot be read: {error}") from error
