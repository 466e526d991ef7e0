"""``python -m trainers``: one command that starts, resumes, and survives being killed at any moment."""

from __future__ import annotations

import json
import math
import multiprocessing
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.trainers.small import config, killed_on_its_way
from trainers import launch
from trainers.__main__ import main
from trainers.data import Space
from trainers.errors import TrainerError
from trainers.files import lock
from trainers.models import parameter_counts
from trainers.report import line
from trainers.state import load
from trainers.watching import shown
from trainers.watching.watcher import Watcher

ROOT = Path(__file__).parents[2]


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``command(*words)``: exit status, standard output and standard error of ``python -m trainers``."""

    def run(*words: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trainers", *map(str, words)])
        status = main()
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A settings file, with sections of a sweep that one training ignores."""
    values = config(train={"images": 640, "r1_gamma": 0.1}).model_dump(mode="json")
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({**values, "name": "small", "search": {"trials": 2}}))
    return path


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_training_killed_at_random_moments_ends_as_if_it_had_not_been(file: Path, tmp_path: Path, ranks: int) -> None:
    settings = config(train={"images": 3200, "r1_gamma": 0.1})
    list(launch.run(settings, ranks, tmp_path / "whole"))
    dice, out = random.Random(0), tmp_path / "killed"
    for _ in range(2):
        killed_on_its_way(file, out, ranks, dice.uniform(0.0, 0.15))
    list(launch.run(settings, ranks, out))
    assert unbudgeted(reports(out)) == unbudgeted(reports(tmp_path / "whole"))
    one, other = (load(folder / "checkpoints" / "3200") for folder in (tmp_path / "whole", out))
    names = [(group, name) for group, tensors in one.tensors.items() for name in tensors]
    assert all(one.tensors[group][name].equal(other.tensors[group][name]) for group, name in names)


def test_it_reports_to_people_and_goes_on_where_it_stopped(file: Path, tmp_path: Path, command: Command) -> None:
    status, first, _ = command(file, "--out", tmp_path / "out", "--set", "train.images=320")
    assert status == 0
    assert first.splitlines()[-1].startswith("320 images")
    _, again, _ = command(file, "--out", tmp_path / "out", "--set", "train.images=480")
    assert [line.split()[0] for line in again.splitlines()] == ["480"]
    assert [r["images"] for r in reports(tmp_path / "out")] == [160, 320, 480]


@pytest.mark.parametrize("ranks", [1, 2])
def test_no_two_trainings_write_into_one_folder(ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    settings, out = config(train={"images": 96_000}), tmp_path / "out"
    first = launch.run(settings, ranks, out)
    told = next(first)
    with pytest.raises(TrainerError, match=r"out: another training writes there; wait for its end"):
        next(launch.run(settings, 1, out))
    first.close()
    assert next(launch.run(settings, 1, out)).images > told.images


def test_a_folder_that_cant_be_written_is_named(file: Path, command: Command) -> None:
    status, _, told = command(file, "--out", "/proc/nowhere")
    assert (status, told) == (1, "/proc/nowhere: can't be written (No such file or directory); give another folder\n")


class Heard(Watcher):
    """Keeps what it is told."""

    TICK = 0.0

    def __init__(self) -> None:
        self.told: list[str] = []
        self.images: list[int] = []
        self.speeds: list[float] = []

    def began(self, told: Sequence[str]) -> None:
        self.told += told

    def moved(self, images: int, speed: float) -> None:
        self.images.append(images)
        self.speeds.append(speed)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_watcher_hears_what_was_loaded_and_of_the_way(ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watcher, "TICK", 0.0)  # of this process; a rank of its own tells only after half a second
    heard, settings = (
        Heard(),
        config(train={"images": 320 if ranks == 1 else 48_000}, evaluate={"every_images": 48_000}),
    )
    list(launch.run(settings, ranks, watcher=heard))
    where = "on CPU" if ranks == 1 else "on 2 ranks, each on CPU"
    assert heard.told[0].startswith("digits: 1,437 images of shape 1x8x8 to train on, 360 held out; 10 classes: 0 (")
    sizes = parameter_counts(settings, Space((1, 8, 8), 10))
    assert heard.told[1:] == [
        f"generator of {sizes['generator']:,}, discriminator of {sizes['discriminator']:,} parameters, {where}"
    ]
    assert heard.images == sorted(set(heard.images)) and set(heard.images) <= {*range(16, 48_001, 16)}
    assert all(speed > 0 for speed in heard.speeds) and heard.speeds


def test_people_are_told_in_a_pipe_what_was_loaded_and_now_and_then_how_far_it_is(
    file: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "QUIET", 0.0)
    monkeypatch.setattr(Watcher, "TICK", 0.0)
    _, _, told = command(file, "--set", "train.images=320")
    first, second, *way = told.splitlines()
    assert first.startswith("digits: 1,437 images") and "parameters, on CPU" in second
    assert way[0].startswith("16 of 320 images  ") and " images/s  " in way[0] and way[0].endswith(" left")
    assert command(file, "--set", "train.images=320", "--json")[2].splitlines() == [first, second]


def test_json_is_a_line_per_report_and_nothing_else(file: Path, command: Command) -> None:
    _, text, _ = command(file, "--json", "--set", "train.images=160")
    (report,) = [json.loads(line) for line in text.splitlines()]
    assert set(report) == {"images", "seconds", "losses", "metrics", "provenance", "health", "checkpoint", "rewind"}
    assert set(report["health"]) == {"verdict", "reasons", "signals"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--set", "model.widht=3"), "model.widht: unknown setting; did you mean 'width'?"),
        (("--ranks", "3"), "train.batch_size: 16 can't be shared by 3 ranks; 18 can"),
        (("--set", "data={name: images, path: /no/where}"), "data.path: '/no/where' is not a folder"),
    ],
)
def test_wrong_input_is_status_two_and_names_the_way_out(
    file: Path, command: Command, more: tuple[str, ...], says: str
) -> None:
    status, _, told = command(file, *more)
    assert status == 2
    assert says in told


