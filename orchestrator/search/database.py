"""A ledger in a database; what its driver writes is fenced by a ``RowLease``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import TrialIntermediateValueModel, TrialParamModel
from optuna.study import StudyDirection
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from orchestrator.search.engine import one_at_a_time, options, usable, writing
from orchestrator.search.journal import Study
from orchestrator.search.lease import Lease
from orchestrator.search.rowlease import RowLease

_INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def storage(url: str) -> _Storage:
    """Optuna's, its tables made where they are missing. Raises UserError where the database can't be used."""
    with usable(), one_at_a_time(url):
        return _Storage(url)


class _Session(Session):
    """Commits once what is written ``together``, where Optuna would after each value."""

    together = False

    def commit(self) -> None:
        self.flush() if self.together else super().commit()

    def close(self) -> None:
        if not self.together:
            super().close()


class _Storage(RDBStorage):
    """Takes what Optuna refuses: a choice with other values than in the trials before, after a change of the space. It
    also asks less, since a trial's only writer knows how it stands.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, engine_kwargs=options(url))
        self._sessions: scoped_session[_Session] = scoped_session(sessionmaker(bind=self.engine, class_=_Session))
        self.scoped_session = self._sessions  # type: ignore[assignment]  # sessions, of a class of ours

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction for all that this thread writes within."""
        session = self._sessions()
        session.together = True
        try:
            with writing():
                yield
                session.together = False
                session.commit()
        finally:
            session.together = False
            session.close()  # undoes what is not committed

    def _set_trial_param_without_commit(
        self, session: Any, trial_id: int, name: str, value: float, kind: BaseDistribution, _before: Any = None
    ) -> None:
        new = {"param_value": value, "distribution_json": distribution_to_json(kind)}
        self._put(session, TrialParamModel, {"trial_id": trial_id, "param_name": name}, new)

    def _set_trial_attr_without_commit(self, session: Any, model_cls: Any, trial_id: int, key: str, value: Any) -> None:
        self._put(session, model_cls, {"trial_id": trial_id, "key": key}, {"value_json": json.dumps(value)})

    def _set_trial_intermediate_value_without_commit(
        self, session: Any, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        stored, kind = TrialIntermediateValueModel.intermediate_value_to_stored_repr(intermediate_value)
        new = {"intermediate_value": stored, "intermediate_value_type": kind}
        self._put(session, TrialIntermediateValueModel, {"trial_id": trial_id, "step": step}, new)

    def _put(self, session: Any, model: Any, where: dict[str, Any], new: dict[str, Any]) -> None:
        session.execute(_upsert(self.engine.name, model, (*where,), (*new,)), where | new)


@cache
def _upsert(dialect: str, model: Any, where: tuple[str, ...], new: tuple[str, ...]) -> Any:
    """A statement, made once: making it took longer than carrying it out."""
    insert = _INSERT[dialect](model.__table__)
    return insert.on_conflict_do_update(index_elements=where, set_={name: insert.excluded[name] for name in new})


class Database:
    """Studies in a database; what is written to it is fenced by ``lease``, where there is one."""

    def __init__(self, url: str, lease: Lease | None = None) -> None:
        self._storage = storage(url)
        if isinstance(lease, RowLease):
            lease.guard(self._storage.engine)

    def names(self) -> list[str]:
        """Of the studies that are sweeps."""
        with usable():
            studies = self._storage.get_all_studies()
        return sorted(study.study_name for study in studies if "gansweep.id" in study.user_attrs)

    def attrs(self, name: str) -> dict[str, Any] | None:
        """Of the study of this name."""
        with usable():
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
        return Study(
            self._storage, study, attrs, self._storage.get_all_trials(study, deepcopy=False), self._storage.together
        )

    def create(self, name: str, directions: Sequence[StudyDirection]) -> Study:
        with writing():
            study = self._storage.create_new_study(directions, name)
        return Study(self._storage, study, {}, [], self._storage.together)

    def delete(self, study: Study) -> None:
        with writing():
            self._storage.delete_study(study.id)
