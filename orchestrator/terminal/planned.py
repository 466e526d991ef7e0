"""A sweep before it runs, as a user sees it: what it asks for, and every setting."""

from __future__ import annotations

import yaml
from rich.table import Table

from orchestrator.planning.earlier import Earlier, require_room
from orchestrator.planning.estimate import Estimate, estimate, parameter_ranges, parameters, stages
from orchestrator.search.budget import words
from orchestrator.search.effort import Confirming, confirming
from orchestrator.secrets import without_secrets
from orchestrator.spec import Sweep, counted
from orchestrator.terminal.trials import console
from trainers.families import FAMILIES
from trainers.watching.shown import duration

UNKNOWN = "not known until a sweep like it has run in this home: start with few trials and images"


def plan(sweep: Sweep, earlier: Earlier | None, unknown: str = UNKNOWN) -> None:
    """What a sweep sets otherwise than the defaults, what it searches, for what, and how much training it asks for; of
    the time where no sweep ``earlier`` tells it, what ``unknown`` says.
    """
    require_room(sweep, earlier)
    guess, objective = estimate(sweep), sweep.objective
    bounds = "".join(f", {metric} {bound}" for metric, bound in objective.require.items())
    console.print(f"[bold]{sweep.name}[/bold]  {objective.told}{bounds}", soft_wrap=True)
    if family := sweep.model_dump(include={"family"}, exclude_defaults=True):
        console.print(f"  family: {family['family']}")
    for group in ("data", "model", "train", *FAMILIES[sweep.family].groups, "evaluate", "health"):
        if changed := getattr(sweep, group).model_dump(mode="json", exclude_defaults=True):
            line = yaml.safe_dump(changed, default_flow_style=True, sort_keys=False, width=10_000)
            console.print(f"  {group}: {without_secrets(line.strip())}", markup=False, soft_wrap=True)
    for name, dimension in yaml.safe_load(sweep.to_yaml())["search"].get("space", {}).items():
        told = {key: value for key, value in dimension.items() if value}
        line = yaml.safe_dump(told, default_flow_style=True, sort_keys=False, width=10_000)
        console.print(f"  {name}: {line.strip()}", markup=False, soft_wrap=True)
    console.print(f"\n[bold]estimate[/bold]  {_plan_words(sweep, guess)}", soft_wrap=True)
    console.print(f"[bold]time[/bold]  {_time_words(guess, earlier) if earlier else unknown}", soft_wrap=True)
    if budget := words(sweep.budget):
        console.print(
            f"[bold]budget[/bold]  {budget}, of which the search leaves what confirmation needs, at most a third"
        )
    console.print()
    console.print(_costs(sweep, guess.images))


def resolved(sweep: Sweep) -> None:
    """Every setting, and how large both networks are; of own code no source."""
    told = sweep.model_copy(update={"code": {}})
    console.print(f"\n{without_secrets(told.to_yaml())}", end="", markup=False, soft_wrap=True)
    if counts := parameters(sweep):
        ranges = parameter_ranges(sweep)
        over = {player: f" ({low:,} to {high:,} over the space)" for player, (low, high) in ranges.items()}
        words = ", ".join(f"{player} {count:,}{over.get(player, '')}" for player, count in counts.items())
        console.print(f"\n[bold]parameters[/bold]  {words}")


def _plan_words(sweep: Sweep, guess: Estimate) -> str:
    resources = sweep.resources
    per_trial = f"{resources.workers_per_trial} x {resources.cpus_per_worker:g} CPU"
    per_trial += f" + {resources.gpus_per_worker:g} GPU" if resources.gpus_per_worker else ""
    levels = [f"{images:,}" for images in sweep.rung_images()]
    rungs = "rungs at " + " -> ".join(levels) + " images"
    if population := sweep.population:
        rungs = f"the worst {population.replace:.0%} replaced by copies of the best at {', '.join(levels[:-1])} images"
    if sweep.startup:
        rungs += f", or where the first {sweep.startup} trials, trained to the end, put them"
    return (
        f"{guess.trials} trials, {rungs}, {_confirm_words(confirming(sweep))}: "
        f"about {guess.images:,} images in {guess.legs} legs ({guess.share_of_full:.0%} of training every trial to the "
        f"end); {per_trial} a trial"
    )


def _time_words(guess: Estimate, earlier: Earlier) -> str:
    pace = f"{earlier.images_per_second:,.0f} images/s over all trials"
    return f"about {duration(guess.images / earlier.images_per_second)}, at the pace of sweep {earlier.name!r} ({pace})"


def _costs(sweep: Sweep, images: int) -> Table:
    """What each rung costs."""
    table = Table("", "trainings", "up to images", "images in all", "share", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, stage in stages(sweep):
        table.add_row(
            name, str(stage.trainings), f"{stage.level:,}", f"{stage.images:,}", f"{stage.images / images:.0%}"
        )
    return table


def _confirm_words(confirm: Confirming) -> str:
    if not confirm.rounds:
        return "no confirmation on fresh seeds"
    first, *further = confirm.rounds
    best = "best trial" if first.top == 1 else f"best {first.top} trials"
    words = f"the {best} confirmed on {counted(first.seeds, 'fresh seed')}{' each' if first.top > 1 else ''}"
    return words + "".join(f", the best {one.top} of these on {one.seeds}" for one in further)
