"""Images per second of our loop beside the plain loop that a person would write.

    python -m tests.benchmarks.throughput [--seconds 20] [--threads 1] [--compile]

Same networks, same loss. The plain loop has no ranks, no health, no averages, no exact resume; it draws real rows by
random index. Each case alternates short stretches of both, so that a busy machine slows both alike, and compares the
best stretch of each. Metrics are off. The table goes to infra/results/throughput.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from trainers.config import Config
from trainers.data import Dataset, Examples, Space, load
from trainers.families.gan.training import GanTraining
from trainers.models import build_discriminator, build_generator
from trainers.world import World

ROOT = Path(__file__).parents[2]
MLP = {"generator": "mlp", "discriminator": "mlp", "width": 128, "depth": 3, "growth": 1, "latent_dim": 2}
R3 = {"loss": "relativistic", "r1_gamma": 0.01, "r2_gamma": 0.01}
CASES: dict[str, dict[str, Any]] = {
    "dcgan 32x32, width 16, batch 64": {
        "data": {"name": "images", "path": "noise", "resolution": 32},
        "model": {"width": 16},
        "train": {"batch_size": 64},
    },
    "2-D MLP 3x128, batch 100": {"data": {"name": "grid"}, "model": MLP, "train": {"batch_size": 100}},
    "2-D MLP 3x128, batch 512": {"data": {"name": "grid"}, "model": MLP, "train": {"batch_size": 512}},
    "relativistic, R1 and R2, batch 100": {"data": {"name": "grid"}, "model": MLP, "train": {"batch_size": 100, **R3}},
    "relativistic, R1 and R2, batch 512": {"data": {"name": "grid"}, "model": MLP, "train": {"batch_size": 512, **R3}},
}


def main() -> None:
    """Measures every case and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="per case and loop")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="ours with train.compile, for the MLPs")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = ["| case | plain images/s | ours images/s | ours / plain |", "|---|---|---|---|"]
    for name, groups in CASES.items():
        compiled = arguments.compile and groups["data"]["name"] == "grid"
        config = Config.model_validate({**groups, "train": {**groups["train"], "compile": compiled}})
        plain, ours = rates(config, data_of(config), arguments.seconds)
        lines.append(f"| {name}{', compiled' if compiled else ''} | {plain:.0f} | {ours:.0f} | {ours / plain:.2f} |")
        print(lines[-1], flush=True)
    (ROOT / "infra" / "results" / "throughput.md").write_text(HEADER + "\n".join(lines) + "\n")


HEADER = """# Throughput

Written by `python -m tests.benchmarks.throughput --compile`: best stretch of each loop, one thread of a 2-core virtual
machine (AMD EPYC).

"""


def data_of(config: Config) -> Dataset:
    """The data set; noise stands in for pictures, which cost the same."""
    if config.data.name != "images":
        return load(config.data)
    noise = torch.randint(0, 256, (4096, 3, 32, 32), dtype=torch.uint8)
    return Dataset("noise", Space((3, 32, 32)), Examples(noise), Examples(noise[:64]))


def rates(config: Config, data: Dataset, seconds: float) -> tuple[float, float]:
    """Images per second of the plain loop and of ours."""
    loops = [plain_step(config, data), GanTraining(config, data, World.single()).step]
    times: list[list[float]] = [[], []]
    for step in loops:
        stretch(step, 5)
    steps = max(int(0.2 / (stretch(loops[0], 5) / 5)), 1)
    end = time.monotonic() + 2 * seconds
    while time.monotonic() < end:
        for step, found in zip(loops, times, strict=True):
            found.append(stretch(step, steps) / steps)
    plain, ours = (config.train.batch_size / min(found) for found in times)
    return plain, ours


def stretch(step: Callable[[], None], steps: int) -> float:
    """Seconds for so many steps."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return time.perf_counter() - start


def plain_step(config: Config, data: Dataset) -> Callable[[], None]:
    """The loop of a tutorial: two Adams, losses added up."""
    generator, discriminator = (
        build(config.model, data.space).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        for build in (build_generator, build_discriminator)
    )
    g_optimiser = torch.optim.Adam(generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    d_optimiser = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
    batch, gamma, told = config.train.batch_size, config.train.r1_gamma, [0.0, 0.0]
    relativistic = config.train.loss == "relativistic"

    def squared_gradient(logits: Tensor, inputs: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
        return gradient.square().sum(1).mean()

    def step() -> None:
        real = data.train[torch.randint(len(data), (batch,))].floats()
        d_optimiser.zero_grad()
        fake = generator(torch.randn(batch, config.model.latent_dim))
        real_in, fake_in = real.requires_grad_(gamma > 0), fake.detach().requires_grad_(gamma > 0)
        on_real, on_fake = discriminator(real_in), discriminator(fake_in)
        if relativistic:
            d_loss = softplus(on_fake - on_real).mean()
        else:
            d_loss = softplus(-on_real).mean() + softplus(on_fake).mean()
        total = d_loss
        if gamma > 0:
            total = d_loss + gamma / 2 * (squared_gradient(on_real, real_in) + squared_gradient(on_fake, fake_in))
        torch.autograd.backward(total)
        d_optimiser.step()
        g_optimiser.zero_grad()
        on_fake = discriminator(fake)
        g_loss = softplus(discriminator(real) - on_fake).mean() if relativistic else softplus(-on_fake).mean()
        torch.autograd.backward(g_loss)
        g_optimiser.step()
        told[0] += d_loss.item()
        told[1] += g_loss.item()

    return step


if __name__ == "__main__":
    main()
