"""Commands of a browser's machine: Python functions in place of programs."""

from __future__ import annotations

import base64
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.resources.browsers.machine import Machine

#: Takes the arguments of a command, or these and a `CommandContext`.
Command = Callable[..., Any]


@dataclass(frozen=True)
class CommandContext:
    """
    What a command may need beside its arguments.

    :param cwd: the folder that the request names, a path of the machine.
    :param env: the variables that the request adds.
    """

    cwd: str | None
    env: Mapping[str, str]
    _machine: Machine

    def place(self, path: str) -> Path:
        """Return where a path of the machine is on this host."""
        return self._machine.place(path)


def run_command(command: Command, args: list[str], context: CommandContext) -> dict[str, Any]:
    """Call a function, and return the `ProcessExecResult`."""
    began = time.monotonic()
    try:
        outcome = command(args, context) if _takes_context(command) else command(args)
    except Exception as error:  # noqa: BLE001 - a command that fails has an exit code
        outcome = (1, b"", f"{type(error).__name__}: {error}")
    if not isinstance(outcome, tuple):
        outcome = (outcome, b"", b"") if isinstance(outcome, int) else (0, outcome, b"")
    exit_code, out, err = outcome
    return {
        "exit_code": int(exit_code),
        "stdout_b64": _base64(out),
        "stderr_b64": _base64(err),
        "duration_ms": round((time.monotonic() - began) * 1000),
    }


def _takes_context(command: Command) -> bool:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(command).parameters.values()
    return sum(parameter.kind in kinds for parameter in parameters) > 1


def _base64(value: Any) -> str:
    data = value if isinstance(value, bytes) else b"" if value is None else str(value).encode()
    return base64.b64encode(data).decode()
