"""The run of the examples: what is told on the way, and the table at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_kernel.api.errors import KernelError
from airflow_provider_kernel.demo import environment
from airflow_provider_kernel.demo.expected import Example
from airflow_provider_kernel.demo.outcome import Outcome, TaskOutcome, abridged, differences
from airflow_provider_kernel.demo.watch import Watcher
from airflow_provider_kernel.handing_over import CONF_KEY

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from airflow_provider_kernel.demo.kernels import Kernel, Seen
    from airflow_provider_kernel.demo.terminal import Terminal

# All have it; the column is wanted for the outputs.
_PREFIX = "example_kernel_"
_COLUMNS = ("DAG", "task", "invocation", "ended as", "output")


class Show:
    """
    Run examples, and tell how they ended.

    :param examples: the examples by DAG id.
    :param screen: where to tell.
    :param kernel: where the invocations are.
    """

    def __init__(self, examples: Mapping[str, Example], screen: Terminal, kernel: Kernel) -> None:
        self._examples = examples
        self._screen = screen
        self._kernel = kernel
        self._outcomes: dict[str, Outcome] = {}
        self._trouble: list[str] = []

    def run(self, home: Path) -> bool:
        """
        Run them.

        :param home: Airflow's home; the environment has it already.
        :return: whether all was as expected.
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
                self._end_what_is_left(watcher)
        return self._report()

    def _run_examples(self, watcher: Watcher) -> None:
        from airflow_provider_kernel.demo.runs import Interrupt, TaskTeller, load_dags

        TaskTeller(self._screen, watcher).register()
        dags, errors = load_dags()
        interrupt = Interrupt()
        for dag_id, example in self._examples.items():
            self._screen.event(f"{dag_id}: {example.shows}")
            if dag_id not in dags:
                why = errors.get(f"{dag_id}.py", "there is no such DAG").strip()
                self._outcomes[dag_id] = Outcome(error=f"could not be loaded: {why}")
                continue
            with interrupt.noted():
                self._outcomes[dag_id] = self._run_example(example, dags[dag_id], watcher)
            interrupt.check()

    def _run_example(self, example: Example, dag: DAG, watcher: Watcher) -> Outcome:
        watcher.begin(kill=example.kill)
        try:
            conf = {CONF_KEY: self._kernel.invoke(example.caller)} if example.caller else None
            dag_run = dag.test(run_conf=conf)
            return self._outcome(example, dag_run, watcher.end())
        except Exception as problem:  # noqa: BLE001 (whatever it is, the other examples run)
            return Outcome(error=f"could not be run: {type(problem).__name__}: {problem}")
        finally:
            watcher.spare()

    def _outcome(self, example: Example, dag_run: object, invocations: list[Seen]) -> Outcome:
        from airflow_provider_kernel.demo.runs import task_runs

        by_id = {seen.id: seen for seen in invocations}
        tasks = []
        for task in task_runs(dag_run, by_id):
            about = by_id.get(task.invocation_id or "")
            tasks.append(TaskOutcome(task.name, task.state, about, about.output if about else task.returned))
        places = {task.name: place for place, task in enumerate(example.tasks)}
        tasks.sort(key=lambda task: (places.get(task.name, len(places)), task.name))
        return Outcome(
            tuple(tasks), tuple(invocations), sum(self._kernel.browsers(seen.id) for seen in invocations)
        )

    def _end_what_is_left(self, watcher: Watcher) -> None:
        try:
            for seen in watcher.left_active():
                self._screen.event(f"invocation {seen.id} ({seen.action}) was left {seen.status}; it is ended now")
                self._kernel.cancel(seen.id)
        except KernelError as error:
            self._trouble.append(f"invocations may have been left running: {error}")

    def _report(self) -> bool:
        rows = [
            ("" if number else dag_id.replace(_PREFIX, "…_"), *row)
            for dag_id, outcome in self._outcomes.items()
            for number, row in enumerate(abridged(outcome.tasks))
        ]
        self._screen.say()
        self._screen.table(_COLUMNS, rows)
        self._screen.say()
        found = self._trouble + [
            f"{dag_id}: {difference}"
            for dag_id, outcome in self._outcomes.items()
            for difference in differences(self._examples[dag_id], outcome)
        ]
        for difference in found:
            self._screen.say(f"  NOT AS EXPECTED  {difference}")
        counts = {
            "DAGs": len(self._outcomes),
            "tasks": sum(len(outcome.tasks) for outcome in self._outcomes.values()),
            "invocations": sum(len(outcome.invocations) for outcome in self._outcomes.values()),
            "seconds": round(self._screen.seconds),
        }
        verdict = f"Not as expected in {len(found)} points" if found else "All as expected"
        self._screen.say(f"{verdict} ({', '.join(f'{what}: {count}' for what, count in counts.items())})")
        return not found
