"""The demo command, from options to exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_kernel.demo import environment
from airflow_provider_kernel.demo.expected import EXAMPLES, Example
from airflow_provider_kernel.demo.kernel import DemoKernel
from airflow_provider_kernel.demo.show import Show
from airflow_provider_kernel.demo.terminal import Terminal, terminal

if TYPE_CHECKING:
    from airflow_provider_kernel.testing import KernelEmulator

#: Exit codes.
AS_EXPECTED, DIFFERENT, INTERRUPTED = 0, 1, 130


@dataclass(frozen=True)
class DemoOptions:
    """
    Options of the command line.

    :param home: Airflow's home.
    :param dags: IDs of the example DAGs to run; empty means all.
    :param verbose: show Airflow's logs instead of writing them to a file.
    :param logical_date: whether the runs have one, as scheduled ones do; those of Airflow's REST API have none.
    """

    home: Path
    dags: tuple[str, ...] = ()
    verbose: bool = False
    logical_date: bool = True

    @property
    def log_file(self) -> Path | None:
        """The file for everything that Airflow prints; None shows it on the terminal."""
        return None if self.verbose else self.home / "demo.log"

    @property
    def examples(self) -> dict[str, Example]:
        """The examples to run, by DAG ID."""
        return {dag_id: EXAMPLES[dag_id] for dag_id in self.dags or EXAMPLES}


def run_demo(options: DemoOptions, *, setup: Callable[[KernelEmulator], object] | None = None) -> int:
    """
    Run the demo.

    :param options: options of the command line.
    :param setup: called with the emulator before any DAG runs.
    :return: the exit code.
    """
    try:
        environment.give_airflow_a_home(options.home)
        with terminal(options.log_file) as screen, _kernel(screen, setup) as kernel:
            as_expected = Show(options.examples, screen, kernel, logical_date=options.logical_date).run(
                options.home
            )
            if options.log_file:
                screen.say(f"Airflow's logs: {options.log_file}")
            return AS_EXPECTED if as_expected else DIFFERENT
    except KeyboardInterrupt:
        print("Interrupted.")
        return INTERRUPTED


@contextmanager
def _kernel(screen: Terminal, setup: Callable[[KernelEmulator], object] | None) -> Iterator[DemoKernel]:
    from airflow_provider_kernel.testing import KernelEmulator

    with KernelEmulator() as emulator:
        if setup is not None:
            setup(emulator)
        os.environ["AIRFLOW_CONN_KERNEL_DEFAULT"] = emulator.airflow_connection
        screen.event(f"Kernel is emulated at {emulator.base_url}")
        yield DemoKernel(emulator)
