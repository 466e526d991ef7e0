"""The story of a sweep: open what stands, search leg by leg, confirm, and say what came of it.

submit / resume / fork -> run
    ledger      what is known, and the next leg        (search/)
    run_legs    trains legs on warm gangs              (execution/)
    recorder    shows them in MLflow                   (tracking/)
    store       keeps checkpoints and sample grids     (artifacts/)
promote                                                (registry/)

One process drives a sweep at a time, by a lease in the ledger's own store; MLflow mirrors the ledger.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from orchestrator import environment
from orchestrator.artifacts import Store, store_of
from orchestrator.commands import command
from orchestrator.conductor import Conductor, Progress, dataset
from orchestrator.errors import LeaseLostError, LedgerError, UserError
from orchestrator.execution.environment import prepare
from orchestrator.execution.listener import require_head
from orchestrator.execution.order import GangSpec
from orchestrator.mirror import Mirror
from orchestrator.paths import Home, RunKey, SweepPaths
from orchestrator.planning.earlier import like, remember, require_room
from orchestrator.search.known import Known, SweepState
from orchestrator.search.lease import FileLease, Lease, lease_of, promoting
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial_requests import TrialRequests
from orchestrator.spec import Sweep, warnings
from orchestrator.status import find, ledger_of
from orchestrator.tracking import events
from orchestrator.tracking.recorder import Recorder
from orchestrator.tracking.server import embedded
from orchestrator.tracking.spool import Spool
from orchestrator.tracking.target import Target, check
from orchestrator.tracking.views import views_of
from orchestrator.watching.exporter import exported
from orchestrator.watching.notify import notified
from trainers.reading import ownimports


@dataclass(frozen=True)
class Outcome:
    """How a run of a sweep ended. ``unsent`` says why records still wait for MLflow, or is None."""

    state: SweepState
    unsent: str | None = None


def submit(
    sweep: Sweep,
    home: Home,
    progress: Progress,
    address: str | None = None,
    new_space: bool = False,
    warm_start: str | None = None,
) -> Outcome:
    """Start a sweep, with what the one named ``warm_start`` knows, or go on with the one of this name where it is the
    same sweep, or has but a ``new_space``.
    """
    require_head(address)
    require_room(sweep, like(sweep, home))
    before = ledger_of(warm_start, home)[0] if warm_start else None
    with _driven(sweep, home, progress, new_space, before) as (ledger, lease, paths):
        for name, message in warnings(sweep):
            progress.note(f"warning: {name}: {message}")
        return _run(ledger, home, paths, lease, progress, address)


def sync(name: str, home: Home, progress: Progress) -> str | None:
    """Bring MLflow to what the ledger knows, each point once; returns why some of it could not be sent, or None."""
    with _driven(find(name, home)[0], home, progress) as (ledger, lease, paths):
        store, spool, state = store_of(ledger.sweep, home), Spool(paths.spool), ledger.state()
        spool.mark(0)
        mirror = Mirror(ledger, spool, store, dataset(ledger, progress))
        with _recording(ledger, home, lease, spool, store, progress, {}) as recorder:
            mirror.began(state)
            mirror.ended(state)
        return recorder.unsent


@contextmanager
def _driven(
    sweep: Sweep, home: Home, progress: Progress, new_space: bool = False, before: Known | None = None
) -> Iterator[tuple[Ledger, Lease, SweepPaths]]:
    """The ledger of a sweep that nobody else drives meanwhile, its lease, and where its files are in the home."""
    if home.profile.is_shared and sweep.search.storage != "auto":
        raise UserError(
            "search.storage names a ledger of its own, and so does the profile: leave it out of the sweep file, or use "
            "--profile local"
        )
    home.make()
    paths = home.sweep(sweep.name)
    paths.root.mkdir(parents=True, exist_ok=True)
    lease = lease_of(sweep, paths)
    with lease.held(progress.note):
        # refuses other settings, before the old file is replaced
        ledger = Ledger.open(sweep, paths.ledger, lease, new_space=new_space, before=before)
        ledger.keep_file()
        if home.profile.is_shared:
            paths = home.sweep(ledger.key)  # of this sweep, and not of another that had its name
            paths.root.mkdir(parents=True, exist_ok=True)
        else:
            beside = paths.spec.with_suffix(".new")
            beside.touch(mode=0o600)  # a URL in it may carry a password
            beside.write_text(sweep.to_yaml())
            beside.replace(paths.spec)
        yield ledger, lease, paths


def promote(
    name: str, model: str, alias: str, trial: int | None, forced_reason: str | None, licence: str | None, home: Home
) -> dict[str, Any]:
    """The gate, then the registry. Raises WorkError with the reasons where the gate refuses and no reason to force it
    is given.
    """
    from orchestrator.promotion import promote as run

    ledger, _ = ledger_of(name, home)
    store, uri = store_of(ledger.sweep, home), tracking_uri(ledger.sweep, home)
    with _promoting(model, home) as lease:
        return run(ledger, store, uri, model, alias, trial, forced_reason, licence, lease.assure)


def rollback(name: str, model: str, alias: str, home: Home) -> dict[str, Any]:
    """Give the alias back to the version that held it before."""
    from orchestrator.registry.models import rollback as run

    with _promoting(model, home) as lease:
        return run(tracking_uri(find(name, home)[0], home), model, alias, lease.assure)


@contextmanager
def _promoting(model: str, home: Home) -> Iterator[Lease]:
    lease = promoting(model, home)
    with lease.held():
        yield lease


def tracking_uri(sweep: Sweep, home: Home) -> str:
    """Where the sweep's runs can be read without a server of ours running."""
    uri = home.tracking(sweep)
    return home.mlflow_database if uri == "auto" else uri


