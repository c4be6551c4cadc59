"""Playwright scripts in a browser's machine: the code of a client, run by node."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
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


def run_script(machine: Machine, code: str, seconds: float) -> dict[str, Any]:
    """
    Run a script, after those that the browser runs already, and return the `ExecutePlaywrightResult`.

    Nothing stops it but its own time and the end of the browser.

    :param seconds: real seconds that it may take; waiting for other scripts is not among them.
    :raises MissingPlaywrightError: without Playwright.
    :raises MissingChromiumError: without Chromium.
    :raises EndedError: if the machine has ended.
    """
    driver = find_driver()
    with machine.script_lock:
        chromium, root = machine.chromium(), machine.root
        process = machine.host.run(
            [str(driver / "node"), "--no-warnings", str(_RUNNER)],
            # Playwright puts downloads into the folder for temporary files: let it be that of the machine.
            env={"TMPDIR": str(machine.place("/tmp"))},  # noqa: S108 - in the machine
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        forget = machine.on_end(lambda: machine.host.kill(process))
        request = {"playwright": str(driver / "package/index.mjs"), "address": chromium.address, "code": code}
        try:
            out, err = process.communicate(json.dumps(request).encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            return {"success": False, "error": f"execution timed out after {seconds:g} seconds"}
        finally:
            forget()
            machine.host.kill(process)
            for stream in (process.stdin, process.stdout, process.stderr):
                with contextlib.suppress(OSError):
                    stream.close()  # type: ignore[union-attr]
    # Paths are those of the machine.
    out, err = (text.replace(str(root).encode(), b"") for text in (out, err))
    try:
        result: dict[str, Any] = json.loads(out)
    except ValueError:
        return {"success": False, "error": "the script's process ended", "stderr": err.decode(errors="replace")}
    return result
