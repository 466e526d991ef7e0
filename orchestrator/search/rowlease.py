"""The lease of a sweep whose ledger is in a database, which fences every write.

``gansweep_leases`` has a row per sweep. Who takes a sweep over adds one to its ``token``. Each transaction of a
driver's ledger reads the token, right before it commits, with a lock that is shared with its like and shuts out who
would change it: so a driver's write either is there when the next one starts to read, or is undone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from orchestrator.errors import LeaseLostError
from orchestrator.search.engine import NOW, one_at_a_time, options, undo_what_stalls, usable, writing
from orchestrator.search.lease import BEAT, EXPIRY, Holder, Refusal, whoami

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


class RowLease:
    """The lease of one sweep, in a row of the ledger's database."""

    def __init__(self, url: str, name: str, refusal: Refusal) -> None:
        self._name, self._refusal, self._token = name, refusal, 0
        self.lost: LeaseLostError | None = None
        self.when_lost: Callable[[], None] = lambda: None
        self.stop_asked = False
        with usable():
            self._engine = _engine(url)
        self._now = sa.literal_column(NOW[self._engine.dialect.name], sa.Float)

    def holder(self) -> Holder | None:
        with usable(), self._engine.connect() as connection:
            found = self._standing(connection)
        return found if found and found.age < EXPIRY else None

    @contextmanager
    def held(self, note: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        with usable():
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
        undo_what_stalls(engine)
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


@cache
def _engine(url: str) -> Engine:
    """For leases alone, which wait for nobody."""
    engine = sa.create_engine(url, **options(url))
    with one_at_a_time(url):
        _LEASES.create(engine, checkfirst=True)
    undo_what_stalls(engine)
    return engine
