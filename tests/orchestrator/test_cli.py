"""What a user gets to read: exit statuses, one clear message instead of a traceback, one JSON document and no more.

The commands run in this process, since every start of a new one costs seconds.
"""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml
from PIL import Image
from rich.console import Console

from orchestrator import cli
from orchestrator import status as standing
from orchestrator.client.handle import Handle
from orchestrator.errors import UserError
from orchestrator.paths import Home
from orchestrator.search.ledger import Ledger
from orchestrator.terminal import show
from tests.orchestrator.small import Script, run, sweep

COMMANDS = ("plan", "submit", "resume", "stop", "list", "status", "train", "promote", "sample", "data", "ui", "doctor")
"""Design, section 4."""

SWEEP = "configs/digits.yaml"


@dataclass(frozen=True)
class Answer:
    status: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one line that a failure prints."""
        assert self.out == "" and "Traceback" not in self.err
        (line,) = self.err.splitlines()
        assert line.startswith("gansweep: ")
        return line.removeprefix("gansweep: ")

    @property
    def document(self) -> Any:
        """All of standard output, which must be strict JSON."""

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        return json.loads(self.out, parse_constant=refuse)


class Terminal:
    """Types commands, and reads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path) -> None:
        self._monkeypatch, self._capsys, self.home = monkeypatch, capsys, home

    def type(self, *arguments: str) -> Answer:
        self._monkeypatch.setattr(sys, "argv", ["gansweep", *arguments])
        self._monkeypatch.setattr(sys.modules["__main__"], "__package__", None)  # also under python -m pytest
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else int(bool(code)), out, err)


@pytest.fixture
def gansweep(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    monkeypatch.setenv("GANSWEEP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GANSWEEP_DEBUG", "")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    return Terminal(monkeypatch, capsys, tmp_path / "home")


def stand(home: Path, script: Script, **groups: Any) -> Ledger:
    """A sweep 'small' in ``home`` that has run to its end by ``script``."""
    asked = sweep(**groups)
    paths = Home.open(home).sweep(asked.name)
    paths.root.mkdir(parents=True)
    paths.spec.write_text(asked.to_yaml())
    ledger = Ledger.open(asked, paths.ledger)
    run(ledger, script)
    ledger.close()
    ledger.set_state("finished")
    return ledger


# -- help --------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command(gansweep: Terminal):
    answer = gansweep.type("--help")
    assert answer.status == 0
    words = answer.out.split()
    assert [name for name in COMMANDS if name not in words] == []


def test_the_version_is_that_of_the_package(gansweep: Terminal):
    answer = gansweep.type("--version")
    assert (answer.status, answer.out) == (0, f"gansweep {version('gansweep')}\n")


def test_every_command_has_help_with_its_options(gansweep: Terminal):
    options = {
        "plan": "--set --json",
        "submit": "--set --name --trials --address --detach --home",
        "resume": "--trials --home",
        "status": "--watch --json",
        "train": "--set --out --json",
        "promote": "--trial --alias --model --force --reason --rollback",
        "sample": "--number --output --seed",
    }
    for name in COMMANDS:
        answer = gansweep.type(name, "--help")
        assert answer.status == 0, name
        assert [option for option in options.get(name, "").split() if option not in answer.out] == [], name


# -- data --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve pictures of two classes."""
    for number in range(12):
        file = tmp_path / "pictures" / ("fog", "rain")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 8), (20 * number, 0, 0)).save(file)
    return tmp_path / "pictures"


def test_a_folder_becomes_shards_that_train_takes(gansweep: Terminal, pictures: Path, tmp_path: Path):
    answer = gansweep.type("data", "import", str(pictures), str(tmp_path / "shards"))
    assert answer.status == 0
    assert "12 images in 1 shards" in answer.out and "classes: 0 fog, 1 rain" in answer.out
    settings = ("data.name=parquet", f"data.path={tmp_path / 'shards'}", "train.images=16", "train.batch_size=8")
    small = ("evaluate.every_images=16", "evaluate.samples=16", "resources.workers_per_trial=1")
    overrides = [word for setting in (*settings, *small) for word in ("--set", setting)]
    trained = gansweep.type("train", SWEEP, *overrides, "--out", str(tmp_path / "out"), "--json")
    assert trained.status == 0, trained.err
    assert json.loads(trained.out)["images"] == 16


