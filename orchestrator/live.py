"""A sweep as it runs: a picture that fits the screen on a terminal, plain lines in a pipe."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator import status
from orchestrator.estimate import estimate
from orchestrator.search.objective import cost
from orchestrator.search.trial import FATAL
from orchestrator.show import confirmed_words, console, table

if TYPE_CHECKING:
    from orchestrator.conductor import Progress
    from orchestrator.paths import SweepPaths
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


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """A live picture on a terminal, plain lines in a pipe, nothing for ``--json``."""
    if quiet:
        yield Quiet()
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            yield Moving(live)
    else:
        yield Lines()


class Quiet:
    """Says nothing."""

    def note(self, text: str) -> None: ...

    def searching(self, ledger: Known, slots: int) -> None: ...

    def reported(self, leg: Leg, report: dict[str, Any]) -> None: ...

    def ended(self, leg: Leg, trial: Trial | None) -> None: ...


class Lines(Quiet):
    """One line per event."""

    def __init__(self) -> None:
        self._pace: Pace | None = None
        self._shown: tuple[str, ...] = ()

    def note(self, text: str) -> None:
        print(text, flush=True)

    def searching(self, ledger: Known, slots: int) -> None:
        self._pace, self._shown = Pace(ledger), ledger.sweep.evaluate.metrics
        print(f"{slots} trial{'s' if slots > 1 else ''} at once", flush=True)

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        left = f"  {self._pace.look().left}" if self._pace else ""
        metrics = "  ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items() if name in self._shown)
        speed = f"{report['images_per_second']:,.0f} images/s"
        verdict = report["health"]["verdict"]
        print(f"{_name(leg)}  {report['images']:,} images  {verdict}  {metrics}  {speed}{left}", flush=True)

    def ended(self, leg: Leg, trial: Trial | None) -> None:
        if trial is None:
            print(f"{_name(leg)}  done", flush=True)
            return
        state = "cut short, goes on from its last checkpoint" if trial.state == "running" else trial.state
        score = f"  score {trial.score:.4g}" if trial.score is not None else ""
        error = f"  {trial.error}" if trial.error and trial.state in ("running", "crashed") else ""
        print(f"trial {trial.id}  {state}{score}{error}", flush=True)


class Moving(Lines):
    """The picture, redrawn at every event; notes stay above it, each on lines of its own."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live
        self._ledger: Known | None = None
        self.note("starting")

    def note(self, text: str) -> None:
        self._live.console.print(text, markup=False, soft_wrap=True)

    def searching(self, ledger: Known, slots: int) -> None:
        self._pace, self._ledger = Pace(ledger), ledger
        self._draw()

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        self._draw()

    def ended(self, leg: Leg, trial: Trial | None) -> None:
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
    """Images still to train against the speed since the first report: what comes before it is starting up."""

    def __init__(self, ledger: Known) -> None:
        self._ledger, guess = ledger, estimate(ledger.sweep)
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
        return Look(done, done + left, f"about {_duration(left / speed)} left")

    def _shown(self) -> tuple[int, int]:
        """Images in the search and in confirmation."""
        return sum(t.images for t in self._ledger.trials()), sum(r.images for r in self._ledger.confirmations.all())


def picture(ledger: Known, state: str, pace: Pace, screen: Console) -> Group:
    """What runs now, the best, counts and a bar: never higher or wider than the screen."""
    trials, look = ledger.trials(), pace.look()
    counts = ", ".join(f"{count} {word}" for word, count in Counter(t.state for t in trials).most_common())
    below: list[RenderableType] = [
        _line(f"{len(trials)} of {ledger.sweep.most_trials} trials: {counts or 'starting workers'}"),
        _bar(look),
        *map(_line, confirmed_words(ledger.confirmations.summaries()[:RETRAINED])),
    ]
    room = max(1, screen.height - len(below) - 3)  # title, names of the columns, the cursor's line
    rows, best = _rows(ledger, trials)[:room], ledger.best()
    drawn, _ = table(f"{ledger.sweep.name}: {state}", rows, best.id if best else None, screen)
    return Group(drawn, *below)


def _rows(ledger: Known, trials: list[Trial]) -> list[dict[str, Any]]:
    """What runs, re-trainings too, before the best of the others."""
    objective, shown = ledger.sweep.objective, status.rows(ledger)
    ranked = sorted(
        (t for t in trials if t.score is not None and t.state not in (*FATAL, "running", "crashed")),
        key=lambda t: (not t.feasible, cost(objective, t.score or 0.0)),
    )
    again = [
        {"id": f"{run.trial}, seed {run.seed}", "state": run.state, "rung": "", "images": run.images}
        | {"score": run.score, "verdict": run.verdict, "images_per_second": None, "params": trials[run.trial].params}
        for run in ledger.confirmations.all()
        if not run.done
    ]
    running = [shown[t.id] for t in trials if t.state == "running"]
    return [*running, *again, *(shown[t.id] for t in ranked[:BEST])]


def _bar(look: Look) -> Table:
    row = Table.grid(padding=(0, 1))
    words = _line(f"{look.done:,} of {look.total:,} images  {look.left}".rstrip())
    row.add_row(ProgressBar(total=look.total, completed=look.done, width=20), words)
    return row


def _line(words: str) -> Text:
    return Text(words, no_wrap=True, overflow="ellipsis")


def _name(leg: Leg) -> str:
    return f"trial {leg.trial}" if leg.confirm_seed is None else f"trial {leg.trial} on seed {leg.confirm_seed}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
