"""The runs of the first held-out half that were set to learn and did not by the end, with four times the images: were
they too slow, or stuck?

nice -n 10 env OMP_NUM_THREADS=1 python -m tests.benchmarks.collapse.make OUT --group longer
"""

from __future__ import annotations

from dataclasses import replace

from tests.benchmarks.collapse.held_out import PLANS as HELD_OUT
from tests.benchmarks.collapse.plan import Plan
from tests.benchmarks.collapse.replay import load_runs
from tests.benchmarks.seeds import RESULTS

TIMES = 4


def longer(plan: Plan) -> Plan:
    """The same settings and seed; schedules stretch with the budget."""
    config = plan.config
    train = config.train.model_copy(update={"images": TIMES * config.train.images})
    evaluate = config.evaluate.model_copy(update={"every_images": 2 * config.evaluate.every_images})
    return replace(plan, config=config.model_copy(update={"train": train, "evaluate": evaluate}))


def steps(plan: Plan) -> int:
    """Of the critic."""
    return plan.config.train.images // plan.config.train.batch_size * plan.config.train.n_dis


UNLEARNED = {(run.name, run.key[-1]) for run in load_runs(RESULTS / "held_out.parquet") if run.label != "healthy"}
PLANS = sorted(
    (longer(plan) for plan in HELD_OUT if plan.cause.startswith("learns") and (plan.cause, plan.number) in UNLEARNED),
    key=steps,
)
"""The short ones first."""