def test_a_password_from_the_environment_is_not_shown(
    gansweep: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PASSWORD", "hunter2")
    file = tmp_path / "sweep.yaml"
    text = Path(SWEEP).read_text()
    assert "tracking:" in text
    file.write_text(re.sub("tracking:.*", "tracking: {uri: 'postgresql://ann:${PASSWORD}@host/runs'}", text))
    for answer in (gansweep.type("plan", str(file), "--resolved"), gansweep.type("plan", str(file), "--json")):
        assert answer.status == 0
        assert "hunter2" not in answer.out and "postgresql://ann:***@host/runs" in answer.out


def test_what_is_not_packed_is_named(gansweep: Terminal, pictures: Path, tmp_path: Path):
    (pictures / "fog" / "[bad].png").write_bytes(b"no picture")
    answer = gansweep.type("data", "import", str(pictures), str(tmp_path / "a, b"), "--max-broken", "0.1")
    assert answer.status == 0
    assert f"1 of 13 images skipped: {pictures}/fog/[bad].png: not an image of any known format" in answer.out
    printed = answer.out[answer.out.index("data: {") :]
    assert yaml.safe_load(printed)["data"]["path"] == str(tmp_path / "a, b")


def test_training_tells_what_was_loaded_and_passed_over(gansweep: Terminal, pictures: Path, tmp_path: Path):
    (pictures / "fog" / "bad.png").write_bytes(b"no picture")
    data = ("data.name=images", f"data.path={pictures}", "data.max_broken=0.1", "train.images=16", "train.batch_size=8")
    small = ("evaluate.every_images=16", "evaluate.samples=16", "resources.workers_per_trial=1")
    overrides = [word for setting in (*data, *small) for word in ("--set", setting)]
    answer = gansweep.type("train", SWEEP, *overrides, "--out", str(tmp_path / "out"), "--json")
    assert answer.status == 0
    assert "images: 11 images of shape 3x8x8 to train on, 1 held out; 2 classes: fog (" in answer.err
    assert f"1 of 13 images skipped: {pictures}/fog/bad.png: not an image of any known format" in answer.err


def test_a_training_that_ended_tells_what_is_asked_for_otherwise(gansweep: Terminal, tmp_path: Path):
    small = ("train.images=16", "train.batch_size=8", "evaluate.every_images=16", "evaluate.samples=16")
    overrides = [word for setting in (*small, "resources.workers_per_trial=1") for word in ("--set", setting)]
    train = ("train", SWEEP, *overrides, "--out", str(tmp_path / "out"))
    assert gansweep.type(*train).status == 0
    assert "ended before (unjudged); give another --out" in gansweep.type(*train).err
    told = "ended before (unjudged) with other settings (train.beta1 was 0.5, now 0.1); give another --out"
    assert told in gansweep.type(*train, "--set", "train.beta1=0.1").err


def test_shards_are_not_mixed_and_nothing_is_not_packed(gansweep: Terminal, pictures: Path, tmp_path: Path):
    target = str(tmp_path / "shards")
    assert gansweep.type("data", "import", str(pictures), target, "--json").document["images"] == 12
    assert "holds 1 shards already" in gansweep.type("data", "import", str(pictures), target).message
    (tmp_path / "empty").mkdir()
    assert "no image files" in gansweep.type("data", "import", str(tmp_path / "empty"), str(tmp_path / "new")).message
    (tmp_path / "file").write_text("")
    answer = gansweep.type("data", "import", str(pictures), str(tmp_path / "file"))
    assert answer.status == 2 and "cannot be written" in answer.message


# -- wrong input: exit status 2 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["plan", "submit", "train", "doctor"])
def test_a_sweep_file_that_is_not_there(gansweep: Terminal, command: str):
    answer = gansweep.type(command, "nowhere.yaml")
    assert answer.status == 2
    assert "nowhere.yaml" in answer.message and "can't be read" in answer.message


def test_a_wrong_sweep_file_is_told_all_its_problems(gansweep: Terminal, tmp_path: Path):
    file = tmp_path / "sweep.yaml"
    file.write_text(
        Path(SWEEP).read_text().replace("minimize: fid", "minimize: fdi").replace("batch_size", "batch_sise")
    )
    for command in ("plan", "submit", "train"):
        answer = gansweep.type(command, str(file))
        assert (answer.status, answer.out) == (2, "")
        lines = answer.err.splitlines()
        assert len(lines) == 2 and all(line.removeprefix("gansweep: ").startswith(f"{file}:") for line in lines)
        assert "did you mean 'batch_size'" in answer.err and "did you mean 'fid'" in answer.err


def test_a_wrong_override_is_told(gansweep: Terminal):
    answer = gansweep.type("plan", SWEEP, "--set", "train.batch_sise=1")
    assert answer.status == 2 and "did you mean 'batch_size'" in answer.message


@pytest.mark.parametrize("command", ["status", "resume", "stop", "promote"])
def test_an_unknown_sweep_is_told_with_those_that_are_known(gansweep: Terminal, command: str):
    answer = gansweep.type(command, "digist")
    assert answer.status == 2
    assert answer.message == f"no sweep 'digist' in {gansweep.home}; sweeps there: none yet"


@pytest.mark.parametrize("command", [["status", "x"], ["list"], ["submit", SWEEP], ["promote", "x"], ["train", SWEEP]])
def test_a_home_that_can_not_be_written(gansweep: Terminal, tmp_path: Path, command: list[str]):
    (tmp_path / "file").touch()
    answer = gansweep.type(*command, "--home", str(tmp_path / "file" / "home"))
    assert answer.status == 2
    assert "can't be written: Not a directory. Choose another with --home DIR or GANSWEEP_HOME" in answer.message


@pytest.mark.parametrize(
    "command", [["plan", SWEEP, "--jsno"], ["explode"], ["plan"], ["submit", SWEEP, "--trials", "0"]]
)
def test_wrong_usage_shows_how(gansweep: Terminal, command: list[str]):
    answer = gansweep.type(*command)
    assert (answer.status, answer.out) == (2, "")
    assert "Usage: gansweep" in answer.err and "Traceback" not in answer.err


def test_detach_needs_a_cluster(gansweep: Terminal):
    answer = gansweep.type("submit", SWEEP, "--detach")
    assert answer.status == 2 and "--detach needs --address" in answer.message


def test_force_needs_a_reason(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {})
    for reason in ([], ["--reason", "  "]):
        answer = gansweep.type("promote", "small", "--force", *reason)
        assert answer.status == 2 and answer.message.endswith("recorded beside the model: --reason TEXT")


def test_a_trial_that_is_not_there(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {})
    answer = gansweep.type("promote", "small", "--trial", "7")
    assert answer.status == 2 and answer.message == "sweep 'small' has no trial 7; it has 0 to 2"


def test_another_space_under_a_standing_name(gansweep: Terminal, tmp_path: Path):
    stand(gansweep.home, lambda leg, images: {})
    file = tmp_path / "other.yaml"
    file.write_text(sweep(train={"images": 180}).to_yaml())
    before = (gansweep.home / "sweeps/small/sweep.yaml").read_text()
    answer = gansweep.type("submit", str(file))
    assert answer.status == 2 and "exists with other settings under train" in answer.message
    assert (gansweep.home / "sweeps/small/sweep.yaml").read_text() == before


def test_a_checkpoint_that_is_not_there(gansweep: Terminal, tmp_path: Path):
    answer = gansweep.type("sample", str(tmp_path / "nothing"), "-o", str(tmp_path / "out.png"))
    assert answer.status == 2 and str(tmp_path / "nothing") in answer.message
    assert not (tmp_path / "out.png").exists()


# -- work that fails: exit status 1 ------------------------------------------------------------------------------------


def test_promote_where_nothing_finished(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {"verdict": "collapsed"})
    answer = gansweep.type("promote", "small")
    assert answer.status == 1
    assert answer.message == "sweep 'small' has no trial to promote: none has finished (3 collapsed)"


def test_promote_where_all_violate_a_constraint(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {"coverage": 0.1})
    answer = gansweep.type("promote", "small")
    assert answer.status == 1
    assert "violate coverage >= 0.5; relax objective.require" in answer.message


def test_promote_where_all_that_finished_are_ill(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {"verdict": "suspect"})
    answer = gansweep.type("promote", "small")
    assert answer.status == 1
    assert "1 trial finished, and all ended suspect (trial " in answer.message


def test_promote_a_trial_that_the_gate_refuses(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {"coverage": 0.1})
    answer = gansweep.type("promote", "small", "--trial", "0")
    assert answer.status == 1
    assert "trial 0 is not promoted: " in answer.message and "--force --reason TEXT" in answer.message


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/home/ledger"),
            1,
            "no space left while writing /home/ledger",
        ),
        (UserError("the input is wrong"), 2, "the input is wrong"),
    ],
)
def test_what_ends_a_command_has_its_words(
    gansweep: Terminal, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, words: str
):
    _fails_with(monkeypatch, error)
    answer = gansweep.type("status", "small")
    assert answer.status == status and words in answer.message


