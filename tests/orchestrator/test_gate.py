"""Who may become the champion, and what a refused trial is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestrator.registry.gate import MEASURES, Candidate, impossible, indistinct, refusals
from tests.benchmarks.collapse.replay import Row, load_runs
from tests.benchmarks.seeds import RESULTS

RUNS = {"metric": load_runs(RESULTS / "collapse.parquet"), "blind": load_runs(RESULTS / "unknown.parquet")}


def last_measures(row: Row, column: str) -> dict[str, float]:
    """As the gate would see them; what was not measured is missing."""
    values = {name: row.get(f"{column}.{name}") for name in (*MEASURES, "recall")}
    return {name: value for name, value in values.items() if value is not None}


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


@pytest.mark.parametrize("state", ["running", "waiting", "pruned", "stuck", "collapsed", "diverged", "crashed"])
def test_only_a_finished_trial_passes(state: str):
    (why,) = refusals(
        replace(GOOD, state=state, verdict=state, score=None, reasons=("coverage fell to 0.1", "so it is"))
    )
    assert why == f"it is {state}, not finished (coverage fell to 0.1; so it is)"


@pytest.mark.parametrize("verdict", ["unjudged", "slow", "suspect", "stuck", "collapsed", "diverged"])
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
    assert why.startswith("it is not confirmed on 2 fresh seeds: let the sweep finish; if it has, better trials failed")
    assert refusals(replace(asked, confirmed={"median": None})) == [why]
    assert refusals(replace(asked, confirmed={"median": 4.0})) == []
    (failed,) = refusals(replace(asked, failed_seeds=(1000,)))
    assert "did not survive" in failed


# -- the floor ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["metric", "blind"])
def test_every_good_generator_of_the_labelled_set_stands_above_the_floor(column: str):
    """``blind``: the same pictures with random features, and nothing known of their modes."""
    healthy = [run for run in RUNS[column] if run.label == "healthy"]
    assert len(healthy) >= 50
    for run in healthy:
        measured = last_measures(run.rows[-1], column)
        assert indistinct(measured) == [], run.key
        assert indistinct({name: measured[name] for name in MEASURES}) == [], "where recall was not asked for"


@pytest.mark.parametrize("column", ["metric", "blind"])
def test_most_collapsed_generators_lie_below_it(column: str):
    """Those above kept some of the modes: to call them is the verdict's business."""
    collapsed = [run for run in RUNS[column] if run.label == "collapsed"]
    below = [run for run in collapsed if indistinct(last_measures(run.rows[-1], column))]
    assert len(below) >= 0.75 * len(collapsed)


NULLS = {
    # coverage, recall, modes, misfit: 32x32 drawings, digits (both random features), digits by their classifier.
    "one picture": [(0.006, 0.0, 0.0126, 1.83), (0.006, 0.001, 0.0115, 2.03), (0.006, 0.001, 0.0994, 1.96)],
    "the average picture": [(0.013, 0.0, 0.0126, 1.19), (0.0, 0.0, 0.0115, 1.76), (0.001, 0.0, 0.0994, 1.51)],
    "noise": [(0.003, 0.0, 0.0289, 3.62), (0.0, 0.0, 0.0121, 3.82), (0.001, 0.001, 0.5927, 0.946)],
    "coloured noise": [(0.027, 0.001, 0.0543, 2.24), (0.0, 0.0, 0.2164, 5.33), (0.0, 0.0, 0.5889, 0.853)],
}


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_noise_and_one_picture_are_refused_by_what_was_measured_of_them(null: str, number: int):
    coverage, recall, modes, misfit = NULLS[null][number]
    assert indistinct({"coverage": coverage, "mode_diversity": modes, "misfit": misfit, "recall": recall})
    assert indistinct({"coverage": coverage, "mode_diversity": modes, "misfit": misfit})


def test_the_champion_of_coloured_noise_is_refused_with_the_measures_that_say_so():
    """FID 383, coverage .006, recall 0 on 32x32 drawings: once promoted, with nothing required."""
    noise = replace(GOOD, score=383.0, metrics={"fid": 383.0, "coverage": 0.006, "recall": 0.0}, violations={})
    (why,) = refusals(noise)
    assert why.endswith("(coverage 0.006, recall 0 of 1)")


def test_a_blurred_generator_that_keeps_the_modes_is_no_noise():
    blurred = {"coverage": 0.02, "mode_diversity": 0.8, "misfit": 0.3}
    assert indistinct(blurred) == []
    assert indistinct(blurred | {"recall": 0.4}) == []


def test_a_generator_of_which_nothing_was_measured_is_refused():
    (why,) = refusals(replace(GOOD, metrics={"fid": 4.1}))
    assert why == "nothing was measured that tells it from noise (misfit, mode_diversity, coverage, recall)"


def test_every_reason_at_once():
    assert len(refusals(replace(GOOD, verdict="suspect", score=None, violations={"coverage >= 0.7": 0.1}))) == 3


def test_what_no_force_can_mend():
    assert "no checkpoint" in (impossible(replace(GOOD, checkpoint=None)) or "")


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        ({"membership_auc": 0.61}, "its discriminator knows its training data (membership_auc 0.61, at most 0.6)"),
        ({"copies": 0.05}, "5.0% of its samples repeat a training example (copies, at most 3%)"),
    ],
)
def test_what_gives_the_training_data_away_is_refused(measured: dict[str, float], why: str):
    assert refusals(replace(GOOD, metrics={**GOOD.metrics, **measured})) == [why]
    assert refusals(replace(GOOD, metrics={**GOOD.metrics, "membership_auc": 0.6, "copies": 0.03})) == []


def test_an_auc_that_chance_explains_is_not_refused():
    few = {"membership_auc": 0.75, "membership_auc_low": 0.55}
    assert refusals(replace(GOOD, metrics={**GOOD.metrics, **few})) == []
    assert refusals(replace(GOOD, metrics={**GOOD.metrics, **few, "membership_auc_low": 0.61})) != []
