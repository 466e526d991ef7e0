"""Which training may become the champion. Pure: values in, refusals in words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.spec import counted

FAR, FEW, HARDLY = 0.9, 0.05, 0.03
"""The floor under every champion, whatever a sweep requires; all in shares of what the data have.

FAR: distance to the data over that of one average picture. FEW: effective number of modes. HARDLY: coverage and recall.
Healthy runs of the labelled set end at .16 and less, .57 and more, .045 and .34 and more; noise and one picture break
one of the limits at least, whichever of three extractors looks at them (infra/decisions/0012).
"""
KNOWN, COPIED = 0.6, 0.03
"""What a generator may give away of its training data, where that was measured: how well its discriminator tells them
from held-out data (membership_auc, .5: not at all), beyond what chance does with few of these (membership_auc_low), and
the share of samples that repeat one (copies, .01: by chance).
"""
MEASURES = ("misfit", "mode_diversity", "coverage")
"""Those of the floor that every evaluation takes; recall counts where it was asked for."""


@dataclass(frozen=True)
class Candidate:
    """A training of a trial as the gate sees it. ``violations``: constraint -> how far it is from being kept (above 0:
    violated); ``fresh_seeds``: on how many the sweep wants the trial confirmed.
    """

    trial: int
    state: str
    verdict: str
    score: float | None
    checkpoint: str | None
    mlflow_run_id: str | None
    reasons: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    violations: Mapping[str, float] = field(default_factory=dict)
    confirmed: Mapping[str, Any] | None = None
    failed_seeds: Sequence[int] = ()
    fresh_seeds: int = 0
    seed: int = 0


def refusals(candidate: Candidate) -> list[str]:
    """Why this trial must not be promoted; empty where it may."""
    found = []
    if candidate.state != "finished":
        why = f" ({'; '.join(candidate.reasons)})" if candidate.reasons else ""
        found.append(f"it is {candidate.state}, not finished{why}")
    elif candidate.verdict != "healthy":
        why = f": {'; '.join(candidate.reasons)}" if candidate.reasons else ""
        found.append(f"its last verdict is {candidate.verdict}{why}")
    if candidate.state == "finished" and candidate.score is None:
        found.append("it has no score: the objective was never measured")
    for constraint, distance in candidate.violations.items():
        if distance > 0:
            metric = constraint.split()[0]
            measured = candidate.metrics.get(metric)
            found.append(
                f"it violates {constraint}" + (f" (last measured {measured:.4g})" if measured is not None else "")
            )
    found += indistinct(candidate.metrics)
    found += revealing(candidate.metrics)
    if candidate.failed_seeds:
        found.append(f"it did not survive re-training on seed {', '.join(map(str, candidate.failed_seeds))}")
    elif candidate.fresh_seeds and (candidate.confirmed is None or candidate.confirmed["median"] is None):
        found.append(
            f"it is not confirmed on {counted(candidate.fresh_seeds, 'fresh seed')}: let the sweep finish; if it has, "
            "better trials failed there: search a calmer space (resume --set search.space…)"
        )
    return found


def indistinct(metrics: Mapping[str, float]) -> list[str]:
    """What tells a generator neither from noise nor from one picture, by its last measures; empty where they do."""
    if not any(name in metrics for name in (*MEASURES, "recall")):
        return [f"nothing was measured that tells it from noise ({', '.join(MEASURES)}, recall)"]
    found = []
    if (misfit := metrics.get("misfit", 0.0)) >= FAR:
        found.append(f"it is as far from the data as noise or one average example (misfit {misfit:.3g} of 1)")
    if (modes := metrics.get("mode_diversity", 1.0)) <= FEW:
        found.append(f"it makes hardly more than one picture (mode_diversity {modes:.2g} of the data's 1)")
    coverage, recall = metrics.get("coverage", 1.0), metrics.get("recall")
    least = HARDLY if recall is not None else HARDLY / 3  # coverage alone is nearly as low where pictures are blurred
    if coverage <= least and (recall or 0.0) <= HARDLY:
        measured = f"coverage {coverage:.2g}" + ("" if recall is None else f", recall {recall:.2g}")
        found.append(f"like noise it reaches no part of the data ({measured} of 1)")
    return found


def revealing(metrics: Mapping[str, float]) -> list[str]:
    """How it gives its training data away, by its last measures."""
    found = []
    auc = metrics.get("membership_auc", 0.0)
    if metrics.get("membership_auc_low", auc) > KNOWN:
        found.append(f"its discriminator knows its training data (membership_auc {auc:.2f}, at most {KNOWN:g})")
    if (copies := metrics.get("copies", 0.0)) > COPIED:
        found.append(f"{copies:.1%} of its samples repeat a training example (copies, at most {COPIED:.0%})")
    return found


def impossible(candidate: Candidate) -> str | None:
    """What not even ``--force`` can mend."""
    if candidate.checkpoint is None:
        return "it has no checkpoint: nothing was stored before it ended"
    return None