def test_ctrl_c_ends_a_command_that_only_looks_without_a_word(gansweep: Terminal, monkeypatch: pytest.MonkeyPatch):
    _fails_with(monkeypatch, KeyboardInterrupt())
    answer = gansweep.type("status", "small")
    assert (answer.status, answer.out, answer.err) == (130, "", "")


def test_ctrl_c_for_the_second_time_says_how_the_sweep_goes_on(gansweep: Terminal, monkeypatch: pytest.MonkeyPatch):
    stand(gansweep.home, lambda leg, images: {})

    def interrupted(*arguments: object, **given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Handle, "run", interrupted)
    answer = gansweep.type("resume", "small")
    assert answer.status == 130 and "go on with: gansweep resume small" in answer.message


@pytest.mark.parametrize(
    "words",
    [
        ("promote", "small", "--rollback", "--trial", "1"),
        ("promote", "small", "--reason", "it is pretty"),
        ("sample", "nowhere", "--seeds", "1,2", "-n", "9"),
    ],
)
def test_options_that_contradict_each_other_are_refused(gansweep: Terminal, words: tuple[str, ...]):
    stand(gansweep.home, lambda leg, images: {})
    assert gansweep.type(*words).status == 2


def test_a_value_that_is_none_of_the_known_is_refused_in_plain_words(gansweep: Terminal):
    answer = gansweep.type("samples", "small", "--by", "fid")
    assert answer.status == 2 and "Invalid value for '--by': 'fid' is not one of 'score', 'verdict'" in answer.err


