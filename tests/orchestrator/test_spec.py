"""The sweep file: what it accepts, and that it lists every problem at once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestrator.spec import Sweep, load, loads, warnings
from tests.orchestrator.small import sweep
from trainers.__main__ import OF_A_SWEEP
from trainers.config import Config
from trainers.settings import SettingsError, parse

GOOD = """
name: digits
data: {name: digits, resolution: 8}
model: {generator: mlp, discriminator: mlp}
train: {images: 90_000, batch_size: 64}
evaluate: {every_images: 10_000, metrics: [fid, coverage]}
search:
  trials: 9
  space:
    train.generator_lr: {float: [1e-5, 1e-2], log: true}
    train.loss: {choice: [non_saturating, hinge]}
    train.r1_gamma: {float: [0.01, 10], log: true, when: {train.loss: [hinge]}}
objective: {minimize: fid, require: {coverage: ">= 0.5"}}
rungs: {first_images: 10_000, reduction: 3}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loads(text, "sweep.yaml")
    return str(caught.value).splitlines()


def test_a_good_file():
    sweep = loads(GOOD, "sweep.yaml")
    assert sweep.rung_images() == [10_000, 30_000, 90_000]
    assert sweep.search.space["train.generator_lr"].float_ == (1e-5, 1e-2), "1e-5 is a number, as in YAML 1.2"
    assert sweep.objective.bounds == {"coverage": (">=", 0.5)}


def test_resolved_yaml_reads_back_to_the_same_sweep():
    sweep = loads(GOOD, "sweep.yaml")
    assert loads(sweep.to_yaml(), "again.yaml") == sweep


def test_parameters_are_laid_over_the_file():
    config = loads(GOOD, "sweep.yaml").trial_config({"train.generator_lr": 0.5, "train.loss": "hinge"})
    assert (config.train.generator_lr, config.train.loss, config.train.images) == (0.5, "hinge", 90_000)


def test_every_problem_at_once_each_with_its_line():
    text = (
        GOOD.replace("name: digits\n", "name: Two Words\n", 1)
        .replace("images: 90_000", "imagse: 90_000")
        .replace("train.generator_lr", "train.genrator_lr")
        .replace("when: {train.loss: [hinge]}", "when: {train.loss: [wasserstein]}")
        .replace("minimize: fid", "minimize: fdi")
    )
    found = problems(text)
    expected = {
        2: "Two Words",
        5: "did you mean 'images'",
        10: "did you mean 'train.generator_lr'",
        12: "can never hold",
        13: "did you mean 'fid'",
    }
    assert [int(line.split(":")[1]) for line in found] == list(expected)
    for line, part in zip(found, expected.values(), strict=True):
        assert part in line


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("batch_size: 64", "batch_size: [64]", "valid integer"),
        ("[1e-5, 1e-2]", "[1e-2, 1e-5]", "low must be under high"),
        ("{float: [1e-5, 1e-2], log: true}", "{float: [0, 1e-2], log: true}", "must start above 0"),
        ("[non_saturating, hinge]", "[non_saturating, hnige]", "hnige"),
        ("{choice: [non_saturating, hinge]}", "{choice: [hinge], int: [1, 2]}", "exactly one of"),
        ("when: {train.loss: [hinge]}", "when: {train.n_dis: [1]}", "is not in search.space"),
        ("when: {train.loss: [hinge]}", "when: {train.r1_gamma: [1]}", "depends on itself"),
        ('">= 0.5"', '"about 0.5"', "not a bound"),
        ("metrics: [fid, coverage]", "metrics: [fid, coverage, divresity]", "did you mean 'diversity'"),
        ("{coverage:", "{recall:", "is not measured"),
        ("first_images: 10_000", "first_images: 1_000", "before the first evaluation"),
        ("  space:", "  start_with: [{train.generator_lr: 1}]\n  space:", "outside search.space.train.generator_lr"),
        ("  space:", "  start_with: [{train.loss: wasserstein}]\n  space:", "outside search.space.train.loss"),
        ("  space:", "  start_with: [{train.beta1: 0.5}]\n  space:", "is not in search.space"),
        ("resolution: 8", "resolution: 9", "data.resolution"),
        ("  space:", "  space:\n    evaluate.samples: {int: [100, 200]}", "decides what trials are compared by"),
        ("  space:", "  space:\n    data.channels: {choice: [1, 3]}", "decides what trials are compared by"),
        ("  space:", "  space:\n    train.ema_half_life: {choice: [0, 5000]}", "rank plain generators with averaged"),
        ("name: digits, res", "name: digts, res", "digts"),
        ("batch_size: 64", "batch_size: 64, batch_size: 32", "stands twice"),
        ("name: digits\n", "", "is required"),
    ],
)
def test_each_mistake_has_its_words(old: str, new: str, part: str):
    assert old in GOOD
    assert any(part in line for line in problems(GOOD.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("confirm: {top: all}", "or input should be 'auto', got 'all'"),
        ("resources: {max_concurrent_trials: 0}", "greater than or equal to 1 or input should be 'auto', got 0"),
    ],
)
def test_a_number_or_auto_is_one_message(section: str, message: str):
    (line,) = problems(GOOD + section + "\n")
    assert line.endswith(message)


