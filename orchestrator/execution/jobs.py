"""A sweep as a Ray job: its driver runs on the cluster, so that it outlives the terminal that sent it.

What is sent is text: the resolved sweep file, with the user's own code in it, and the profile as it is written, with
``${NAME}`` where a secret belongs. Every node needs gansweep; the head, which takes jobs, also ray[default].
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from orchestrator.commands import command
from orchestrator.errors import UserError, WorkError, first_line
from orchestrator.execution.listener import require_listener
from orchestrator.secrets import NAMES, has_secret

POLL = 1.0
"""Seconds between two looks at a job."""
LEAVING = 20.0
"""Seconds in which a driver that was told to stop ends after the ledger has said so."""
AWAKE = 60.0
"""Seconds for a head that has just started to be ready for jobs."""
LIVES = 5
"""Times that a driver which was killed is started again: Ray itself never does that."""
HOME = '"${GANSWEEP_HOME:-$HOME/gansweep-home}"'
"""Of the driver on the cluster, for the shell there."""
CONFIG = "config.toml"
"""Of the files that a job brings, the one with its profile."""

Show = Callable[[str], None]

_SECRET = re.compile(NAMES, re.IGNORECASE)
_RAYS_OWN = re.compile(r"^(?:.*job_manager\.py:\d+ -- .*|Running entrypoint for job .*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """A command of gansweep for the cluster, ``files`` beside it, and the values of ``environment``. The driver lies on
    the head unless it reserves ``cpus`` or ``memory_gb``.
    """

    sweep: str
    arguments: Sequence[str]
    files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    cpus: float | None = None
    memory_gb: float | None = None

    @property
    def sha256(self) -> str:
        """Of all that it is: the same again is the same job."""
        return hashlib.sha256(json.dumps([*self.arguments, self.files, self.environment]).encode()).hexdigest()

    @property
    def line(self) -> str:
        """For the shell there."""
        config = f"GANSWEEP_CONFIG={CONFIG} " if CONFIG in self.files else ""
        return f"{config}python -m orchestrator {shlex.join(self.arguments)} --home {HOME}"


def forwarded(names: Sequence[str]) -> dict[str, str]:
    """The values of these variables. Raises UserError, of all at once, where one is not set or looks like a secret."""
    secret = [n for n in names if _SECRET.search(n) or has_secret(os.environ.get(n, ""))]
    missing = [n for n in names if n not in os.environ]
    found = []
    if secret:
        found.append(
            f"{', '.join(secret)}: looks like a secret, and what is sent with a job is shown to everybody who sees the "
            "cluster's jobs; set it where the nodes start (envFrom with a Kubernetes Secret, EnvironmentFile= of a "
            "service), and driver and workers inherit it"
        )
    if missing:
        found.append(f"{', '.join(missing)}: not set here, so there is nothing to forward")
    if found:
        raise UserError("--env, or the profile's environment: " + "; ".join(found))
    return {name: os.environ[name] for name in names}


class Cluster:
    """The jobs of the Ray cluster whose dashboard is at ``address``. Raises UserError where it does not answer, or does
    not let us in.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of every package
        require_listener(
            address,
            f"no Ray dashboard answers at {address}",
            "It is the head's port 8265, by 'ray start --head --dashboard-host …', and needs ray[default] there",
        )
        token = _token()
        try:
            self._client = JobSubmissionClient(address, headers={"Authorization": f"Bearer {token}"} if token else None)
        except AuthenticationError:
            told = "the token that was found is not the cluster's" if token else "it wants a token, and none was found"
            raise UserError(
                f"the cluster at {address} does not let you in: {told}. Give the token of that cluster in "
                "RAY_AUTH_TOKEN, in a file that RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token (looked for in this "
                "order)"
            ) from None
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"no Ray dashboard answers at {address}: {first_line(error)}") from None

    def start(self, job: Job, show: Show) -> None:
        """Send a job under the name of its sweep; one that runs already is joined, another that has the name is given
        a moment to end. Raises UserError where it does not.
        """
        before = self._of(job.sweep)
        if before and not before[-1][1].status.is_terminal():
            name, running = before[-1]
            if (running.metadata or {}).get("sha256") == job.sha256:
                show(f"job {name} {told(running)} on {self.address} already")
                return
            self._let_end(name, job)
        # Ray does not take a name twice; what an earlier driver did stands in the ledger.
        name = f"{job.sweep}.{len(before) + 1}" if before else job.sweep
        self._send(job, name, _restarting(job.line))
        sent = ", ".join(f"{file} ({len(text.encode()):,} bytes)" for file, text in job.files.items())
        values = f"; from the environment {', '.join(job.environment)}" if job.environment else ""
        show(f"job {name} on {self.address}; sent {sent or 'no file'}{values}")

    def follow(self, sweep: str, show: Show) -> None:
        """Show what the sweep's job prints until it ends. Ctrl-C leaves it running. Raises WorkError where it fails."""
        name, shown = self.last(sweep), 0
        try:
            with self._answering(sweep):
                while True:
                    details = self._client.get_job_info(name)
                    output = self._printed(name)
                    if new := output[shown:].rstrip("\n"):
                        show(new)
                    shown = len(output)
                    if details.status.is_terminal():
                        break
                    time.sleep(POLL)
        except KeyboardInterrupt:
            show(f"the job goes on; {self._command('logs', sweep)} shows it, {self._command('stop', sweep)} ends it")
            return
        if details.status != JobStatus.SUCCEEDED:
            raise WorkError(f"job {name} {told(details)}")

    def logs(self, sweep: str) -> str:
        """What the driver has printed so far."""
        return self._printed(self.last(sweep))

    def run(self, job: Job) -> str:
        """What a short command answers there. Raises WorkError with its words where it fails."""
        name = f"{job.sweep}.{job.arguments[0]}-{secrets.token_hex(4)}"
        self._send(job, name, job.line)
        with self._answering(job.sweep):
            while not (details := self._client.get_job_info(name)).status.is_terminal():
                time.sleep(POLL / 4)
            output = self._printed(name).strip()
            self._client.delete_job(name)
        if details.status != JobStatus.SUCCEEDED:
            raise WorkError(output or f"'{job.arguments[0]}' on {self.address} {told(details)}")
        return output

    def last(self, sweep: str) -> str:
        """The name of the sweep's newest job. Raises UserError where it has none."""
        if found := self._of(sweep):
            return found[-1][0]
        raise UserError(f"{self.address} has no job of a sweep '{sweep}'; send it: {self._command('submit', 'FILE')}")

    @contextmanager
    def _answering(self, sweep: str) -> Iterator[None]:
        """Raises WorkError where the head is lost meanwhile."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            raise WorkError(
                f"{self.address} answers no more: {first_line(error)}. What was reported is kept; once a head is back: "
                f"{self._command('resume', sweep)}"
            ) from None

    def _of(self, sweep: str) -> list[tuple[str, JobDetails]]:
        """All jobs that drove the sweep, by name, oldest first."""
        name = re.compile(rf"{re.escape(sweep)}(?:\.(\d+))?")
        found = {}
        for details in self._client.list_jobs():
            if match := name.fullmatch(details.submission_id or ""):
                found[int(match[1] or 1)] = match[0], details
        return [found[number] for number in sorted(found)]

    def _printed(self, name: str) -> str:
        """What the command itself has printed, without the lines that Ray puts before it."""
        return _RAYS_OWN.sub("", self._client.get_job_logs(name))

    def _let_end(self, name: str, job: Job) -> None:
        deadline = time.monotonic() + LEAVING
        while not (running := self._client.get_job_info(name)).status.is_terminal():
            if time.monotonic() > deadline:
                raise UserError(
                    f"the job name '{job.sweep}' is in use: a job at {self.address} {told(running)} with another file "
                    f"or command. Stop it ({self._command('stop', job.sweep)}), or give this sweep another name "
                    "(--name)"
                )
            time.sleep(POLL)

    def _send(self, job: Job, name: str, line: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for file, text in job.files.items():
                (Path(folder) / file).write_text(text)
            runtime = {"working_dir": folder} if job.files else {}
            submit = partial(
                self._client.submit_job,
                entrypoint=line,
                submission_id=name,
                runtime_env={**runtime, "env_vars": dict(job.environment)},
                metadata={"sweep": job.sweep, "sha256": job.sha256},
                entrypoint_num_cpus=job.cpus,
                entrypoint_memory=int(job.memory_gb * 2**30) if job.memory_gb else None,
            )
            try:
                _once_awake(submit)
            except (RuntimeError, OSError) as error:
                raise WorkError(f"the cluster at {self.address} refuses the job: {_last_line(error)}") from None

    def _command(self, *words: str) -> str:
        return command(*words, "--address", self.address)


def told(details: JobDetails) -> str:
    """How a job stands, in words."""
    word = details.status.value.lower()
    if not details.status.is_terminal():
        return f"is {word}"
    if details.driver_exit_code:
        return f"{word} with exit status {details.driver_exit_code}"
    return f"{word}: {details.message.splitlines()[0]}" if word == "failed" and details.message else word


def _once_awake(submit: Callable[[], object]) -> None:
    """A head answers a while before its agent, which takes the jobs, does."""
    deadline = time.monotonic() + AWAKE
    while True:
        try:
            submit()
            return
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(POLL)


def _restarting(line: str) -> str:
    """A driver that was killed goes on by the ledger; one that ended, also with an error, is left alone."""
    again = 'echo "the driver died (exit status $status); it goes on"'
    return (
        f"for life in $(seq {LIVES}); do {line}; status=$?; "
        f"if [ $status -lt 128 ] || [ $status -eq 130 ]; then break; fi; {again}; sleep 3; done; exit $status"
    )


def _token() -> str | None:
    """Where Ray looks for it, in its order."""
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named) if named else Path("~/.ray/auth_token").expanduser()
    try:
        return file.read_text().strip() or None
    except FileNotFoundError as error:
        if named:
            raise UserError(f"RAY_AUTH_TOKEN_PATH names {file}, and there is no such file") from error
        return None
    except OSError as error:
        raise UserError(f"the token in {file} can't be read: {error.strerror}") from None


def _last_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[-1] if text else type(error).__name__
