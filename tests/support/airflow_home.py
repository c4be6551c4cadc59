"""An Airflow with a database of its own, in which commands run DAGs without a scheduler."""

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

INLINE_DAGS = Path(__file__).parents[1] / "processes" / "inline_dags"
AIRFLOW = str(Path(sys.executable).parent / "airflow")


@dataclass(frozen=True)
class Home:
    """An Airflow with the DAGs, and the output of the last command."""

    environment: dict[str, str]
    output: Path

    @contextlib.contextmanager
    def running(self, command, kernel):
        """Run a command, in a process group of its own as a shell does; kill what is left of it at the end."""
        with (
            self.output.open("w") as output,
            subprocess.Popen(
                command,
                env={**self.environment, "AIRFLOW_CONN_KERNEL_DEFAULT": kernel.airflow_connection},
                cwd=self.output.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()


def make_home(folder: Path, dags: Path = INLINE_DAGS) -> Home:
    """Make an Airflow whose DAGs are those of a folder, with an empty database."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "KERNEL_"))}
    environment = {
        **inherited,
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    subprocess.run([AIRFLOW, "db", "migrate"], env=environment, cwd=folder, check=True, capture_output=True)
    return Home(environment, folder / "output")
