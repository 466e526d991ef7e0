"""All trials' last sample grids on one page."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

from orchestrator.paths import samples_key, trial_key
from orchestrator.report import html
from orchestrator.report.grids import pictures
from orchestrator.report.svg import number
from orchestrator.search.objective import cost
from orchestrator.search.trial import Trial
from orchestrator.spec import counted

if TYPE_CHECKING:
    from orchestrator.artifacts import Store
    from orchestrator.search.known import Known

SIDES = ((100, 256), (500, 160), (1_500, 96))
"""Up to so many trials, pixels of a grid's side; beyond, SMALL: the page stays under 15 MB."""
SMALL = 64
ORDER = ("healthy", "slow", "suspect", "unjudged", "stuck", "collapsed", "diverged")


def wall(ledger: Known, by: str, store: Store) -> tuple[str, int]:
    """The page, and how many trials it shows: those whose last grid the store has."""
    trials = sorted(
        (trial for trial in ledger.trials() if trial.reports),
        key=lambda t: (t.score is None, cost(ledger.sweep.objective, t.score or 0.0), t.id),
    )
    if by == "verdict":
        trials.sort(key=lambda t: ORDER.index(t.verdict))
    side = next((pixels for most, pixels in SIDES if len(trials) <= most), SMALL)
    urls = pictures(store, [samples_key(trial_key(ledger.key, t.id), t.images) for t in trials], side)
    shown = [(trial, url) for trial, url in zip(trials, urls, strict=True) if url]
    groups = groupby(shown, key=lambda pair: pair[0].verdict) if by == "verdict" else [("", iter(shown))]
    name, metric = ledger.sweep.name, ledger.sweep.objective.metric
    body = [f"<h1>{escape(name)}</h1>", html.paragraph(f"{counted(len(shown), 'trial')} by {by}; {metric} under each")]
    for verdict, pairs in groups:
        tiles = "".join(_tile(*pair) for pair in pairs)
        body += [f"<h2>{html.tag(verdict)}</h2>" if verdict else ""]
        body += [f'<div class="wall" style="--side:{max(side // 2, 64)}px">{tiles}</div>']
    return html.document(f"{name}: samples", body), len(shown)


def _tile(trial: Trial, url: str) -> str:
    title = f"trial {trial.id}, {trial.images:,} images, {trial.state}"
    caption = f"{trial.id} {html.tag(trial.verdict)}<br>{number(trial.score)}"
    return f'<figure><img src="{url}" alt="{title}" title="{title}"><figcaption>{caption}</figcaption></figure>'
