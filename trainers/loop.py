"""One training, from start or checkpoint, report by report.

train -> start (training and judge of the family, health; load the checkpoint)
      -> until the next report: steps
      -> measure, judge, save, yield
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers import state
from trainers.config import BAD, Config
from trainers.data import Dataset, describe, load
from trainers.errors import CheckpointError, TrainerError
from trainers.families import FAMILIES
from trainers.family import Judge, Training
from trainers.files.cache import cache_folder
from trainers.health import HealthMonitor
from trainers.metrics import RemoteCache
from trainers.players.tally import BROKEN, WATCHED_STEPS
from trainers.reading import ownimports
from trainers.report import Health, Report
from trainers.rewind import Healthy, calmer, packed, told, unpacked
from trainers.watching.watcher import Watcher
from trainers.world import World

BETWEEN_LOOKS = 1.0
"""Seconds, roughly, in which ranks agree on whether they are asked to stop."""


def train(
    config: Config,
    world: World,
    resume: Path | None = None,
    out: Path | None = None,
    remote_cache: RemoteCache | None = None,
    watcher: Watcher | None = None,
) -> Generator[Report, None, Path | None]:
    """Trains and yields a report, the same on every rank, at each ``evaluate.every_images`` and at the end.

    ``resume`` is a checkpoint folder. Rank 0 writes ``out/checkpoints/<images>/`` and ``out/samples/<images>.png``
    where ``out`` is given, the first picture before the first step. Ends at ``train.images``, or after a verdict that
    ``health.stop`` names. The consumer may stop at any report and go on later from its checkpoint, with a result equal
    to the last bit. Asked by ``world.pulse.stop``, on any rank, it ends between two reports, within a second or a few
    steps; rank 0 returns the folder of a checkpoint from there.
    ``remote_cache`` is where features of real data are shared with other machines; ``watcher`` hears of the way to a
    report.
    Raises DataError, UnusableSettingError, CheckpointError; TrainerError where the ranks have drifted apart.
    """
    ownimports.provide(config.code)
    # an optimiser makes this folder, torch's own choice is among temporary files
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "torch"))
    run = Run(config, world, remote_cache, watcher if world.rank == 0 else None)
    if resume is not None:
        with state.explained(resume):
            verdict = run.resume(resume)
        if config.health.stops(verdict):
            return None
    if watcher and world.rank == 0 and run.training.images < config.train.images:
        watcher.began(run.described())
    if out is not None and world.rank == 0 and run.training.images == 0:
        run.draw(out)
    while run.training.images < config.train.images:
        try:
            report = run.to_next_report()
        except AskedToStop:
            return run.stopped(out)
        if out is not None and world.rank == 0:
            report = run.write(report, out)
        yield report
        if config.health.stops(report.health.verdict):
            return None
    return None


NOTICE = WATCHED_STEPS  # between looks at the count of broken steps, which the device otherwise keeps to itself


class AskedToStop(Exception):  # noqa: N818  # nothing has failed
    """Between two reports, since a rank's pulse says so."""


