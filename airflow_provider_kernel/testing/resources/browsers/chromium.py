"""A real Chromium in a process group of its own, which ends with this process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

#: Names the Chromium to use, in place of the one that is installed.
VARIABLE = "KERNEL_EMULATOR_CHROMIUM"
MISSING = (
    "There is no Chromium on this machine; install one (Debian: apt-get install chromium), or name its program in "
    f"{VARIABLE}"
)

_START_SECONDS = 30.0
#: Puts two pipes where Chromium looks for them, and becomes Chromium. A process with threads cannot safely do so
#: between its fork and the program.
_LAUNCHER = """
import fcntl, os, sys
reads, writes = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(reads, 3)
os.dup2(writes, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_ARGUMENTS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-sandbox",  # it runs as root in containers; its pages are those of tests
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--password-store=basic",
    "--use-mock-keychain",
)


class MissingChromiumError(Exception):
    """No Chromium is installed."""


def find_chromium() -> str | None:
    """Return the program of the Chromium to use."""
    named = os.environ.get(VARIABLE)
    candidates = [named] if named else ["chromium", "chromium-browser", "google-chrome"]
    return next((found for candidate in candidates if (found := shutil.which(candidate))), None)


class Chromium:
    """
    A running Chromium.

    Its debugging pipe leads to this process: when this process is gone, however it ended, Chromium ends, too.

    :param profile: the folder of its profile.
    :param downloads: where it puts downloads.
    :raises MissingChromiumError: if none is installed.
    """

    def __init__(self, profile: Path, *, downloads: Path) -> None:
        program = find_chromium()
        if program is None:
            raise MissingChromiumError(MISSING)
        _write_preferences(profile, downloads)
        reads, ours_out = os.pipe()
        ours_in, writes = os.pipe()
        self._pipes = [ours_out, ours_in]
        arguments = [*_ARGUMENTS, f"--user-data-dir={profile}", "about:blank"]
        try:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-ISc", _LAUNCHER, str(reads), str(writes), program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(reads, writes),
                start_new_session=True,
            )
        finally:
            os.close(reads)
            os.close(writes)
        #: Where its DevTools listen.
        self.address = self._wait_for_address(profile / "DevToolsActivePort")

    def kill(self) -> None:
        """End its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        pipes, self._pipes = self._pipes, []
        for pipe in pipes:
            os.close(pipe)

    def _wait_for_address(self, port_file: Path) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if port_file.exists() and len(lines := port_file.read_text().split()) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"Chromium did not start: {' '.join(map(str, self._process.args))}")  # type: ignore[arg-type]


def _write_preferences(profile: Path, downloads: Path) -> None:
    folder = profile / "Default"
    folder.mkdir(parents=True)
    preferences = {"download": {"default_directory": str(downloads), "prompt_for_download": False}}
    (folder / "Preferences").write_text(json.dumps(preferences))
