"""The page of a report: what its numbers look like, from the answer to the details."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from orchestrator.commands import command, set_words
from orchestrator.report import charts, html
from orchestrator.report.grids import Film
from orchestrator.report.svg import number
from orchestrator.search.trial import BAD
from orchestrator.spec import counted
from orchestrator.status import origin_words, why

VERDICTS = ("healthy", "slow", "suspect", "stuck", "collapsed", "diverged", "unjudged")


def page(document: Mapping[str, Any], films: Sequence[Film], sweep_file: str, version: str) -> str:
    """One file that holds all it shows. ``sweep_file`` is the resolved one, without secrets."""
    return html.document(f"{document['name']}: sweep report", _parts(document, films, sweep_file, version))


def _parts(document: Mapping[str, Any], films: Sequence[Film], sweep_file: str, version: str) -> Iterator[str]:
    name, trials, aim = document["name"], document["trials"], document["objective"]
    bounds = "".join(f", {metric} {bound}" for metric, bound in aim["require"].items())
    yield f"<h1>{escape(name)}</h1>"
    words = f"{document['state']}; {aim['told']}{bounds}; gansweep {version}"
    yield f'<p class="faint">{escape(words)}</p>'
    yield _tiles(document)
    yield from map(html.paragraph, document["notes"])
    yield html.section("Score against device-hours", OVER_HOURS, _legend(trials), charts.score_over_hours(document))
    if document["front"]:
        yield html.section("Pareto front", FRONT, _front(document))
    if document["confirmed"]:
        yield html.section("Confirmation on fresh seeds", CONFIRMED, charts.confirmations(document))
    if films:
        yield html.section("Samples over time", FILMS, '<div class="films">', *map(_film, films), "</div>")
    yield html.section("Rungs", RUNGS, charts.rung_flow(document), _correlations(document))
    yield _importance(document)
    if document["landscape"]:
        yield html.section("The two settings that matter most", LANDSCAPE, charts.landscape(document))
    yield html.section("Every trial", PARALLEL, _legend(trials), charts.parallel(document))
    yield html.section("Cost", COST, _costs(document))
    if failed := [trial for trial in trials if trial["state"] in BAD]:
        yield html.section("Failures", f"{counted(len(failed), 'trial')} ended badly.", _failures(failed))
    if document["best"]:
        yield html.section("The champion again", AGAIN, html.code(again(document)))
    yield html.folded(f"{counted(len(trials), 'trial')} in a table", _trials(document))
    yield html.folded("the sweep file", html.code(sweep_file))


OVER_HOURS = (
    "Each dot is a trial where it was last seen, in the colour of its verdict. The line is the best score claimed so "
    "far; the bars are the best trials re-trained on fresh seeds: from the best seed to the worst, with the median."
)
FRONT = (
    "Trials that no other beats in every objective; medians on fresh seeds, where they were trained again. Choose one "
    "with promote --trial. Elsewhere on this page the score is that of the first objective."
)
CONFIRMED = "Rings are the scores that the search claimed, dots those of the same settings on seeds it had not used."
FILMS = "Fixed latent vectors, so that the same place shows the same sample as training goes on."
RUNGS = (
    "How many trials set out for each rung, and what became of them there. A rank correlation near 1 says that the "
    "early rung could be trusted to pick; it is taken over trials that came to both, which were picked already."
)
LANDSCAPE = (
    "Mean score of the trials near each point, after the images of the first rung; coloured by rank. Blank: nothing "
    "was tried near it."
)
PARALLEL = "A line is a trial, through its settings to its score; the thick one is the best."
COST = "Device-hours that trials held their devices, evaluation included. Lost: spent on trials that ended badly."
AGAIN = "Save the sweep file at the end of this page, then train its best trial alone; promote registers its generator."


def _tiles(document: Mapping[str, Any]) -> str:
    trials, best = document["trials"], document["best"]
    counts = Counter(trial["state"] for trial in trials)
    spent = sum(cost["hours"] for cost in document["costs"])
    said = f"best {document['objective']['metric']}"
    tiles = [html.tile(said, number(best["score"]) if best else "none")]
    if best and best["confirmed"] is not None:
        tiles = [html.tile(f"{said}, median on fresh seeds", number(best["confirmed"]))]
        tiles += [html.tile("its score in the search", number(best["score"]))]
    if document["front"]:
        tiles = [html.tile("trials on the Pareto front", str(len(document["front"])))]
    if best:
        tiles += [html.tile("best trial", str(best["id"]))]
    tiles += [
        html.tile("trials", f"{len(trials):,}"),
        html.tile(f"{document['devices']['kind']}-hours", f"{spent:.3g}"),
    ]
    tiles += [html.tile(state, f"{count:,}") for state, count in counts.most_common()]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _front(document: Mapping[str, Any]) -> str:
    metrics, names = list(document["front"][0]["scores"]), list(document["space"])
    rows = [
        (
            str(one["id"]),
            *(number(one["scores"][metric]) for metric in metrics),
            *(escape(_cell(one["params"].get(name))) for name in names),
        )
        for one in document["front"]
    ]
    return html.table(("trial", *metrics, *names), rows, range(1 + len(metrics)))


def _legend(trials: Sequence[Mapping[str, Any]]) -> str:
    counts = Counter(trial["verdict"] for trial in trials)
    boxes = (
        f'<label><input type="checkbox" checked data-verdict="{verdict}"><span class="swatch {verdict}"></span>'
        f"{verdict} {counts[verdict]:,}</label>"
        for verdict in VERDICTS
        if counts[verdict]
    )
    return f"<fieldset>{''.join(boxes)}</fieldset>"


def _film(film: Film) -> str:
    last = len(film.frames) - 1
    grids = "".join(
        f'<img src="{url}" alt="{images:,} images"{"" if i == last else " hidden"}>'
        for i, (images, url) in enumerate(film.frames)
    )
    moment = f"{film.frames[-1][0]:,} images"
    slider = f'<input type="range" min="0" max="{last}" value="{last}" aria-label="images shown">'
    words = f"{escape(film.title)}: trial {film.trial}, <output>{moment}</output>"
    return f'<figure class="film">{grids}{slider}<figcaption>{words}</figcaption></figure>'


def _correlations(document: Mapping[str, Any]) -> str:
    pairs = document["rank_correlations"]
    if not pairs:
        return ""
    rows = [
        (
            f"{one['early']:,}",
            f"{one['late']:,}",
            f"{one['trials']:,}",
            "too few trials" if one["correlation"] is None else f"{one['correlation']:.2f}",
        )
        for one in pairs
    ]
    return html.table(("images", "and images", "trials at both", "rank correlation"), rows, (0, 1, 2, 3))


def _importance(document: Mapping[str, Any]) -> str:
    told = document["importance"]
    few = html.paragraph("Too few trials, or no difference between them, to say.")
    how = (
        f"What decides the score among trials that survived (after {told['score_at']:,} images), and what decides "
        "whether a trial collapses. Shares of what a random forest explains; small ones are noise."
    )
    halves = [
        f"<div><h3>{title}</h3>{charts.bars(told[what]) if told[what] else few}</div>"
        for title, what in (("for the score", "score"), ("for collapse", "collapse"))
    ]
    return html.section("Importance of settings", how, '<div class="pair">', *halves, "</div>")


def _costs(document: Mapping[str, Any]) -> str:
    kind, told = document["devices"]["kind"], document["costs"]
    whole = sum(cost["hours"] for cost in told) or 1.0
    rows = [
        (
            cost["phase"],
            f"{cost['trainings']:,}",
            f"{cost['images']:,}",
            number(cost["hours"]),
            f"{cost['hours'] / whole:.0%}",
            number(cost["lost"]),
        )
        for cost in told
    ]
    return html.table(("", "trainings", "images", f"{kind}-hours", "share", "lost"), rows, (1, 2, 3, 4, 5))


def _failures(failed: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (str(t["id"]), html.tag(t["state"]), f"{t['images']:,}", escape(why(t) or "no reason was recorded"))
        for t in sorted(failed, key=lambda t: (t["state"], t["id"]))
    ]
    shown = html.table(("trial", "state", "images", "why"), rows[:20], (0, 2))
    rest = html.table(("trial", "state", "images", "why"), rows[20:], (0, 2))
    return shown + (html.folded(f"{len(rows) - 20:,} more", rest) if rows[20:] else "")


def _trials(document: Mapping[str, Any]) -> str:
    sign = 1 if document["objective"]["direction"] == "minimize" else -1
    names = list(document["space"])
    ranked = sorted(
        document["trials"], key=lambda t: (t["score"] is None, sign * t["score"] if t["score"] is not None else t["id"])
    )
    copies = any(t["origin"] for t in ranked)
    rows = [
        (
            str(t["id"]),
            *([origin_words(t)] if copies else []),
            html.tag(t["state"]),
            html.tag(t["verdict"]),
            f"{t['images']:,}",
            number(t["score"]),
            *(escape(_cell(t["params"].get(name))) for name in names),
        )
        for t in ranked
    ]
    head = ("trial", *(["from"] if copies else []), "state", "verdict", "images", "score")
    return html.table((*head, *names), rows, (0, *range(len(head) - 2, len(head))))


def _cell(value: Any) -> str:
    return "" if value is None else number(value) if isinstance(value, float) else str(value)


def again(document: Mapping[str, Any]) -> str:
    """The lines that train the best trial alone, and register it. Of one that went on from another, the
    settings that it had on its way.
    """
    name, best = document["name"], document["best"]
    promoted = command("promote", name, "--trial", best["id"])
    if best["schedule"]:
        return f"# {best['schedule']}\n{promoted}"
    settings = best["params"] | {"train.seed": best["seed"]}
    given = set_words([f"{setting}={json.dumps(value)}" for setting, value in settings.items()])
    alone = command("train", f"{name}.yaml", *given, "--out", f"{name}-{best['id']}")
    return f"{alone}\n{promoted}"