class Run:
    """A training together with what watches it."""

    def __init__(
        self, config: Config, world: World, remote_cache: RemoteCache | None = None, watcher: Watcher | None = None
    ) -> None:
        self.config, self.world, self._watcher, self._heard = config, world, watcher, 0.0
        self.data: Dataset = load(config.data)
        self.family = FAMILIES[config.family].open()
        self.training: Training = self.family.training(config, self.data, world)
        self.evaluate: Judge = self.family.judge(config, self.data, world, remote_cache)
        self.monitor = HealthMonitor(config.health, config.train)
        self.seconds = 0.0
        self.rewinds = 0
        self.healthy = self._here({})
        self.told: dict[str, Any] = {"metrics": {}, "health": {"verdict": "unjudged"}}
        self.told["provenance"] = self.evaluate.provenance
        self._kept = 0  # images at the last report, or where this began

    def resume(self, folder: Path) -> str:
        """Takes over a checkpoint's state; returns the verdict of its report."""
        checkpoint = state.load(folder)
        self._require_same(checkpoint, folder)
        try:
            self.training.load(checkpoint.tensors, checkpoint.images)
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{folder}: does not fit the settings of this training: {error}") from error
        watchers = checkpoint.state
        self.monitor.load_state_dict(watchers["health"])
        self.seconds, self.rewinds = watchers["seconds"], watchers["rewinds"]
        self.training.retune(calmer(self.config, self.rewinds))
        self.told, self._kept = watchers["report"], checkpoint.images
        self.training.resume_means(checkpoint.tensors.get("tally", {}), watchers.get("tally", []))
        self.healthy = self._here(self.told["metrics"])
        if older := unpacked(checkpoint.tensors):
            self.healthy = Healthy(tensors=older, **watchers["healthy"])
        return str(self.told["health"]["verdict"])

    def _require_same(self, checkpoint: state.Checkpoint, folder: Path) -> None:
        """Raises CheckpointError where the checkpoint is of another training."""
        theirs = _fixed(checkpoint.config, checkpoint.state["report"]["provenance"]["data"])
        ours = _fixed(self.config, self.evaluate.provenance["data"])
        changed = [f"{name} was {theirs[name]}, now {ours[name]}" for name in ours if theirs[name] != ours[name]]
        if changed:
            way_out = "give the settings and data it was made with, or another place for this one"
            raise CheckpointError(f"{folder}: is of another training ({'; '.join(changed)}); {way_out}")

    def to_next_report(self) -> Report:
        """Trains to the next multiple of ``evaluate.every_images`` or to the end, measures and judges; goes back to the
        last healthy state where that is called for.

        Raises AskedToStop on the way there. A training whose numbers have broken is not worth that way, nor the
        measuring: it reports within NOTICE steps.
        """
        every = self.config.evaluate.every_images
        until = min((self.training.images // every + 1) * every, self.config.train.images)
        begun, start = self.training.images, time.perf_counter()
        watch, broken, looks = not self.monitor.diverged, False, Looks(self.world, self.training.interval)
        while self.training.images < until and not broken:
            if looks.stop(self.training.images // self.config.train.batch_size):
                self.seconds += time.perf_counter() - start
                raise AskedToStop
            self.training.step()
            self.world.pulse.step(self.training.images)
            look = (
                watch and self.training.images // self.config.train.batch_size % NOTICE == 1
            )  # right after a watched step
            broken = look and self.training.broken()
            self._tell(begun, start)
        self.world.pulse.rest()
        losses, signals = self.training.means()
        self.seconds += time.perf_counter() - start
        with self.world.pulse.working():
            report = self._measure(losses, signals)
        lost = report.health.verdict in BAD
        report = self._rewind(report) if lost and self.rewinds < self.config.health.rewind else report
        self.told, self._kept = report.as_dict(), report.images
        return report

    def _measure(self, losses: dict[str, float], signals: dict[str, float]) -> Report:
        """The report of the training as it is, judged; raises TrainerError where the ranks have drifted apart."""
        if not self.world.replicas_equal(t for group in self.training.tensors().values() for t in group.values()):
            raise TrainerError(
                f"after {self.training.images} images the ranks hold different states; resume from a checkpoint"
            )
        self.world.pulse.collective = self.world.reduction_seconds(sum(self.training.sizes().values()))
        if signals.get(BROKEN, 0) > 0:
            return self._judge(losses, signals, {}, {}, [])
        with self.training.plain() as plain:
            metrics = self.evaluate(self.training.sampler, plain, self.training.critic)
        return self._judge(losses, signals, metrics, self.evaluate.watched, self.evaluate.failures)

    def described(self) -> list[str]:
        """What was loaded, what is trained on it, and where."""
        sizes = ", ".join(f"{player} of {count:,}" for player, count in self.training.sizes().items())
        kind = torch.cuda.get_device_name(self.world.device) if self.world.device.type == "cuda" else "CPU"
        where = f"on {kind}" if self.world.size == 1 else f"on {self.world.size} ranks, each on {kind}"
        since = f", from {self.training.images:,} images on" if self.training.images else ""
        return [*describe(self.data), f"{sizes} parameters, {where}{since}"]

    def _tell(self, begun: int, start: float) -> None:
        now = time.perf_counter()
        if self._watcher and now - max(start, self._heard) >= Watcher.TICK:
            self._heard = now
            self._watcher.moved(self.training.images, (self.training.images - begun) / (now - start))

    def _rewind(self, report: Report) -> Report:
        """With calmer settings; returns the report that says so."""
        self.rewinds += 1
        self.training.load(self.healthy.tensors, self.training.images)
        self.training.retune(calmer(self.config, self.rewinds))
        self.monitor.go_back(self.healthy.monitor, self.healthy.images, self.training.images)
        return told(report, self.healthy, self.rewinds, self.config.health.rewind)

    def write(self, report: Report, out: Path) -> Report:
        """Saves the picture, then the checkpoint of a report; returns the report that names them.

        The checkpoint carries the report, so that one that nobody got to hear of, by a crash right here, is not lost.
        """
        report = replace(report, checkpoint=out / "checkpoints" / str(report.images), samples=self.draw(out))
        self.told = report.as_dict()
        self._save(out, {}, [])
        return report

    def draw(self, out: Path) -> Path:
        """Saves a picture of what is made by now."""
        picture = out / "samples" / f"{self.training.images}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        self.family.picture(self.training.sampler, self.config, self.data).save(picture)
        return picture

    def stopped(self, out: Path | None) -> Path | None:
        """Saves the state between two reports, means so far included, with the last report; returns the folder, or None
        where nothing has happened since. Called on every rank.
        """
        self.world.pulse.rest()
        if self.training.images == self._kept:
            return None
        tally, steps = self.training.packed_means()
        return self._save(out, tally, steps) if out is not None and self.world.rank == 0 else None

    def _save(self, out: Path, tally: dict[str, Tensor], steps: list[tuple[tuple[str, ...], int]]) -> Path:
        images = self.training.images
        watchers = {"health": self.monitor.state_dict(), "seconds": self.seconds, "report": self.told}
        watchers |= {"rewinds": self.rewinds}
        tensors = self.training.tensors()
        if steps:
            tensors["tally"], watchers["tally"] = tally, steps
        if self.config.health.rewind and self.healthy.images < images:
            watchers["healthy"] = self.healthy.described()
            tensors |= packed(self.healthy)
        kept = state.Checkpoint(self.config, self.data.space, images, tensors, watchers)
        return state.save(out / "checkpoints" / str(images), kept)

    def _here(self, metrics: dict[str, float]) -> Healthy:
        tensors = self.training.tensors() if self.config.health.rewind else {}
        return Healthy.copied(self.training.images, tensors, self.monitor.state_dict(), metrics)

    def _judge(
        self,
        losses: dict[str, float],
        signals: dict[str, float],
        metrics: dict[str, float],
        watched: dict[str, float],
        failures: list[str],
    ) -> Report:
        """Every rank takes rank 0's numbers, so that none stops where another goes on."""
        losses, signals, seconds = self.world.agree([losses, signals, self.seconds])
        health: Health = self.monitor.observe(self.training.images, losses, signals, watched)
        plain = {name: value for name, value in watched.items() if name.startswith("raw_")}
        health = replace(health, signals=health.signals | plain)
        if self.config.health.rewind:
            health = replace(health, signals={**health.signals, "rewinds": self.rewinds})
            if health.verdict == "healthy" and self.monitor.measured(self.training.images):
                self.healthy = self._here(metrics)
        health = replace(health, reasons=(*health.reasons, *failures, *self.data.found()))
        return Report(self.training.images, seconds, losses, metrics, health, provenance=self.evaluate.provenance)


class Looks:
    """At whether the training is to stop: about once a second where a look costs a collective, in the same step on
    every rank; never between the steps of an ``interval``.
    """

    def __init__(self, world: World, interval: int) -> None:
        self._world, self._interval, self._next, self._last = world, interval, 0, (0, 0.0)

    def stop(self, step: int) -> bool:
        """Asked before each ``step``."""
        if step < self._next or step % self._interval:
            return False
        now, (before, then) = time.perf_counter(), self._last
        each = (now - then) / max(1, step - before) if then else 1.0
        stop, each = self._world.stops(each)
        self._last, self._next = (step, now), step + int(BETWEEN_LOOKS / max(each, 1e-6)) if self._world.size > 1 else 0
        return stop


def _fixed(config: Config, data: object) -> dict[str, object]:
    """What can't change on a training's way: the clock, every random number and the weights' shapes follow from it.
    Rates, losses, lengths and evaluations may change.
    """
    train = {f"train.{name}": getattr(config.train, name) for name in ("batch_size", "seed", "packing")}
    return {"family": config.family, "data": data, **train, **{f"model.{name}": value for name, value in config.model}}
