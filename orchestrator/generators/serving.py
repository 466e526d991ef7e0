"""``gansweep serve``: a generator over HTTP, as pictures or arrays.

    GET  /health                            is it there?
    GET  /                                  what it makes, under which conditions
    GET  /samples.png, .npy, of text .txt   n, seed, seeds, label, truncation, frames: the words of ``gansweep sample``
    POST /translation.png, /translation.npy of a translator: the body is a picture

``.npy`` is NumPy's format, without pickle; ``.txt`` a line for each example.
"""

from __future__ import annotations

import hmac
import io
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import numpy as np
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from orchestrator.errors import UserError
from orchestrator.generators.generator import Generator
from trainers.config import Data
from trainers.data.picture import pixels
from trainers.errors import TrainerError
from trainers.families import FAMILIES
from trainers.pictures import draw

VARIABLE = "GANSWEEP_SERVE_TOKEN"
MOST = 1_024
"""Examples in one answer."""
LARGEST = 32 * 2**20
"""Bytes of a picture that is sent."""
Kind = Literal["png", "npy"]
Written = Literal["png", "npy", "txt"]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63 - MOST)]
Seeds = Annotated[list[Seed], BeforeValidator(lambda given: ",".join(given).split(",")), Field(max_length=MOST)]


class Asked(BaseModel, extra="forbid"):
    """Of an address, what stands behind the question mark."""

    n: int = Field(16, ge=1, le=MOST)
    seed: Seed = 0
    seeds: Seeds | None = None
    label: list[str] = []
    truncation: float | None = Field(None, gt=0)
    frames: int | None = None

    @property
    def more(self) -> dict[str, Any]:
        """What it says beside seeds and labels."""
        return {"truncation": self.truncation, "frames": self.frames}


def serve(generator: Generator, name: str, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Answer until Ctrl-C; ``announce`` is told the address. Where GANSWEEP_SERVE_TOKEN is set, requests need it.
    Raises UserError where ``host`` is not loopback and there is none, or the port can't be had.
    """
    token = os.environ.get(VARIABLE, "")
    if not (token or _loopback(host)):
        raise UserError(
            f"--host {host} opens the model to the network: set {VARIABLE} to a secret first, which clients then send "
            "as 'Authorization: Bearer …'"
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(f"{host}, port {port}: {error.strerror}; choose another with --port (0: any free)") from None
    with listening, suppress(KeyboardInterrupt):
        shown = f"[{host}]" if ":" in host else host
        announce(f"http://{shown}:{listening.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(app(generator, name, token), log_level="warning"))
        server.run(sockets=[listening])


def app(generator: Generator, name: str, token: str) -> FastAPI:
    """What answers; everything but ``/health`` for those only who send the ``token``, if there is one."""

    def allowed(sent: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]) -> None:
        if token and not hmac.compare_digest((sent.credentials if sent else "").encode("latin-1"), token.encode()):
            raise HTTPException(401, "send 'Authorization: Bearer …' with the token", {"WWW-Authenticate": "Bearer"})

    # pages of documentation load scripts from elsewhere; the schema names the model, and needs the token
    made = FastAPI(title=name, docs_url=None, redoc_url=None, openapi_url=None)
    if not token:  # else a page in a local browser could read the answers under a name that leads here (DNS rebinding)
        made.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", "[::1]"])
    guarded, busy = [Depends(allowed)], threading.Lock()  # one computation at a time: each takes all cores
    family = FAMILIES[generator.config.family]

    @made.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @made.get("/openapi.json", dependencies=guarded, include_in_schema=False)
    def schema() -> dict[str, Any]:
        return made.openapi()

    @made.get("/", dependencies=guarded)
    def facts() -> dict[str, Any]:
        conditions = generator.space.conditions if generator.config.model.conditional else ()
        told = {"model": name, "shape": generator.space.shape, "conditions": {c.name: c.told for c in conditions}}
        samples = f"/samples.{'txt' if family.writes else 'png'}?n=16"
        return {**told, "try": "POST /translation.png" if family.translates else samples}

    def samples(kind: Written, asked: Annotated[Asked, Query()]) -> Response:
        if kind == "txt" and not family.writes:
            raise HTTPException(404, "this generator makes no text; ask for .png or .npy")
        seeds = asked.seeds or range(asked.seed, asked.seed + asked.n)
        with busy:
            examples = _told(lambda: generator.sample(seeds=seeds, label=_labels(asked), **asked.more))
        return _answer(examples, kind, generator)

    async def translation(kind: Kind, request: Request) -> Response:
        sent = bytearray()
        async for part in request.stream():
            sent += part
            if len(sent) > LARGEST:
                raise HTTPException(413, f"the picture has more than {LARGEST // 2**20} MiB")
        return await run_in_threadpool(translated, bytes(sent), kind)

    def translated(picture: bytes, kind: Kind) -> Response:
        channels, side, _ = generator.space.shape
        look = Data(name="images", resolution=side, channels=channels)  # type: ignore[arg-type]
        given = _told(lambda: pixels(picture, look)).transpose(1, 2, 0)
        with busy:
            return _answer(generator.translate(given[None]), kind, generator)

    if family.translates:
        made.post("/translation.{kind}", dependencies=guarded)(translation)
    else:
        made.get("/samples.{kind}", dependencies=guarded)(samples)
    return made


def _labels(asked: Asked) -> str | Sequence[str] | None:
    return asked.label[0] if len(asked.label) == 1 else asked.label or None


def _told(work: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """A client's mistake, in the trainers' words, is a bad request."""
    try:
        return work()
    except TrainerError as error:
        raise HTTPException(400, str(error)) from None


def _answer(examples: NDArray[Any], kind: Written, generator: Generator) -> Response:
    if kind == "txt":
        return Response("".join(f"{text}\n" for text in examples), media_type="text/plain")
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, examples, allow_pickle=False)
        return Response(buffer.getvalue(), media_type="application/octet-stream")
    draw(examples, generator.space.centers, window=generator.space.window).save(buffer, "PNG")
    return Response(buffer.getvalue(), media_type="image/png")


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
