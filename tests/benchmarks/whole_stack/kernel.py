"""Kernel for ``stack.py``: the emulator in a process of its own, so that it holds up nobody who is measured."""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Invocation:
    """
    What became of an invocation.

    :param number: of the task that it was started for.
    :param statuses: all that it had.
    :param output: its output.
    :param ended_at: when it ended, in seconds since the epoch; 0 when it has not.
    """

    number: int
    statuses: tuple[str, ...]
    output: str | None
    ended_at: float


@dataclass(frozen=True)
class Served:
    """
    What there was since the last report.

    :param requests: how many of each kind.
    :param refusals: how many answers of each status from 400 on.
    :param invocations: every invocation.
    """

    requests: Counter[str]
    refusals: Counter[int]
    invocations: list[Invocation]


class KernelProcess:
    """The emulator's process; a context manager."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.airflow_connection = ""

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def report(self) -> Served:
        """Tell what there was since the last report, and forget it."""
        self._pipe.send("report")
        served: Served = self._receive()
        return served

    def __enter__(self) -> KernelProcess:
        self._process.start()
        self.airflow_connection = self._receive()
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.is_alive():
            self._pipe.send("stop")
        self._process.join(_PATIENCE_SECONDS)

    def _receive(self) -> Any:
        if not self._pipe.poll(_PATIENCE_SECONDS):
            raise RuntimeError("the emulator's process says nothing")
        return self._pipe.recv()


def _serve(pipe: Connection) -> None:
    from airflow_provider_kernel.testing import KernelEmulator
    from airflow_provider_kernel.testing.clock import NANOSECONDS, parse_since

    def wait(ctx: Any, payload: Any) -> Any:
        ctx.log(f"number {payload['number']} waits")
        ctx.wait(payload["seconds"])
        return {"number": payload["number"]}

    def report() -> Served:
        journal = kernel.journal
        return Served(
            requests=Counter(_kind(request.method, request.path) for request in journal),
            refusals=Counter(r.status for r in journal if r.status is not None and r.status >= 400),
            invocations=[
                Invocation(
                    number=json.loads(record.payload or "{}").get("number", -1),
                    statuses=record.statuses,
                    output=record.output,
                    ended_at=parse_since(record.finished_at, 0) / NANOSECONDS if record.finished_at else 0.0,
                )
                for record in kernel.invocations
            ],
        )

    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    with KernelEmulator() as kernel:
        kernel.register("benchmark", "wait", wait)
        pipe.send(kernel.airflow_connection)
        while pipe.recv() == "report":
            pipe.send(report())
            kernel.reset()


def _kind(method: str, path: str) -> str:
    parts = path.strip("/").split("/")
    kinds = {
        ("POST", 1): "creates",
        ("GET", 1): "lists",
        ("GET", 2): "looks",
        ("PATCH", 2): "updates",
    }
    if len(parts) == 3 and parts[2] == "events":
        return "streams"
    if parts[0] != "invocations" or (method, len(parts)) not in kinds:
        return f"{method} {parts[-1]}"
    return kinds[method, len(parts)]
