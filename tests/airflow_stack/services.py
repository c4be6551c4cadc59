"""Postgres and Redis, each a private server of the stack."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from airflow_stack.programs import Program, free_port

_START_SECONDS = 30


class MissingServiceError(Exception):
    """A server that the stack needs is not installed."""


def find_program(name: str, package: str) -> str:
    """
    Find a server's program.

    :param name: the program.
    :param package: the Debian package that has it.
    :raises MissingServiceError: when it is not installed.
    """
    found = shutil.which(name)
    # Debian keeps Postgres' programs out of the path, a folder a version.
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if versions:
        return str(versions[-1])
    if found is None:
        raise MissingServiceError(
            f"{name} is not installed; the system tests need it: apt-get install {package} (Debian, Ubuntu)"
        )
    return found


class Postgres:
    """
    A Postgres that forgets everything.

    :param folder: where its data and log go.
    :param environment: its environment.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self._data = folder / "postgres"
        self._initdb = find_program("initdb", "postgresql")
        # Postgres refuses to run as root; Debian's package brings a user for it.
        self._user = "postgres" if os.geteuid() == 0 else None
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "300",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            # The children of a killed scheduler keep its connections open, and so the rows that it had locked.
            "idle_in_transaction_session_timeout": "20s",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self.program = Program(
            "postgres",
            [find_program("postgres", "postgresql"), "-D", str(self._data), *options],
            environment=environment,
            log_folder=folder,
            user=self._user,
        )

    @property
    def url(self) -> str:
        """What SQLAlchemy calls it. The bare scheme would mean another driver from SQLAlchemy 2.1 on."""
        return f"postgresql+psycopg2://airflow@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Make a database and serve it."""
        self._data.mkdir()
        if self._user is not None:
            owner = pwd.getpwnam(self._user)
            os.chown(self._data, owner.pw_uid, owner.pw_gid)
        subprocess.run(
            [self._initdb, "-D", str(self._data), "-U", "airflow", "--auth=trust", "-E", "UTF8", "--no-sync"],
            check=True,
            capture_output=True,
            user=self._user,
            cwd="/",
        )
        self.program.start()
        _wait_for(self.program, self._answers)

    def _answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(host="127.0.0.1", port=self.port, user="airflow", dbname="postgres").close()
        except psycopg2.OperationalError:
            return False
        return True


class Redis:
    """
    A Redis that forgets everything.

    :param folder: where its log goes.
    :param environment: its environment.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        command = [find_program("redis-server", "redis-server")]
        command += ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.program = Program("redis", command, environment=environment, log_folder=folder)

    @property
    def url(self) -> str:
        """What Celery calls it."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Serve."""
        self.program.start()
        _wait_for(self.program, self._answers)

    def _answers(self) -> bool:
        import redis

        try:
            return bool(redis.Redis(host="127.0.0.1", port=self.port).ping())
        except redis.ConnectionError:
            return False


def _wait_for(program: Program, answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers():
        if not program.is_running or time.monotonic() > deadline:
            raise RuntimeError(f"{program.name} did not start:\n{program.tail()}")
        time.sleep(0.1)
