"""A sweep as it runs: a picture that fits the screen on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator import status
from orchestrator.live_progress import LiveProgress
from orchestrator.planning.estimate import estimate
from orchestrator.search.budget import words
from orchestrator.search.objective import cost
from orchestrator.search.trial import FATAL
from orchestrator.spec import counted
from orchestrator.terminal.trials import confirmed_words, console, table
from trainers.watching.shown import QUIET, duration

if TYPE_CHECKING:
    from orchestrator.conductor import Progress
    from orchestrator.paths import RunKey, SweepPaths
    from orchestrator.search.known import Known, Reading
    from orchestrator.search.trial import Leg, Trial

REFRESH = 1.0
"""Seconds between two pictures of a sweep that another process runs."""
BEST = 10
"""Rows for trials that don't run now."""
RETRAINED = 3
"""Lines for trials that were trained again."""


def watch(ledger: Reading, paths: SweepPaths) -> None:
    """Redraw until the sweep no longer runs."""
    pace = Pace(ledger)
    with Live(console=console, auto_refresh=False) as live:
        while (state := status.state(ledger, paths)) == "running":
            live.update(picture(ledger, state, pace, console), refresh=True)
            time.sleep(REFRESH)
            ledger.refresh()
        live.update(picture(ledger, state, pace, console), refresh=True)
    if not console.is_terminal:  # there Rich leaves the last line open
        console.line()


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """A live picture on a terminal, plain lines in a pipe, nothing for ``--json``."""
    if quiet:
        yield Quiet()
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:  # the table at the end says more
            yield Moving(live)
    else:
        yield Lines()


class Quiet:
    """Says nothing."""

    def note(self, text: str) -> None: ...

    def stage(self, doing: str) -> None: ...

    def searching(self, ledger: Known, slots: int) -> None: ...

    def moved(self, images: Mapping[RunKey, int]) -> None: ...

    def reported(self, leg: Leg, report: dict[str, Any]) -> None: ...

    def ended(self, leg: Leg, trial: Trial | None) -> None: ...


class Lines(Quiet):
    """One line per event, and one now and then where there is none."""

    def __init__(self) -> None:
        self._pace: Pace | None = None
        self._shown: tuple[str, ...] = ()
        self._said = time.monotonic()

    def note(self, text: str) -> None:
        self._said = time.monotonic()
        print(text, flush=True)

    def searching(self, ledger: Known, slots: int) -> None:
        self._pace, self._shown = Pace(ledger), ledger.sweep.evaluate.metrics
        if slots:
            self.note(_at_once(ledger, slots))

    def moved(self, images: Mapping[RunKey, int]) -> None:
        if self._pace:
            self._pace.going.take(images)
            look = self._pace.look()
            if time.monotonic() - self._said >= QUIET:
                self.note(_way(look))

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        if self._pace:
            self._pace.going.forget(leg.run)
        left = f"  {self._pace.look().left}" if self._pace else ""
        metrics = "  ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items() if name in self._shown)
        speed = f"{report['images_per_second']:,.0f} images/s"
        verdict = report["health"]["verdict"]
        self.note(f"{_name(leg)}  {report['images']:,} images  {verdict}  {metrics}  {speed}{left}")

    def ended(self, leg: Leg, trial: Trial | None) -> None:
        if self._pace:
            self._pace.going.forget(leg.run)
        if trial is None:
            self.note(f"{_name(leg)}  done")
            return
        state = "cut short, goes on from its last checkpoint" if trial.state == "running" else trial.state
        score = f"  score {trial.score:.4g}" if trial.score is not None else ""
        error = f"  {trial.error}" if trial.error and trial.state in ("running", "crashed") else ""
        self.note(f"trial {trial.id}  {state}{score}{error}")


