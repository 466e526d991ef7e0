"""The verdict on a training, with reasons in words and numbers.

    unjudged    nothing measured yet, or too early to say
    healthy     its samples keep the modes of the data and lie near it
    slow        they do not yet, but come nearer; or only the average lags behind
    suspect     one evaluation says that it is stuck or collapsed, or all do and it isn't certain, or it has just come
                back from there
    stuck       nothing gains, and the reason shows: vanished gradients, a discriminator that has won, an output that
                no longer moves
    collapsed   it had the modes and lost them, or never had them and gets no nearer
    diverged    a number is no longer finite; final

No setting per data set is needed: every measure is relative to the real data, and time is counted in what was learned
with (``trainers/course.py``), never in images.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from trainers import config
from trainers.check import LAGGING
from trainers.config import BAD
from trainers.course import ASTRAY, FAR, WORDS, Course, Gain
from trainers.report import Health, Verdict
from trainers.schedule import first_weights
from trainers.symptoms import Symptoms

MODES, WITHIN = "mode_diversity", "condition_diversity"
WATCHED = ("coverage", MODES, "misfit")
"""The measures that every evaluation takes, whatever else it was asked for. Modes, not the Vendi score of diversity:
blur makes pictures alike without losing a mode (infra/decisions/0008). That score counts where nothing else is known.
"""
SEEN = (*WATCHED, "diversity", WITHIN, "raw_misfit", f"raw_{MODES}", f"raw_{WITHIN}")

THRESHOLDS = {
    # A generator is good where it keeps half of the modes, which is what "collapsed" means in
    # tests/benchmarks/collapse/judge.py, and is nearer to the data than half of one average picture's distance.
    "modes": 0.5,
    "near": FAR,
    # Bins of pictures that vary in many ways are fewer than half filled by good generators too: one that is so close
    # and covers so much of the data has lost nothing.
    "close": 0.1,
    "covers": 0.2,
    # One condition that gives nearly the same picture each time is lost, whatever is said of all together.
    "within": 0.25,
    # Never learned: far off, and nothing gains over the last half of the way, once so much of the budget is spent and
    # share of the budget times effort comes to so much: the whole budget for the slow, who move once by their own norm
    # in it, an eighth of it for the quick, who have moved ten times by then. Of the known healthy runs that ever stood
    # still so far off, all but two had come to less, and those two went on at the next evaluation.
    "share": 0.12,
    "share of effort": 1.25,
    # Before half of the budget only of one that hardly changes over the last half of its way: rings have swung without
    # a gain for two fifths of theirs and then found all modes at once (infra/results/longer.parquet).
    "late": 0.5,
    "restless": 0.1,
    # Nobody can be sure of one that is not astray, or that varies half as much as the data without being wrecked: empty
    # bins may be no modes, and features that see contrast before shape put a good generator far off.
    "astray": ASTRAY,
    "varied": 0.5,
    "wrecked": 2.0,
    # Lost: it was good, and so near, and is so much worse than its best.
    "had": FAR / 2,
    "modes fall": 0.75,
    "bins": 0.2,  # distance under which fewer bins are no loss
    "misfit rise": 2.0,
    "coverage fall": 0.25,  # swings by half are ordinary between evaluations
    "learned": 0.3,  # only coverage that was once this good can fall: it stays near 0 until pictures are sharp
    # What is said of one evaluation must be said of the next, and still be so after this share of the way.
    "confirm": 2,
    "span": 0.08,
    "still": 0.01,  # largest change of any measure where nothing moves
    # The average is no evidence while so much of it is first weights.
    "first weights": LAGGING,
}
"""Every number the verdict depends on, with its source; set on the development half of the labelled set."""


@dataclass
class _Memory:
    """All that the verdict remembers; JSON-able."""

    verdict: Verdict = "unjudged"
    reasons: tuple[str, ...] = ("nothing has been measured yet",)
    undone: int = 0  # images that rewinds threw away
    judged_at: int | None = None
    was_good: bool = False
    bad_in_a_row: int = 0
    bad_since: int = 0
    course: dict[str, Any] = field(default_factory=lambda: asdict(Course()))
    symptoms: dict[str, Any] = field(default_factory=lambda: asdict(Symptoms()))


class HealthMonitor:
    """Fed at each report, answers the verdict. Where nothing was measured, the verdict before stands."""

    def __init__(self, settings: config.Health, train: config.Train | None = None) -> None:
        self.settings, self.train = settings, train or config.Train()
        self._memory, self._course, self._symptoms = _Memory(), Course(), Symptoms()

    def observe(
        self, images: int, losses: Mapping[str, float], signals: Mapping[str, float], metrics: Mapping[str, float]
    ) -> Health:
        """The verdict after ``images``; ``signals["nonfinite"]`` counts losses and gradients that were not finite.
        ``metrics`` are of the averaged generator, and under ``raw_`` of the plain one.
        """
        memory, train = self._memory, self.train
        self._course.move(images - memory.undone, train.batch_size, train.n_dis, signals)
        symptoms = self._symptoms.of(images, losses, signals)
        seen = {name: metrics[name] for name in SEEN if math.isfinite(metrics.get(name, math.nan))}
        if broken := _broken(losses, signals):
            memory.verdict, memory.reasons = "diverged", tuple(broken)
        elif not self.diverged and seen.keys() & {MODES, "diversity", "misfit"}:
            memory.judged_at = images
            self._course.add(seen)
            self._judge(seen, symptoms)
        return Health(memory.verdict, memory.reasons, dict(signals))

    def measured(self, images: int) -> bool:
        """Whether the report after ``images`` was judged by measures of its own."""
        return self._memory.judged_at == images

    @property
    def diverged(self) -> bool:
        """Whether that was the verdict once."""
        return self._memory.verdict == "diverged"

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs to judge on as if it had never stopped."""
        return asdict(self._memory) | {"course": asdict(self._course), "symptoms": asdict(self._symptoms)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a ``state_dict``. Of what version 0.1.0 remembered, which was in images, the verdict stands, and
        the course begins here.
        """
        known = {name: value for name, value in state.items() if name in _Memory.__dataclass_fields__}
        self._memory = _Memory(**copy.deepcopy({**known, "reasons": tuple(state["reasons"])}))
        self._course, self._symptoms = Course(**self._memory.course), Symptoms(**self._memory.symptoms)

    def go_back(self, state: Mapping[str, Any], then: int, now: int) -> None:
        """After ``now`` images the training goes on from what it was after ``then``, with this ``state_dict``."""
        self.load_state_dict(state)
        self._memory.undone += now - then

    # -- the verdict -----------------------------------------------------------------------------------------------

    def _judge(self, seen: Mapping[str, float], symptoms: list[str]) -> None:
        memory = self._memory
        wrong, lost = _wrong(seen), self._lost(seen)
        if not wrong and not lost:
            self._is_good()
        elif lost:
            self._is_bad(lost, symptoms, lost=True)
        elif lags := self._lags(seen):
            self._is_open("slow", lags)
        elif gains := self._gains(seen):
            self._is_open("slow", [f"{', '.join(wrong)}; still learning: {', '.join(map(str, gains))}"])
        elif early := self._early():
            self._is_open("unjudged", [*wrong, early])
        else:
            reason = f"{', '.join(wrong)}, and nothing has gained over the last half of the way"
            if doubt := _doubt(seen):
                self._is_open("suspect", [reason, doubt])
            else:
                self._is_bad([reason], symptoms, lost=False)
        memory.was_good = memory.was_good or (not wrong and seen.get("misfit", 0.0) <= THRESHOLDS["had"])

    def _is_good(self) -> None:
        memory = self._memory
        memory.bad_in_a_row = 0
        if memory.verdict in BAD:
            memory.verdict, memory.reasons = "suspect", (f"it was {memory.verdict}, and now no measure is bad",)
        else:
            memory.verdict, memory.reasons = "healthy", ()

    def _is_open(self, verdict: Verdict, reasons: list[str]) -> None:
        self._memory.bad_in_a_row = 0
        self._memory.verdict, self._memory.reasons = verdict, tuple(reasons)

    def _is_bad(self, reasons: list[str], symptoms: list[str], lost: bool) -> None:
        memory, now = self._memory, self._course.images
        if memory.bad_in_a_row == 0:
            memory.bad_since = now
        memory.bad_in_a_row += 1
        if self._course.moved() < THRESHOLDS["still"]:
            symptoms = [*symptoms, "what it makes has not moved over the last half of the way"]
        spanned = now >= memory.bad_since * (1 + THRESHOLDS["span"])
        confirmed = memory.bad_in_a_row >= THRESHOLDS["confirm"] and spanned
        if confirmed or (not lost and now >= self.train.images):  # after the last evaluation no other can confirm it
            memory.verdict = "stuck" if symptoms and not lost else "collapsed"
        else:
            memory.verdict = "suspect"
        memory.reasons = (*reasons, *symptoms)

    def _lost(self, seen: Mapping[str, float]) -> list[str]:
        """What was good once and is far from it now."""
        best, reasons = self._course.best, []
        now, peak = seen.get("coverage", math.inf), best.get("coverage", 0.0)
        if peak >= THRESHOLDS["learned"] and now < THRESHOLDS["coverage fall"] * peak:
            reasons.append(f"coverage fell from {peak:.2g} to {now:.2g}")
        if not self._memory.was_good or not _wrong(seen):
            return reasons
        name = MODES if MODES in seen else "diversity"
        for measure, least in ((name, "modes"), (WITHIN, "within")):
            now, peak, far = seen.get(measure, math.inf), best.get(measure, 0.0), seen.get("misfit", math.inf)
            counts = measure == WITHIN or far > THRESHOLDS["bins"]
            if counts and now < min(THRESHOLDS[least], THRESHOLDS["modes fall"] * peak):
                reasons.append(f"{WORDS[measure]} fell from {peak:.2g} to {now:.2g} of the real data's")
        now, low = seen.get("misfit", 0.0), best.get("misfit", math.inf)
        if now > max(THRESHOLDS["near"], THRESHOLDS["misfit rise"] * low) and not _doubt(seen):
            words = f"the distance to the data rose from {low:.2g} to {now:.2g} times that of a single average example"
            reasons.append(words)
        return reasons

    def _gains(self, seen: Mapping[str, float]) -> list[Gain]:
        """What still gains; where all is well but one condition, of that one."""
        found = self._course.gains()
        if _wrong({name: value for name, value in seen.items() if name != WITHIN}):
            return found
        return [gain for gain in found if gain.name.removeprefix("raw_") == WITHIN]

    @property
    def _first_weights(self) -> float:
        """Their share in the average."""
        return first_weights(self._course.images, self.train.ema_half_life, self.train.ema_ramp)

    def _lags(self, seen: Mapping[str, float]) -> list[str]:
        """Words where only the average is bad."""
        plain = {name.removeprefix("raw_"): value for name, value in seen.items() if name.startswith("raw_")}
        if not plain or _wrong(plain):
            return []
        left = self._first_weights
        kept = f"{plain.get(MODES, math.nan):.2g} of the modes"
        words = f"the averaged generator lags behind the plain one, which keeps {kept}"
        return [words + (f": it still holds {left:.0%} of its first weights" if left >= 0.01 else "")]

    def _early(self) -> str:
        """What is missing for saying that a training which has not learned by now is not going to; or nothing."""
        course, share = self._course, self._course.images / self.train.images
        if not course.comparable():
            return f"{len(course.points)} evaluation{'s are' if len(course.points) > 1 else ' is'} too few to compare"
        if self._first_weights > THRESHOLDS["first weights"]:
            return f"the average still holds {self._first_weights:.0%} of its first weights"
        moved, tried = course.moved(), share * course.effort >= THRESHOLDS["share of effort"]
        if share < THRESHOLDS["share"] or not (tried or moved < THRESHOLDS["still"]):
            return (
                f"too little to judge by: in {share:.0%} of the budget the weights have moved {course.effort:.2g} "
                "times their own norm"
            )
        if share < THRESHOLDS["late"] and moved >= THRESHOLDS["restless"]:
            return f"too little to judge by: what it makes still changes, and {share:.0%} of the budget is spent"
        return ""


def _broken(losses: Mapping[str, float], signals: Mapping[str, float]) -> list[str]:
    reasons = [f"the {name} loss is {value}" for name, value in losses.items() if not math.isfinite(value)]
    if signals.get("nonfinite", 0) > 0:
        steps = f"{signals['nonfinite']:.0f} of the steps that were looked at"
        reasons.append(f"a loss, gradient or weight was NaN or infinite, in at least {steps}")
    return reasons


def _wrong(seen: Mapping[str, float]) -> list[str]:
    """What of one generator is not good, whatever it was before."""
    name = MODES if MODES in seen else "diversity"
    found = []
    covers = seen.get("misfit", 1.0) < THRESHOLDS["close"] and seen.get("coverage", 0.0) >= THRESHOLDS["covers"]
    if (modes := seen.get(name, math.inf)) < THRESHOLDS["modes"] and not covers:
        found.append(f"{WORDS[name]} is {modes:.2g} of the real data's")
    if (within := seen.get(WITHIN, math.inf)) < THRESHOLDS["within"]:
        found.append(f"{WORDS[WITHIN]} is {within:.2g} of the real data's")
    if (misfit := seen.get("misfit", 0.0)) > THRESHOLDS["near"]:
        found.append(f"samples are {misfit:.3g} times as far from the data as a single average example")
    return found


def _doubt(seen: Mapping[str, float]) -> str:
    """Why few modes and no gain are no proof; or nothing."""
    misfit, diversity = seen.get("misfit", math.inf), seen.get("diversity", 0.0)
    if seen.get(WITHIN, math.inf) < THRESHOLDS["within"]:
        return ""  # what all conditions together show says nothing of one
    if misfit < THRESHOLDS["astray"]:
        return "it lies too near to the data for a certain verdict"
    if diversity >= THRESHOLDS["varied"] and misfit < THRESHOLDS["wrecked"]:
        return f"it varies too much for a certain verdict: {diversity:.2g} of the real data's diversity"
    return ""
