"""Accuracy and speed of our measures beside the packages that others use, in one run.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.metrics_speed [--quick] > infra/results/metrics_speed.md

Seconds are processor time of one thread, which other work on the machine disturbs least. About ten minutes; ``--quick``
leaves out n = 10,000. torch-fidelity is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import prdc as prdc_package
import scipy.linalg
import torch
from torch import Tensor
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from trainers.metrics.frechet import Gaussian, distance_to, frechet_distance
from trainers.metrics.kernel import kernel_distance
from trainers.metrics.mind import sliced_distance
from trainers.metrics.prdc import prdc
from trainers.randomness import normal

D = 2048
Measure = Callable[[Tensor, Tensor], float]


def main() -> None:
    """Prints the tables as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    counts = [1_000] if parser.parse_args().quick else [1_000, 10_000]
    print(__doc__.splitlines()[0] if __doc__ else "", "\n")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; {', '.join(_versions())}.")
    print(f"Load average before the run: {os.getloadavg()[0]:.1f}.")
    print(f"Features: Gaussian, correlated, d = {D:,}, float64.\n")
    for n in counts:
        real, fake = features(n, "real"), features(n, "fake") + 0.1
        table(f"Frechet distance, n = {n:,}", FRECHET, real, fake)
        if n == 1_000:
            table(f"Kernel distance, n = {n:,}", KERNEL, real, fake)
            table(f"Coverage, n = {n:,}", COVERAGE, real, fake)
            table(f"MIND, n = {n:,}", {"ours": sliced_distance}, real, fake)
    real, collapsed = features(1_000, "real"), features(20, "few").repeat(50, 1)
    table("Frechet distance of a collapsed generator: 20 different points, n = 1,000", FRECHET, real, collapsed)


def features(n: int, name: str) -> Tensor:
    """Correlated features (n, D) whose variances fall over three decades, as those of real networks do."""
    scales = torch.logspace(0, -1.5, D, dtype=torch.float64)
    mixing = torch.linalg.qr(normal((D, D), "mixing").double()).Q
    rows: Tensor = (normal((n, D), name).double() * scales) @ mixing
    return rows


def table(title: str, measures: dict[str, Measure], real: Tensor, fake: Tensor) -> None:
    """One row per implementation: value, difference from ours, seconds, and how many times ours is faster."""
    print(f"## {title}\n")
    print("| implementation | value | relative difference | CPU seconds | ours is faster by |\n|---|---|---|---|---|")
    reference = seconds = 0.0
    for name, measure in measures.items():
        value, took = timed(partial(measure, real, fake))
        reference, seconds = reference or value, seconds or took
        print(
            f"| {name} | {value:.8g} | {abs(value / reference - 1):.1e} | {took:.2f} | {took / seconds:.1f} |",
            flush=True,
        )
    print()


def timed(measure: Callable[[], float]) -> tuple[float, float]:
    """The value, and the processor time of the fastest of three calls (of one, where that takes ten seconds)."""
    seconds: list[float] = []
    value = 0.0
    while len(seconds) < 3 and sum(seconds) < 10:
        start = time.process_time()
        value = measure()
        seconds.append(time.process_time() - start)
    return value, min(seconds)


def _sqrtm(real: Tensor, fake: Tensor) -> float:
    """As the first implementations do: covariances, scipy's matrix square root, real part."""
    x, y = real.numpy(), fake.numpy()
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b)
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * np.trace(root.real))


def _torchmetrics(real: Tensor, fake: Tensor) -> float:
    return float(_compute_fid(real.mean(0), real.T.cov(), fake.mean(0), fake.T.cov()))


def _torch_fidelity(real: Tensor, fake: Tensor) -> float:
    from torch_fidelity.metric_fid import (  # type: ignore[import-not-found]
        fid_features_to_statistics,
        fid_statistics_to_metric,
    )

    statistics = [fid_features_to_statistics(x) for x in (real, fake)]
    return float(fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"])


def _prdc_package(real: Tensor, fake: Tensor) -> float:
    with redirect_stdout(io.StringIO()):
        return float(prdc_package.compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)["coverage"])


@lru_cache(maxsize=1)
def _fitted(real: Tensor) -> Gaussian:
    return Gaussian.fit(real)


FRECHET: dict[str, Measure] = {
    "ours": frechet_distance,
    "ours, real side fitted before, as in a sweep": lambda real, fake: distance_to(_fitted(real), fake),
    "scipy.linalg.sqrtm": _sqrtm,
    "torchmetrics": _torchmetrics,
    "torch-fidelity": _torch_fidelity,
}
KERNEL: dict[str, Measure] = {"ours": kernel_distance, "torchmetrics": lambda x, y: float(poly_mmd(x, y))}
COVERAGE: dict[str, Measure] = {
    "ours": lambda x, y: prdc(x, y)["coverage"],
    "prdc": _prdc_package,
}


def _versions() -> list[str]:
    def named(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"{name} not installed"

    return [named(name) for name in ("torch", "scipy", "torchmetrics", "torch-fidelity", "prdc")]


def _installed(measures: dict[str, Any]) -> None:
    try:
        version("torch-fidelity")
    except PackageNotFoundError:
        measures.pop("torch-fidelity")


if __name__ == "__main__":
    _installed(FRECHET)
    main()
