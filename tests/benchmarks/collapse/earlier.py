"""The verdict as it was until 2026-11-25, which counted time in images: a peer for ``judge.py``, changed in nothing.

No setting per data set is needed: every signal is relative to the real data or to the run's own past.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from trainers import config
from trainers.report import Health, Verdict

MODES = "mode_diversity"
WATCHED = ("coverage", MODES, "misfit")
"""The measures that every evaluation takes, whatever else it was asked for. Modes, not the Vendi score of diversity:
blur makes pictures alike without losing a mode (infra/decisions/0008). That score counts where nothing else is known.
"""

THRESHOLDS = {
    # Diversity follows the share of modes that are left (tests/metrics/test_diversity.py): half is what "collapsed"
    # means in tests/benchmarks/collapse/judge.py.
    "diversity floor": 0.5,
    # Under its floor, a generator that gains this much per evaluation is still learning: digits with shipped settings
    # go 0.15, 0.40, 0.84 every 10,000 images, while lost modes stay within a few per cent.
    "growth": 1.15,
    # Images between evaluations that count, however often there is one: the development group has 6,000 to 16,000, and
    # what is no growth there would be none for any training that is looked at often enough.
    "spacing": 5_000,
    # Evaluations in a row that must agree before a suspicion is called a collapse, and before one is called overcome:
    # a single one may be an oscillation.
    "confirm": 2,
    # In images, for a generator to leave its starting point: ring and digits need 10,000 to 20,000.
    "patience": 30_000,
    # 1 is one average picture for everything, in squared units of the features; more is worse than that.
    "misfit": 1.0,
    # Ring: two of eight modes lost is 0.12, four 0.61. A good run comes down to 0.1 and less and never tenfold back up.
    "misfit risen": 0.3,
    "misfit rise": 10,
    # Evaluations at that distance without a gain: digits under a wild critic stay there for good, good runs pass in one
    # or two.
    "stale": 4,
    "coverage fall": 0.25,  # share of the run's best; swings by half are ordinary between evaluations
    "learned": 0.3,  # only coverage that was once this good can fall: it stays near 0 until pictures are sharp
    # The rest explains a suspicion and is never the ground for one: healthy trainings pass through each for a while.
    "certain": 0.01,  # loss of a discriminator that has nothing left to learn
    "faint": 0.01,  # gradient norm over the run's median: vanishing (Arjovsky 2017, section 2.1), or exploding
    "violent": 100.0,
    "hasty": 0.05,  # of its weights in one step: .001 is usual, healthy runs of the development group keep under .035
}
"""Every number the verdict depends on, with its source; set on the development group of the labelled set."""

USUAL = 64
"""Reports whose median gradient norm is the usual one."""


@dataclass
class _Memory:
    """All that the verdict remembers; JSON-able."""

    verdict: Verdict = "healthy"
    reasons: tuple[str, ...] = ()
    undone: int = 0  # images that rewinds threw away
    judged_at: int | None = None
    bad_in_a_row: int = 0
    stale: int = 0
    gained_at: float | None = None
    last: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    certain_since: int | None = None
    norms: dict[str, list[float]] = field(default_factory=dict)


class HealthMonitor:
    """Fed at each report, answers the verdict.

    healthy -> suspect      one evaluation gives a reason
    suspect -> collapsed    the next one does too (``confirm``)
    collapsed -> suspect    an evaluation gives none; suspect -> healthy: and so does the next
    any -> diverged         a number that is not finite; final

    Between evaluations that count the verdict stands: where nothing was measured, or too few images after the last.
    """

    def __init__(self, settings: config.Health) -> None:
        self.settings = settings
        self._memory = _Memory()

    def observe(
        self, images: int, losses: Mapping[str, float], signals: Mapping[str, float], metrics: Mapping[str, float]
    ) -> Health:
        """The verdict after ``images``; ``signals["nonfinite"]`` counts losses and gradients that were not finite."""
        memory = self._memory
        symptoms = self._symptoms(images, losses, signals)
        seen = {name: metrics[name] for name in (*WATCHED, "diversity") if math.isfinite(metrics.get(name, math.nan))}
        if broken := _broken(losses, signals):
            memory.verdict, memory.reasons = "diverged", tuple(broken)
        elif not self.diverged and seen and self._counts(images):
            memory.judged_at = images
            self._judge(self._found(images, seen), symptoms)
            self._remember(seen)
        return Health(memory.verdict, memory.reasons, dict(signals))

    def knows(self, images: int) -> bool:
        """Whether the evaluation after ``images`` counted, late enough to tell a generator that learns from one that
        never will.
        """
        return self._memory.judged_at == images and self._is_late(images)

    @property
    def diverged(self) -> bool:
        """Whether that was the verdict once."""
        return self._memory.verdict == "diverged"

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs to judge on as if it had never stopped."""
        return asdict(self._memory)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a ``state_dict``."""
        self._memory = _Memory(**copy.deepcopy({**state, "reasons": tuple(state["reasons"])}))

    def go_back(self, state: Mapping[str, Any], then: int, now: int) -> None:
        """After ``now`` images the training goes on from what it was after ``then``, with this ``state_dict``."""
        self.load_state_dict(state)
        self._memory.undone += now - then

    def _is_late(self, images: int) -> bool:
        return images - self._memory.undone >= THRESHOLDS["patience"]

    def _counts(self, images: int) -> bool:
        last = self._memory.judged_at
        return last is None or images - last >= THRESHOLDS["spacing"]

    def _found(self, images: int, seen: Mapping[str, float]) -> list[str]:
        """What is wrong with this evaluation."""
        memory = self._memory
        reasons = _fallen(seen, memory.best)
        if self._is_late(images):
            reasons += _not_diverse(seen, memory.last) + _off_the_mark(seen, memory.last) + self._stalled(seen)
        return reasons

    def _judge(self, reasons: list[str], symptoms: list[str]) -> None:
        """The next state of the verdict."""
        memory = self._memory
        memory.bad_in_a_row = memory.bad_in_a_row + 1 if reasons else 0
        if reasons:
            memory.verdict = "collapsed" if memory.bad_in_a_row >= THRESHOLDS["confirm"] else "suspect"
            memory.reasons = (*reasons, *symptoms)
        elif memory.verdict == "collapsed":
            memory.verdict, memory.reasons = "suspect", ("it had collapsed, and now no measure is bad",)
        else:
            memory.verdict, memory.reasons = "healthy", ()

    def _remember(self, seen: Mapping[str, float]) -> None:
        for name, value in seen.items():
            better = min if name == "misfit" else max
            self._memory.last[name] = value
            self._memory.best[name] = better(value, self._memory.best.get(name, value))

    def _stalled(self, metrics: Mapping[str, float]) -> list[str]:
        """A generator that stays far from the data, whatever the variety of what it makes."""
        if "misfit" not in metrics:
            return []
        memory, now = self._memory, metrics["misfit"]
        if memory.gained_at is None or now * THRESHOLDS["growth"] < memory.gained_at:
            memory.gained_at, memory.stale = now, 0
        else:
            memory.stale += 1
        if now > THRESHOLDS["misfit risen"] and memory.stale >= THRESHOLDS["stale"]:
            share = f"{now:.2g} of what one average picture has"
            return [f"the distance to the data is {share}, no gain in {memory.stale} evaluations"]
        return []

    def _symptoms(self, images: int, losses: Mapping[str, float], signals: Mapping[str, float]) -> list[str]:
        """What losses, gradients and steps say about why a training fails."""
        memory, found = self._memory, []
        if abs(losses.get("discriminator", math.inf)) >= THRESHOLDS["certain"]:
            memory.certain_since = None
        elif memory.certain_since is None:
            memory.certain_since = images
        elif images > memory.certain_since:
            found.append(
                f"the discriminator's loss has been under {THRESHOLDS['certain']} for {images - memory.certain_since} "
                "images: it is too strong"
            )
        for player in ("generator", "discriminator"):
            found += self._of_step(player, signals)
        return found

    def _of_step(self, player: str, signals: Mapping[str, float]) -> list[str]:
        found = []
        if math.isfinite(norm := signals.get(f"{player}_gradient_norm", math.nan)):
            norms = self._memory.norms.setdefault(player, [])
            norms[:] = [*norms, norm][-USUAL:]
            usual = median(norms)
            if not THRESHOLDS["faint"] * usual <= norm <= THRESHOLDS["violent"] * usual:
                found.append(f"the {player}'s gradient norm is {norm:.2g}, where {usual:.2g} is usual")
        if (moved := signals.get(f"{player}_update_ratio", 0.0)) > THRESHOLDS["hasty"]:
            found.append(f"the {player} moves by {moved:.1%} of its weights in one step: its learning rate is too high")
        return found


def _broken(losses: Mapping[str, float], signals: Mapping[str, float]) -> list[str]:
    reasons = [f"the {name} loss is {value}" for name, value in losses.items() if not math.isfinite(value)]
    if signals.get("nonfinite", 0) > 0:
        steps = f"{signals['nonfinite']:.0f} of the steps that were looked at"
        reasons.append(f"a loss, gradient or weight was NaN or infinite, in at least {steps}")
    return reasons


def _not_diverse(metrics: Mapping[str, float], last: Mapping[str, float]) -> list[str]:
    """A generator that makes few different things, and does not learn to make more."""
    name, words = (MODES, "the number of modes") if MODES in metrics else ("diversity", "diversity")
    now, before = metrics.get(name, math.inf), last.get(name, 0.0)
    if now < THRESHOLDS["diversity floor"] and now < THRESHOLDS["growth"] * before:
        return [f"{words} is {now:.2g} of the real data's and does not grow ({before:.2g} before)"]
    return []


def _off_the_mark(metrics: Mapping[str, float], last: Mapping[str, float]) -> list[str]:
    """A generator that is farther from the data than one average picture would be, and does not come nearer."""
    now, before = metrics.get("misfit", 0.0), last.get("misfit", math.inf)
    if now > THRESHOLDS["misfit"] and now * THRESHOLDS["growth"] > before:
        return [f"it is {now:.2g} times as far from the data as one average picture ({before:.2g} times before)"]
    return []


def _fallen(metrics: Mapping[str, float], best: Mapping[str, float]) -> list[str]:
    """What was good once and is far from it now."""
    reasons = []
    now, peak = metrics.get("coverage", math.inf), best.get("coverage", 0.0)
    if peak >= THRESHOLDS["learned"] and now < THRESHOLDS["coverage fall"] * peak:
        reasons.append(f"coverage fell from {peak:.2g} to {now:.2g}")
    now, low = metrics.get("misfit", 0.0), best.get("misfit", math.inf)
    if now > THRESHOLDS["misfit risen"] and now > THRESHOLDS["misfit rise"] * low:
        reasons.append(f"the distance to the data rose from {low:.2g} to {now:.2g} of what one average picture has")
    return reasons
