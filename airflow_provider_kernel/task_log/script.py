"""Write what a script has printed into a task's log: bounded, and in a group of its own. The logger escapes it."""

from __future__ import annotations

import logging
from typing import Any

from airflow_provider_kernel.client.resources.browsers.models import ScriptResult
from airflow_provider_kernel.client.safe_logger import SafeLogger, side_information


def log_script_output(logger: Any, result: ScriptResult, *, max_lines: int) -> None:
    """
    Write the ``stdout`` and ``stderr`` of a script.

    :param max_lines: max lines to write; one more line says how many were left out.
    """
    with side_information("What the script has printed is not shown", logger):
        safe = SafeLogger.of(logger)
        # The name in front marks the rest as the script's, even if it looks like a record of ours.
        lines = [
            f"{name} | {line}"
            for name, text in (("stdout", result.stdout), ("stderr", result.stderr))
            for line in _lines(text)
        ]
        group = safe.group("Output of the script")
        for line in lines[:max_lines]:
            safe.log_in(group, logging.INFO, "%s", line)
        safe.end(group)
        if len(lines) > max_lines:
            safe.info(
                "%d more lines of the script were left out (max_log_lines is %d)", len(lines) - max_lines, max_lines
            )


def _lines(text: str | None) -> list[str]:
    lines = (text or "").split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.rstrip("\r") for line in lines]
