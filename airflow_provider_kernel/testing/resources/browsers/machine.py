"""The machine of a browser session: its files and its Chromium. Both are made when they are first needed."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from airflow_provider_kernel.testing.errors import ApiError, invalid
from airflow_provider_kernel.testing.resources.browsers.chromium import Chromium

if TYPE_CHECKING:
    from collections.abc import Callable

#: Where Kernel's browsers put downloads.
DOWNLOADS = "/home/kernel/Downloads"


class EndedError(Exception):
    """The machine was used after its end."""


class Machine:
    """Files below a temporary folder, and a Chromium."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._root: Path | None = None
        self._chromium: Chromium | None = None
        self._has_ended = False
        self._on_end: list[Callable[[], object]] = []

    @property
    def root(self) -> Path:
        """
        The folder that is `/` to the machine.

        :raises EndedError: after its end.
        """
        with self._lock:
            return self._made_root()

    def _made_root(self) -> Path:
        if self._has_ended:
            raise EndedError
        if self._root is None:
            self._root = Path(tempfile.mkdtemp(prefix="kernel-emulator-browser-"))
            for folder in (DOWNLOADS, "/tmp"):  # noqa: S108 - in the machine
                (self._root / folder.lstrip("/")).mkdir(parents=True)
        return self._root

    def place(self, path: str) -> Path:
        """
        Return where a path of the machine is on this host.

        :raises ApiError: 400 for one that is not absolute, or leads out of the machine.
        """
        if not path.startswith("/") or "\0" in path:
            raise invalid("path must be absolute")
        root = self.root.resolve()
        found = root.joinpath(*PurePosixPath(path).parts[1:]).resolve()
        if found != root and root not in found.parents:
            raise ApiError(403, "forbidden", f"{path} is outside the machine")
        return found

    def path_of(self, place: Path) -> str:
        """Return the path in the machine of a place on this host."""
        return f"/{place.relative_to(self.root.resolve())}"

    def chromium(self) -> Chromium:
        """
        Return the browser, started if need be. Blocks until it answers.

        :raises EndedError: after the end of the machine.
        :raises MissingChromiumError: without a Chromium on this host.
        """
        with self._lock:
            root = self._made_root()
            if self._chromium is None:
                self._chromium = Chromium(root / "var/chromium", downloads=root / DOWNLOADS.lstrip("/"))
            return self._chromium

    def on_end(self, callback: Callable[[], object]) -> Callable[[], None]:
        """
        Call something when the machine ends, at once if it has.

        :return: takes that back.
        """
        with self._lock:
            if not self._has_ended:
                self._on_end.append(callback)

                def forget() -> None:
                    with self._lock:
                        if callback in self._on_end:
                            self._on_end.remove(callback)

                return forget
        callback()
        return lambda: None

    def end(self, *, keep_connections: bool) -> None:
        """
        End it; a second end changes nothing.

        :param keep_connections: whether connections to it stay open, with nothing behind them.
        """
        with self._lock:
            has_ended, self._has_ended = self._has_ended, True
            chromium, root = self._chromium, self._root
            callbacks = [] if keep_connections else list(self._on_end)
            if not keep_connections:
                self._on_end.clear()
        for callback in callbacks:
            callback()
        if has_ended:
            return
        if chromium is not None:
            chromium.kill()
        if root is not None:
            shutil.rmtree(root, ignore_errors=True)
