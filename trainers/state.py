"""Checkpoints: sealed folders of safetensors and JSON. After a damaged one, the one before is taken."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors.torch import load as read_tensors
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn

from trainers.config import Config
from trainers.data import Space
from trainers.data.conditions import Column
from trainers.errors import CheckpointError
from trainers.families import FAMILIES
from trainers.files.sealed import content, facts, foreign, own_version, seal
from trainers.reading import owncode, ownimports

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
    config, space = checkpoint.config.model_dump(mode="json"), asdict(checkpoint.space)
    return seal(folder, files, version=own_version(), images=checkpoint.images, config=config, space=space)


def load(folder: Path, only: str | None = None) -> Checkpoint:
    """Reads a checkpoint, or of its tensors the file ``only``, and checks every byte that it reads.

    Raises CheckpointError where a file is missing, damaged, or of a format that this version does not know.
    """
    manifest = facts(folder)
    with explained(folder):
        names = [f"{only}.safetensors"] if only else [n for n in manifest["files"] if n != "state.json"]
        files = {name: content(folder, name, manifest) for name in ["state.json", *names]}
        state = json.loads(files.pop("state.json"))
        tensors = {name.removesuffix(".safetensors"): read_tensors(data) for name, data in files.items()}
        config = Config.model_validate(manifest["config"])
        return Checkpoint(config, _space(manifest), manifest["images"], tensors, state)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Whatever a checkpoint of another version lacks, or has too much, becomes a CheckpointError that says so."""
    try:
        yield
    except KeyError as error:
        raise foreign(folder, f"it has no {error}") from error
    except (ValidationError, TypeError) as error:
        found = error.errors()[0] if isinstance(error, ValidationError) else None
        odd = f"{'.'.join(map(str, found['loc']))}: {found['msg']}" if found else str(error)
        raise foreign(folder, odd) from error


def load_generator(folder: Path, ema: bool = True, trusted: Collection[str] | None = ()) -> tuple[Config, nn.Module]:
    """The generator of a checkpoint, in eval mode on the CPU, and the settings it was trained with.

    ``ema`` chooses the averaged weights; ``load_space`` says what it makes. Code that the checkpoint brings is run only
    where its sha256 is among ``trusted`` (None: whatever it is); a network of an installed package is imported by the
    dotted path that the checkpoint names. Raises CheckpointError, OwnCodeError.
    """
    name = "generator_ema" if ema else "generator"
    checkpoint = load(folder, only=name)
    code = checkpoint.config.code
    owncode.require_trusted(code, code if trusted is None else trusted, folder)
    ownimports.provide(code)
    generator = FAMILIES[checkpoint.config.family].open().sampler(checkpoint.config, checkpoint.space)
    generator.load_state_dict(checkpoint.tensors[name])
    return checkpoint.config, generator.requires_grad_(False).eval()


def load_space(folder: Path) -> Space:
    """What a checkpoint's generator makes, and what its classes are called. Raises CheckpointError."""
    manifest = facts(folder)
    with explained(folder):
        return _space(manifest)


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint among ``folder/<images>/``; a damaged one is named in a warning and passed over."""
    candidates = [p for p in folder.iterdir() if p.name.isdecimal()] if folder.is_dir() else []
    for candidate in sorted(candidates, key=lambda p: int(p.name), reverse=True):
        try:
            manifest = facts(candidate)
            for name in manifest["files"]:
                content(candidate, name, manifest)
        except CheckpointError as error:
            log.warning("%s; falling back to the checkpoint before", error)
            continue
        return candidate
    return None


def _space(manifest: Mapping[str, Any]) -> Space:
    """Older checkpoints don't know what the classes are called, and have no columns and no window."""
    told = dict(manifest["space"])
    told |= {"shape": tuple(told["shape"]), "centers": tuple(map(tuple, told["centers"]))}
    columns = tuple(Column(**column | {"names": tuple(column["names"])}) for column in told.get("columns", ()))
    window = told.get("window") and tuple(told["window"])
    return Space(**told | {"names": tuple(told.get("names", ())), "columns": columns, "window": window})


def _plain(group: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in group.items()}