def _run(
    ledger: Ledger, home: Home, paths: SweepPaths, lease: Lease, progress: Progress, address: str | None
) -> Outcome:
    environment.mend()
    ownimports.try_all(ledger.sweep.model_dump(mode="json"))
    store = store_of(ledger.sweep, home)
    store.check()
    spool = Spool(paths.spool)
    conductor = Conductor(ledger, spool, store, lease, progress, TrialRequests(ledger.sweep, paths.ledger))
    conductor.listen()
    is_done = ledger.is_over() and spool.empty and ledger.state() == "finished"
    if is_done and not (home.profile.is_shared and conductor.untold):  # by who drove it elsewhere
        return Outcome("finished")
    recording = _recording(ledger, home, lease, spool, store, progress, ledger.runs())
    with recording as recorder, notified(conductor, ledger) as tell:
        conductor.open()
        recorder.begin(len(ledger.trials()))
        try:
            if not ledger.is_over():
                with exported(conductor, ledger.sweep.name, spool):
                    _search(conductor, ledger, home, paths, store, lease, conductor.progress, address)
        finally:
            state = conductor.close()
            tell(state)
            remember(paths.pace, ledger.sweep, conductor.stopwatch)
        if not isinstance(conductor.failure, LedgerError):  # who lost the ledger says nothing
            _leave_report(ledger, state, paths, store, spool)
        shutil.rmtree(paths.ray, ignore_errors=True)
        if conductor.failure:
            raise conductor.failure
    return Outcome(state, recorder.unsent)


def _leave_report(ledger: Ledger, state: str, paths: SweepPaths, store: Store, spool: Spool) -> None:
    """The page of the sweep as it stands, in its folder and in its MLflow run."""
    from orchestrator.report import report  # brings scikit-learn, which no trial should wait for

    if ledger.trials():
        page, _ = report(ledger, state, store)
        paths.report.write_text(page, encoding="utf-8")
        spool.append(events.file(paths.report))


