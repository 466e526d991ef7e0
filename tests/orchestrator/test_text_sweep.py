"""A whole sweep over generators of text: searched, judged, confirmed, promoted, and asked in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import UserError
from orchestrator.generators.sampling import SampleOptions, sample
from tests.orchestrator.sweeps import User
from tests.trainers.small import config
from trainers.loop import train
from trainers.world import World

SWEEP = """
name: sums
family: text
data: {name: grammar, path: GRAMMAR, length: 3}
model: {generator: lstm, discriminator: conv1d, latent_dim: 8, width: 32, depth: 1}
train: {images: 1_920, batch_size: 32, loss: relativistic, r1_gamma: 0.5, r2_gamma: 0.5, ema_half_life: 500}
evaluate: {every_images: 640, samples: 256, metrics: [tv, valid, ngram_tv]}
search:
  trials: 2
  space:
    text.method: {choice: [mle, gan]}
    train.generator_lr: {float: [1.0e-3, 1.0e-2], log: true}
  start_with: [{text.method: mle, train.generator_lr: 1.0e-2}, {text.method: gan, train.generator_lr: 2.0e-3}]
objective: {minimize: tv}
confirm: {top: 1, seeds: 1}
"""


def test_a_sweep_over_text_ends_in_a_registered_generator(tmp_path: Path) -> None:
    grammar = tmp_path / "sums.txt"
    grammar.write_text("S -> N [.6] | N '+' S [.4]\nN -> '1' [.5] | '2' [.3] | 'x' [.2]\n")
    user = User(tmp_path, SWEEP.replace("GRAMMAR", str(grammar)))
    done = user.run("submit", str(user.file))
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = user.status("sums")["trials"]
    assert first["verdict"] == "healthy"
    assert first["metrics"]["tv"] < second["metrics"]["tv"], "so few steps are enough for likelihood only"
    promoted = user.run("promote", "sums", "--json")
    assert promoted.returncode == 0, promoted.stderr
    uri = json.loads(promoted.stdout)["uri"]
    made = user.predict(uri)
    assert made.shape == (5,)
    assert np.mean([text[0] in "12x" for text in made]) > 0.5, "a line of text per seed"
    sample(uri, SampleOptions(range(5)), tmp_path / "drawn.txt", user.mlflow)
    assert (tmp_path / "drawn.txt").read_text().splitlines() == made.tolist()
    for gone in ("models:/sum@champion", "models:/sums@challenger"):
        with pytest.raises(UserError, match=rf"the registry has no {gone}; it has models:/sums@champion$"):
            sample(gone, SampleOptions(range(2)), tmp_path / "drawn.txt", user.mlflow)
    with pytest.raises(UserError, match="nothing between one text and the next"):
        sample(uri, SampleOptions(range(2), interpolate=True), tmp_path / "film.gif", user.mlflow)


def test_pictures_are_no_text_file(tmp_path: Path) -> None:
    *_, last = train(config(train={"images": 160}), World.single(), out=tmp_path)
    with pytest.raises(UserError, match="makes no text"):
        sample(str(last.checkpoint), SampleOptions(range(2)), tmp_path / "drawn.txt", "")