def test_ranks_must_share_the_batch():
    text = GOOD + "resources: {workers_per_trial: 3}\n"
    assert any("train.batch_size" in line for line in problems(text))


def test_broken_yaml_and_missing_files_are_one_line():
    assert len(problems("name: [")) == 1
    with pytest.raises(SettingsError, match="can't be read"):
        load(Path("nowhere.yaml"))


@pytest.mark.parametrize("text", ["name: 2024-13-45", "name: a\x07b", "name: &x [*x]"])
def test_yaml_that_no_reader_can_make_sense_of_is_one_line(text: str):
    with pytest.raises(SettingsError, match="not valid YAML: "):
        parse(text, "sweep.yaml")


def test_overrides(tmp_path: Path):
    file = tmp_path / "sweep.yaml"
    file.write_text(GOOD)
    sweep = load(file, ["train.images=30_000", "search.trials=2", "train.generator_lr=1e-3"])
    assert (sweep.train.images, sweep.search.trials, sweep.train.generator_lr) == (30_000, 2, 1e-3)
    with pytest.raises(SettingsError, match="not of the form"):
        load(file, ["train.images"])


@pytest.mark.parametrize(
    ("images", "every", "levels"),
    [
        (90_000, 10_000, [30_000, 90_000]),
        (90_000, 1_000, [30_000, 90_000]),
        (100_000, 10_000, [40_000, 100_000]),  # a third, at the next evaluation
        (180_000, 30_000, [90_000, 180_000]),  # never before the third
        (90_000, 30_000, [90_000]),
        (90_000, 50_000, [90_000]),
    ],
)
def test_a_late_first_rung_is_a_third_of_the_budget_and_never_before_three_evaluations(
    images: int, every: int, levels: list[int]
):
    text = GOOD.replace("first_images: 10_000", "first_images: late").replace("images: 90_000", f"images: {images}")
    sweep = loads(text.replace("every_images: 10_000", f"every_images: {every}"), "sweep.yaml")
    assert sweep.rung_images() == levels
    assert "rungs.first_images" not in dict(warnings(sweep))
    older = loads(sweep.to_yaml().replace("first_images: late", "first_images: auto"), "sweep.yaml")
    assert older.rung_images() == levels, "as an older version wrote it"


@pytest.mark.parametrize(
    ("images", "every", "levels"),
    [
        (90_000, 10_000, [10_000, 30_000, 90_000]),
        (90_000, 1_000, [10_000, 30_000, 90_000]),
        (120_000, 10_000, [20_000, 60_000, 120_000]),  # at the next evaluation
        (90_000, 30_000, [30_000, 90_000]),
        (90_000, 90_000, [90_000]),
    ],
)
def test_the_first_rung_is_a_ninth_of_the_budget(images: int, every: int, levels: list[int]):
    text = GOOD.replace("{first_images: 10_000, reduction: 3}", "{}").replace("images: 90_000", f"images: {images}")
    sweep = loads(text.replace("every_images: 10_000", f"every_images: {every}"), "sweep.yaml")
    assert sweep.rung_images() == levels
    assert "rungs.first_images" not in dict(warnings(sweep))


def test_a_first_rung_before_a_ninth_of_the_budget_is_a_warning():
    text = GOOD.replace("images: 90_000", "images: 900_000")
    message = dict(warnings(loads(text, "sweep.yaml")))["rungs.first_images"]
    assert message.startswith("trials are first compared after 10,000 images, 1.1% of the budget;")


