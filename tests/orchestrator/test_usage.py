"""How busy a machine is, under MLflow's names."""

from __future__ import annotations

import inspect

import psutil
import pytest
import torch
from mlflow.system_metrics.metrics import cpu_monitor, gpu_monitor

from orchestrator.execution import usage
from orchestrator.execution.usage import Usage


def test_names_and_units_are_mlflows(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = {"utilization": 40, "power_draw": 300_000, "mem_get_info": (60 * 10**9, 80 * 10**9)}
    for name, value in gpu.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    watch = Usage(gpus=1)
    told = watch.means()
    watch.stop()
    theirs = inspect.getsource(cpu_monitor) + inspect.getsource(gpu_monitor).replace("gpu_{i}", "gpu_0")
    assert all(f'"{name}"' in theirs for name in told)
    assert {name[6:]: value for name, value in told.items() if name.startswith("gpu_0_")} == {
        **{"utilization_percentage": 40, "memory_usage_percentage": 25},
        **{"memory_usage_megabytes": 20_000, "power_usage_watts": 300},
    }
    assert told["system_memory_usage_megabytes"] == pytest.approx(psutil.virtual_memory().used / 1e6, rel=0.5)


def test_means_are_of_the_time_since_the_last_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "EVERY", 3600.0)  # it looks when asked only
    percent = iter([0.0, 10.0, 30.0, 90.0])
    monkeypatch.setattr(psutil, "cpu_percent", lambda: next(percent))
    watch = Usage(gpus=0)
    watch._look()
    assert [watch.means()["cpu_utilization_percentage"] for _ in range(2)] == [20.0, 90.0]
    watch.stop()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_does_not_say_is_left_out() -> None:
    watch = Usage(gpus=1)
    assert "cpu_utilization_percentage" in watch.means() and not [name for name in watch.means() if "gpu" in name]
    watch.stop()
