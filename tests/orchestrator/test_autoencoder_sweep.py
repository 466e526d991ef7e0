"""A whole sweep over autoencoders: searched, judged, confirmed, promoted, and drawn from in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tests.orchestrator.sweeps import User

SWEEP = """
name: codes
family: autoencode
data: {name: digits}
model: {generator: mlp, discriminator: mlp, latent_dim: 8, width: 128, depth: 2, growth: 1}
train: {images: 12_288, batch_size: 64, generator_lr: 2.0e-3, loss: relativistic, r1_gamma: 0.1, ema_half_life: 500}
evaluate: {every_images: 4_096, samples: 256, metrics: [fid, mse, mse_share, active_units]}
search:
  trials: 2
  space:
    autoencode.method: {choice: [ae, vae-gan]}
    autoencode.gamma: {float: [0.05, 0.2], log: true, when: {autoencode.method: [vae-gan]}}
  start_with: [{autoencode.method: ae}, {autoencode.method: vae-gan, autoencode.gamma: 0.1}]
objective: {minimize: fid, require: {mse: "<= 0.2"}}
confirm: {top: 1, seeds: 1}
"""


def test_a_sweep_over_autoencoders_ends_in_a_registered_generator(tmp_path: Path) -> None:
    user = User(tmp_path, SWEEP)
    done = user.run("submit", str(user.file))
    assert done.returncode == 0, done.stdout + done.stderr
    document = user.status("codes")
    first, second = document["trials"]
    assert first["params"] == {"autoencode.method": "ae"}
    assert second["params"]["autoencode.gamma"] == 0.1
    assert all(0 < trial["metrics"]["mse"] < 0.3 and trial["verdict"] == "healthy" for trial in document["trials"])
    promoted = user.run(
        "promote", "codes", "--trial", "0", "--force", "--reason", "the one with a fitted prior", "--json"
    )
    assert promoted.returncode == 0, promoted.stderr
    uri = json.loads(promoted.stdout)["uri"]
    made = user.predict(uri)
    assert made.shape == (5, 8, 8, 1)
    assert made.std(0).max() > 0, "a picture per seed"
    drawn = user.run("sample", uri, "-n", "5", "-o", str(tmp_path / "drawn.npy"))
    assert drawn.returncode == 0, drawn.stderr
    assert np.array_equal(made, np.load(tmp_path / "drawn.npy"))
