"""Run the examples: a progress line for each event, and a table of results at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_kernel.demo import environment
from airflow_provider_kernel.demo.browsers import what_is_missing
from airflow_provider_kernel.demo.expected import Example
from airflow_provider_kernel.demo.outcome import Outcome, TaskOutcome, differences
from airflow_provider_kernel.demo.site import serving_site
from airflow_provider_kernel.demo.watch import Watcher
from airflow_provider_kernel.handoff import CONF_KEY

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_provider_kernel.demo.kernel import DemoKernel, ObservedInvocation
    from airflow_provider_kernel.demo.terminal import Terminal
    from airflow_provider_kernel.testing.resources.browsers.record import BrowserRecord

# Common to all DAG IDs; the table abbreviates it to leave more width for the outputs.
_PREFIX = "example_kernel_"
_COLUMNS = ("DAG", "task", "invocation", "ended as", "output")


class Show:
    """
    Run examples and report how they ended.

    :param examples: the examples by DAG ID.
    :param screen: the terminal to print to.
    :param kernel: the emulated Kernel.
    :param logical_date: whether the runs have one.
    """

    def __init__(
        self,
        examples: Mapping[str, Example],
        screen: Terminal,
        kernel: DemoKernel,
        *,
        logical_date: bool = True,
    ) -> None:
        self._examples = examples
        self._screen = screen
        self._kernel = kernel
        #: What ``dag.test()`` gets besides; without a word it takes the present time.
        self._date: dict[str, Any] = {} if logical_date else {"logical_date": None}
        self._outcomes: dict[str, Outcome] = {}

    def run(self, home: Path) -> bool:
        """
        Run the examples and print the report.

        :param home: Airflow's home, already set in the environment.
        :return: whether everything ended as expected.
        """
        if environment.has_database(home):
            self._screen.event(f"Airflow starts, with its home in {home}")
        else:
            self._screen.event(f"Airflow starts, with a new home in {home}")
            environment.make_database(home)
        with Watcher(self._kernel, self._screen) as watcher:
            try:
                self._run_examples(watcher)
            finally:
                self._end_leftovers(watcher)
        return self._report()

    def _run_examples(self, watcher: Watcher) -> None:
        from airflow_provider_kernel.demo.runs import Interrupt, TaskReporter, load_dags

        TaskReporter(self._screen, watcher).register()
        dags, errors = load_dags()
        interrupt = Interrupt()
        for dag_id, example in self._examples.items():
            self._screen.event(f"{dag_id}: {example.shows}")
            if dag_id not in dags:
                why = errors.get(f"{dag_id}.py", "there is no such DAG").strip()
                self._outcomes[dag_id] = Outcome(error=f"could not be loaded: {why}")
                continue
            if (reason := what_is_missing() if example.browsers else None) is not None:
                self._screen.event(f"  not run: {reason}")
                self._outcomes[dag_id] = Outcome(not_run=reason)
                continue
            with interrupt.recorded():
                self._outcomes[dag_id] = self._run_example(example, dags[dag_id], watcher)
            interrupt.check()

    def _run_example(self, example: Example, dag: DAG, watcher: Watcher) -> Outcome:
        watcher.begin(kill=example.kill)
        before = len(self._kernel.browsers())
        conf = dict(example.conf)
        try:
            with serving_site() if example.needs_site else nullcontext() as site:
                if site:
                    conf["site"] = site
                if example.caller:
                    conf[CONF_KEY] = self._kernel.invoke(example.caller)
                dag_run = dag.test(run_conf=conf, **self._date)
            return self._outcome(example, dag_run, watcher.end(), self._kernel.browsers()[before:])
        except Exception as problem:  # noqa: BLE001 (the other examples run in any case)
            return Outcome(error=f"could not be run: {type(problem).__name__}: {problem}")
        finally:
            watcher.disarm()

    def _outcome(
        self,
        example: Example,
        dag_run: object,
        invocations: list[ObservedInvocation],
        browsers: Sequence[BrowserRecord],
    ) -> Outcome:
        from airflow_provider_kernel.demo.runs import task_runs

        by_id = {invocation.id: invocation for invocation in invocations}
        tasks = []
        for task in task_runs(dag_run, by_id):
            about = by_id.get(task.invocation_id or "")
            tasks.append(TaskOutcome(task.name, task.state, about, about.output if about else task.returned))
        order = {task.name: position for position, task in enumerate(example.tasks)}
        tasks.sort(key=lambda task: (order.get(task.name, len(order)), task.name))
        left = sum(self._kernel.count_browsers(invocation.id) for invocation in invocations)
        left += sum(browser.is_active for browser in browsers)
        return Outcome(tuple(tasks), tuple(invocations), left, len(browsers))

    def _end_leftovers(self, watcher: Watcher) -> None:
        for left in watcher.left_active():
            self._screen.event(f"invocation {left.id} ({left.action}) was left {left.status}; it is ended now")
            self._kernel.cancel(left.id)

    def _report(self) -> bool:
        rows = [
            ("" if number else dag_id.replace(_PREFIX, "…_"), *row)
            for dag_id, outcome in self._outcomes.items()
            for number, row in enumerate(outcome.rows())
        ]
        self._screen.say()
        self._screen.table(_COLUMNS, rows)
        self._screen.say()
        found = [
            f"{dag_id}: {difference}"
            for dag_id, outcome in self._outcomes.items()
            for difference in differences(self._examples[dag_id], outcome)
        ]
        for difference in found:
            self._screen.say(f"  NOT AS EXPECTED  {difference}")
        counts = {
            "DAGs": sum(outcome.not_run is None for outcome in self._outcomes.values()),
            "tasks": sum(len(outcome.tasks) for outcome in self._outcomes.values()),
            "invocations": sum(len(outcome.invocations) for outcome in self._outcomes.values()),
            "browsers": sum(outcome.started_browsers for outcome in self._outcomes.values()),
            "seconds": round(self._screen.seconds),
        }
        summary = f"Not as expected in {len(found)} points" if found else "All as expected"
        self._screen.say(f"{summary} ({', '.join(f'{what}: {count}' for what, count in counts.items())})")
        return not found