def test_what_nobody_thought_of_shows_its_traceback_only_when_asked(
    gansweep: Terminal, monkeypatch: pytest.MonkeyPatch
):
    _fails_with(monkeypatch, RuntimeError("boom"))
    answer = gansweep.type("status", "small")
    assert (answer.status, answer.out) == (1, "")
    assert answer.err.startswith("gansweep: RuntimeError: boom\n") and "--debug shows where" in answer.err
    assert "Traceback" not in answer.err
    assert "Traceback" in gansweep.type("--debug", "status", "small").err


def _fails_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(standing, "ledger_of", fail)


def test_a_sweep_in_which_no_trial_finished_has_failed_and_says_why(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {"verdict": "collapsed"})
    told = "gansweep: sweep 'small' is over and no trial finished:\n  3 collapsed, as trial 0: it looks collapsed\n"
    answer, as_json = gansweep.type("resume", "small"), gansweep.type("resume", "small", "--json")
    assert (answer.status, answer.err) == (as_json.status, as_json.err) == (1, told)
    assert as_json.document["state"] == "finished"


def test_a_sweep_in_which_a_trial_finished_has_not_failed(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {})
    answer = gansweep.type("resume", "small")
    assert (answer.status, answer.err) == (0, "")
    assert "\n  gansweep resume small --trials 6   searches further\n" in answer.out


def test_commands_to_copy_are_quoted_and_find_their_home(gansweep: Terminal, tmp_path: Path):
    home = tmp_path / "my [own] home"
    stand(home, lambda leg, images: {"coverage": 0.1})
    answer = gansweep.type("resume", "small", "--home", str(home))
    assert f"\n  gansweep ui --home '{home}'   shows the runs" in answer.out
    refused = gansweep.type("promote", "small", "--trial", "0", f"--home={home}").message
    assert refused.endswith(f"gansweep promote small --trial 0 --force --reason TEXT --home '{home}'")


