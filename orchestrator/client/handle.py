"""A sweep in Python's hands: what the command line can do with one, in the same words."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from orchestrator import status as standing
from orchestrator.client import reports
from orchestrator.client.reports import LOOK, TrialReport, headline
from orchestrator.commands import command, set_words
from orchestrator.errors import GansweepError, UserError, WorkError
from orchestrator.paths import Home, SweepPaths, samples_key, trial_key
from orchestrator.profiles import is_job
from orchestrator.search.known import Reading, SweepState
from orchestrator.search.trial import Trial
from orchestrator.spec import Sweep, overrides

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from orchestrator.artifacts import Store
    from orchestrator.client.background import Driver
    from orchestrator.conductor import Progress
    from orchestrator.generators.generator import Generator, Label
    from orchestrator.sweep import Outcome

By = Literal["score", "verdict"]


class Handle:
    """The sweep ``name`` in a home. Everything is read from its ledger when it is asked for; whoever drives the sweep,
    this process or another, on this machine or elsewhere under a shared profile.
    """

    def __init__(self, name: str, home: Home, driver: Driver | None = None) -> None:
        self.name, self.home, self._driver = name, home, driver

    # -- what stands -------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> Sweep:
        """Its settings."""
        return standing.find(self.name, self.home)[0]

    def ledger(self) -> tuple[Reading, SweepPaths]:
        """What is known of it now, and where its files are. Raises UserError where it has not begun."""
        return standing.ledger_of(self.name, self.home)

    @property
    def state(self) -> SweepState:
        """``running``, ``finished``, ``stopped``, ``interrupted`` (its driver died, or Ctrl-C) or ``failed``."""
        return standing.state(*self.ledger())

    def status(self) -> dict[str, Any]:
        """The document of ``gansweep status --json``."""
        return standing.describe(*self.ledger())

    @property
    def trials(self) -> pd.DataFrame:
        """A row per trial, by its number: state, rung, images, score, verdict, ``params.*``, ``metrics.*`` and more."""
        from orchestrator.client.frame import frame

        return frame(standing.rows(self.ledger()[0]))

    @property
    def best(self) -> Trial | None:
        """The finished, healthy trial with the best score that keeps every constraint, survivors of confirmation
        first; None where there is none yet.
        """
        return self.ledger()[0].best()

    def __iter__(self) -> Iterator[TrialReport]:
        """Every report, from the first on; while the sweep runs, as they come. Ends when all that it did is recorded,
        where this handle began it.
        """
        yield from reports.follow(*standing.ledger_of(self.name, self.home, told=True))
        while self._driver and self._driver.running:
            time.sleep(LOOK)

    def logs(self, trial: int | None = None, rank: int | None = None) -> Iterator[tuple[str, str]]:
        """What its workers printed so far: of whom, and the text."""
        from orchestrator import logs

        return logs.logs(self.ledger()[0], self.store, trial, rank)

    def report(self, output: str | Path = "report.html") -> Path:
        """Write what it found, what it cost and what failed as one page that opens offline; returns where."""
        self.reported(Path(output))
        return Path(output)

    def reported(self, output: Path) -> dict[str, Any]:
        """The same, and what the page shows as numbers."""
        from orchestrator import report

        ledger, paths = self.ledger()
        page, document = report.report(ledger, standing.state(ledger, paths), self.store)
        _write(output, page)
        return document

    def numbers(self) -> dict[str, Any]:
        """What the report shows, as numbers: ``gansweep report --json``."""
        from orchestrator import report

        ledger, paths = self.ledger()
        return report.numbers(ledger, standing.state(ledger, paths))

    def samples(self, output: str | Path = "samples.html", by: By = "score") -> tuple[int, int]:
        """Write all trials' sample grids as one page; returns how many trials are on it, and how many there are. Raises
        UserError for an order that there is not.
        """
        from orchestrator import report

        if by not in get_args(By):
            raise UserError(f"by: there is no order {by!r}; known: {', '.join(get_args(By))}")
        ledger, _ = self.ledger()
        page, shown = report.samples(ledger, by, self.store)
        _write(Path(output), page)
        return shown, len(ledger.trials())

    # -- what is done with it ----------------------------------------------------------------------------------------

    def run(
        self,
        progress: Progress,
        sweep: Sweep | None = None,
        *,
        changes: Sequence[str] = (),
        address: str | None = None,
        warm_start: str | None = None,
    ) -> Outcome:
        """Drive it in this process, until it ends: by the settings of ``sweep``, with what the sweep ``warm_start``
        knows, or as it stands but for ``changes`` (a.b=value). Ctrl-C ends it after the current reports.
        """
        from orchestrator import lifecycle
        from orchestrator import sweep as story

        if sweep is not None:
            return story.submit(sweep, self.home, progress, address, warm_start=warm_start)
        return lifecycle.resume(self.name, self.home, progress, changes, address)

    def wait(self, timeout: float | None = None) -> Handle:
        """Return when it no longer runs. Raises WorkError where it failed, or no trial finished; TimeoutError after so
        many seconds. Interrupted, it only waits no more: ``stop`` ends the sweep.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._driver.running if self._driver else self.state == "running":
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"sweep '{self.name}' still runs after {timeout:g} s")
            time.sleep(LOOK)
        if self._driver:
            self._driver.check()
            return self
        document = standing.describe(*self.ledger())
        if document["state"] == "failed":
            raise WorkError(f"sweep '{self.name}' failed; see why with: {command('resume', self.name)}")
        standing.require_fruit(document)
        return self

    def watch(self) -> None:
        """Show it until it ends: in a notebook as a table and a grid, elsewhere as ``gansweep status --watch``."""
        from orchestrator.client import notebook

        if notebook.here():
            notebook.watch(self)
        else:
            from orchestrator.terminal import live

            live.watch(*self.ledger())

    def stop(self) -> bool:
        """Ask it to finish its current reports and end; everything is kept. False where it does not run."""
        return standing.stop(self.name, self.home)

    def resume(
        self,
        trials: int | None = None,
        address: str | None = None,
        set: Mapping[str, Any] | None = None,
        env: Sequence[str] = (),
    ) -> Handle:
        """Go on in the background after any crash, or to so many ``trials`` in all; ``set`` changes the space, or
        settings that leave trials comparable. Returns once it runs; where ``address`` is a cluster's dashboard, once
        the job that gets the variables named in ``env`` is queued there.
        """
        changes, address = overrides(set, trials=trials), self.home.profile.cluster(address)
        if is_job(address, env):
            from orchestrator import remote

            remote.resume(self.name, changes, remote.behind(self.home, address, env), self.home.profile_name, print)
            self._driver = None
            return self
        from orchestrator.client.background import Driver

        self._driver = Driver(self.spec, ["resume", self.name, *set_words(changes)], "", self.home, address)
        self._driver.begun()
        return self

    def fork(self, new: str, set: Mapping[str, Any] | None = None, address: str | None = None) -> Handle:
        """Run the sweep ``new`` in the background, with these settings but for ``set``; it begins with what this one
        knows. Returns once it runs.
        """
        from orchestrator.client.background import Driver

        forked, address = self.spec.model_copy(update={"name": new}), self.home.profile.cluster(address)
        driver = Driver(forked, ["fork", self.name, new, *set_words(overrides(set))], "", self.home, address)
        driver.begun()
        return Handle(new, self.home, driver)

    def add_trial(self, params: Mapping[str, Any]) -> str:
        """Have these settings of the search space tried next, the sampler's for the rest; returns when."""
        from orchestrator import lifecycle

        return lifecycle.add_trial(self.name, overrides(params), self.home)

    def stop_trial(self, trial: int) -> str:
        """End one trial, after its current report where it trains; returns when."""
        from orchestrator import lifecycle

        return lifecycle.stop_trial(self.name, trial, self.home)

    def delete(self) -> None:
        """Remove its checkpoints, grids and logs, its ledger and its folder. MLflow keeps runs and registered models.
        Raises UserError where somebody drives it.
        """
        from orchestrator.deletion import delete

        delete(self.name, self.home)

    def delete_checkpoints(self) -> int:
        """Remove the checkpoints of trials that have ended, but those from which the best can be promoted; returns how
        many.
        """
        from orchestrator.deletion import delete_checkpoints

        return delete_checkpoints(self.name, self.home)

    def sync(self, progress: Progress | None = None) -> str | None:
        """Send MLflow what the ledger knows and it does not; returns why some of it could not be sent, or None."""
        from orchestrator import sweep
        from orchestrator.terminal.live import Quiet

        return sweep.sync(self.name, self.home, progress or Quiet())

    def promote(
        self,
        trial: int | None = None,
        *,
        alias: str = "champion",
        model: str | None = None,
        force: bool = False,
        reason: str | None = None,
        licence: str | None = None,
    ) -> dict[str, Any]:
        """The gate, then the registry: the best trial, or this one, becomes the ``alias`` of ``model`` (default: the
        sweep's name), with its ``licence`` on the model's page. Returns the document of ``gansweep promote --json``.

        Raises WorkError with the gate's reasons; ``force`` promotes all the same, with the ``reason`` recorded.
        """
        if force and not (reason and reason.strip()):
            raise UserError("a forced promotion needs its reason, which is recorded beside the model: --reason TEXT")
        if reason and not force:
            raise UserError("a reason is recorded only with --force, beside a model that the gate refused")
        from orchestrator import sweep

        return sweep.promote(self.name, model or self.name, alias, trial, reason if force else None, licence, self.home)

    def rollback(self, *, alias: str = "champion", model: str | None = None) -> dict[str, Any]:
        """Give the alias back to the version that held it before."""
        from orchestrator import sweep

        return sweep.rollback(self.name, model or self.name, alias, self.home)

    def generator(self, trial: int | None = None) -> Generator:
        """Of the best trial, or this one: the one of its trainings that ``promote`` would take. Raises WorkError where
        no trial has a checkpoint yet.
        """
        from orchestrator.choice import generator

        return generator(self.ledger()[0], self.store, trial)

    def sample(
        self,
        n: int | None = None,
        trial: int | None = None,
        *,
        seeds: Sequence[int] | None = None,
        label: Label | Sequence[Label] | None = None,
        truncation: float | None = None,
        frames: int | None = None,
    ) -> NDArray[Any]:
        """Examples of ``generator(trial)``, as ``Generator.sample`` takes and returns them."""
        made = self.generator(trial)
        return made.sample(n, seeds=seeds, label=label, truncation=truncation, frames=frames)

    # -- how it looks ------------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        """Its artifacts."""
        from orchestrator.artifacts import store_of

        return store_of(self.spec, self.home)

    @property
    def grid(self) -> str | None:
        """Where the sample grid of the best trial lies among its artifacts."""
        ledger, _ = self.ledger()
        best, url = ledger.best(), self.store.url
        return f"{url}/{samples_key(trial_key(ledger.key, best.id), best.images)}" if best else None

    def __repr__(self) -> str:
        try:
            ledger, paths = self.ledger()
        except GansweepError as error:
            return f"Handle({self.name!r}: {error})"
        return f"Handle({self.name!r}: {headline(ledger, standing.state(ledger, paths))})"

    def _repr_html_(self) -> str:
        """For a notebook: the trials, best first, and the sample grid of the best."""
        from orchestrator.client import notebook

        return notebook.html(self)


def _write(output: Path, text: str) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"-o {output} can't be written: {error.strerror}") from None
