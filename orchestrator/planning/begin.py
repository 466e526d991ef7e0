"""``gansweep init``: a first sweep file, that fits the data and this machine."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from orchestrator.errors import UserError
from orchestrator.planning.estimate import estimate
from orchestrator.planning.look import Looked, bytes_of, look, too_large
from orchestrator.spec import loads
from trainers.config import Config
from trainers.data.shards import IN_MEMORY

KINDS = ("images", "parquet")
SMALL = 20_000
"""Pictures: with fewer the discriminator is augmented, or it learns them by heart (DiffAugment)."""
SHARE = 0.6
"""Of the time is training; the rest is starting, measuring and sending."""
ROUNDS = 12
"""Reports over the budget of a trial."""
LEAST = 2_000
"""Images between two reports."""
SMALLEST_BATCH = 4
FEATURES = 1_920
"""Of the network behind the measures, at most; with fewer samples FID is biased, and KID is not (Binkowski 2018)."""


class Machine(NamedTuple):
    """``slots`` trials train at once."""

    gpus: int
    slots: int
    words: str


def shipped() -> dict[str, str]:
    """The sweep files that came with the package, by name."""
    folder = resources.files("gansweep") / "configs"
    return {
        file.name.removesuffix(".yaml"): file.read_text() for file in folder.iterdir() if file.name.endswith("yaml")
    }


def copy(name: str, output: Path | None) -> Path:
    """A shipped sweep file. Raises UserError where there is none of this name."""
    files = shipped()
    if name not in files:
        known = ", ".join([*sorted(files), "images DIR", "parquet PLACE"])
        raise UserError(f"init {name}: there is none of that name; begin with: {known}")
    file = _free(output or Path(f"{name}.yaml"))
    file.write_text(files[name])
    return file


def fit(kind: str, where: str, output: Path | None, minutes: float, say: Callable[[str], None]) -> Path:
    """A sweep on the pictures at ``where`` that takes about so many minutes here. Trains a few steps, to see how fast
    that is. Raises UserError where nothing there can be trained on, or the file is there already.
    """
    name = _name(where)
    file = _free(output or Path(f"{name}.yaml"))
    looked, machine = look(kind, where), _machine()
    for line in looked.told():
        say(line)
    side = min(looked.side, 64 if machine.gpus else 32)
    resolution = max(8, 1 << (max(side, 1).bit_length() - 1))
    if kind == "images" and (why := too_large(looked, resolution)):
        raise UserError(f"{where}: {why}")
    values = _values(name, kind, looked, machine, resolution) | {"file": file}
    say(f"{machine.words}; training a few steps to see how fast that is …")
    speed, values = _fitting(values, looked, say)
    say(f"{speed:,.0f} images/s a trial at {resolution}x{resolution}")
    text, takes = _filled(values, speed * machine.slots, minutes)
    if takes > 1.2 * minutes:
        say(f"{minutes:g} min would be too short for {ROUNDS} reports a trial: this sweep takes about {takes:g} min")
    file.write_text(text)
    return file


def _machine() -> Machine:
    import torch

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if gpus := torch.cuda.device_count():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Machine(gpus, gpus, f"{gpus} GPU of {memory:.0f} GiB ({torch.cuda.get_device_name(0)})")
    return Machine(0, cpus, f"no GPU, {cpus} CPU cores")


def _name(where: str) -> str:
    """Of the sweep, after the folder."""
    words = re.sub(r"[^a-z0-9]+", "-", Path(where.rstrip("/")).resolve().stem.lower()).strip("-")
    return words[:40] or "pictures"


def _free(file: Path) -> Path:
    if file.exists():
        raise UserError(f"{file} is there already; name another with -o FILE")
    return file


def _values(name: str, kind: str, looked: Looked, machine: Machine, resolution: int) -> dict[str, Any]:
    """What the template asks for but the budget."""
    number = looked.classes if isinstance(looked.classes, int) else len(looked.classes)
    samples = max(16, min(10_000 if machine.gpus else 500, looked.pictures))
    measured = kind == "images" and looked.measured  # values that mean something: neither cut to 8 bits nor shifted
    where = looked.where if looked.where.startswith("s3://") else str(Path(looked.where).absolute())
    return {
        "name": name,
        "file": f"{name}.yaml",
        "kind": kind,
        "where": _quoted(where),
        "resolution": resolution,
        "channels": looked.channels,
        "intensity": ", intensity: {percentiles: [0.5, 99.5]}" if measured else "",
        "width": 64 if machine.gpus else 16,
        "batch_size": min(64 if machine.gpus else 16, looked.pictures * 9 // 10),
        "conditional": "false    # true: the generator is told the class, and can be asked for one"
        if number
        else "false",
        "augment": f"[{'' if measured else 'color, '}translation, cutout]" if looked.pictures < SMALL else "[]",
        "half_life": 10_000 if machine.gpus else 2_000,
        "samples": samples,
        "measure": "fid" if samples >= FEATURES else "kid",
        "trials": 16 if machine.gpus else 4,
        "gpus": 1 if machine.gpus else 0,
        "seen": "; ".join(looked.told()),
        "machine": machine.words,
    }


def _fitting(values: dict[str, Any], looked: Looked, say: Callable[[str], None]) -> tuple[float, dict[str, Any]]:
    """Images/s of a trial, with the largest batch that the GPU's memory holds."""
    import torch

    while True:
        try:
            return _speed(values, looked), values
        except torch.OutOfMemoryError:
            if values["batch_size"] <= SMALLEST_BATCH:
                raise UserError(f"not even a batch of {SMALLEST_BATCH} pictures fits into the GPU's memory") from None
        say(f"a batch of {values['batch_size']} does not fit into the GPU's memory; trying half of it …")
        values = values | {"batch_size": values["batch_size"] // 2}


def _quoted(where: str) -> str:
    return yaml.safe_dump(where, default_style='"', width=10_000).strip()


def _speed(values: dict[str, Any], looked: Looked) -> float:
    """Images/s of one training, without what comes before its first report; on as many threads as a slot has. It reads
    the pictures that were looked at, or streams, as the sweep will, what memory doesn't hold.
    """
    import torch

    from orchestrator.training import train

    every = 20 * values["batch_size"] if values["gpus"] else 8 * values["batch_size"]
    folder, threads = Path(tempfile.mkdtemp(prefix="gansweep-")), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if values["kind"] == "images" or bytes_of(looked, values["resolution"]) <= IN_MEMORY:
            values = values | {"kind": "images", "where": _quoted(str(_saved(looked, folder / "pictures")))}
        text = TEMPLATE.format(**values, images=2 * every, every=every, minutes=0, speed=0)
        config = loads(text, "the sweep file").trial_config({}).model_dump(mode="json")
        quick = Config.model_validate(config | {"evaluate": {"every_images": every, "samples": 16}})
        first, second = train(quick, 1, folder / "out", lambda _: None).reports[:2]
    finally:
        torch.set_num_threads(threads)
        shutil.rmtree(folder, ignore_errors=True)
    return float(every) / max(second.seconds - first.seconds, 1e-3)


def _saved(looked: Looked, folder: Path) -> Path:
    """A folder with the pictures that were looked at."""
    folder.mkdir()
    for number, read in enumerate(looked.opened):
        with suppress(OSError):  # one that can't be read is left aside by a training, too
            (folder / f"{number}.png").write_bytes(read())
    return folder


def _filled(values: dict[str, Any], speed: float, minutes: float) -> tuple[str, float]:
    """With the budget that so many images/s over all slots have time for, and the minutes that this takes: a trial gets
    ``ROUNDS`` reports in any case.
    """

    def text(every: int, minutes: float) -> str:
        return TEMPLATE.format(**values, images=every * ROUNDS, every=every, minutes=minutes, speed=speed)

    smallest = loads(text(LEAST, 0), "the sweep file")
    least = estimate(smallest).images / (SHARE * 60 * speed)
    times = max(1, round(minutes / least * LEAST / 1_000) * 1_000 / LEAST)
    takes = max(1, round(least * times))
    return text(round(LEAST * times), takes), takes


TEMPLATE = """\
# {seen}
# {machine}: {speed:,.0f} images/s over all trials at once, so that this sweep takes about {minutes:g} minutes.
#
#   gansweep submit {file}      then: gansweep promote {name}; gansweep report {name}
#
# What else can be set, and what it means: gansweep help settings
name: {name}
data: {{name: {kind}, path: {where}, resolution: {resolution}, channels: {channels}{intensity}}}
model:
  generator: dcgan             # or resnet, r3gan; a network of your own: ./mynet.py:Net
  discriminator: dcgan
  latent_dim: 64
  width: {width}                    # channels of the finest layer: more is slower, and can draw more
  conditional: {conditional}
train:
  images: {images}                # budget of one trial, in images shown to the discriminator: the first to raise
  batch_size: {batch_size}
  loss: relativistic
  beta1: 0.0
  beta2: 0.99
  r1_gamma: 0.5                # penalties on the discriminator's gradient, at real and at generated images
  r2_gamma: 0.5
  penalty_interval: 4
  augment: {augment}    # of all that the discriminator sees, where the pictures are few
  ema_half_life: {half_life}          # of the averaged generator, which is the one that is kept
evaluate: {{every_images: {every}, samples: {samples}, metrics: [{measure}, coverage]}}
search:
  trials: {trials}
  start_with: [{{train.generator_lr: 6.0e-4, train.discriminator_lr: 6.0e-4, train.r1_gamma: 0.5}}]  # safe
  space:
    train.generator_lr: {{float: [3.0e-4, 1.5e-3], log: true}}
    train.discriminator_lr: {{float: [3.0e-4, 1.5e-3], log: true}}
    train.r1_gamma: {{float: [0.1, 2.0], log: true}}
objective: {{minimize: {measure}}}
rungs: {{first_images: late, reduction: 3}}    # the best third of the trials trains on after a third of the budget
confirm: {{top: 1, seeds: 1}}    # the best is trained again on a fresh seed: was its score luck?
resources: {{workers_per_trial: 1, cpus_per_worker: 1, gpus_per_worker: {gpus}, max_concurrent_trials: auto}}
"""
