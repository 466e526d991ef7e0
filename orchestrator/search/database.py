"""A ledger in a database, and the lease of its driver, which fences every write.

``gansweep_leases`` has a row per sweep. Who takes a sweep over adds one to its ``token``. Each transaction of a
driver's ledger reads the token, right before it commits, with a lock that is shared with its like and shuts out who
would change it: so a driver's write either is there when the next one starts to read, or is undone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from sqlalchemy.engine import Connection, Engine, make_url

from orchestrator.errors import GansweepError, LeaseLostError, LedgerError, UserError
from orchestrator.search.journal import Study
from orchestrator.search.lease import BEAT, EXPIRY, Holder, Lease, Refusal, whoami

log = logging.getLogger(__name__)

_LEASES = sa.Table(
    "gansweep_leases",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("beat", sa.Float, nullable=False),
    sa.Column("stop", sa.Boolean, nullable=False),
)
_NOW = {
    "postgresql": "extract(epoch from clock_timestamp())",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
}
"""The database's own clock, in seconds: those of the machines may differ."""
_STALLED = 10
"""Seconds after which a transaction that stands still is undone: a driver that sleeps in the middle of one would keep
its locks from who takes over.
"""
_PSYCOPG = {
    **{"connect_timeout": 10, "keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3},
    "tcp_user_timeout": 15_000,
}
"""A database that a cut cable hides is given up after 15 s, where TCP alone takes a quarter of an hour."""


def storage(url: str) -> RDBStorage:
    """Optuna's, its tables made where they are missing. Raises UserError where the database can't be used."""
    with _usable(), _one_at_a_time(url):
        return _Storage(url, engine_kwargs=_options(url))


class _Storage(RDBStorage):
    """Takes what Optuna refuses: a choice with other values than in the trials before, after a change of the space. It
    also asks once less for each setting.
    """

    def _set_trial_param_without_commit(
        self, session: Any, trial_id: int, name: str, value: float, kind: BaseDistribution, _before: Any = None
    ) -> None:
        super()._set_trial_param_without_commit(session, trial_id, name, value, kind, previous_distribution=kind)


@contextmanager
def writing() -> Iterator[None]:
    """A database that stops to answer is told in one sentence. Raises LedgerError."""
    try:
        yield
    except (StorageInternalError, sa.exc.SQLAlchemyError) as error:
        cause = error.__cause__ or error
        raise LedgerError(
            f"the ledger's database could not be written ({type(cause).__name__}); what it took is kept: go on once it "
            "answers"
        ) from error


class Database:
    """Studies in a database; what is written to it is fenced by ``lease``, where there is one."""

    def __init__(self, url: str, lease: Lease | None = None) -> None:
        self._storage = storage(url)
        if isinstance(lease, RowLease):
            lease.guard(self._storage.engine)

    def names(self) -> list[str]:
        """Of the studies that are sweeps."""
        with _usable():
            studies = self._storage.get_all_studies()
        return sorted(study.study_name for study in studies if "gansweep.id" in study.user_attrs)

    def attrs(self, name: str) -> dict[str, Any] | None:
        """Of the study of this name."""
        with _usable():
            try:
                study = self._storage.get_study_id_from_name(name)
            except KeyError:
                return None
            return dict(self._storage.get_study_user_attrs(study))

    def find(self, name: str) -> Study | None:
        attrs = self.attrs(name)
        if attrs is None:
            return None
        study = self._storage.get_study_id_from_name(name)
        return Study(self._storage, study, attrs, self._storage.get_all_trials(study, deepcopy=False), writing)

    def create(self, name: str, directions: Sequence[StudyDirection]) -> Study:
        with writing():
            return Study(self._storage, self._storage.create_new_study(directions, name), {}, [], writing)

    def delete(self, study: Study) -> None:
        with writing():
            self._storage.delete_study(study.id)


class RowLease:
    """The lease of one sweep, in a row of the ledger's database."""

    def __init__(self, url: str, name: str, refusal: Refusal) -> None:
        self._name, self._refusal, self._token = name, refusal, 0
        self.lost: LeaseLostError | None = None
        self.when_lost: Callable[[], None] = lambda: None
        self.stop_asked = False
        with _usable():
            self._engine = _engine(url)
        self._now = sa.literal_column(_NOW[self._engine.dialect.name], sa.Float)

    def holder(self) -> Holder | None:
        with _usable(), self._engine.connect() as connection:
            found = self._standing(connection)
        return found if found and found.age < EXPIRY else None

    @contextmanager
    def held(self, note: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        with _usable():
            self._take_in_time(note)
        ended = threading.Event()
        beating = threading.Thread(target=self._live, args=(ended,), name="lease", daemon=True)
        beating.start()
        try:
            yield
        finally:
            ended.set()
            beating.join()
            if not self.lost:
                with suppress(sa.exc.SQLAlchemyError):  # then it expires
                    self._update(beat=0.0)

    def ask_to_stop(self) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.update(_LEASES).where(_LEASES.c.name == self._name).values(stop=True))

    def assure(self) -> None:
        with writing():
            if self._beat() is None:
                raise self._loss()

    def guard(self, engine: Engine) -> None:
        """From now on a transaction of ``engine`` commits only while the lease is ours; else it raises
        LeaseLostError.
        """
        _undo_what_stalls(engine)
        token = sa.select(_LEASES.c.token).where(_LEASES.c.name == self._name).with_for_update(read=True)

        @sa.event.listens_for(engine, "commit")
        def _still_ours(connection: Connection) -> None:
            if self.lost or connection.execute(token).scalar() != self._token:
                raise self._loss()

    def _loss(self) -> LeaseLostError:
        if self.lost is None:
            heir = None
            with suppress(sa.exc.SQLAlchemyError), self._engine.connect() as connection:
                heir = self._standing(connection)
            self.lost = LeaseLostError(
                f"'{self._name}' was taken over by {heir.who if heir else 'another process'} while this one gave no "
                "sign of life; what it did since then is not recorded"
            )
        return self.lost

    def _take_in_time(self, note: Callable[[str], None]) -> None:
        """A holder that lives soon gives another sign of it; one that died a moment ago is waited for."""
        age, told = 0.0, False
        while holder := self._take():
            if holder.age < age:
                raise self._refusal(holder)
            if holder.age > 1.5 * BEAT and not told:
                told = True
                note(
                    f"{holder.who} had '{self._name}' and gives no sign of life; taking over {EXPIRY:g} s after it did"
                )
            age = holder.age
            time.sleep(BEAT / 10)

    def _take(self) -> Holder | None:
        """Returns who has it, or None where it is ours now."""
        first = {"name": self._name, "token": 0, "who": "", "since": 0.0, "beat": 0.0, "stop": False}
        columns = ", ".join(first)
        values = ", ".join(f":{name}" for name in first)
        insert = sa.text(f"INSERT INTO {_LEASES.name} ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING")
        with self._engine.begin() as connection:
            connection.execute(insert, first)
            row = _LEASES.c.name == self._name
            before = connection.execute(sa.select(_LEASES.c.token).where(row).with_for_update()).scalar_one()
            holder = self._standing(connection)
            if holder and holder.age < EXPIRY:
                return holder
            now = {"since": self._now, "beat": self._now}
            connection.execute(sa.update(_LEASES).where(row).values(token=before + 1, who=whoami(), stop=False, **now))
        self._token, self.stop_asked, self.lost = before + 1, False, None
        return None

    def _standing(self, connection: Connection) -> Holder | None:
        """Who holds it, or did."""
        times = (self._now - _LEASES.c.since, self._now - _LEASES.c.beat)
        row = connection.execute(sa.select(_LEASES.c.who, *times).where(_LEASES.c.name == self._name)).first()
        return Holder(*row) if row else None

    def _live(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            try:
                stop = self._beat()
            except sa.exc.SQLAlchemyError as error:  # it may come back; until then nobody else gets in either
                log.warning("no sign of life for the ledger: %s", type(error).__name__)
                continue
            if stop is None:
                self._loss()
                self.when_lost()
                return
            self.stop_asked = stop

    def _beat(self) -> bool | None:
        return self._update(beat=self._now)

    def _update(self, **values: Any) -> bool | None:
        """Change our row; returns whether a stop is asked for, None where the row is another's now."""
        ours = (_LEASES.c.name == self._name, _LEASES.c.token == self._token)
        with self._engine.begin() as connection:
            found: bool | None = connection.execute(
                sa.update(_LEASES).where(*ours).values(**values).returning(_LEASES.c.stop)
            ).scalar()
        return found


def _undo_what_stalls(engine: Engine) -> None:
    """From its next connection on. Not while tables are made, which imports a library in the middle of it."""
    if engine.dialect.name != "postgresql":
        return
    engine.dispose()

    @sa.event.listens_for(engine, "connect")
    def _limit(connection: Any, record: object) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = '{_STALLED}s'")
        connection.commit()


def _options(url: str) -> dict[str, Any]:
    """For SQLAlchemy's engine. Raises UserError for a database that no driver's writes are fenced in."""
    kind = make_url(url)
    if kind.get_backend_name() not in _NOW:
        raise UserError(f"the ledger can't be in {kind.get_backend_name()}: use postgresql://… or sqlite:///…")
    psycopg = kind.get_backend_name() == "postgresql" and kind.get_driver_name().startswith("psycopg")
    return {"pool_pre_ping": True, "connect_args": _PSYCOPG if psycopg else {}}


@cache
def _engine(url: str) -> Engine:
    """For leases alone, which wait for nobody."""
    engine = sa.create_engine(url, **_options(url))
    with _one_at_a_time(url):
        _LEASES.create(engine, checkfirst=True)
    _undo_what_stalls(engine)
    return engine


@contextmanager
def _usable() -> Iterator[None]:
    try:
        yield
    except GansweepError:
        raise
    except Exception as error:  # SQLAlchemy, the driver and the server each have errors of their own
        raise UserError(
            f"the ledger's database can't be used ({type(error).__name__}); check its URL, its driver, and that it runs"
        ) from None


@contextmanager
def _one_at_a_time(url: str) -> Iterator[None]:
    """Two that make the same tables at once get in each other's way."""
    if make_url(url).get_backend_name() != "postgresql":
        yield
        return
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", **_options(url))
    with engine.connect() as connection:  # with which the lock goes
        connection.execute(sa.text("SELECT pg_advisory_lock(hashtext('gansweep'))"))
        yield
