"""What Ray knows and does that its public interface does not offer. In one place, since it may change with Ray."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import ray
from ray._private import services, worker
from ray.core.generated.gcs_pb2 import GcsNodeInfo  # type: ignore[attr-defined]
from ray.core.generated.gcs_service_pb2 import (  # type: ignore[attr-defined]
    GetClusterIdRequest,
    MarkJobFinishedRequest,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.errors import UserError

SPACE = b"gansweep"
"""Our part of the key-value store that every Ray cluster has. It lives as long as the cluster's head."""
ANSWER = 5.0
"""Seconds for an answer of the head; without a limit, one whose machine has vanished is waited for for ever."""


def require_welcome(address: str) -> None:
    """Raises UserError where no head answers at ``address`` (HOST:PORT or auto), or one that wants another token than
    ours: Ray itself would try again and again, and not say which.
    """
    try:
        import grpc
        from ray._private.gcs_utils import create_gcs_channel
        from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub
    except ImportError:  # ray[default] brings it
        return
    head = services.canonicalize_bootstrap_address_or_die(address)
    nodes = NodeInfoGcsServiceStub(create_gcs_channel(head))  # type: ignore[no-untyped-call]
    try:
        nodes.GetClusterId(GetClusterIdRequest(), timeout=ANSWER)
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.UNAUTHENTICATED:
            raise UserError(f"no head of a Ray cluster answers at {head}: {error.details()}") from None
        raise UserError(
            f"the Ray cluster at {address} does not take this token, or needs one: set RAY_AUTH_MODE=token, and "
            "RAY_AUTH_TOKEN_PATH to a file with the token of its head"
        ) from None


def put(key: str, value: bytes) -> None:
    _client().internal_kv_put(key.encode(), value, True, SPACE, timeout=ANSWER)


def read(prefix: str) -> dict[str, bytes]:
    """Every key that starts so, with its value."""
    keys = _client().internal_kv_keys(prefix.encode(), SPACE, timeout=ANSWER)
    values = _client().internal_kv_multi_get(keys, SPACE, timeout=ANSWER) if keys else {}
    return {key.decode(): value for key, value in values.items()}


def forget(prefix: str) -> None:
    """Every key that starts so."""
    _client().internal_kv_del(prefix.encode(), True, SPACE, timeout=ANSWER)


def draining() -> set[str]:
    """The nodes that are about to go, by id: preempted, or not needed any more. What runs there runs on for a while."""
    return set(_client().get_draining_nodes(timeout=ANSWER))


def kill(node: str, pid: int) -> None:
    """End a process of that node, though it be stopped, which Ray's own way of ending an actor may wait for."""
    on(node, _kill, pid)


def on(node: str, work: Any, *arguments: Any) -> Any:
    """Run ``work`` on that node and nowhere else, whatever else runs there; a reference to its answer."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(work).options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(*arguments)


def end_job(job: str) -> None:
    """All that a driver has on the cluster ends as if it had died, though it only stands still: ranks, and the places
    that they hold. Ray offers it to no driver but the job's own.
    """
    try:
        from ray._private.gcs_utils import create_gcs_channel
        from ray.core.generated.gcs_service_pb2_grpc import JobInfoGcsServiceStub
    except ImportError:  # ray[default] brings it
        return
    jobs = JobInfoGcsServiceStub(create_gcs_channel(_client().address))  # type: ignore[no-untyped-call]
    jobs.MarkJobFinished(MarkJobFinishedRequest(job_id=bytes.fromhex(job)), timeout=ANSWER)


def hush(told: Callable[[str], None]) -> None:
    """What Ray would print on the driver's terminal of what happens in the cluster is told to a log instead."""
    worker.print_to_stdstream = lambda data, **_: told("\n".join(data["lines"]))


def _kill(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.cmdline()[0].startswith("ray::"):  # else it is gone, and another has its number
            process.kill()


def nodes() -> dict[str, str]:
    """Id and name of every node that is there, as far as the cluster knows."""
    told = _client().get_all_node_info(timeout=ANSWER).values()
    return {node.node_id.hex(): named(node) for node in told if node.state == GcsNodeInfo.ALIVE}


def named(node: GcsNodeInfo) -> str:
    """``10.0.0.3``, or ``gpu-7 (10.0.0.3)`` where the host has a name."""
    address, host = node.node_manager_address, node.node_manager_hostname
    return address if host in ("", address) else f"{host} ({address})"


def _client() -> Any:
    here: Any = worker.global_worker
    return here.gcs_client
