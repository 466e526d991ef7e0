"""Word to somebody who does not watch: ``GANSWEEP_NOTIFY`` is a URL that gets a POST of JSON, or a command that gets
the same on standard input, and as ``GANSWEEP_EVENT`` and ``GANSWEEP_TEXT``. ``GANSWEEP_NOTIFY_ON`` chooses among
``end``, ``collapse`` and ``best``; all of them where it is not set.

They are variables and no settings, since the address of a webhook is a secret. What is sent is sent from a thread of
its own: neither a slow nor a broken receiver is the sweep's matter, and that it is broken is said once.
"""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from http.client import HTTPException
from typing import Any

from orchestrator.conductor import Conductor, Progress
from orchestrator.errors import LeaseLostError, UserError, first_line
from orchestrator.paths import RunKey
from orchestrator.search.known import Known
from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import FATAL, Leg, Trial

VARIABLE, ON = "GANSWEEP_NOTIFY", "GANSWEEP_NOTIFY_ON"
EVENTS = ("end", "collapse", "best")
TIMEOUT = 10.0
"""Seconds that a receiver has, and that the end of a sweep waits for those that are still told."""


@contextmanager
def notified(conductor: Conductor, ledger: Known) -> Iterator[Callable[[str], None]]:
    """Tell whoever ``GANSWEEP_NOTIFY`` names while the ``with`` lasts; its value is to be told how the sweep ended.
    Raises UserError where ``GANSWEEP_NOTIFY_ON`` names no event.
    """
    receiver, chosen = os.environ.get(VARIABLE), os.environ.get(ON, ",".join(EVENTS)).replace(" ", "").split(",")
    if odd := [event for event in chosen if event not in EVENTS]:
        raise UserError(f"{ON} names {', '.join(odd)}; known: {', '.join(EVENTS)}")
    if not receiver:
        yield lambda state: None
        return
    telling = conductor.progress = Telling(conductor.progress, ledger, receiver, chosen)

    def over(state: str) -> None:
        if not isinstance(conductor.failure, LeaseLostError):  # else the sweep goes on, and its heir tells the end
            telling.over(state)

    try:
        yield over
    finally:
        telling.close()


class Telling:
    """A ``Progress`` that passes on what it hears, and tells ``receiver`` of the ``chosen`` events."""

    def __init__(self, progress: Progress, ledger: Known, receiver: str, chosen: list[str]) -> None:
        self._progress, self._ledger, self._receiver, self._chosen = progress, ledger, receiver, chosen
        self._thread, self._sent = ThreadPoolExecutor(1, "notify"), list[Future[None]]()
        self._said = False
        self._front = {trial.id for trial in ledger.front()}

    def note(self, text: str) -> None:
        self._progress.note(text)

    def stage(self, doing: str) -> None:
        self._progress.stage(doing)

    def searching(self, ledger: Ledger, slots: int) -> None:
        self._progress.searching(ledger, slots)

    def moved(self, images: Mapping[RunKey, int]) -> None:
        self._progress.moved(images)

    def reported(self, leg: Leg, report: dict[str, Any]) -> None:
        self._progress.reported(leg, report)
        self._complain()

    def ended(self, leg: Leg, trial: Trial | None) -> None:
        self._progress.ended(leg, trial)
        if trial and trial.state in FATAL:
            self._tell("collapse", f"trial {trial.id} {trial.state}: {'; '.join(trial.reasons)}", trial)
        front = self._ledger.front()
        for best in (one for one in front if one.id not in self._front):
            self._tell("best", f"trial {best.id} is {self._place} so far, {self._score(best)}", best)
        self._front = {one.id for one in front}
        self._complain()

    def over(self, state: str) -> None:
        """The sweep has ended so."""
        front = self._ledger.front()
        told = ", ".join(str(trial.id) for trial in front)
        best = front[0] if front else None
        words = f"best trial {told}, {self._score(best)}" if best else "no best"
        words = f"trials {told} on the Pareto front" if len(front) > 1 else words
        self._tell("end", f"{state}; {words}", best)

    def close(self) -> None:
        """Wait for what is still on its way, but not for long."""
        wait(self._sent, TIMEOUT)
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._complain()

    def _score(self, trial: Trial) -> str:
        metrics = self._ledger.sweep.objective.metrics
        return ", ".join(f"{metric} {value:.4g}" for metric, value in zip(metrics, trial.scores, strict=True))

    @property
    def _place(self) -> str:
        return "the best" if len(self._ledger.sweep.objective.goals) == 1 else "on the Pareto front"

    def _tell(self, event: str, words: str, trial: Trial | None) -> None:
        if event not in self._chosen:
            return
        name = self._ledger.sweep.name
        document: dict[str, Any] = {"event": event, "sweep": name, "text": f"sweep '{name}': {words}"}
        document |= {"trial": trial.id, "score": trial.score, "verdict": trial.verdict} if trial else {}
        self._sent.append(self._thread.submit(_send, self._receiver, document))

    def _complain(self) -> None:
        """Once, of the first that did not arrive; in the driver's own thread."""
        failed = [sent.exception() for sent in self._sent if sent.done() and not sent.cancelled()]
        found = next(filter(None, failed), None)
        if found and not self._said:
            self._said = True
            self._progress.note(
                f"warning: {VARIABLE} does not work ({first_line(Exception(found))}); the sweep goes on"
            )


def _send(receiver: str, document: Mapping[str, Any]) -> None:
    """Raises OSError, whose words name neither the address nor the command."""
    body = json.dumps(document)
    if receiver.startswith(("http://", "https://")):
        headers = {"Content-Type": "application/json"}
        try:
            request = urllib.request.Request(receiver, body.encode(), headers, method="POST")
            urllib.request.urlopen(request, timeout=TIMEOUT).close()
        except (ValueError, HTTPException) as error:  # both quote the address
            raise OSError(f"{type(error).__name__}: the URL or its answer can't be read") from None
        return
    told = {"GANSWEEP_EVENT": document["event"], "GANSWEEP_TEXT": document["text"]}
    try:
        done = subprocess.run(
            receiver,
            shell=True,
            input=body,
            env={**os.environ, **told},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"the command takes longer than {TIMEOUT:.0f} s") from None
    if done.returncode:
        raise OSError(f"status {done.returncode}: {done.stderr.strip()[-200:]}")
