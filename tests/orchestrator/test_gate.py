"""Who may become the champion, and what a refused trial is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.registry.gate import Candidate, impossible, refusals

GOOD = Candidate(
    trial=3,
    state="finished",
    verdict="healthy",
    score=4.2,
    checkpoint="digits/trials/3/checkpoints/90",
    mlflow_run_id="abc",
    metrics={"fid": 4.1, "coverage": 0.61},
    violations={"coverage >= 0.5": -0.11, "density <= 2": 0.0},
)


def test_a_good_trial_passes():
    assert refusals(GOOD) == []
    assert impossible(GOOD) is None


@pytest.mark.parametrize("state", ["running", "waiting", "pruned", "collapsed", "diverged", "crashed"])
def test_only_a_finished_trial_passes(state: str):
    (why,) = refusals(
        replace(GOOD, state=state, verdict=state, score=None, reasons=("coverage fell to 0.1", "so it is"))
    )
    assert why == f"it is {state}, not finished (coverage fell to 0.1; so it is)"


@pytest.mark.parametrize("verdict", ["suspect", "collapsed", "diverged"])
def test_only_a_healthy_trial_passes(verdict: str):
    """Where ``health.stop`` is ``never``, a collapsed training finishes all the same."""
    assert refusals(replace(GOOD, verdict=verdict, reasons=("diversity fell",))) == [
        f"its last verdict is {verdict}: diversity fell"
    ]


def test_a_violated_constraint_is_named_with_what_was_measured():
    violated = replace(GOOD, violations={"coverage >= 0.7": 0.09, "recall >= 0.2": 1.0, "density <= 2": -1.0})
    assert refusals(violated) == ["it violates coverage >= 0.7 (last measured 0.61)", "it violates recall >= 0.2"]


def test_without_a_score_there_is_nothing_to_rank():
    assert refusals(replace(GOOD, score=None)) == ["it has no score: the objective was never measured"]


def test_what_a_sweep_confirms_is_not_promoted_before():
    asked = replace(GOOD, fresh_seeds=2)
    (why,) = refusals(asked)
    assert why == "it is not confirmed on 2 fresh seeds: let the sweep finish, or resume it"
    assert refusals(replace(asked, confirmed={"median": None})) == [why]
    assert refusals(replace(asked, confirmed={"median": 4.0})) == []
    (failed,) = refusals(replace(asked, failed_seeds=(1000,)))
    assert "did not survive" in failed


def test_every_reason_at_once():
    assert len(refusals(replace(GOOD, verdict="suspect", score=None, violations={"coverage >= 0.7": 0.1}))) == 3


def test_what_no_force_can_mend():
    assert "no checkpoint" in (impossible(replace(GOOD, checkpoint=None)) or "")
