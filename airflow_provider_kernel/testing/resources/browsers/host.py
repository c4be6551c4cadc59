"""What the browsers have on this host: processes and a temporary folder, and who removes them in the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Reads the process groups that run (`+ 1`) and that have ended (`- 1`). Its input ends with the process of the
#: emulator, however that ends: then it ends what still runs, and removes the folder.
_GUARDIAN = """
groups=" "
while read -r what group; do
    case $what in
        +) groups="$groups$group " ;;
        -) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
for group in $groups; do kill -9 "-$group" 2>/dev/null; done
tries=0
while [ -e "$1" ] && [ "$tries" -lt 50 ]; do
    rm -rf "$1" 2>/dev/null || sleep 0.1
    tries=$((tries + 1))
done
"""


class Host:
    """
    A temporary folder, and the process groups of one emulator.

    A shell of a session of its own watches over them: they end with the emulator's process, also when that is
    killed with SIGKILL. (A forked child of that process that lives on keeps them, since it has all its pipes.)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: Path | None = None
        self._guardian: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """The temporary folder, made on first use."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="kernel-emulator-"))
                self._guardian = subprocess.Popen(  # noqa: S603
                    ["/bin/sh", "-c", _GUARDIAN, "kernel-emulator-guardian", str(self._folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                    cwd="/",
                )
            return self._folder

    def new_folder(self) -> Path:
        """Return a new folder below it."""
        return Path(tempfile.mkdtemp(dir=self.folder, prefix=""))

    def run(
        self, command: list[str], *, env: Mapping[str, str], cwd: Path, **streams: Any
    ) -> subprocess.Popen[bytes]:
        """
        Start a program in a process group of its own.

        :param env: added to the environment.
        :param streams: its input and output.
        """
        process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603
            command, env={**os.environ, **env}, cwd=cwd, start_new_session=True, **streams
        )
        self._tell(f"+ {process.pid}")
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """End all processes of its group."""
        _kill_group(process.pid)
        process.wait()
        _kill_group(process.pid)  # what was forked meanwhile
        self._tell(f"- {process.pid}")

    def close(self) -> None:
        """Remove the folder, and end what still runs."""
        with self._lock:
            guardian, folder = self._guardian, self._folder
            self._guardian = self._folder = None
        if guardian is not None and folder is not None:
            guardian.communicate()
            shutil.rmtree(folder, ignore_errors=True)

    def _tell(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError):
            if self._guardian is not None and self._guardian.stdin is not None:
                self._guardian.stdin.write(f"{line}\n".encode())
                self._guardian.stdin.flush()


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; macOS refuses if all are zombies
        os.killpg(group, signal.SIGKILL)
