"""Connections to the database of ledgers, and how its failures are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import Engine, make_url

from orchestrator.errors import GansweepError, LedgerError, UserError

NOW = {
    "postgresql": "extract(epoch from clock_timestamp())",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
}
"""The database's own clock, in seconds: those of the machines may differ."""
STALLED = 10
"""Seconds after which a transaction that stands still is undone: a driver that sleeps in the middle of one would keep
its locks from who takes over.
"""
_PSYCOPG = {
    **{"connect_timeout": 10, "keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3},
    "tcp_user_timeout": 15_000,
}
"""A database that a cut cable hides is given up after 15 s, where TCP alone takes a quarter of an hour."""


def options(url: str) -> dict[str, Any]:
    """For SQLAlchemy's engine. Raises UserError for a database that no driver's writes are fenced in."""
    kind = make_url(url)
    if kind.get_backend_name() not in NOW:
        raise UserError(f"the ledger can't be in {kind.get_backend_name()}: use postgresql://… or sqlite:///…")
    psycopg = kind.get_backend_name() == "postgresql" and kind.get_driver_name().startswith("psycopg")
    return {"pool_pre_ping": True, "connect_args": _PSYCOPG if psycopg else {}}


def undo_what_stalls(engine: Engine) -> None:
    """From its next connection on. Not while tables are made, which imports a library in the middle of it."""
    if engine.dialect.name != "postgresql":
        return
    engine.dispose()

    @sa.event.listens_for(engine, "connect")
    def _limit(connection: Any, record: object) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = '{STALLED}s'")
        connection.commit()


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


@contextmanager
def usable() -> Iterator[None]:
    try:
        yield
    except GansweepError:
        raise
    except Exception as error:  # SQLAlchemy, the driver and the server each have errors of their own
        raise UserError(
            f"the ledger's database can't be used ({type(error).__name__}); check its URL, its driver, and that it runs"
        ) from None


@contextmanager
def one_at_a_time(url: str) -> Iterator[None]:
    """Two that make the same tables at once get in each other's way."""
    if make_url(url).get_backend_name() != "postgresql":
        yield
        return
    engine = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT", **options(url))
    with engine.connect() as connection:  # with which the lock goes
        connection.execute(sa.text("SELECT pg_advisory_lock(hashtext('gansweep'))"))
        yield
