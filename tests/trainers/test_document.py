"""YAML as people and templating tools write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainers.config import Config
from trainers.settings import SettingsError, build, parse, read


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        build(Config, parse(text, "a.yaml"))
    return str(caught.value).splitlines()


def test_merge_keys_lay_mappings_under_the_keys_that_stand_beside_them() -> None:
    document = parse(
        """
x-shared:
  slow: &slow {generator_lr: 1e-5, beta1: 0.9}
  small: &small {<<: *slow, batch_size: 8, beta1: 0.1}
train: {<<: [*slow, *small], images: 100, generator_lr: 1e-3}
model: {<<: {width: 7}}
""",
        "a.yaml",
    )
    assert document.values == {
        "train": {"generator_lr": 1e-3, "beta1": 0.9, "batch_size": 8, "images": 100},
        "model": {"width": 7},
    }
    assert document.line_of(("train", "generator_lr")) == 5
    assert document.line_of(("train", "batch_size")) == 4, "where it can be mended"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train: {<<: 3}", "a.yaml:1: not valid YAML: '<<' takes a mapping, as in '<<: *base', or a list of them"),
        ("train: {<<: [3]}", "a.yaml:1: not valid YAML: '<<' takes a mapping, as in '<<: *base', or a list of them"),
        ("a: 1\n? [a, b]\n: 1", "a.yaml:2: not valid YAML: a list or a mapping can't be a key"),
        ("a: !include {b: 1}", "a.yaml:1: not valid YAML: the tag '!include' has no meaning here"),
        ("a:\n  b: {{ seed }}  # {{ not this }}", "a.yaml:2: {{ seed }} is not filled in: render the file first"),
        ('data: {path: "{{root}}/x"}', "a.yaml:1: {{root}} is not filled in: render the file first"),
        ("{% if big %}\ntrain: {}", "a.yaml:1: {% if big %} is not filled in: render the file first"),
        ("data: {path: 2024-11-25}", "a.yaml:1: data.path: should be text, and this is read as "
         "datetime.date(2024, 11, 25): put it in quotes"),
        ("train: {loss: no}", "a.yaml:1: train.loss: should be text, and this is read as False: put it in quotes"),
    ],
)  # fmt: skip
def test_odd_yaml_is_one_problem_with_its_line(text: str, says: str) -> None:
    assert problems(text) == [says]


def test_variables_are_filled_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", "/big/faces: all")
    monkeypatch.setenv("IMAGES", "4_000")
    monkeypatch.setenv("EMPTY", "")
    document = parse(
        """
# ${NOT_THIS}
data: {path: ${DATA}/train, name: "${KIND:-images}"}
train:
  images: ${IMAGES}
  batch_size: ${BATCH:-16}
  loss: "${IMAGES}"
  seed: ${EMPTY:-3}
price: $5
""",
        "a.yaml",
    )
    assert document.values["data"] == {"path": "/big/faces: all/train", "name": "images"}
    assert document.values["train"] == {"images": 4000, "batch_size": 16, "loss": "4_000", "seed": 3}
    assert document.values["price"] == "$5"
    assert document.problems == []


def test_what_can_not_be_filled_is_one_problem_with_line_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    text = "data: {name: images}\ntrain:\n  images: ${NOWHERE}\n  seed: ${train.images}"
    assert problems(text) == [
        "a.yaml:3: train.images: the variable NOWHERE is not set; set it, or give a default: ${NOWHERE:-…}",
        "a.yaml:4: train.seed: ${train.images} can't be filled: variables of the environment stand as ${NAME} or "
        "${NAME:-default}",
    ]


def test_what_the_environment_filled_in_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PASSWORD", "hunter2")
    (problem,) = problems("train: {images: '${PASSWORD}'}")
    assert problem.endswith("got '${PASSWORD}'")


def test_a_setting_of_several_kinds_is_one_problem(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("data: {path: {a: 1}}")
    with pytest.raises(SettingsError) as caught:
        build(Config, read(file))
    assert len(caught.value.problems) == 1
