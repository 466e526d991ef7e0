"""From a wheel and a folder of 500 drawn pictures to a promoted generator and a report: four commands, no file edited.

    python -m tests.benchmarks.reach FOLDER [--minutes 6] [--side 32]

Writes ``infra/results/reach.md`` and the grid that the champion draws beside it.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import subprocess
import time
from datetime import date
from pathlib import Path

from PIL import Image, ImageDraw

from tests.installed import ROOT, build, environment, install

RESULTS = ROOT / "infra/results"
COLOURS = ((210, 40, 40), (40, 90, 200), (40, 150, 70))


def draw(folder: Path, count: int = 500, side: int = 32) -> None:
    """Circles, squares and triangles of three colours, anywhere on white: square PNGs."""
    folder.mkdir(parents=True)
    for number in range(count):
        chance = random.Random(number)
        large = Image.new("RGB", (128, 128), "white")
        pen, colour = ImageDraw.Draw(large), chance.choice(COLOURS)
        size, x, y = chance.randint(32, 48), 64 + chance.randint(-10, 10), 64 + chance.randint(-10, 10)
        box = (x - size, y - size, x + size, y + size)
        if number % 3 == 0:
            pen.ellipse(box, fill=colour)
        elif number % 3 == 1:
            pen.rectangle(box, fill=colour)
        else:
            pen.polygon([(x, y - size), (x - size, y + size), (x + size, y + size)], fill=colour)
        large.resize((side, side), Image.Resampling.LANCZOS).save(folder / f"{number:03d}.png")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=int, default=6)
    parser.add_argument("--side", type=int, default=32)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    programs = install(build(asked.folder / "build")[0], asked.folder / "venv")
    draw(asked.folder / "shapes", side=asked.side)
    lines, began = [], time.monotonic()
    for words in (
        ("init", "images", "shapes", "--minutes", str(asked.minutes)),
        ("submit", "shapes.yaml"),
        ("promote", "shapes"),
        ("report", "shapes"),
        ("sample", "models:/shapes@champion", "-o", "champion.png"),
    ):
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        env = environment() | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [str(programs / "gansweep"), *words], cwd=asked.folder, env=env, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"$ gansweep {' '.join(words)}\n{done.stdout}{done.stderr}", flush=True)
        told = f"| `gansweep {' '.join(words)}` | {time.monotonic() - started:.0f} | {cpu:.0f} | {done.returncode} |"
        lines.append(told)
        if done.returncode:
            break
    lines += ["", f"Four commands and the samples: {(time.monotonic() - began) / 60:.1f} minutes."]
    write(lines, asked.folder, asked.side)


def write(lines: list[str], folder: Path, side: int) -> None:
    head = [
        "# From a wheel and a folder of pictures to a champion",
        "",
        f"{date.today()}, `python -m tests.benchmarks.reach`: 500 drawn PNGs, {side}x{side}; {os.cpu_count()} cores "
        f"under a load of {os.getloadavg()[2]:.1f} over the last quarter of an hour. No file was edited.",
        "",
        "| command | seconds | of CPU, of processes that it waited for | exit status |",
        "|---|---|---|---|",
    ]
    tail = []
    if (folder / "champion.png").exists():
        shutil.copy2(folder / "champion.png", RESULTS / "reach.png")
        tail = ["", "![64 pictures drawn by the champion](reach.png)"]
    (RESULTS / "reach.md").write_text("\n".join([*head, *lines, *tail]) + "\n")


if __name__ == "__main__":
    main()
