"""The demo from beginning to end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_kernel.api.errors import KernelError
from airflow_provider_kernel.demo import environment
from airflow_provider_kernel.demo.expected import EXAMPLES, Example
from airflow_provider_kernel.demo.kernels import EmulatedKernel, Kernel, LiveKernel
from airflow_provider_kernel.demo.outcome import counted
from airflow_provider_kernel.demo.show import Show
from airflow_provider_kernel.demo.terminal import Terminal, terminal

if TYPE_CHECKING:
    from airflow_provider_kernel.testing import KernelEmulator

#: Exit codes; 0 and 1 say whether all was as expected.
NOT_RUN, INTERRUPTED = 2, 130

_NO_KEY = "--live needs your API key of Kernel in KERNEL_API_KEY; without --live the demo needs no account"
_WARNING = """, which cost what your plan says. Those that would not end by themselves
are ended within seconds; failing that, Kernel ends them after 15 minutes at most. Nothing
else should invoke this app meanwhile."""


@dataclass(frozen=True)
class DemoOptions:
    """
    What was asked for.

    :param home: Airflow's home.
    :param dags: the examples to run; none means all.
    :param live: whether to use the real Kernel.
    :param app: the app to use there.
    :param confirmed: whether not to ask before.
    :param verbose: whether to show Airflow's logs.
    """

    home: Path
    dags: tuple[str, ...] = ()
    live: bool = False
    app: str = "demo"
    confirmed: bool = False
    verbose: bool = False

    @property
    def log_file(self) -> Path | None:
        """Where everything that Airflow prints goes, unless it is to be shown."""
        return None if self.verbose else self.home / "demo.log"

    @property
    def examples(self) -> dict[str, Example]:
        """The examples to run, by DAG id."""
        return {dag_id: EXAMPLES[dag_id] for dag_id in self.dags or EXAMPLES}


class NotRunError(Exception):
    """The demo cannot or should not be run."""


def run_demo(options: DemoOptions, *, setup: Callable[[KernelEmulator], object] | None = None) -> int:
    """
    Run the demo.

    :param options: what was asked for.
    :param setup: called with the emulator before anything runs.
    :return: the exit code.
    """
    try:
        # First of all: a refusal leaves no trace.
        if options.live and not os.environ.get("KERNEL_API_KEY"):
            return _refuse(_NO_KEY)
        environment.give_airflow_a_home(options.home, options.app)
        with terminal(options.log_file) as screen, _kernel(options, screen, setup) as kernel:
            as_expected = Show(options.examples, screen, kernel).run(options.home)
            if options.log_file:
                screen.say(f"Airflow's logs: {options.log_file}")
            return 0 if as_expected else 1
    except KeyboardInterrupt:
        print("Interrupted.")
        return INTERRUPTED
    except (NotRunError, KernelError) as error:
        return _refuse(str(error))


def _refuse(why: str) -> int:
    print(f"airflow-kernel demo: {why}", file=sys.stderr)
    return NOT_RUN


@contextmanager
def _kernel(
    options: DemoOptions, screen: Terminal, setup: Callable[[KernelEmulator], object] | None
) -> Iterator[Kernel]:
    if options.live:
        yield from _live_kernel(options, screen)
        return

    from airflow_provider_kernel.testing import KernelEmulator

    with KernelEmulator() as emulator:
        if setup is not None:
            setup(emulator)
        os.environ["AIRFLOW_CONN_KERNEL_DEFAULT"] = emulator.airflow_connection
        screen.event(f"Kernel is emulated at {emulator.base_url}")
        yield EmulatedKernel(emulator)


def _live_kernel(options: DemoOptions, screen: Terminal) -> Iterator[Kernel]:
    from airflow_provider_kernel.hooks.connection import config_from_environment

    config = config_from_environment()
    if config is None:
        raise NotRunError(_NO_KEY)
    actions = [action for example in options.examples.values() for action in example.actions]
    project = f", project {config.project!r}" if config.project else ""
    screen.say(f"This runs on the real Kernel at {config.base_url}{project}, with the app {options.app!r}:\n")
    for dag_id, example in options.examples.items():
        screen.say(f"  {dag_id:<26} invokes {counted(example.actions)}")
    screen.say(f"\n{len(actions)} invocations in all{_WARNING}")
    kernel = LiveKernel(config, options.app)
    try:
        missing = sorted(set(actions) - kernel.actions())
        if missing:
            raise NotRunError(
                f"the app {options.app!r} does not exist there or lacks the actions {', '.join(missing)}"
                " (--app NAME takes another app)"
            )
        if not options.confirmed and not _confirmed(screen):
            raise NotRunError("not confirmed; nothing was run")
        kernel.begin()
        yield kernel
    finally:
        kernel.close()


def _confirmed(screen: Terminal) -> bool:
    screen.say("Go on? Type yes:")
    return sys.stdin.readline().strip().lower() in ("y", "yes")
