"""What ``import gansweep`` offers beside the handle on a sweep. The command line is made of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator import environment, spec
from orchestrator import status as standing
from orchestrator.client.handle import Handle
from orchestrator.commands import PROFILE, used
from orchestrator.errors import UserError
from orchestrator.paths import Home
from orchestrator.profiles import Profile, is_job
from orchestrator.profiles import load as load_profile
from orchestrator.spec import Sweep
from trainers.config import Config

if TYPE_CHECKING:
    from orchestrator.doctor import Finding
    from orchestrator.generators.augmenting import Augmented
    from orchestrator.training import Trained
    from trainers.report import Report
    from trainers.watching.watcher import Watcher

Source = str | Path | Mapping[str, Any] | Sweep
"""A sweep file, the settings that could stand in one, or a sweep."""
Place = str | Path | None
"""A home; None is GANSWEEP_HOME, or ``gansweep-home`` in the current folder."""


def submit(
    sweep: Source,
    *,
    set: Mapping[str, Any] | None = None,
    name: str | None = None,
    trials: int | None = None,
    warm_start: str | None = None,
    address: str | None = None,
    env: Sequence[str] = (),
    home: Place = None,
    profile: str | None = None,
) -> Handle:
    """Run a sweep in the background, or go on with the one of its name; returns once it runs, or is over.

    ``set`` overrides settings by dotted name, ``name`` and ``trials`` that of the sweep and the number of trials; a new
    sweep begins with what the one named ``warm_start`` knows.
    ``address`` is a Ray cluster, HOST:PORT or ``auto`` (None: this machine). The sweep outlives this process. With the
    cluster's dashboard, http(s)://HOST:8265, it is driven there, by a Ray job that gets the variables named in ``env``.

    Raises SettingsError with all that is wrong with the sweep; UserError, WorkError with why it could not start.
    """
    from orchestrator.client.background import Driver

    at = _given(home, profile)
    address = at.profile.cluster(address)
    asked = read(sweep, spec.overrides(set, name, trials), at.profile, here=address is None)
    if is_job(address, env):
        from orchestrator import remote

        remote.submit(asked, warm_start, remote.behind(at, address, env), at.profile_name, print)
        return Handle(asked.name, at)
    words = ["--warm-start", warm_start] if warm_start else []
    driver = Driver(asked, ["submit", "/dev/stdin", *words], asked.to_yaml(), at, address)
    driver.begun()
    return Handle(asked.name, at, driver)


def load(name: str, *, home: Place = None, profile: str | None = None) -> Handle:
    """A sweep that stands. Raises UserError, with those that are known, where there is none of this name."""
    at = _given(home, profile)
    standing.find(name, at)
    return Handle(name, at)


def sweeps(*, home: Place = None, profile: str | None = None) -> list[Handle]:
    """All that live there."""
    at = _given(home, profile)
    return [Handle(name, at) for name in standing.sweeps(at)]


def plan(
    sweep: Source, *, set: Mapping[str, Any] | None = None, home: Place = None, profile: str | None = None
) -> dict[str, Any]:
    """What a sweep asks for: every setting, an estimate of images and time, its cost by rung, the networks' sizes; as
    ``gansweep plan --json``. Runs nothing.
    """
    from orchestrator.planning import earlier, estimate

    at = _given(home, profile)
    asked = read(sweep, spec.overrides(set), at.profile, here=True)
    return estimate.document(asked, earlier.like(asked, at))


def train(
    config: Source | Config,
    *,
    set: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    ranks: int = 1,
    heard: Callable[[Report], None] = lambda _: None,
    watcher: Watcher | None = None,
    home: Place = None,
) -> Trained:
    """One training with no search; the same call again goes on from what stands in ``out`` (default: ``train/NAME`` in
    the home). ``heard`` is told each report.

    It trains in this process. More ``ranks`` are processes of their own, for which a script needs
    ``if __name__ == "__main__":``.
    """
    from orchestrator.training import train as run

    if isinstance(config, Config) and not isinstance(config, Sweep):
        config = config.model_dump(mode="json")
    if isinstance(config, Mapping):
        config = {"name": "training", **config}
    asked = read(config, spec.overrides(set), load_profile(PROFILE), here=True)
    folder = Path(out) if out is not None else _given(home, PROFILE).root / "train" / asked.name
    return run(asked.trial_config({}), ranks, folder, heard, watcher)


def init(
    kind: str,
    where: str | Path | None = None,
    *,
    output: str | Path | None = None,
    minutes: float = 30,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write a first sweep file and return where: on the pictures at ``where`` (``images``, a folder; ``parquet``), for
    a sweep that takes about so many ``minutes`` here, or one that came with gansweep (``digits``). ``say`` is told what
    is seen on the way.
    """
    from orchestrator.planning import begin

    file = Path(output) if output is not None else None
    if kind not in begin.KINDS:
        return begin.copy(kind, file)
    if where is None:
        raise UserError(f"init {kind}: of which pictures? gansweep init {kind} PLACE")
    return begin.fit(kind, str(where), file, minutes, say)