def test_the_home_of_the_environment_is_not_repeated(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {})
    answer = gansweep.type("resume", "small", "--home", str(gansweep.home))
    assert answer.status == 0 and "\n  gansweep ui   shows the runs" in answer.out


# -- JSON --------------------------------------------------------------------------------------------------------------


def test_json_is_one_document_and_nothing_else(gansweep: Terminal):
    ledger = stand(gansweep.home, lambda leg, images: {"fid": 5.0 + leg.trial}, confirm={"top": 1, "seeds": 1})
    ledger.set_run(0, "abc")
    status = gansweep.type("status", "small", "--json")
    assert (status.status, status.err) == (0, "")
    document = status.document
    assert document.keys() == {"name", "state", "trials", "best", "front", "confirmed", "spent", "first_rung"}
    assert (document["name"], document["state"]) == ("small", "finished")
    wanted = {"id", "state", "params", "images", "rung", "score", "metrics", "verdict", "reasons"}
    wanted |= {"mlflow_run_id", "checkpoint"}
    assert all(trial.keys() >= wanted for trial in document["trials"])
    assert [trial["state"] for trial in document["trials"]] == ["finished", "pruned", "pruned"]
    assert document["trials"][0]["mlflow_run_id"] == "abc"
    assert document["best"] == {"id": 0, "score": 5.0, "confirmed": 5.0, "params": ledger.trial(0).params}
    assert document["confirmed"] == [{"trial": 0, "seeds": [1000], "scores": [5.0], "median": 5.0, "worst": 5.0}]
    assert gansweep.type("list", "--json").document == [document]


def test_a_plan_as_json(gansweep: Terminal):
    answer = gansweep.type("plan", SWEEP, "--set", "search.trials=7", "--json")
    assert answer.status == 0 and "7" in json.dumps(answer.document)


def test_a_plan_warns_beside_its_document(gansweep: Terminal):
    answer = gansweep.type(
        "plan", SWEEP, "--set", "rungs.first_images=20_000", "--set", "train.images=900_000", "--json"
    )
    assert answer.status == 0 and answer.document
    assert answer.err.startswith("warning: rungs.first_images: trials are first compared after 20,000 images")


def test_an_error_leaves_no_document(gansweep: Terminal):
    answer = gansweep.type("status", "digist", "--json")
    assert (answer.status, answer.out) == (2, "")


def test_status_reads_the_ledger_once(gansweep: Terminal, monkeypatch: pytest.MonkeyPatch):
    stand(gansweep.home, lambda leg, images: {})
    opened = Mock(wraps=standing.ledger_of)
    monkeypatch.setattr(standing, "ledger_of", opened)
    assert gansweep.type("status", "small").status == 0 and opened.call_count == 1


def test_who_watches_sees_what_another_process_writes(gansweep: Terminal):
    writer = stand(gansweep.home, lambda leg, images: {})
    reader, paths = standing.ledger_of("small", Home.open(gansweep.home))
    assert standing.describe(reader, paths)["state"] == "finished"
    writer.set_state("stopped")
    reader.refresh()
    assert standing.describe(reader, paths)["state"] == "stopped"


# -- a sweep that stands -----------------------------------------------------------------------------------------------


def test_status_and_list_say_what_there_is(gansweep: Terminal):
    assert gansweep.type("list").status == 0
    stand(gansweep.home, lambda leg, images: {"fid": 5.0 + leg.trial})
    for command in (["list"], ["status", "small"]):
        answer = gansweep.type(*command)
        assert answer.status == 0 and "small" in answer.out and "finished" in answer.out


def test_a_setting_without_room_for_a_column_is_not_squeezed_in(gansweep: Terminal, monkeypatch: pytest.MonkeyPatch):
    stand(gansweep.home, lambda leg, images: {"fid": 5.0 + leg.trial})
    monkeypatch.setattr(show, "console", Console(width=60))
    lines = gansweep.type("status", "small").out.splitlines()
    assert max(map(len, lines[:5])) <= 60 and "finished" in lines[2]
    assert "more setting" in lines[5] and lines[5].endswith(" in: gansweep status small --json")


