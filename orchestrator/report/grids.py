"""Sample grids from the artifact store, small enough to stand inside a page."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from orchestrator.errors import StoreError
from orchestrator.paths import samples_key, trial_key

if TYPE_CHECKING:
    from orchestrator.artifacts import Store

FRAMES = 12
"""Of one training: the first and the last, and evenly between."""
FAILED = 3
"""Trials that ended badly and are shown."""
SIDE = 512
"""Pixels, at most, of a grid in a report."""
FETCHERS = 8


class Film(NamedTuple):
    """The grids of a training over its images; each is a data URL."""

    trial: int
    title: str
    frames: list[tuple[int, str]]


def films(document: Mapping[str, Any], key: str, reports: Mapping[int, Iterable[int]], store: Store) -> list[Film]:
    """Of the best, the median and some collapsed trials of the sweep ``key``; ``reports`` are each trial's images. A
    grid that the store does not have is left out.
    """
    chosen = list(_chosen(document))
    wanted = [(trial, images) for trial, _ in chosen for images in _thinned(sorted(reports[trial]))]
    found = dict(zip(wanted, pictures(store, [_key(key, *one) for one in wanted], SIDE), strict=True))
    made = [
        Film(trial, title, [(images, url) for (of, images), url in found.items() if of == trial and url])
        for trial, title in chosen
    ]
    return [film for film in made if film.frames]


def pictures(store: Store, keys: Sequence[str], side: int) -> list[str | None]:
    """The pictures at ``keys`` as data URLs, no side longer than ``side`` pixels; None where there is none."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(FETCHERS) as pool:

        def one(number: int) -> str | None:
            try:
                file = store.get(keys[number], Path(folder) / f"{number}.png")
            except StoreError:
                return None
            return _url(file, side)

        return list(pool.map(one, range(len(keys))))


def _chosen(document: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    trials, best = document["trials"], document["best"]
    sign = 1 if document["objective"]["direction"] == "minimize" else -1
    scored = sorted((t for t in trials if t["score"] is not None), key=lambda t: sign * t["score"])
    taken = best["id"] if best else scored[0]["id"] if scored else None
    if taken is not None:
        yield taken, "the best"
    if len(scored) > 2 and (median := scored[len(scored) // 2]["id"]) != taken:
        yield median, "the median"
    bad = [t for t in trials if t["state"] in ("collapsed", "stuck", "diverged")]
    for trial in sorted(bad, key=lambda t: -t["images"])[:FAILED]:
        yield trial["id"], trial["state"]


def _thinned(images: Sequence[int]) -> list[int]:
    if len(images) <= FRAMES:
        return list(images)
    return [images[round(i * (len(images) - 1) / (FRAMES - 1))] for i in range(FRAMES)]


def _key(sweep: str, trial: int, images: int) -> str:
    return samples_key(trial_key(sweep, trial), images)


def _url(file: Path, side: int) -> str:
    with Image.open(file) as picture:
        small = picture.convert("RGB")
        small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
