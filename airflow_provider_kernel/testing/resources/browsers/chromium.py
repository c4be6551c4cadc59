"""A real Chromium in a process group of its own."""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException

from airflow_provider_kernel.testing.resources.browsers import devtools

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_kernel.testing.resources.browsers.host import Host

#: Names the Chromium to use, in place of the one that is installed.
VARIABLE = "KERNEL_EMULATOR_CHROMIUM"
#: It fits into the reason of a websocket's end, which takes 123 bytes.
MISSING = f"No Chromium is installed: run apt-get install chromium, or set {VARIABLE} to a Chromium"

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_START_SECONDS = 30.0
_CLOSE_SECONDS = 5.0
#: Holds the cookies that last as long as the browser: Chromium does not keep those.
_COOKIES = "kernel-emulator-cookies.json"
_NOT_SAVED = shutil.ignore_patterns("Singleton*", "DevToolsActivePort", "*Cache*", "Crash*")
_LOGGER = logging.getLogger(__name__)
#: A lower window leaves no room for a page, and a picture of it never comes.
_MIN_HEIGHT = 200
_ARGUMENTS = (
    "--headless=new",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-sandbox",  # it runs as root in containers; its pages are those of tests
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-sync",
    "--password-store=basic",
    "--use-mock-keychain",
)


class MissingChromiumError(Exception):
    """No Chromium is installed."""


def find_chromium() -> str:
    """
    Return the program of the Chromium to use.

    :raises MissingChromiumError: without one.
    """
    named = os.environ.get(VARIABLE)
    for candidate in [named] if named else _PROGRAMS:
        found = shutil.which(candidate)
        if found is not None:
            return found
    if named:
        raise MissingChromiumError(f"{VARIABLE} names no program that can be run: {named}")
    raise MissingChromiumError(MISSING)


class Chromium:
    """
    A running Chromium.

    :param host: starts and ends its processes.
    :param root: the folder of its machine.
    :param downloads: where it puts downloads that no client places elsewhere.
    :param options: what the browser was made with.
    :param saved_profile: where the profile is that it begins with; there may be none yet.
    :raises MissingChromiumError: if none is installed.
    """

    def __init__(
        self,
        host: Host,
        root: Path,
        *,
        downloads: Path,
        options: Mapping[str, Any],
        saved_profile: Path | None = None,
    ) -> None:
        program = find_chromium()
        self._host = host
        profile = root / "var/chromium/profile"
        self._profile = profile
        if saved_profile is not None and saved_profile.exists():
            shutil.copytree(saved_profile, profile, symlinks=True, dirs_exist_ok=True)
        _write_preferences(profile, downloads)
        size = options.get("viewport") or {"width": 1920, "height": 1080}
        command = [
            program,
            *_ARGUMENTS,
            f"--user-data-dir={profile}",
            f"--window-size={int(size['width'])},{max(int(size['height']), _MIN_HEIGHT)}",
            options.get("start_url") or "about:blank",
        ]
        # Its sockets are below TMPDIR; the path of a socket has about a hundred characters at most.
        env = {"HOME": str(profile.parent), "TMPDIR": str(host.folder)}
        quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        self._process = host.run(command, env=env, cwd=root, **quiet)
        #: Where its DevTools listen.
        self.address = self._wait_for_address(profile / "DevToolsActivePort")
        cookies = profile / _COOKIES
        if cookies.exists():
            devtools.set_cookies(self.address, json.loads(cookies.read_text()))

    @property
    def pid(self) -> int:
        """Its process, which is also the number of its process group."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def answers(self) -> bool:
        """Whether it takes connections; one that was killed may be there for a moment, and take none."""
        try:
            socket.create_connection(("127.0.0.1", urlsplit(self.address).port or 0)).close()
        except OSError:
            return False
        return self.is_running

    def save_profile(self, saved_profile: Path) -> None:
        """
        Close it, so that it writes its profile, and keep that in place of what was kept before.

        One that does not close in time, or has crashed, saves what it has written so far.
        """
        try:
            (self._profile / _COOKIES).write_text(json.dumps(devtools.cookies_at_the_end(self.address)))
            self._process.wait(_CLOSE_SECONDS)
        except (OSError, WebSocketException, devtools.DevToolsError, subprocess.TimeoutExpired) as error:
            _LOGGER.warning("The profile of a browser may be incomplete: %s", error)
        self.kill()
        shutil.rmtree(saved_profile, ignore_errors=True)
        shutil.copytree(self._profile, saved_profile, symlinks=True, ignore=_NOT_SAVED)

    def kill(self) -> None:
        """End its processes."""
        self._host.kill(self._process)

    def _wait_for_address(self, port_file: Path) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.is_running:
            if port_file.exists() and len(lines := port_file.read_text().split()) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            time.sleep(0.01)
        self.kill()
        raise RuntimeError(f"Chromium did not start: {self._process.args!r}")


def _write_preferences(profile: Path, downloads: Path) -> None:
    folder = profile / "Default"
    folder.mkdir(parents=True, exist_ok=True)
    (profile / "DevToolsActivePort").unlink(missing_ok=True)
    preferences = {"download": {"default_directory": str(downloads), "prompt_for_download": False}}
    (folder / "Preferences").write_text(json.dumps(preferences))