def doctor(
    sweep: Source | None = None, *, address: str | None = None, home: Place = None, profile: str | None = None
) -> list[Finding]:
    """Is everything there that a sweep needs? What was found of each, and whether it is as it must be."""
    from orchestrator.doctor import examine

    at = _given(home, profile)
    return examine(at, read(sweep, (), at.profile, here=False) if sweep is not None else None, address)


def serve(
    model: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    trusted: Collection[str] = (),
    home: Place = None,
    profile: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Answer requests for samples of a registered model or a checkpoint folder over HTTP, until Ctrl-C; 0 is any free
    ``port``. ``say`` is told the address, ``trusted`` is as for ``Generator.load``.

    Raises UserError where ``host`` is not this machine's own and the environment has no GANSWEEP_SERVE_TOKEN.
    """
    from orchestrator.generators import serving
    from orchestrator.generators.generator import Generator

    serving.serve(Generator.load(model, trusted=trusted, home=home, profile=profile), str(model), host, port, say)


def augment(
    model: str | Path,
    output: str | Path,
    *,
    per_class: int,
    data: str | Path | None = None,
    gain: bool = False,
    seed: int = 0,
    truncation: float | None = None,
    trusted: Collection[str] = (),
    home: Place = None,
    profile: str | None = None,
) -> Augmented:
    """Write labelled pictures of ``data`` and ``per_class`` samples of each class as Parquet to ``output``, an empty
    folder or ``s3://bucket/prefix``. With ``gain`` small classifiers are taught with and without the samples.

    Raises UserError where model and data don't go together, trainers.errors.DataError where the set can't be written.
    """
    from orchestrator.generators.augmenting import AugmentOptions, augment
    from orchestrator.generators.generator import registry_of

    options = AugmentOptions(per_class, None if data is None else str(data), seed, truncation, tuple(trusted))
    return augment(str(model), options, str(output), registry_of(place(home, profile)), gain)


def ui(*, port: int = 5000, home: Place = None, profile: str | None = None, say: Callable[[str], None] = print) -> None:
    """The MLflow UI on runs and models; a home's own until Ctrl-C. ``say`` is told the addresses."""
    from orchestrator.client import ui

    ui.serve(_given(home, profile), port, say)


# -- what the command line shares --------------------------------------------------------------------------------------


def place(home: Place = None, profile: str | None = None) -> Home:
    """The home, where the environment is fit for the libraries below."""
    environment.mend()
    return Home.at(home, profile)


def _given(home: Place, profile: str | None) -> Home:
    """The same for Python's callers, whose places the commands that a message names then have."""
    used.update({"--home": str(home)} if home else {}, **({"--profile": profile} if profile else {}))
    return place(home, profile)


def read(sweep: Source, changes: Sequence[str], profile: Profile, here: bool) -> Sweep:
    """A checked sweep with ``changes`` laid over it; ``here``: its files lie on this machine."""
    if isinstance(sweep, Sweep) and changes:
        sweep = yaml.safe_load(sweep.to_yaml())
    if isinstance(sweep, Sweep):
        return sweep
    return spec.load(Path(sweep) if isinstance(sweep, str) else sweep, changes, here, profile.default_resources)
