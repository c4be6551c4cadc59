"""The machine of a browser session: its files and its Chromium. Both are made when they are first needed."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.testing.errors import ApiError, invalid
from airflow_provider_kernel.testing.resources.browsers.chromium import Chromium

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_kernel.testing.resources.browsers.host import Host

#: Where Kernel's browsers put downloads.
DOWNLOADS = "/home/kernel/Downloads"


class EndedError(Exception):
    """The machine was used after its end."""


class Machine:
    """
    Files below a temporary folder, and a Chromium.

    :param host: starts its processes.
    :param options: what the browser was made with.
    :param profile_id: the profile that its Chromium begins with.
    :param saves_profile: whether its end saves that profile.
    """

    def __init__(
        self, host: Host, options: Mapping[str, Any], *, profile_id: str | None = None, saves_profile: bool = False
    ) -> None:
        self.host = host
        self.profile_id = profile_id
        self.saves_profile = saves_profile
        self._options = options
        self._lock = threading.Lock()
        self._root: Path | None = None
        self._chromium: Chromium | None = None
        self._has_ended = False
        self._on_end: list[Callable[[], object]] = []
        #: Scripts run one at a time.
        self.script_lock = threading.Lock()

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
            root = self.host.new_folder().resolve()
            for folder in (DOWNLOADS, "/tmp"):  # noqa: S108 - in the machine
                (root / folder.lstrip("/")).mkdir(parents=True)
            self._root = root
        return self._root

    @property
    def folder(self) -> Path | None:
        """The same as far as it was made and is not removed yet."""
        return self._root

    @property
    def chromium_pid(self) -> int | None:
        """The process of its Chromium, while it runs."""
        chromium = self._chromium
        return chromium.pid if chromium is not None and chromium.is_running else None

    def place(self, path: str) -> Path:
        """
        Return where a path of the machine is on this host.

        :raises ApiError: 400 for one that is not absolute, 403 for one that leads out of the machine.
        """
        if not path.startswith("/") or "\0" in path:
            raise invalid("path must be absolute")
        root = self.root
        parts = PurePosixPath(path).parts[1:]
        try:
            found = root.joinpath(*(part for part in parts if part != "/")).resolve()
            found.exists()
        except (OSError, ValueError, RuntimeError) as error:  # too long, half a surrogate pair, a loop of links
            raise invalid(f"path: {error}") from None
        if found != root and root not in found.parents:
            raise ApiError(403, "forbidden", "path is outside the machine")
        return found

    def path_of(self, place: Path) -> str:
        """Return the path in the machine of a place on this host."""
        return f"/{place.relative_to(self.root)}" if place != self.root else "/"

    def chromium(self) -> Chromium:
        """
        Return the browser, started if need be. Blocks until it answers.

        :raises EndedError: after the end of the machine.
        :raises MissingChromiumError: without a Chromium on this host.
        """
        with self._lock:
            root = self._made_root()
            if self._chromium is not None and not self._chromium.answers:
                self._chromium.kill()  # it has crashed; what is left of it
                self._chromium = None
            if self._chromium is None:
                downloads = root / DOWNLOADS.lstrip("/")
                saved = self._saved_profile()
                self._chromium = Chromium(
                    self.host, root, downloads=downloads, options=self._options, saved_profile=saved
                )
            return self._chromium

    def _saved_profile(self) -> Path | None:
        """Return where its profile is kept between browsers."""
        if self.profile_id is None:
            return None
        return self.host.folder / "profiles" / hashlib.sha256(self.profile_id.encode(errors="replace")).hexdigest()

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

    def end(self) -> None:
        """End its processes, and remove its files; a second end changes nothing."""
        with self._lock:
            has_ended, self._has_ended = self._has_ended, True
            callbacks = list(self._on_end)
            self._on_end.clear()
        for callback in callbacks:
            callback()
        if has_ended:
            return
        if self._chromium is not None:
            saved = self._saved_profile()
            if self.saves_profile and saved is not None:
                self._chromium.save_profile(saved)
            self._chromium.kill()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None
