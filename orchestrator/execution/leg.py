"""Tune's trainable: one leg of training on a warm gang. Tune reuses the actor for the next leg, so set-up happens once
per slot.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import ray
from ray import tune

from orchestrator.errors import StoreError
from orchestrator.execution.failure import RankError, in_words
from orchestrator.execution.gang import Gang
from orchestrator.execution.order import GangSpec, LegOrder, Stopped
from orchestrator.execution.upload import Uploader
from orchestrator.execution.usage import Usage
from orchestrator.paths import checkpoint_key, samples_key
from trainers.config import Config
from trainers.report import Report


class TrainLeg(tune.Trainable):
    """``config`` = {"gang": GangSpec, "order": LegOrder, "heartbeats": where the driver hears its gangs}. Each ``step``
    trains to the next report.

    A store that fails leaves the gang whole, so that is told as a result; whatever else fails ends the gang.
    """

    def setup(self, config: dict[str, Any]) -> None:
        spec: GangSpec = config["gang"]
        group = ray.util.get_current_placement_group()
        assert group is not None, "Tune places every trainable in a group, a bundle per rank"
        self._gang = Gang(spec, group, f"{config['heartbeats']}/{uuid.uuid4().hex}", self.trial_id)
        self._uploader = Uploader(spec.store)
        self._usage = Usage(spec.gpus)
        self._begin(config["order"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config["order"])
        return True

    def step(self) -> dict[str, Any]:
        try:
            with in_words():
                return self._advance()
        except StoreError as error:
            return {"store_error": str(error), "done": True}

    def cleanup(self) -> None:
        self._usage.stop()
        self._uploader.close()
        self._gang.close()

    def _advance(self) -> dict[str, Any]:
        if self._unbegun:
            raise self._unbegun
        report, order = self._gang.advance(), self._order
        if isinstance(report, Stopped):
            raise self._moved(report)
        if report.samples:  # before the checkpoint, from which no training draws them again
            if untrained := self._untrained(report):
                self._uploader.file(report.samples.with_name("0.png"), untrained)
            self._uploader.file(report.samples, samples_key(order.prefix, report.images))
        if report.checkpoint:
            self._uploader.checkpoint(report.checkpoint, checkpoint_key(order.prefix, report.images))
        done = report.images >= order.until or self._config.health.stops(report.health.verdict)
        if done:
            self._uploader.flush()  # the next leg may run on another node
        return {"report": self._result(report), "done": done}

    def _untrained(self, report: Report) -> str | None:
        """Where the picture before the first step is to lie, at the first report of a training."""
        begins = self._before == (0, 0.0) and not self._order.checkpoints
        return samples_key(self._order.prefix, 0) if report.samples and begins else None

    def _moved(self, stopped: Stopped) -> RankError:
        """The end of this slot, not of its leg: what goes on elsewhere is stored first."""
        if folder := stopped.checkpoint:
            self._uploader.checkpoint(folder, checkpoint_key(self._order.prefix, int(folder.name)))
        self._uploader.flush()
        newest = self._uploader.checkpoints[-1] if self._uploader.checkpoints else None
        return RankError("its node is to go (preempted or drained); it goes on elsewhere", "", "moved", newest)

    def _begin(self, order: LegOrder) -> None:
        self._order = order
        self._config = Config.model_validate(order.config)
        self._before = (0, 0.0)
        self._unbegun: StoreError | RankError | None = None
        try:
            with in_words():
                self._uploader.begin(list(order.checkpoints), order.shared)
                self._gang.begin(self.trial_id, order.prefix, self._config, list(reversed(order.checkpoints)))
        except (StoreError, RankError) as error:  # told at the first step, since Tune hides what ``setup`` raises
            self._unbegun = error

    def _result(self, report: Report) -> dict[str, Any]:
        untrained, (images, seconds) = self._untrained(report), self._before
        speed = (report.images - images) / max(report.seconds - seconds, 1e-9)
        self._before = (report.images, report.seconds)
        return {
            **report.as_dict(),
            "images_per_second": speed,
            "system": self._usage.means() | self._gang.system,
            "timestamp": time.time(),
            "checkpoint": checkpoint_key(self._order.prefix, report.images) if report.checkpoint else None,
            "samples": samples_key(self._order.prefix, report.images) if report.samples else None,
            "untrained": untrained,
            "provenance": dict(report.provenance),
            "stored": self._uploader.tell(),
        }