def test_a_budget_of_hours_without_a_number_of_trials_is_a_warning():
    text = re.sub(r"  trials: \d+\n", "", GOOD) + "budget: {hours: 8}\n"
    assert dict(warnings(loads(text, "sweep.yaml")))["search.trials"].startswith("left out, it is 16, which may end")
    assert "search.trials" not in dict(warnings(loads(GOOD + "budget: {hours: 8}\n", "sweep.yaml")))


def test_a_first_rung_at_the_end_or_behind_it_is_a_warning():
    for first in (90_000, 200_000):
        sweep = loads(GOOD.replace("first_images: 10_000", f"first_images: {first}"), "sweep.yaml")
        message = dict(warnings(sweep))["rungs.first_images"]
        assert message.startswith("no trial is compared before its end, at train.images = 90,000")


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"ema_half_life": 10_000, "ema_ramp": 0}, "after 8,000 images, .* still holds 57% of its first weights"),
        ({"ema_half_life": 500, "ema_ramp": 0}, None),
        ({"ema_half_life": 10_000, "ema_ramp": 0.05}, None),
        ({"ema_half_life": 0, "ema_ramp": 0}, None),
    ],
)
def test_an_average_that_lags_behind_the_first_comparison_is_a_warning(train: dict[str, float], said: str | None):
    drawn = sweep(train={"images": 8_000, **train}, evaluate={"every_images": 2_000}, rungs=None)
    found = dict(warnings(drawn))
    assert found.keys() == ({"train.ema_half_life"} if said else set())
    assert said is None or re.search(said, found["train.ema_half_life"])


def test_gpus_that_a_worker_would_hold_for_nothing_are_a_warning():
    told = {gpus: dict(warnings(sweep(resources={"gpus_per_worker": gpus}))) for gpus in (0.5, 1, 2)}
    assert "workers_per_trial" in told[2]["resources.gpus_per_worker"]
    assert not any("resources.gpus_per_worker" in told[gpus] for gpus in (0.5, 1))


def test_what_shipped_configs_say_is_valid():
    for file in Path("configs").glob("*.yaml"):
        load(file)


SPACE = GOOD[: GOOD.index("  space:")] + "  space:\n"


def space(*lines: str, more: str = "") -> str:
    return SPACE + "".join(f"    {line}\n" for line in lines) + more


def test_null_and_lists_are_choices_and_survive_the_resolved_file() -> None:
    text = space(
        "train.augment: {choice: [[], [translation], [translation, cutout]]}",
        "train.ada_target: {choice: [null, 0.6], when: {train.augment: [[translation]]}}",
    ).replace("  space:", "  start_with: [{train.augment: [translation], train.ada_target: null}]\n  space:")
    sweep = loads(text, "sweep.yaml")
    assert sweep.search.space["train.augment"].choice == ((), ("translation",), ("translation", "cutout"))
    assert loads(sweep.to_yaml(), "again.yaml") == sweep


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train.ada_target: {choice: [{a: 1}]}", "is no value of a setting"),
        ("train.n_dis: {int: [1, 9], step: 0}", "greater than 0"),
        ("train.n_dis: {int: [1, 9], step: 1.5}", "step 1.5 of an int interval must be a whole number"),
        ("train.n_dis: {int: [1, 9], step: 9}", "step 9 is wider than the interval"),
        ("train.beta1: {float: [0.1, 0.9], step: 0.2, log: true}", "log and step can't go together"),
        ("train.loss: {choice: [hinge, minimax], step: 1}", "step has no meaning for a choice"),
        ("train.n_dis: {int: 3}", "valid tuple"),
    ],
)
def test_each_mistake_in_a_space_is_one_problem(line: str, says: str) -> None:
    (problem,) = problems(space(line))
    assert says in problem


@pytest.mark.parametrize(
    ("method", "when", "says"),
    [
        ("mle", "", "method 'mle' has no discriminator; leave it out, or search it under another with 'when'"),
        ("gan", "", None),
        ("mle", ", when: {text.method: [gan]}", None),
        ("gan", ", when: {text.method: [mle]}", "method 'mle' has no discriminator"),
    ],
)
def test_what_no_player_listens_to_is_not_searched(method: str, when: str, says: str | None) -> None:
    text = f"""
name: words
family: text
data: {{name: grammar}}
text: {{method: {method}}}
model: {{generator: lstm, discriminator: conv1d}}
train: {{discriminator_lr: 1e-3}}
evaluate: {{metrics: [tv]}}
search:
  space:
    text.method: {{choice: [gan, mle]}}
    train.discriminator_lr: {{float: [1e-4, 1e-2], log: true{when}}}
objective: {{minimize: tv}}
"""
    if says is None:
        loads(text, "sweep.yaml")
        return
    (found,) = [line for line in problems(text) if "search.space.train.discriminator_lr" in line]
    assert says in found


