"""MLflow as a mirror of the ledger: what is told of a sweep, as it happens, or again from what the ledger knows.

Everything goes through the spool, which takes each report once.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.artifacts import Store
from orchestrator.paths import RunKey
from orchestrator.search import objective
from orchestrator.search.confirmation import Confirmation
from orchestrator.search.known import SweepState
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import FATAL, Trial
from orchestrator.secrets import without_secrets
from orchestrator.settings.groups import Objective
from orchestrator.status import best_row, best_words, front_rows, front_words, rows
from orchestrator.tracking import events
from orchestrator.tracking.notes import NOTE, of_sweep, of_training
from orchestrator.tracking.spool import Spool

_STATUS = {"finished": "FINISHED", "crashed": "FAILED"}
"""Of a run that ended; every other end was ours, and is KILLED. MLflow shows both with the same red mark, so the name
of a run that did not finish says how it ended.
"""
COURSE = ("finished", *FATAL)
"""States of a training whose end is its last report."""
EVERY = 30.0
"""Seconds between two descriptions of a sweep that runs."""
_SWEEP_STATUS: dict[SweepState, str] = {"finished": "FINISHED", "failed": "FAILED"}


class Mirror:
    """``dataset`` is what was learned from, as ``events.started`` takes it."""

    def __init__(self, ledger: Ledger, spool: Spool, store: Store, dataset: Mapping[str, str]) -> None:
        self._ledger, self._spool, self._store, self._dataset = ledger, spool, store, dataset
        self._introduced: set[RunKey] = set()
        self._measured: set[RunKey] = set()
        self._sweep_state: SweepState = "running"
        self._noted = -math.inf
        self._verdicts: dict[RunKey, str] = {trial.id: trial.verdict for trial in ledger.trials() if trial.reports}
        self._verdicts |= {(run.trial, run.seed): run.verdict for run in ledger.confirmations.all() if run.reports}

    # -- the sweep -------------------------------------------------------------------------------------------------

    def began(self, state: SweepState) -> None:
        """The sweep's own run, and whatever the ledger knows of its trials that the spool does not: who told it may
        have died on another machine, or before he got round to it.
        """
        sweep, made = self._ledger.sweep, self._ledger.made(events.made)
        self._sweep_state, self._noted = state, time.monotonic()
        settings = _flat(
            sweep.model_dump(mode="json", by_alias=True, exclude={"tracking", "artifacts", "code"}, exclude_none=True)
        )
        settings = {name: value for name, value in settings.items() if name not in sweep.search.space}  # no trial's
        settings["search.storage"] = without_secrets(sweep.search.storage)
        tags = {"gansweep.state": state, "seed": sweep.train.seed, **made["tags"], NOTE: self._note(state)}
        self._spool.append(events.started(None, settings, tags, self._dataset, made["time"]))
        self._spool.append(events.text(None, "sweep.yaml", without_secrets(sweep.to_yaml())))
        for sha, bundle in sweep.code.items():
            for path, source in bundle.items():
                self._spool.append(events.text(None, f"code/{sha[:12]}/{path}", source))
        self._catch_up()

    def ended(self, state: SweepState) -> None:
        """Nobody drives it now. Runs of what is at no end would look as if somebody trained it still."""
        going: list[RunKey] = [t.id for t in self._ledger.trials() if not t.ended and self._has_run(t)]
        going += [(run.trial, run.seed) for run in self._ledger.confirmations.all() if not run.done]
        for run in going:
            self._spool.append(events.paused(run))
        best = self._ledger.best()
        tags = {
            "gansweep.state": state,
            "gansweep.best": best.id if best else "none",
            **self._front(),
            NOTE: self._note(state),
        }
        self._stand()
        self._spool.append(events.ended(None, _SWEEP_STATUS.get(state, "KILLED"), tags))

    def behind(self) -> set[RunKey]:
        """Trainings with a report that the spool does not know."""
        known: dict[RunKey, Iterable[int]] = {trial.id: trial.reports for trial in self._ledger.trials()}
        known |= {(run.trial, run.seed): run.reports for run in self._ledger.confirmations.all()}
        return {
            run
            for run, reports in known.items()
            if not all(self._spool.knows(events.report_id(run, images)) for images in reports)
        }

    # -- a training ------------------------------------------------------------------------------------------------

    def introduce(self, run: RunKey, at: float | None = None) -> None:
        """It begins, or began ``at`` seconds since the epoch; once per driver."""
        if run in self._introduced:
            return
        self._introduced.add(run)
        trial, seed = run if isinstance(run, tuple) else (run, None)
        assert trial is not None
        params = self._ledger.trial(trial).params | ({} if seed is None else {"train.seed": seed})
        settings = _flat(self._ledger.sweep.trial_config(params).model_dump(mode="json", exclude={"code"}))
        tags = {"gansweep.state": "running"}
        if seed is None and (origin := self._ledger.trial(trial).origin):
            tags["gansweep.origin"] = origin.words
            self.trial(self._ledger.trial(origin.replaced))
        self._spool.append(events.started(run, settings, tags, self._dataset, at))

    def report(self, run: RunKey, report: Mapping[str, Any]) -> None:
        """One report, which the ledger knows; what goes with it is told before it, and told again after a death."""
        event = events.reported(run, report, self._scored(run, report))
        tags = self._verdict_tags(run, report)
        if self._spool.knows(event["id"]):
            return
        began = report["timestamp"] - report["seconds"]
        self.introduce(run, began)
        if report.get("untrained"):
            self._spool.append(events.untrained(run, report["untrained"], began))
        if run not in self._measured:
            # how the metrics were measured: values measured differently are never compared
            self._measured.add(run)
            tags |= {f"fid.{name}": value for name, value in self._ledger.provenance.items()}
        if tags:
            self._spool.append(events.tagged(run, tags))
        self._spool.append(event)

    def trial(self, trial: Trial) -> None:
        """What has become of it."""
        if not self._has_run(trial):
            return
        self._state(trial.id, trial, trial.ended, {"gansweep.rung": trial.rung})
        if trial.ended and time.monotonic() - self._noted > EVERY:
            self._noted = time.monotonic()
            self._spool.append(events.tagged(None, {NOTE: self._note(self._sweep_state)}))

    def confirmation(self, run: Confirmation) -> None:
        """What has become of it."""
        self._state((run.trial, run.seed), run, run.done, {})
        if run.score is not None:
            number = [other.seed for other in self._ledger.confirmations.of(run.trial)].index(run.seed)
            metric = self._ledger.sweep.objective.metric
            self._spool.append(events.confirmed(run.trial, number, metric, run.score, run.reported_at))
        if run.done and run.trial in (medians := self._ledger.confirmations.medians()):
            seeds = len(self._ledger.confirmations.of(run.trial))
            self._spool.append(events.settled(run.trial, seeds, medians[run.trial][0], run.reported_at))

    # -- below -----------------------------------------------------------------------------------------------------

    def _has_run(self, trial: Trial) -> bool:
        """All but a copy in a population that nobody got to train."""
        begun = not trial.origin or trial.reports or trial.id in self._introduced
        return bool(begun or trial.mlflow_run_id)

    def _stood(self, key: RunKey, one: Trial | Confirmation) -> None:
        """The sweep's curves over device-hours, when ``one`` came to its end: from what the ledger knows of those that
        had come to theirs by then, so that they are drawn again just so. Pruned and crashed ones end at another time
        than their last report, and are counted when the sweep ends.
        """
        at, sweep, trials = one.reported_at, self._ledger.sweep, self._ledger.trials()
        if at is None or one.state not in COURSE:
            return
        ended = [t for t in trials if t.state in COURSE and t.reported_at and t.reported_at <= at]
        again = [c for c in self._ledger.confirmations.all() if c.done and c.reported_at and c.reported_at <= at]
        hours = (sum(t.device_seconds for t in ended) + sum(c.device_seconds for c in again)) / 3600
        self._spool.append(events.stood(key, hours, _standing(sweep.objective, ended), at))

    def _stand(self) -> None:
        """The same at the end of the sweep, with all of them."""
        trials = self._ledger.trials()
        seen = [trial.reported_at for trial in trials if trial.reported_at]
        seen += [run.reported_at for run in self._ledger.confirmations.all() if run.reported_at]
        if seen:
            metrics = _standing(self._ledger.sweep.objective, [trial for trial in trials if trial.ended])
            self._spool.append(events.stood(None, self._ledger.spent().device_hours, metrics, max(seen)))

    def _scored(self, run: RunKey, report: Mapping[str, Any]) -> float | None:
        """What a trial competes with at a report; no number where it ends badly."""
        if not isinstance(run, int):
            return None
        if report["health"]["verdict"] in FATAL:
            return math.nan
        return objective.score(self._ledger.sweep.objective, self._ledger.trial(run).reports, report["images"])

    def _note(self, state: SweepState) -> str:
        best, front = best_row(self._ledger), [*front_words(front_rows(self._ledger))]
        told = best | {"words": best_words(best)} if best else None
        return of_sweep(self._ledger.sweep, state, rows(self._ledger), told, front)

    def _front(self) -> dict[str, str]:
        """Of several objectives."""
        front = front_rows(self._ledger)
        return {"gansweep.front": ", ".join(str(one["id"]) for one in front)} if front else {}

    def _catch_up(self) -> None:
        behind = self.behind()
        for run, reports in (self._ledger.history() if behind else {}).items():
            if run in behind:
                self._verdicts.pop(run, None)
                for images in sorted(reports):
                    self.report(run, reports[images])
        for trial in self._ledger.trials():
            if trial.ended or trial.id in behind:
                self.trial(trial)
        for one in self._ledger.confirmations.all():
            if one.reported_at and (one.done or (one.trial, one.seed) in behind):  # a version made no runs of them
                self.confirmation(one)

    def _verdict_tags(self, run: RunKey, report: Mapping[str, Any]) -> dict[str, Any]:
        """Every change of it, and every rewind, stays as a tag with the reasons."""
        verdict, reasons = report["health"]["verdict"], "; ".join(report["health"]["reasons"])
        before = self._verdicts.get(run, verdict if verdict in ("unjudged", "healthy") else None)
        self._verdicts[run] = verdict
        tags = {}
        if verdict != before:
            said = f"{verdict}: {reasons}" if reasons else verdict
            tags = {f"gansweep.verdict.{report['images']}": said}
            tags |= {"gansweep.verdict": verdict, "gansweep.reasons": reasons or "none"}
        return tags | ({f"gansweep.rewind.{report['images']}": reasons} if report["rewind"] else {})

    def _state(self, key: RunKey, one: Trial | Confirmation, ended: bool, tags: dict[str, Any]) -> None:
        """A run ends when its last report came, whenever the sweep settles what has become of it."""
        tags |= {"gansweep.state": one.state, "gansweep.verdict": one.verdict}
        tags["gansweep.reasons"] = "; ".join(one.reasons) or "none"
        tags |= {"gansweep.score": one.score} if one.score is not None else {}
        tags |= {"gansweep.checkpoint": f"{self._store.url}/{one.checkpoints[-1]}"} if one.checkpoints else {}
        tags |= {"gansweep.error": without_secrets(one.error)} if one.error and one.state == "crashed" else {}
        tags[NOTE] = of_training(tags, one.images, one.metrics)
        if not ended:
            self._spool.append(events.tagged(key, tags))
            return
        if one.state != "finished":
            tags["mlflow.runName"] = f"{events.run_name(self._ledger.sweep.name, key)} {one.state}"
        status = _STATUS.get(one.state, "KILLED")
        self._spool.append(events.ended(key, status, tags, one.reported_at if one.state != "crashed" else None))
        self._stood(key, one)


def _standing(aim: Objective, ended: Sequence[Trial]) -> dict[str, float]:
    """How many ended how, and the best score of each objective; that of one is its ``score``, by which the sweep's own
    run stands above its trials in a list of the best first.
    """
    metrics = {f"trials/{state}": float(count) for state, count in Counter(t.state for t in ended).items()}
    columns = zip(*(t.scores for t in ended if t.promotable), strict=True)
    for goal, column in zip(aim.goals, columns, strict=False):  # none is there yet
        metrics[f"best/{goal.metric}"] = min(column) if goal.direction == "minimize" else max(column)
    if len(aim.goals) == 1 and (best := metrics.get(f"best/{aim.metric}")) is not None:
        metrics["score"] = best
    return metrics


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and prefix + key != "search.space":
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
