"""The processes of the stack: each in a group of its own, each with a log, all ended at the end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

_STOP_SECONDS = 15


def free_port() -> int:
    """Find a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """
    One long-running process of the stack.

    :param name: what to call it; its log is ``<name>.log``.
    :param command: what to run.
    :param environment: all of its environment.
    :param log_folder: where its output goes.
    :param user: as whom to run it; only root can choose.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log_folder: Path,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.log = log_folder / f"{name}.log"
        self._command = command
        self._environment = environment
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id, which is its group's as well."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it is there and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_crashed(self) -> bool:
        """Whether it ended without being stopped."""
        return self._process is not None and self._process.poll() is not None

    def start(self) -> None:
        """Start it, in a session of its own."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=dict(self._environment),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                user=self._user,
                cwd=self.log.parent,
            )

    def send_signal(self, number: int) -> None:
        """
        Send a signal to the whole group.

        :param number: the signal.
        """
        os.killpg(self.pid, number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """
        End it, and wait for that; by force when it takes too long.

        :param number: the signal to begin with.
        """
        if self._process is None:
            return
        if self.is_running:
            self.send_signal(number)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.send_signal(signal.SIGKILL)
                self._process.wait()
        self._process = None

    def kill_alone(self) -> None:
        """End it with SIGKILL, and none of its children, which go on."""
        assert self._process is not None, f"{self.name} does not run"
        self._process.kill()
        self._process.wait()
        self._process = None

    def tail(self, lines: int = 60) -> str:
        """
        Read the end of its log.

        :param lines: how many lines.
        """
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def end_all_in(folder: Path) -> None:
    """
    End what is left of a stack: task processes have sessions of their own, and may outlive their executor.

    :param folder: the stack's folder, in which all of its processes run.
    """
    deadline = time.monotonic() + _STOP_SECONDS
    while (strays := _running_in(folder)) and time.monotonic() < deadline:
        for stray in strays:
            try:
                stray.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(strays, timeout=3)


def _running_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