def test_status_says_that_a_space_has_no_more_points(gansweep: Terminal):
    space = {"train.loss": {"choice": ("non_saturating", "hinge")}}
    stand(gansweep.home, lambda leg, images: {}, search={"trials": 6, "space": space}, rungs=None)
    assert "the space has only 2 points, and each was tried" in gansweep.type("status", "small").out


def test_the_plan_shows_every_setting_only_when_asked(gansweep: Terminal):
    first = ("--set", "rungs.first_images=20_000", "--set", "train.images=900_000")
    plain, resolved = gansweep.type("plan", SWEEP, *first), gansweep.type("plan", SWEEP, *first, "--resolved")
    assert plain.out.startswith("digits  minimize fid") and resolved.out.startswith(plain.out)
    assert (
        "  train.generator_lr: {float: [0.0003, 0.004], log: true}\n" in plain.out
        and "parameters" not in plain.out
        and "batch_size" not in plain.out
    )
    assert "\nparameters  " in resolved.out and "batch_size" in resolved.out
    assert plain.err == resolved.err and plain.err.startswith("warning: rungs.first_images: ")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("confirm.top=auto", "the best trial confirmed on 3 fresh seeds"),
        ("confirm.top=2", "the best 2 trials confirmed on 3 fresh seeds each"),
        ("confirm.top=0", "no confirmation on fresh seeds"),
    ],
)
def test_the_plan_says_what_is_confirmed(gansweep: Terminal, setting: str, words: str):
    settings = ("search.trials=8", "rungs=null", "confirm.seeds=3", setting)
    answer = gansweep.type("plan", SWEEP, *(word for value in settings for word in ("--set", value)))
    assert answer.status == 0 and words in " ".join(answer.out.split())


def test_a_sweep_that_cannot_be_read_hides_no_other(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {"fid": 5.0 + leg.trial})
    broken = gansweep.home / "sweeps" / "broken" / "sweep.yaml"
    broken.parent.mkdir()
    broken.write_text("name: broken\nsarch: {}\n")
    answer = gansweep.type("list")
    assert answer.status == 0
    assert all(word in answer.out for word in ("small", "finished", "unreadable", str(broken.parent), "sarch"))


def test_a_driver_that_died_leaves_an_interrupted_sweep(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {}).set_state("running")
    assert gansweep.type("status", "small", "--json").document["state"] == "interrupted"


def test_stop_where_nothing_runs(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {})
    answer = gansweep.type("stop", "small")
    assert (answer.status, answer.out) == (0, "sweep 'small' is not running\n")


def test_a_sweep_of_many_trials_shows_its_best(gansweep: Terminal):
    stand(gansweep.home, lambda leg, images: {"fid": 100.0 - leg.trial}, rungs=None, search={"trials": 60})
    shown = gansweep.type("status", "small").out
    assert "60 trials (60 finished); 40 of them" in shown
    rows = [line.split()[0] for line in shown.splitlines() if " finished " in line and "(" not in line]
    assert len(rows) == 40 and "*59" in rows and "20" in rows and "19" not in rows


# -- as a process ------------------------------------------------------------------------------------------------------


def test_the_installed_command_does_the_same(tmp_path: Path):
    command = [sys.executable, "-m", "orchestrator", "plan", str(tmp_path / "nowhere.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gansweep: ") and len(done.stderr.splitlines()) == 1


HEAVY = {"optuna", "numpy", "torch", "sklearn", "mlflow", "ray", "pandas", "scipy", "pyarrow", "boto3", "sqlalchemy"}


@pytest.mark.parametrize(
    "command",
    [["--help"], ["--version"], ["plan", SWEEP], ["status", "small"], ["status", "small", "--json"], ["list"]],
)
def test_who_only_looks_imports_nothing_heavy(tmp_path: Path, command: list[str]):
    stand(tmp_path, lambda leg, images: {})
    told = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    code = f"{told}; from orchestrator.cli import main; sys.argv = ['gansweep', *{command}]; main()"
    environment = {**os.environ, "GANSWEEP_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert HEAVY & set(done.stderr.split()) == set()