def _search(
    conductor: Conductor,
    ledger: Ledger,
    home: Home,
    paths: SweepPaths,
    store: Store,
    lease: Lease,
    progress: Progress,
    address: str | None,
) -> None:
    """Legs on warm gangs, until nothing is left to train or the sweep is told to stop."""
    progress.stage("starting Ray" if address is None else f"joining the Ray cluster at {address}")
    prepare(address, home.root / "ray.token")
    from orchestrator.execution.cluster import cluster  # Ray reads its environment when it is imported
    from orchestrator.execution.slots import Slots
    from orchestrator.execution.succession import succeed
    from orchestrator.execution.tuner import run_legs

    gang = gang_of(ledger.sweep, store, str(home.cache))
    most = ledger.sweep.resources.max_concurrent_trials
    most = ledger.sweep.most_trials if most == "auto" else most
    tune_storage = (
        f"{quote(store.url, safe=':/')}/{ledger.key}/ray" if store.url.startswith("s3://") else str(paths.ray)
    )
    with _interruptible(conductor, lease, progress), cluster(address):
        if not isinstance(lease, FileLease):  # which passes from no driver that lives
            succeed(ledger.id)
        settings, weight = ledger.sweep.model_dump(mode="json"), ledger.sweep.resources.priority
        slots = Slots(gang, most, progress.note, address is not None, settings, weight)
        progress.searching(ledger, slots.count())
        conductor.places = lambda: slots.fit
        run_legs(conductor, gang, slots, tune_storage, ledger.sweep.name)


def gang_of(sweep: Sweep, store: Store, cache: str) -> GangSpec:
    """What every slot of the sweep looks like."""
    asked = sweep.resources
    return GangSpec(
        *(asked.workers_per_trial, asked.cpus_per_worker, asked.gpus_per_worker, store, cache, asked.hang_seconds),
        *(asked.memory_per_worker * 2**30, asked.accelerator, tuple(sorted(asked.labels.items())), asked.placement),
    )


@contextmanager
def _recording(
    ledger: Ledger, home: Home, lease: Lease, spool: Spool, store: Store, progress: Progress, runs: dict[RunKey, str]
) -> Iterator[Recorder]:
    """MLflow, fed from the spool while the ``with`` lasts; embedded for ``auto``, where the server starts beside the
    first trials. ``runs`` are those that it certainly has.
    """
    uri, views = home.tracking(ledger.sweep), partial(views_of, ledger.sweep)

    def shown(page: str) -> None:
        progress.note(f"its runs: {page}")

    with ExitStack() as stack:
        if uri == "auto":
            server = stack.enter_context(embedded(home))
            root = f"{store.url}/mlflow" if store.url.startswith("s3://") else home.mlflow_artifacts
            target = Target(server.url, server.wait, root, views, shown)
            progress.note(f"MLflow: {server.url}")
        else:
            check(uri)
            target = Target(uri, lambda: None, views=views, shown=shown)
        name, on_run, say = ledger.sweep.name, ledger.set_run, progress.note
        recorder = Recorder(spool, target, store, name, ledger.id, runs, on_run, say, lease.assure)
        recorder.start()
        try:
            yield recorder
        except BaseException as error:
            recorder.close(timeout=2 if isinstance(error, KeyboardInterrupt | LedgerError) else None)
            if recorder.unsent and not isinstance(error, LeaseLostError):  # whose heir sends them
                again = command("resume", ledger.sweep.name)
                progress.note(f"some records wait for MLflow ({recorder.unsent}); send them with: {again}")
            raise
        progress.stage("sending the last records to MLflow")
        recorder.close()


@contextmanager
def _interruptible(conductor: Conductor, lease: Lease, progress: Progress) -> Iterator[None]:
    """Ctrl-C (or SIGTERM) once: every leg ends after its next report. Twice: KeyboardInterrupt, now. A lost lease ends
    all at once.
    """

    def on_signal(number: int, frame: object) -> None:
        if conductor.interrupted or lease.lost:
            raise KeyboardInterrupt
        conductor.interrupted = True
        with suppress(RuntimeError):  # the signal may come in the middle of a line that is being printed
            progress.note("interrupted: finishing the current reports (again to stop at once)")

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    main = threading.get_ident()
    lease.when_lost = lambda: signal.pthread_kill(main, signal.SIGINT)
    try:
        yield
    except KeyboardInterrupt:
        if not lease.lost:
            raise
        conductor.failure = lease.lost
    finally:
        lease.when_lost = lambda: None
        for number, handler in before.items():
            signal.signal(number, handler)
