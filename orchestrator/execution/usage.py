"""How busy the machine of rank 0 and its GPU are while a trial trains, under the names that MLflow gives to such
figures. MLflow's own monitor would watch the machine that drives the sweep.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from statistics import fmean

import psutil

EVERY = 5.0
"""Seconds between two looks."""


class Usage:
    """Looks from a thread of its own until it is stopped; at its GPU too, where the rank has one."""

    def __init__(self, gpus: float) -> None:
        self._has_gpu = gpus > 0
        self._looks: dict[str, list[float]] = defaultdict(list)
        self._lock, self._over = threading.Lock(), threading.Event()
        psutil.cpu_percent()  # measures from call to call
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
        self._thread.start()

    def means(self) -> dict[str, float]:
        """Since the last call."""
        self._look()
        with self._lock:
            means = {name: round(fmean(values), 1) for name, values in self._looks.items()}
            self._looks.clear()
        return means

    def stop(self) -> None:
        self._over.set()
        self._thread.join(EVERY)

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            self._look()

    def _look(self) -> None:
        memory = psutil.virtual_memory()
        seen = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": (memory.total - memory.available) / 1e6,
            "system_memory_usage_percentage": memory.percent,
            **(_gpu() if self._has_gpu else {}),
        }
        with self._lock:
            for name, value in seen.items():
                self._looks[name].append(value)


def _gpu() -> dict[str, float]:
    """Of the rank's own; nothing where nvidia-ml-py (the extra ``gpu``) is missing, or a GPU does not say: a slice of
    one (MIG) does not.
    """
    import torch  # which the process of a gang imports only when its other ranks have started

    try:
        free, total = torch.cuda.mem_get_info()
        return {
            "gpu_0_utilization_percentage": torch.cuda.utilization(),
            "gpu_0_memory_usage_megabytes": (total - free) / 1e6,
            "gpu_0_memory_usage_percentage": 100 * (total - free) / total,
            "gpu_0_power_usage_watts": torch.cuda.power_draw() / 1000,
        }
    except Exception:  # of pynvml, of torch: no training ends because a GPU could not be watched
        return {}
