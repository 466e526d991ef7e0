"""Checkpoints: a folder of safetensors and JSON whose manifest carries the size and sha256 of every file.

A folder is written beside its place and moved in, so it is whole or absent; damage that comes later is found when it is
read. (No fsync: a machine that loses power may leave a torn folder, which the checksums refuse, and the one before is
taken.)
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

from trainers.config import Config
from trainers.data import Space
from trainers.errors import CheckpointError
from trainers.models import build_generator

FORMAT = 1
MANIFEST = "manifest.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: settings, space, progress, tensors by file and name, and the loop's own JSON state."""

    config: Config
    space: Space
    images: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes ``checkpoint`` as ``folder``, replacing what stood there."""
    files = {f"{name}.safetensors": tensor_bytes(_plain(group)) for name, group in checkpoint.tensors.items()}
    files["state.json"] = json.dumps(checkpoint.state, indent=1).encode()
    manifest = {
        "format": FORMAT,
        "images": checkpoint.images,
        "config": checkpoint.config.model_dump(mode="json"),
        "space": asdict(checkpoint.space),
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
        },
    }
    manifest["sha256"] = _manifest_hash(manifest)
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, data in files.items():
        (beside / name).write_bytes(data)
    (beside / MANIFEST).write_text(json.dumps(manifest, indent=1))
    _move_in(beside, folder)
    return folder


def load(folder: Path, only: str | None = None) -> Checkpoint:
    """Reads a checkpoint, or of its tensors the file ``only``, and checks every byte that it reads.

    Raises CheckpointError where a file is missing, damaged, or of a format that this version does not know.
    """
    manifest = _manifest(folder)
    wanted = ["state.json", *([f"{only}.safetensors"] if only else [n for n in manifest["files"] if n != "state.json"])]
    files = {name: _verified(folder, name, manifest) for name in wanted}
    state = json.loads(files.pop("state.json"))
    tensors = {name.removesuffix(".safetensors"): read_tensors(data) for name, data in files.items()}
    space = manifest["space"]
    space["shape"], space["centers"] = tuple(space["shape"]), tuple(map(tuple, space["centers"]))
    return Checkpoint(Config.model_validate(manifest["config"]), Space(**space), manifest["images"], tensors, state)


def load_generator(folder: Path, ema: bool = True) -> tuple[Config, nn.Module]:
    """The generator of a checkpoint, in eval mode on the CPU, and the settings it was trained with.

    ``ema`` chooses the averaged weights. The module's ``space`` says what it makes. Raises CheckpointError.
    """
    name = "generator_ema" if ema else "generator"
    checkpoint = load(folder, only=name)
    generator = build_generator(checkpoint.config.model, checkpoint.space)
    generator.load_state_dict(checkpoint.tensors[name])
    return checkpoint.config, generator.requires_grad_(False).eval()


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint among ``folder/<images>/``; a damaged one is named in a warning and passed over."""
    candidates = [p for p in folder.iterdir() if p.name.isdecimal()] if folder.is_dir() else []
    for candidate in sorted(candidates, key=lambda p: int(p.name), reverse=True):
        try:
            manifest = _manifest(candidate)
            for name in manifest["files"]:
                _verified(candidate, name, manifest)
        except CheckpointError as error:
            log.warning("%s; falling back to the checkpoint before", error)
            continue
        return candidate
    return None


def _plain(group: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in group.items()}


def _move_in(beside: Path, folder: Path) -> None:
    """os.replace cannot put a folder over a full one, so an older one steps aside first."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    beside.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: no checkpoint here ({MANIFEST} is missing)") from None
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{folder}: {MANIFEST} cannot be read ({error})") from error
    if manifest.get("sha256") != _manifest_hash(manifest):
        raise CheckpointError(f"{folder}: {MANIFEST} is damaged (its own checksum differs)")
    if manifest["format"] != FORMAT:
        raise CheckpointError(f"{folder}: format {manifest['format']}; this version reads format {FORMAT}")
    return manifest


def _manifest_hash(manifest: Mapping[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _verified(folder: Path, name: str, manifest: dict[str, Any]) -> bytes:
    expected = manifest["files"][name]
    try:
        data = (folder / name).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{folder}: {name} cannot be read ({error.strerror})") from error
    if len(data) != expected["size"] or hashlib.sha256(data).hexdigest() != expected["sha256"]:
        raise CheckpointError(f"{folder}: {name} is damaged (its checksum differs from the manifest's)")
    return data