class Moving(Quiet):
    """The picture, redrawn at every event; notes stay above it, each on lines of its own."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._ledger: Known | None = None
        self._pace: Pace | None = None
        self.stage("reading the sweep file and the ledger")

    def note(self, text: str) -> None:
        self._live.console.print(text, markup=False, soft_wrap=True)

    def stage(self, doing: str) -> None:
        self._live.update(_line(f"{doing} …"), refresh=True)

    def searching(self, ledger: Known, slots: int) -> None:
        self.note(_at_once(ledger, slots))
        self._pace, self._ledger = Pace(ledger), ledger
        self._draw()

    def moved(self, images: Mapping[RunKey, int]) -> None:
        if self._pace:
            self._pace.going.take(images)
        self._draw()

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        if self._pace:
            self._pace.going.forget(leg.run)
        self._draw()

    def ended(self, leg: Leg, trial: Trial | None) -> None:
        if self._pace:
            self._pace.going.forget(leg.run)
        self._draw()

    def _draw(self) -> None:
        if self._ledger and self._pace:
            self._live.update(picture(self._ledger, "running", self._pace, self._live.console), refresh=True)


class Look(NamedTuple):
    """Images shown so far, in all, and words for the time that is left, empty until a speed is known."""

    done: int
    total: int
    left: str


class Pace:
    """Images still to train against the speed since the first step: what comes before it is starting up. ``going`` is
    told of what no report has said yet.
    """

    def __init__(self, ledger: Known) -> None:
        self.going, self._ledger, guess = LiveProgress(), ledger, estimate(ledger.sweep)
        self._confirm = guess.confirmations * ledger.sweep.train.images
        self._search = guess.images - self._confirm
        self._before = self._shown()
        self._first: tuple[float, int] | None = None

    def look(self) -> Look:
        searched, confirmed = self._shown()
        done, now = searched + confirmed, time.monotonic()
        left = max(0, self._search - searched) + max(0, self._confirm - confirmed)
        if self._first is None and (searched, confirmed) != self._before:
            self._first = (now, done)
        if self._first is None or done == self._first[1]:
            return Look(done, done + left, "")
        speed = (done - self._first[1]) / (now - self._first[0])
        return Look(done, done + left, f"about {duration(left / speed)} left")

    def _shown(self) -> tuple[int, int]:
        """Images in the search and in confirmation."""
        images, again = self.going.images, self._ledger.confirmations.all()
        searched = sum(images(t.id, t.images) - t.begun for t in self._ledger.trials())
        return searched, sum(images((run.trial, run.seed), run.images) for run in again)


def picture(ledger: Known, state: str, pace: Pace, screen: Console) -> Group:
    """What runs now, the best, counts and a bar: never higher or wider than the screen."""
    trials, look = ledger.trials(), pace.look()
    counts = ", ".join(f"{count} {word}" for word, count in Counter(t.state for t in trials).most_common())
    counts += _confirming(ledger)
    below: list[RenderableType] = [
        _line(f"{_counted(ledger)}: {counts or 'starting workers'}"),
        _bar(look),
        *([_line(f"budget: {spent}")] if (spent := words(ledger.sweep.budget, ledger.spent())) else []),
        *map(_line, confirmed_words(ledger.confirmations.summaries()[:RETRAINED])),
    ]
    room = max(1, screen.height - len(below) - 3)  # title, names of the columns, the cursor's line
    rows, marked = _rows(ledger, trials, pace.going)[:room], {trial.id for trial in ledger.front()}
    drawn, _ = table(f"{ledger.sweep.name}: {state}", rows, marked, screen)
    return Group(drawn, *below)


def _counted(ledger: Known) -> str:
    """``3 of 8 trials``, and those of a population that took over from them."""
    founders, trials = len(ledger.founders()), len(ledger.trials())
    copies = f", {trials - founders} more from their checkpoints" if trials > founders else ""
    return f"{founders} of {ledger.sweep.most_trials} trials{copies}"


def _confirming(ledger: Known) -> str:
    """Which trials are trained again now."""
    found = sorted({run.trial for run in ledger.confirmations.all() if not run.done})
    return f"; trial {', '.join(map(str, found))} on fresh seeds" if found else ""


def _rows(ledger: Known, trials: list[Trial], going: LiveProgress) -> list[dict[str, Any]]:
    """What runs, re-trainings too, before the best of the others."""
    objective, shown = ledger.sweep.objective, status.rows(ledger)
    ranked = sorted(
        (t for t in trials if t.score is not None and t.state not in (*FATAL, "running", "crashed")),
        key=lambda t: (not t.feasible, cost(objective, t.score or 0.0)),
    )
    again = [
        {"id": f"{run.trial}, seed {run.seed}", "state": run.state, "rung": "", "score": run.score}
        | {"verdict": run.verdict, "params": trials[run.trial].params}
        | _way_of((run.trial, run.seed), run.images, None, going)
        for run in ledger.confirmations.all()
        if not run.done
    ]
    running = [
        shown[t.id] | _way_of(t.id, t.images, t.images_per_second, going) for t in trials if t.state == "running"
    ]
    return [*running, *again, *(shown[t.id] for t in ranked[:BEST])]


def _way_of(run: RunKey, images: int, speed: float | None, going: LiveProgress) -> dict[str, Any]:
    """Of a training that runs, with the ``speed`` of its last report."""
    return {"images": going.images(run, images), "images_per_second": going.speed(run) or speed}


def _bar(look: Look) -> Table:
    row = Table.grid(padding=(0, 1))
    row.add_row(ProgressBar(total=look.total, completed=look.done, width=20), _line(_way(look)))
    return row


def _way(look: Look) -> str:
    return f"{look.done:,} of {look.total:,} images  {look.left}".rstrip()


def _at_once(ledger: Known, slots: int) -> str:
    """``2 trials at once, each on 2 workers``."""
    workers = counted(ledger.sweep.resources.workers_per_trial, "worker")
    return f"{counted(slots, 'trial')} at once, {'each ' if slots > 1 else ''}on {workers}"


def _line(words: str) -> Text:
    return Text(words, no_wrap=True, overflow="ellipsis")


def _name(leg: Leg) -> str:
    return f"trial {leg.trial}" if leg.confirm_seed is None else f"trial {leg.trial} on seed {leg.confirm_seed}"
