"""The table of families, what it refuses, and players of any number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.trainers.small import config
from trainers.check import problems
from trainers.config import Config
from trainers.data import load
from trainers.families import FAMILIES, Entry
from trainers.files.sealed import facts, seal
from trainers.loop import train
from trainers.players.roster import Player, Roster
from trainers.settings import SettingsError, build, parse
from trainers.state import load as load_checkpoint
from trainers.state import load_generator
from trainers.world import World

NETWORKS = {
    "translate": {"generator": "resnet", "discriminator": "patch"},
    "text": {"generator": "lstm", "discriminator": "conv1d"},
}
"""Of families that can't do with MLPs."""
DATA = {"video": {"name": "moving-digits", "resolution": 16}}
"""Of families that can't do with digits."""


@pytest.mark.parametrize("name", FAMILIES)
def test_a_room_is_whole_and_its_checks_need_no_torch(name: str) -> None:
    family = FAMILIES[name].open()
    settings = config(model=NETWORKS.get(name, {}), data=DATA.get(name, {}))
    assert family.sizes(settings, load(settings.data).space)["generator"] > 0
    code = "import sys; from trainers.families import FAMILIES; from trainers.config import Config; "
    code += f"FAMILIES[{name!r}].problems(Config(), 1, False); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_family_is_named_with_its_line() -> None:
    with pytest.raises(SettingsError, match=r"sweep.yaml:1: family: unknown family 'gam'; did you mean 'gan'"):
        build(Config, parse("family: gam\n", "sweep.yaml"))


def test_settings_of_another_family_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "other", Entry("nowhere", groups=("health",)))
    (found,) = problems(config())
    assert found == ("health", "is for 'other', and this family is 'gan'; leave it out, or set family: other")
    assert problems(config().model_copy(update={"health": Config().health})) == [], "the defaults say nothing"


def test_a_checkpoint_from_before_families_is_a_gans(tmp_path: Path) -> None:
    list(train(config(), World.single(), out=tmp_path))
    folder = tmp_path / "checkpoints" / "320"
    manifest = facts(folder)
    assert manifest["config"].pop("family") == "gan"
    files = {name: (folder / name).read_bytes() for name in manifest["files"]}
    told = {name: manifest[name] for name in ("version", "images", "config", "space")}
    old = seal(tmp_path / "old", files, **told)
    assert load_checkpoint(old).config == config()
    assert load_generator(old)[0].family == "gan"


def test_any_number_of_players_move_and_come_back() -> None:
    settings = config(train={"generator_lr": 0.1, "discriminator_lr": 0.2, "ema_half_life": 16, "ema_ramp": 0.0})
    roster = Roster(three(), settings, World.single())
    for name, network in roster.networks.items():
        torch.autograd.backward(network(torch.ones(1, 2)).sum())
        assert roster.update(name, 16, watched=True) is not None
    first = [parameter.clone() for parameter in roster.parameters()]
    moved = {name: (next(network.parameters()) - 1).abs().max().item() for name, network in roster.networks.items()}
    assert moved == pytest.approx({"generator": 0.1, "critic": 0.2, "encoder": 0.1}), "Adam's first step is the rate"
    assert roster.averages.keys() == {"generator", "encoder"}
    assert (1 - next(roster.averages["encoder"].parameters())).max().item() == pytest.approx(0.05), "half a step"
    again = Roster(three(), settings, World.single())
    again.load(roster.tensors())
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), first, strict=True))
    assert roster.tensors().keys() >= {"generator", "generator_ema", "critic", "encoder", "encoder_ema", "optimisers"}


def three() -> dict[str, Player]:
    def network() -> nn.Module:
        linear = nn.Linear(2, 1)
        nn.init.ones_(linear.weight)
        return linear

    return {
        "generator": Player(network(), "generator_lr", averaged=True),
        "critic": Player(network(), "discriminator_lr"),
        "encoder": Player(network(), "generator_lr", averaged=True),
    }