def test_two_ranks_are_spawned_and_agree_with_one(file: Path, tmp_path: Path) -> None:
    settings = config(train={"images": 320, "r1_gamma": 0.1})
    two = list(launch.run(settings, 2, tmp_path / "two"))
    (one,) = [r for r in launch.run(settings, 1, tmp_path / "one") if r.images == 320]
    assert [r.images for r in two] == [160, 320]
    assert two[-1].losses == pytest.approx(one.losses, rel=1e-4)
    assert len(reports(tmp_path / "two")) == 2


@pytest.mark.parametrize("nodes", [1, 2])
def test_torchrun_brings_the_ranks_from_one_node_or_many(file: Path, tmp_path: Path, nodes: int) -> None:
    """Two ranks, as everywhere: the same report as from ranks of our own, to the last bit; and it goes on."""
    expected = list(launch.run(config(train={"images": 640, "r1_gamma": 0.1}), 2, tmp_path / "ours"))
    told: list[Any] = []
    for images in (320, 640)[-nodes:]:
        texts = torchrun(
            nodes, [str(file), "--json", "--out", str(tmp_path / "run"), "--set", f"train.images={images}"]
        )
        told += [json.loads(line) for text in texts for line in text.splitlines()]
    assert [report["images"] for report in told] == [160, 320, 480, 640], "only rank 0 speaks"
    assert told[-1]["losses"] == expected[-1].losses
    assert told[-1]["metrics"] == pytest.approx(expected[-1].metrics, rel=1e-9)
    assert [r["images"] for r in reports(tmp_path / "run")] == [160, 320, 480, 640]


def torchrun(nodes: int, words: list[str]) -> list[str]:
    """What each node's ranks print; two ranks in all."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port, each = probe.getsockname()[1], 2 // nodes
    command = [sys.executable, "-m", "torch.distributed.run", "--master-addr", "127.0.0.1", "--master-port", str(port)]
    command += ["--nnodes", str(nodes), "--nproc-per-node", str(each)]
    started = [
        subprocess.Popen(
            [*command, "--node-rank", str(node), "-m", "trainers", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for node in range(nodes)
    ]
    texts = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0] * nodes
    return texts


def test_what_goes_wrong_on_a_rank_is_told_to_the_caller() -> None:
    with pytest.raises(TrainerError, match=r"train\.batch_size: 1500 is more than the 1437 training examples"):
        list(launch.run(config(train={"batch_size": 1500, "images": 3000}), 2))


def test_a_rank_that_is_killed_is_told_with_the_way_on(tmp_path: Path) -> None:
    others = set(multiprocessing.active_children())  # ranks that the session keeps for other tests
    reports = launch.run(config(train={"images": 10**6}), 2, tmp_path)
    next(reports)
    (set(multiprocessing.active_children()) - others).pop().kill()
    with pytest.raises(TrainerError, match=r"a rank of the training died.*the same command again goes on"):
        list(reports)


def test_a_training_that_its_verdict_ended_stays_ended(file: Path, tmp_path: Path, command: Command) -> None:
    words = ("--out", tmp_path, "--json", "--set", "train.generator_lr=1e30", "--set", "health.stop=diverged")
    _, first, _ = command(file, *words)
    report = json.loads(first, parse_constant=pytest.fail)
    assert report["health"]["verdict"] == "diverged" == launch.last_verdict(tmp_path)
    assert line({"losses": {"generator": math.nan}}) == '{"losses": {"generator": null}}', "strict readers know no NaN"
    assert command(file, *words) == (0, "", "")


def test_report_lines_after_the_last_whole_checkpoint_are_forgotten(tmp_path: Path) -> None:
    list(launch.run(config(), 1, tmp_path))
    (tmp_path / "checkpoints" / "320" / "manifest.json").write_text("{}")
    with (tmp_path / "reports.jsonl").open("a") as file:
        file.write('{"images": 4')  # cut by a kill
    (again,) = launch.run(config(), 1, tmp_path)
    assert [r["images"] for r in reports(tmp_path)] == [160, 320]
    assert again.images == 320


def test_a_report_lost_between_its_checkpoint_and_its_line_comes_back(tmp_path: Path) -> None:
    list(launch.run(config(), 1, tmp_path))
    told = (tmp_path / "reports.jsonl").read_text()
    (tmp_path / "reports.jsonl").write_text(told.splitlines(keepends=True)[0])
    assert list(launch.run(config(), 1, tmp_path)) == []
    assert (tmp_path / "reports.jsonl").read_text() == told


def reports(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "reports.jsonl").read_text().splitlines()]


def unbudgeted(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without reasons, which say how much of the budget is spent: those that are killed have a longer one."""
    return [{**r, "health": {**r["health"], "reasons": []}} for r in timeless(told)]


def timeless(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**r, "seconds": 0, "checkpoint": None} for r in told]


def test_what_another_job_left_in_the_environment_confuses_no_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {"MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "1", "RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}
    left |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "SLURM_PROCID": "3", "SLURM_NTASKS": "8"}
    for name, value in left.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    reports = list(launch.run(config(train={"images": 640}), 2))
    assert reports[-1].images == 640
    assert not list(tmp_path.glob("gansweep-*")), "the place where the ranks met is gone"
