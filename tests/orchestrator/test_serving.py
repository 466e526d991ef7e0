"""``gansweep serve``: over a real socket, a generator answers with what ``sample`` and ``translate`` make."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import uvicorn
from PIL import Image

from orchestrator.errors import UserError
from orchestrator.generators import serving
from orchestrator.generators.generator import Generator
from tests.trainers.small import config
from tests.trainers.test_text import config as of_writer
from tests.trainers.test_translate import config as of_translator
from trainers.config import Config
from trainers.loop import train
from trainers.world import World


class Answer(NamedTuple):
    status: int
    kind: str
    body: bytes

    @property
    def array(self) -> Any:
        return np.load(io.BytesIO(self.body), allow_pickle=False)

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def ask(address: str, sent: bytes | None = None, **headers: str) -> Answer:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, sent, headers), timeout=30) as answer:
            return Answer(answer.status, answer.headers["Content-Type"], answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers["Content-Type"], error.read())


@contextmanager
def served(generator: Generator, token: str = "") -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(serving.app(generator, "m", token), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while thread.is_alive() and not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def trained(config: Config, out: Path) -> Path:
    checkpoint = list(train(config, World.single(), out=out))[-1].checkpoint
    assert checkpoint is not None
    return checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(config(train={"images": 160}, model={"conditional": True}), tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def digits(checkpoint: Path) -> Generator:
    return Generator.load(checkpoint)


@pytest.fixture(scope="module")
def at(digits: Generator) -> Iterator[str]:
    with served(digits) as address:
        yield address


# -- samples -----------------------------------------------------------------------------------------------------------


def test_the_array_is_that_of_the_seeds_and_labels(at: str, digits: Generator) -> None:
    one = ask(f"{at}/samples.npy?seeds=3,7,9&label=4&truncation=0.7").array
    assert np.array_equal(one, digits.sample(seeds=[3, 7, 9], label=4, truncation=0.7))
    each = ask(f"{at}/samples.npy?seeds=3,7,9&label=4&label=0&label=1").array
    assert np.array_equal(each, digits.sample(seeds=[3, 7, 9], label=[4, 0, 1]))
    assert np.array_equal(each[1:2], digits.sample(seeds=[7], label=0)) and not np.array_equal(each, one)
    counted = ask(f"{at}/samples.npy?n=5&seed=3").array
    assert np.array_equal(counted, digits.sample(seeds=range(3, 8)))


def test_the_picture_is_a_grid(at: str, digits: Generator) -> None:
    answer = ask(f"{at}/samples.png?n=16")
    assert answer.kind == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.body))), np.asarray(digits.grid(16)))


def test_it_says_what_it_makes(at: str) -> None:
    facts = ask(at).document
    assert facts["model"] == "m" and facts["shape"] == [1, 8, 8]
    assert "label" in facts["conditions"] and ask(f"{at}{facts['try']}").status == 200
    assert ask(f"{at}/health").document == {"status": "ok"}


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ("samples.npy?label=ten", 400, "label: 'ten' is none of the 10 classes"),
        ("samples.npy?n=2&label=1&label=2&label=3", 400, "3 labels for 2 examples"),
        ("samples.npy?seeds=3,x", 422, "valid integer"),
        (f"samples.npy?seed={2**63}", 422, "less than"),
        (f"samples.npy?n={10**9}", 422, "less than or equal to 1024"),
        (f"samples.npy?seeds={','.join(['1'] * 1_025)}", 422, "at most 1024"),
        ("samples.npy?sed=3", 422, "Extra inputs are not permitted"),
        ("samples.npy?truncation=0", 422, "greater than 0"),
        ("samples.gif", 422, "'png', 'npy' or 'txt'"),
        ("samples.txt", 404, "this generator makes no text; ask for .png or .npy"),
        ("translation.png", 404, "Not Found"),
    ],
)
def test_a_mistake_is_told(at: str, asked: str, status: int, says: str) -> None:
    answer = ask(f"{at}/{asked}")
    assert answer.status == status
    assert says in str(answer.document["detail"])


def test_a_page_under_another_name_that_leads_here_reads_nothing(at: str) -> None:
    assert ask(f"{at}/samples.png", Host="evil.example").status == 400


# -- text --------------------------------------------------------------------------------------------------------------


def test_text_is_answered_as_lines(tmp_path: Path) -> None:
    writer = Generator.load(trained(of_writer(), tmp_path))
    lines = writer.sample(seeds=[3, 7, 9]).tolist()
    with served(writer) as at:
        answer = ask(f"{at}/samples.txt?seeds=3,7,9")
        assert answer.kind == "text/plain; charset=utf-8" and answer.body.decode().splitlines() == lines
        assert ask(f"{at}/samples.npy?seeds=3,7,9").array.tolist() == lines
        assert ask(f"{at}/samples.png").kind == "image/png"
        assert ask(f"{at}{ask(at).document['try']}").body.count(b"\n") == 16


# -- translations ------------------------------------------------------------------------------------------------------


def test_a_translator_is_sent_pictures_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = Generator.load(trained(of_translator(train={"images": 24}), tmp_path))
    buffer, fitting = io.BytesIO(), np.asarray(Image.new("RGB", (16, 16), "orange"))
    Image.new("RGB", (40, 30), "orange").save(buffer, "PNG")
    with served(translator) as at:
        made = ask(f"{at}/translation.npy", buffer.getvalue()).array
        assert np.array_equal(made, translator.translate(fitting[None]))
        assert ask(f"{at}/translation.png", buffer.getvalue()).kind == "image/png"
        broken = ask(f"{at}/translation.png", b"no picture")
        assert (broken.status, broken.document["detail"]) == (400, "not an image of any known format")
        assert ask(f"{at}/samples.png").status == 404
        monkeypatch.setattr(serving, "LARGEST", 64)
        assert ask(f"{at}/translation.png", buffer.getvalue()).status == 413


# -- who may ask -------------------------------------------------------------------------------------------------------


def test_with_a_token_only_its_holders_are_answered(digits: Generator) -> None:
    with served(digits, token="pässword") as at:
        for path in ("", "samples.png"):
            assert ask(f"{at}/{path}").status == 401
            assert ask(f"{at}/{path}", Authorization="Bearer password").status == 401
            known = "Bearer pässword".encode().decode("latin-1")
            assert ask(f"{at}/{path}", Authorization=known, Host="gpu.example.com").status == 200
        assert ask(f"{at}/health").status == 200


def test_the_network_is_let_in_by_a_token_only(digits: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(serving.VARIABLE, raising=False)
    for host in ("0.0.0.0", "::", "gpu.example.com"):
        with pytest.raises(UserError, match="set GANSWEEP_SERVE_TOKEN to a secret first"):
            serving.serve(digits, "m", host, 0, print)


def test_a_port_that_is_taken_is_told(digits: Generator, at: str) -> None:
    with pytest.raises(UserError, match=r"127.0.0.1, port \d+: .*; choose another with --port"):
        serving.serve(digits, "m", "127.0.0.1", int(at.rpartition(":")[2]), print)


def test_the_command_says_where_and_ends_with_ctrl_c(checkpoint: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "orchestrator", "serve", str(checkpoint), "--port", "0"]
    environment = {**os.environ, "GANSWEEP_HOME": str(tmp_path)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None and running.stderr is not None
        address = running.stdout.readline().strip()
        assert ask(f"{address}/samples.png?n=1").status == 200
        running.send_signal(signal.SIGINT)
        assert (running.wait(10), running.stderr.read()) == (0, "")