def test_a_step_divides_an_interval_from_its_low_end() -> None:
    text = space("train.n_dis: {int: [1, 6], step: 2}", "train.beta1: {float: [0.0, 0.95], step: 0.1}")
    n_dis, beta1 = loads(text, "sweep.yaml").search.space.values()
    assert n_dis.values == range(1, 7, 2)
    assert list(n_dis.ends) == [1, 5]
    assert [v for v in range(8) if n_dis.holds(v)] == [1, 3, 5]
    assert beta1.values == pytest.approx([0.1 * i for i in range(10)])
    assert list(beta1.ends) == [0, pytest.approx(0.9)]
    assert [v for v in (0.3, 0.35, 0.95) if beta1.holds(v)] == [0.3]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            ["train.batch_size: {int: [32, 128]}"],
            "a batch of 33 can't be shared by 2 ranks; write {int: [32, 128], step: 2}",
        ),
        (["train.batch_size: {int: [33, 128], log: true}"], "write {choice: [34, 68]}"),
        (["train.batch_size: {int: [32, 128], step: 3}"], "write {int: [36, 126], step: 6}"),
        (["train.batch_size: {choice: [32, 33, 35]}"], "leave out 33, 35"),
        (
            ["train.batch_size: {int: [32, 128], step: 2}", "train.packing: {choice: [1, 4]}"],
            "34 can't be shared by 2 ranks in packs of 4; write {int: [32, 128], step: 8}",
        ),
        (["train.packing: {int: [1, 4]}"], "64 can't be shared by 2 ranks in packs of 3; leave out 3"),
        (["train.packing: {choice: [1, 2]}", "train.batch_size: {choice: [64, 66], when: {train.packing: [1]}}"], None),
    ],
)
def test_batches_that_ranks_can_not_share_are_found_inside_an_interval(lines: list[str], says: str | None) -> None:
    text = space(*lines, more="resources: {workers_per_trial: 2}\n")
    if says is None:
        loads(text, "sweep.yaml")
    else:
        (problem,) = problems(text)
        assert problem.endswith(says) and problem.startswith("sweep.yaml:10: search.space.train.")


def test_what_a_file_names_is_found_from_where_it_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "sweeps" / "sweep.yaml"
    file.parent.mkdir()
    file.write_text(
        GOOD.replace("data: {name: digits", "data: {name: images, path: pics")
        + "artifacts: {url: kept}\ntracking: {uri: 'sqlite:///runs.db'}\n"
    )
    with pytest.raises(SettingsError, match=rf"sweep\.yaml:3: data\.path: there is no {tmp_path}/pics"):
        load(file, ["evaluate.extractor=torchscript:/nowhere.pt"], here=True)
    (tmp_path / "pics").mkdir()
    stored = load(file, here=True).to_yaml()
    monkeypatch.chdir("/")
    sweep = loads(stored, "home/sweep.yaml")
    assert (sweep.data.path, sweep.artifacts.url) == (f"{tmp_path}/pics", f"{tmp_path}/kept")
    assert sweep.tracking.uri == f"sqlite:///{tmp_path}/runs.db"


def test_an_address_of_an_unknown_kind_is_one_problem() -> None:
    (problem,) = problems(GOOD + "artifacts: {url: 's3a://bucket/gan'}\n")
    assert (
        problem.startswith("sweep.yaml:15: artifacts.url: s3a://… is no place that can be read")
        and "Hadoop's word" in problem
    )


def test_a_training_alone_passes_over_every_group_of_a_sweep():
    assert {*OF_A_SWEEP} == Sweep.model_fields.keys() - Config.model_fields.keys()


def test_where_no_objective_is_named_the_default_is_told():
    with pytest.raises(
        SettingsError, match=r"'fid' is not measured.*the objective where none is given.*or name another"
    ):
        loads("{name: a, model: {generator: mlp, discriminator: mlp}, evaluate: {metrics: [coverage]}}", "f")
