"""The stack: database, API server, scheduler, DAG processor, triggerer and workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from airflow_stack.programs import Program, end_all_in, free_port
from airflow_stack.rest import AirflowApi, wait_until
from airflow_stack.services import Postgres, Redis

Executor = Literal["local", "celery"]

_HEALTHY_SECONDS = 180
#: Settings of other Airflows; and what an installed one does not have: each process would compile what it imports.
_NOT_PASSED_ON = ("AIRFLOW", "KERNEL_", "PYTHONDONTWRITEBYTECODE")


class AirflowStack:
    """
    A whole Airflow on loopback, in a folder of its own.

    What is not Airflow's default: a worker that is lost counts as lost after 30 s instead of 300, and a triggerer
    after 10 s instead of 30, as the tests wait for it; one API worker and few task slots, as the machine is small.

    :param executor: what runs the tasks.
    :param dags_folder: the DAGs.
    :param settings: further environment variables for all processes.
    :param parallelism: how many tasks run at once.
    """

    def __init__(
        self,
        executor: Executor,
        dags_folder: Path,
        *,
        settings: Mapping[str, str] | None = None,
        parallelism: int = 6,
    ) -> None:
        self.executor = executor
        self.folder = Path(tempfile.mkdtemp(prefix="airflow-kernel-stack-"))
        # Postgres runs as another user when the tests run as root.
        self.folder.chmod(0o755)
        port = free_port()
        bare = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}
        self._postgres = Postgres(self.folder, bare)
        self._redis = Redis(self.folder, bare) if executor == "celery" else None
        url = f"http://127.0.0.1:{port}"
        self.environment = {
            **bare,
            "AIRFLOW_HOME": str(self.folder / "home"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor" if executor == "local" else "CeleryExecutor",
            "AIRFLOW__CORE__PARALLELISM": str(parallelism),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._postgres.url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API_AUTH__JWT_SECRET": uuid.uuid4().hex * 2,
            "AIRFLOW__API__SECRET_KEY": uuid.uuid4().hex,
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **(settings or {}),
        }
        if self._redis is not None:
            self.environment |= {
                "AIRFLOW__CELERY__BROKER_URL": self._redis.url,
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{self._postgres.url}",
                "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(max(2, parallelism // 2)),
            }
        self.api = AirflowApi(url)
        self.programs: dict[str, Program] = {}

    @property
    def url(self) -> str:
        """Where the API server and the UI are."""
        return self.api.base_url

    @property
    def database(self) -> Program:
        """The Postgres, which is no component of Airflow."""
        return self._postgres.program

    @property
    def workers(self) -> list[Program]:
        """The Celery workers; none with the LocalExecutor."""
        return [program for name, program in self.programs.items() if name.startswith("worker")]

    def start(self) -> None:
        """Start everything, and wait until all of it is healthy and every DAG is parsed."""
        self._postgres.start()
        if self._redis is not None:
            self._redis.start()
        self.airflow("db", "migrate")
        for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
            self.start_program(name)
        if self._redis is not None:
            for number in (1, 2):
                self.start_worker(number)
        self.wait_until_healthy()
        self.api.log_in()

    def start_program(self, name: str, command: str | None = None) -> Program:
        """
        Start an Airflow component, or start it again.

        :param name: what to call it.
        :param command: the component, if it is not its name.
        """
        if name not in self.programs:
            # Several on one machine would want the same ports for their logs.
            environment = self.environment | {
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
                "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            }
            arguments = (command or name).split()
            self.programs[name] = Program(
                name, [_airflow(), *arguments], environment=environment, log_folder=self.folder
            )
        self.programs[name].start()
        return self.programs[name]

    def start_worker(self, number: int) -> Program:
        """Start a Celery worker, or start it again; wait until it takes tasks."""
        name = f"worker-{number}"
        log = self.folder / f"{name}.log"
        was = log.read_text(errors="replace").count(" ready.") if log.exists() else 0
        worker = self.start_program(name, f"celery worker --celery-hostname {name}@stack --skip-serve-logs")
        wait_until(
            lambda: log.read_text(errors="replace").count(" ready.") > was,
            timeout=_HEALTHY_SECONDS,
            what=lambda: f"{name} takes no tasks:\n{worker.tail()}",
        )
        return worker

    def wait_until_healthy(self) -> None:
        """Wait until every component says that it is."""
        health: dict[str, str | None] = {}

        def healthy() -> bool:
            for program in self.programs.values():
                if program.has_crashed:
                    raise RuntimeError(f"{program.name} has ended:\n{program.tail()}")
            health.clear()
            health.update(self.api.health())
            return {"healthy"} == {
                health.get(name) for name in ("metadatabase", "scheduler", "triggerer", "dag_processor")
            }

        wait_until(healthy, timeout=_HEALTHY_SECONDS, what=lambda: f"Airflow is {health}\n{self.logs(30)}")

    def wait_for_dags(self, dag_ids: set[str]) -> None:
        """
        Wait until DAGs are parsed, and let them run.

        :param dag_ids: which.
        """

        def parsed() -> bool:
            errors = self.api.import_errors()
            if errors:
                raise RuntimeError("\n".join(errors))
            return dag_ids <= self.api.dag_ids()

        wait_until(
            parsed,
            timeout=_HEALTHY_SECONDS,
            what=lambda: f"{sorted(dag_ids - self.api.dag_ids())} not parsed\n{self.logs(30)}",
        )
        for dag_id in dag_ids:
            self.api.pause(dag_id, paused=False)

    def stop(self) -> None:
        """End everything that was started, and remove the folder."""
        try:
            for program in reversed(self.programs.values()):
                program.stop()
        finally:
            end_all_in(self.folder)
            self._postgres.program.stop()
            if self._redis is not None:
                self._redis.program.stop()
            self.api.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def logs(self, lines: int = 60) -> str:
        """
        Read the end of every program's log.

        :param lines: how many lines of each.
        """
        return "\n".join(f"--- {program.name}\n{program.tail(lines)}" for program in self.programs.values())

    def airflow(self, *arguments: str) -> None:
        """Run a command of Airflow's, to its end."""
        done = subprocess.run(
            [_airflow(), *arguments], env=self.environment, capture_output=True, text=True, cwd=self.folder
        )
        if done.returncode != 0:
            raise RuntimeError(f"airflow {' '.join(arguments)} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")


def _airflow() -> str:
    return str(Path(sys.executable).parent / "airflow")
