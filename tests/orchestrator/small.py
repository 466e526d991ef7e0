"""A sweep small enough to read in full, and a trainer that plays a script instead of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.search.ledger import Ledger
from orchestrator.search.trial import Leg, Trial
from orchestrator.spec import Sweep

BASE: dict[str, Any] = {
    "name": "small",
    "model": {"generator": "mlp", "discriminator": "mlp"},
    "train": {"images": 90, "batch_size": 10},
    "evaluate": {"every_images": 10, "metrics": ("fid", "coverage")},
    "objective": {"minimize": "fid", "require": {"coverage": ">= 0.5"}},
    "rungs": {"first_images": 10, "reduction": 3},
    "search": {
        "trials": 3,
        "space": {
            "train.generator_lr": {"float": (1e-5, 1e-1), "log": True},
            "train.loss": {"choice": ("non_saturating", "hinge")},
            "train.r1_gamma": {"float": (0.01, 10.0), "log": True, "when": {"train.loss": ("hinge",)}},
        },
    },
}
"""Rungs at 10, 30 and 90 images; a report every 10."""


def sweep(**groups: Any) -> Sweep:
    """``BASE`` with ``groups`` of settings laid over its own."""
    values = dict(BASE)
    for name, value in groups.items():
        values[name] = {**values.get(name, {}), **value} if isinstance(value, dict) else value
    return Sweep.model_validate(values)


def report(
    images: int,
    fid: float = 10.0,
    verdict: str = "healthy",
    stored: tuple[str, ...] = (),
    **metrics: float,
) -> dict[str, Any]:
    """What a slot tells of a training."""
    return {
        "images": images,
        "seconds": images / 100,
        "metrics": {"fid": fid, "coverage": 0.9, **metrics},
        "losses": {"generator": 0.7, "discriminator": 1.3},
        "health": {
            "verdict": verdict,
            "reasons": [] if verdict == "healthy" else [f"it looks {verdict}"],
            "signals": {},
        },
        "stored": list(stored),
        "images_per_second": 100.0,
        "system": {"cpu_utilization_percentage": 50.0},
        "timestamp": 1_700_000_000.0 + images,
        "checkpoint": stored[-1] if stored else None,
        "samples": None,
        "provenance": {"extractor": "digits-cnn@1", "n_fake": 1000},
        "rewind": None,
    }


Script = Callable[[Leg, int], Mapping[str, Any]]
"""``script(leg, images)`` answers what the report of that moment says: keyword arguments of ``report``."""


def steady(leg: Leg, images: int) -> Mapping[str, Any]:
    """Every training is as good as its learning rate is near 1e-3, and gets better with images."""
    distance: float = abs(leg.params["train.generator_lr"] - 1e-3)
    return {"fid": 100 * distance + 10 / images}


def train(ledger: Ledger, leg: Leg, script: Script = steady) -> Trial | None:
    """Play ``leg`` from its last checkpoint to its end, with a checkpoint at each report, as a slot does."""
    stored = leg.checkpoints
    start = int(stored[-1].split("/")[-1]) if stored else 0
    for images in range(start + 10, leg.until + 1, 10):
        says = script(leg, images)
        stored = (*stored, f"{leg.trial}/{leg.confirm_seed}/{images}")[-2:]
        ledger.report(leg, report(images, stored=stored, **says))
        if says.get("verdict") in ("collapsed", "diverged"):
            break
    return ledger.end_leg(leg)


def run(ledger: Ledger, script: Script = steady) -> list[Leg]:
    """Play every leg there is, one after the other; returns them in order."""
    played = []
    while isinstance(leg := ledger.next_leg(), Leg):
        played.append(leg)
        train(ledger, leg, script)
    assert leg == "done"
    return played


def next_leg(ledger: Ledger) -> Leg:
    leg = ledger.next_leg()
    assert isinstance(leg, Leg), leg
    return leg
