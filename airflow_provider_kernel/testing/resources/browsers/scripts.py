"""Playwright scripts in a browser's machine: the code of a client, run by node."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.resources.browsers.machine import Machine

MISSING = (
    "Scripts need node and playwright-core, which the extra [playwright] brings: "
    "pip install 'airflow-provider-kernel[emulator,playwright]'"
)
_RUNNER = Path(__file__).with_name("run_script.mjs")


class MissingPlaywrightError(Exception):
    """Playwright is not installed."""


def find_driver() -> Path:
    """
    Return the folder of Playwright's driver, with node and playwright-core.

    :raises MissingPlaywrightError: without it.
    """
    spec = importlib.util.find_spec("playwright")
    if spec is None or spec.origin is None:
        raise MissingPlaywrightError(MISSING)
    return Path(spec.origin).with_name("driver")


async def run_script(machine: Machine, code: str, seconds: float | None) -> dict[str, Any]:
    """
    Run a script, and return the `ExecutePlaywrightResult`.

    :param seconds: real seconds that it may take.
    :raises MissingPlaywrightError: without Playwright.
    :raises MissingChromiumError: without Chromium.
    """
    driver = find_driver()
    chromium = await asyncio.to_thread(machine.chromium)
    process = await asyncio.create_subprocess_exec(
        str(driver / "node"),
        "--no-warnings",
        str(_RUNNER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    loop = asyncio.get_running_loop()

    def kill() -> None:
        if process.returncode is None:
            process.kill()

    forget = machine.on_end(lambda: loop.call_soon_threadsafe(kill))
    request = {"playwright": str(driver / "package" / "index.mjs"), "address": chromium.address, "code": code}
    try:
        out, err = await asyncio.wait_for(process.communicate(json.dumps(request).encode()), seconds)
    except asyncio.TimeoutError:
        kill()
        await process.wait()
        return {"success": False, "error": "execution timed out"}
    finally:
        forget()
    try:
        result: dict[str, Any] = json.loads(out)
    except ValueError:
        return {"success": False, "error": "the script's process ended", "stderr": err.decode(errors="replace")}
    return result
