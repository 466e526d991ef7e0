"""The report: its numbers against what the simulated sweep was made of, and its page as what a browser is given."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from infra.browser.screenshot import Browser
from orchestrator import report
from orchestrator.artifacts import open_store
from orchestrator.cli import app
from orchestrator.errors import UserError
from orchestrator.paths import Home
from orchestrator.search.ledger import Ledger
from orchestrator.status import ledger_of
from tests.orchestrator import simulated, small


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    found = Home.open(tmp_path_factory.mktemp("report"))
    simulated.write(found, 120)
    return found


@pytest.fixture(scope="module")
def document(home: Home) -> dict[str, Any]:
    ledger, _ = ledger_of("simulated", home)
    return report.numbers(ledger, "finished")


@pytest.fixture(scope="module")
def page(home: Home) -> str:
    ledger, _ = ledger_of("simulated", home)
    return report.report(ledger, "finished", open_store("auto", home.artifacts))[0]


def test_every_trial_is_somewhere_in_the_flow(document: dict[str, Any]) -> None:
    first, second, last = document["rungs"]
    assert first["trials"] == 120 == sum(first["fates"].values())
    assert second["trials"] == first["fates"]["on"]
    assert last["trials"] == second["fates"]["on"] == sum(t["state"] == "finished" for t in document["trials"])


def test_costs_are_the_images_that_were_shown(document: dict[str, Any]) -> None:
    *rungs, again = document["costs"]
    assert sum(rung["images"] for rung in rungs) == sum(t["images"] for t in document["trials"])
    assert again["trainings"] == 9
    assert sum(rung["hours"] for rung in rungs) == pytest.approx(sum(t["hours"] for t in document["trials"]))
    assert sum(t["hours"] for t in document["trials"]) > 0
    lost = sum(t["hours"] for t in document["trials"] if t["state"] in ("collapsed", "stuck", "diverged"))
    assert sum(rung["lost"] for rung in rungs) == pytest.approx(lost)


def test_the_settings_that_decide_are_found(document: dict[str, Any]) -> None:
    """The formula's score follows the generator's rate, its collapses the discriminator's."""
    assert document["importance"]["score"][0]["name"] == "train.generator_lr"
    assert document["importance"]["collapse"][0]["name"] == "train.discriminator_lr"
    told = {one["name"]: one for one in document["importance"]["score"]}
    relativistic = [t for t in document["trials"] if "train.r2_gamma" in t["params"] and t["score"] is not None]
    assert told["train.r2_gamma"]["trials"] == len(relativistic)


def test_the_best_line_only_falls_and_ends_at_the_best(document: dict[str, Any]) -> None:
    line = document["over_hours"]["best"]
    scores, hours = [one["score"] for one in line], [one["hours"] for one in line]
    assert scores == sorted(scores, reverse=True)
    assert hours == sorted(hours)
    assert scores[-1] == min(t["score"] for t in document["trials"] if t["score"] is not None)
    spent = sum(cost["hours"] for cost in document["costs"])
    assert max(one["hours"] for one in document["over_hours"]["confirmed"]) <= spent + 1e-9


def test_ranks_correlate_where_the_formula_says_so(document: dict[str, Any]) -> None:
    early, *_ = document["rank_correlations"]
    assert early["trials"] == document["rungs"][1]["trials"]
    assert 0.5 < early["correlation"] <= 1


def test_confirmed_trials_stand_beside_what_they_claimed(document: dict[str, Any]) -> None:
    assert [len(one["scores"]) for one in document["confirmed"]] == [3, 3, 3]
    assert all(one["median"] > one["claimed"] for one in document["confirmed"] if one["median"] is not None)
    assert sum(one["median"] is None for one in document["confirmed"]) == 1


def test_the_page_loads_nothing_and_says_everything(page: str, document: dict[str, Any]) -> None:
    assert not re.findall(r"""(?:src|href)=["'](?!data:)[^"'#]+""", page)
    for words in ("Score against device-hours", "Rungs", "Importance of settings", "Failures", "The champion again"):
        assert words in page
    assert page.count('class="film"') >= 3
    assert f"trial {document['best']['id']}" in page
    again = document["best"]["seed"]  # of the training that is promoted: one on a fresh seed, maybe
    assert f"train.seed={again}" in page and again in {0, 1_000, 1_001, 1_002}
    assert "NaN" not in page
    assert "nan" not in re.findall(r'd="[^"]*"', page)


