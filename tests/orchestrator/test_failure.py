"""What a rank raised reaches the driver in its own words, whatever kind of exception it is."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from ray import cloudpickle
from ray.exceptions import RayTaskError
from torch import nn

from orchestrator.errors import DataGoneError, StoreError, UntrainableError, WorkError
from orchestrator.execution.failure import RankError, cause_of, death, in_words
from tests.orchestrator.sweeps import TINY, User
from trainers.errors import DataError, UnusableSettingError


class DemandingError(Exception):
    """Pickle makes it again from its message alone, and fails."""

    def __init__(self, layer: str, *, size: int) -> None:
        super().__init__(f"layer {layer} has size {size}")


class LockedError(Exception):
    """Holds what can't be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def nested(depth: int) -> Exception:
    error = ValueError("the last of many")
    for _ in range(depth):
        outer = ValueError("the last of many")
        outer.__cause__ = error
        error = outer
    return error


def its_own_cause() -> Exception:
    error = ValueError("it goes round")
    error.__cause__ = error
    return error


def arrived(error: Exception) -> WorkError:
    """``error`` raised by a rank, sent by Ray, and kept by Tune."""
    with pytest.raises(RankError) as caught, in_words():
        raise error
    sent = RayTaskError("train", "the traceback", caught.value, pid=1, ip="127.0.0.1").as_instanceof_cause()  # type: ignore[no-untyped-call]
    return death(cause_of(cloudpickle.loads(cloudpickle.dumps(sent)), "unread"))  # type: ignore[no-untyped-call]


def test_the_line_outside_libraries_is_named_beside_the_one_that_failed():
    with pytest.raises(KeyError) as missing:
        nn.ModuleDict()["x"]
    with pytest.raises(RankError) as caught, in_words():
        raise missing.value
    told = str(caught.value)
    assert "test_failure.py, line" in told and "torch/nn/modules/container.py, line" in told


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DemandingError("conv", size=3), "DemandingError: layer conv has size 3 ("),
        (LockedError("it is held"), "LockedError: it is held ("),
        (SpeechlessError(), "SpeechlessError: <exception str() failed> ("),
        (nested(3_000), "ValueError: the last of many ("),
        (its_own_cause(), "ValueError: it goes round ("),
        (
            ExceptionGroup("several", [LockedError("a"), ValueError("b")]),
            "ExceptionGroup: several (2 sub-exceptions) (",
        ),
        (SyntaxError("bad", ("nets.py", 3, 1, "def x(", 3, 2)), "SyntaxError: bad ("),
        (RuntimeError("x" * 10_000), "xxx ("),
    ],
    ids=["arguments", "unpicklable", "no-str", "deep", "round", "group", "syntax", "long"],
)
def test_class_message_and_place_arrive(error: Exception, words: str):
    told = arrived(error)
    assert type(told) is UntrainableError, "the same code fails the same way"
    assert words in str(told) and "test_failure.py, line" in str(told), told
    assert len(str(told)) < 900


@pytest.mark.parametrize(
    ("kind", "known"), [(UnusableSettingError, UntrainableError), (DataError, DataGoneError)], ids=["setting", "data"]
)
def test_what_would_fail_again_is_known_as_such(kind: type[Exception], known: type[WorkError]):
    told = arrived(kind("a.b: 1\nc.d: 2"))
    assert type(told) is known and str(told) == "a.b: 1\nc.d: 2"


def test_a_store_that_fails_is_no_fault_of_the_rank():
    with pytest.raises(StoreError), in_words():
        raise StoreError("full")


def test_a_slot_that_died_says_so_in_the_words_of_ray():
    told = death(cause_of(None, "Failure # 1\nThe actor died unexpectedly\n\n  its node was lost\n"))
    assert str(told) == "The actor died unexpectedly | its node was lost"


BROKEN = """
from torch import nn


class NoSuchKernelError(Exception):
    def __init__(self, name, *, size):
        super().__init__(f"no kernel {name} of {size}")


class Generator(nn.Module):
    def __init__(self, *arguments, **named):
        raise NoSuchKernelError("conv", size=7) from ValueError("deeper")
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_the_error_of_a_trial_reaches_user_status_and_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
):
    """And a sweep of which no trial trained has not done its work."""
    from mlflow.tracking import MlflowClient

    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.setenv("PYTHONPATH", f"{Path.cwd()}:{tmp_path}")
    user = User(tmp_path, TINY.replace("generator: mlp", "generator: 'broken:Generator'"))
    settings = [f"resources.workers_per_trial={workers}", "search.trials=1", "confirm.top=0"]
    done = user.run("submit", str(user.file), *(part for one in settings for part in ("--set", one)))
    words = "broken.NoSuchKernelError: no kernel conv of 7"
    assert words in done.stdout + done.stderr
    (trial,) = user.status()["trials"]
    assert trial["state"] == "crashed" and trial["error"].startswith(words) and "broken.py" in trial["error"]
    run = MlflowClient(user.mlflow).get_run(trial["mlflow_run_id"])
    assert run.data.tags["gansweep.error"] == trial["error"] and run.info.status == "FAILED"
    printed = user.run("logs", "tiny", "--trial", "0", "--rank", str(workers - 1)).stdout
    assert f"==> trial 0, rank {workers - 1}" in printed and "Traceback" in printed and words in printed
