"""Conditions as columns reach the command line, the registry and whoever loads a model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from orchestrator.generators.generator import Generator
from orchestrator.generators.sampling import SampleOptions
from orchestrator.generators.sampling import sample as to_file
from orchestrator.registry.connection import SAFE
from orchestrator.registry.drawing import sample
from orchestrator.registry.models import Evidence, promote
from trainers.config import Config
from trainers.errors import UnusableSettingError
from trainers.loop import train
from trainers.world import World

SOURCE = """
import torch
from trainers.data import Dataset, Examples, Space
from trainers.data.conditions import columns

def flags(settings):
    kind, tone = torch.arange(64) % 2, torch.arange(64) / 63
    labels, told = columns({"kind": ["cross" if one else "bar" for one in kind], "tone": tone})
    pictures = torch.zeros(64, 1, 8, 8)
    pictures[:, :, 3:5] = tone[:, None, None, None]
    pictures[kind == 1, :, :, 3:5] = 1.0
    examples = Examples(pictures * 2 - 1, labels)
    return Dataset("flags", Space((1, 8, 8), columns=told), examples, examples)
"""


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a generator of bars and crosses in some tone, from the user's own data."""
    folder = tmp_path_factory.mktemp("flags")
    (folder / "flagdata.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    settings = Config.model_validate(
        {
            "data": {"name": "flagdata:flags", "resolution": 8, "channels": 1},
            "model": {"generator": "mlp", "discriminator": "mlp", "latent_dim": 8, "width": 16, "conditional": True},
            "train": {"images": 320, "batch_size": 16},
            "evaluate": {"every_images": 320, "samples": 64, "metrics": ("fid", "worst_condition_coverage")},
            "health": {"stop": "never"},
        }
    )
    try:
        (report,) = train(settings, World.single(), out=folder)
    finally:
        sys.path.remove(str(folder))
    assert report.checkpoint is not None and "worst_condition_coverage" in report.metrics, report.health.reasons
    return report.checkpoint


def drawn(flags: Path, file: Path, **options: object) -> np.ndarray:
    to_file(str(flags), SampleOptions(range(6), **options), file, "")  # type: ignore[arg-type]
    made: np.ndarray = np.load(file)
    return made


def test_a_checkpoint_is_asked_by_name_and_value(flags: Path, tmp_path: Path) -> None:
    crosses = drawn(flags, tmp_path / "a.npy", label="kind=cross,tone=0.5")
    assert not np.array_equal(crosses, drawn(flags, tmp_path / "b.npy", label="kind=bar,tone=0.5"))
    assert not np.array_equal(crosses, drawn(flags, tmp_path / "c.npy", label="kind=cross,tone=0.9"))
    every = drawn(flags, tmp_path / "d.npy", classes=True)
    assert every.shape[0] == 12
    np.testing.assert_array_equal(every[6:], drawn(flags, tmp_path / "e.npy", label="kind=cross"))
    generator = Generator.load(flags)
    np.testing.assert_array_equal(generator.sample(6, label={"kind": "cross", "tone": 0.5}), crosses)
    with pytest.raises(UnusableSettingError, match="tone: 7 is nothing that was trained on; give 0 to 1"):
        drawn(flags, tmp_path / "f.npy", label="tone=7")


def test_a_film_keeps_its_conditions(flags: Path, tmp_path: Path) -> None:
    to_file(str(flags), SampleOptions(range(2), "kind=cross", interpolate=True), tmp_path / "walk.gif", "")
    assert (tmp_path / "walk.gif").stat().st_size > 0


def test_a_registered_model_takes_a_column_for_each_condition(
    flags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", *SAFE):
        monkeypatch.setenv(name, "")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    run = client.create_run(client.create_experiment("flags", artifact_location=str(tmp_path / "artifacts")))
    tags = dict.fromkeys(("run_id", "checkpoint", "trial", "sweep", "verdict", "objective", "data.fingerprint"), "x")
    evidence = Evidence(flags, flags / "manifest.json", None, {f"gansweep.{name}": tag for name, tag in tags.items()})
    document = promote(uri, "flags", "champion", run.info.run_id, evidence, lambda: None)
    asked = sample(uri, document["uri"], np.arange(6), "kind=cross,tone=0.5")
    np.testing.assert_array_equal(asked, drawn(flags, tmp_path / "a.npy", label="kind=cross,tone=0.5"))
    with pytest.raises(UnusableSettingError, match="kind: 'star' is none of the 2 classes"):
        sample(uri, document["uri"], np.arange(6), "kind=star")
    code = f"""
import json, mlflow, pandas as pd
model = mlflow.pyfunc.load_model({document["uri"]!r})
columns = [(column.name, column.required) for column in model.metadata.get_input_schema().inputs]
table = pd.DataFrame({{"seed": range(2), "kind": ["cross", "bar"], "tone": [0.5, None]}})
print(json.dumps([columns, model.predict(table).tolist(), model.predict(table[["seed"]]).shape]))
"""
    environment = {"MLFLOW_TRACKING_URI": uri, "PATH": "/usr/bin:/bin", **SAFE}
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    columns, made, shape = json.loads(answer.stdout.splitlines()[-1])
    assert columns == [["seed", True], ["kind", False], ["tone", False]] and shape == [2, 8, 8, 1]
    np.testing.assert_array_equal(np.array(made[0]), asked[0])
    assert pd.DataFrame({"seed": [0]}).shape == (1, 1)