def test_trials_outside_a_space_that_became_narrower_are_shown_and_weigh_nothing(tmp_path: Path) -> None:
    space = {**small.BASE["search"]["space"], "train.generator_lr": {"float": (1e-5, 1e-1), "log": True}}
    ledger = Ledger.open(small.sweep(search={"trials": 30}), tmp_path / "journal")
    small.run(ledger, lambda leg, images: {"fid": leg.params["train.generator_lr"]})
    space["train.generator_lr"] = {"float": (3e-5, 3e-2), "log": True}
    narrower = Ledger.open(small.sweep(search={"trials": 30, "space": space}), tmp_path / "journal", new_space=True)
    inside = [trial for trial in narrower.trials() if not trial.outside]
    assert 10 <= len(inside) < 30
    page, found = report.report(narrower, "finished", open_store("auto", tmp_path))
    assert len(found["trials"]) == 30 and "Importance of settings" in page
    assert max(one["trials"] for one in found["importance"]["score"]) == len(inside)


def test_what_people_name_things_is_no_markup(tmp_path: Path) -> None:
    sweep = small.sweep(search={"trials": 2})
    ledger = Ledger.open(sweep, tmp_path / "journal")
    small.run(ledger, lambda leg, images: {"verdict": "collapsed"})
    text, _ = report.report(ledger, "<script>alert(1)</script>", open_store("auto", tmp_path))
    assert "<script>alert" not in text


def test_numbers_are_json_on_the_command_line(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSWEEP_DEBUG", "")
    done = CliRunner().invoke(app, ["report", "simulated", "--json", "--home", str(home.root)])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert len(told["trials"]) == 120
    assert told["landscape"]["x"] == "train.generator_lr"


@pytest.mark.parametrize("by", ["score", "verdict"])
def test_every_trial_hangs_on_the_wall_in_order(home: Home, document: dict[str, Any], by: str) -> None:
    ledger, _ = ledger_of("simulated", home)
    page, shown = report.samples(ledger, by, open_store("auto", home.artifacts))
    assert shown == 120 == page.count("<figure>")
    order = [int(number) for number in re.findall(r'title="trial (\d+),', page)]
    verdicts = {trial["id"]: trial["verdict"] for trial in document["trials"]}
    assert sorted(order) == list(range(120))
    changes = sum(verdicts[a] != verdicts[b] for a, b in pairwise(order))
    assert order[0] == document["over_hours"]["best"][-1]["trial"]
    assert by == "score" or changes == len(set(verdicts.values())) - 1


def test_a_sweep_without_trials_says_the_way_out(tmp_path: Path) -> None:
    ledger = Ledger.open(small.sweep(), tmp_path / "journal")
    with pytest.raises(UserError, match=r"no trial yet.*resume small"):
        report.report(ledger, "interrupted", open_store("auto", tmp_path))


needs_browser = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="no browser here (Debian package: chromium)"
)


@needs_browser
def test_a_browser_starts_in_a_process_with_many_open_files() -> None:
    with contextlib.ExitStack() as files:
        while (number := os.dup(0)) < 99:  # the numbers of its pipes once met those that it used on the way
            files.callback(os.close, number)
        files.callback(os.close, number)
        with Browser() as browser:
            assert browser.evaluate("1 + 1") == 2


@needs_browser
def test_paper_has_the_whole_sweep_file_and_no_folded_tables(page: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    with Browser(500, 800) as browser:
        browser.open(file.as_uri())
        inside = "[...document.querySelectorAll('details > :not(summary)')]"
        shown = f"{inside}.map(e => [e.tagName, e.checkVisibility({{contentVisibilityAuto: true}})])"
        assert not any(visible for _, visible in browser.evaluate(shown))
        browser._send("Emulation.setEmulatedMedia", media="print")
        assert {tag for tag, visible in browser.evaluate(shown) if visible} == {"PRE"}
        assert browser.evaluate("[...document.querySelectorAll('pre')].every(e => e.scrollWidth <= e.clientWidth)")


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_a_browser_finds_nothing_to_complain_of(page: str, tmp_path: Path, dark: bool) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    with Browser(900, 1200) as browser:
        if dark:
            browser.dark()
        browser.open(file.as_uri())
        browser.wait("The champion again")
        background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        browser.evaluate(
            "(slider => { slider.value = 0; slider.dispatchEvent(new Event('input')) })"
            "(document.querySelector('figure.film input'))"
        )
        shown = browser.evaluate("document.querySelector('figure.film img:not([hidden])').alt")
        assert browser.complaints == []
        assert {url.split(":")[0] for url in browser.requests} == {"file", "data"}
    assert background == ("rgb(20, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert shown == "50,000 images"
