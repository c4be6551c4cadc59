"""Every file in ``dags_examples/`` loads, and ends as the demo expects in a real Airflow."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from airflow_provider_kernel.demo.browsers import what_is_missing
from airflow_provider_kernel.demo.expected import EXAMPLES
from airflow_provider_kernel.operators import invocation as operators

FOLDER = Path(__file__).parents[2] / "dags_examples"
FILES = sorted(path.name for path in FOLDER.glob("*.py"))
#: An example that answers an invocation starts none, and a browser needs no app.
WITHOUT_AN_APP = (
    "example_kernel_answer.py",
    "example_kernel_browser.py",
    "example_kernel_browser_mapped.py",
    "example_kernel_profile.py",
)
#: Why the demo does not run examples here, by DAG ID.
NOT_RUN = {
    dag_id: reason
    for dag_id, example in EXAMPLES.items()
    if (reason := what_is_missing() if example.browsers else None) is not None
}

#: Two ways to break the promise that no invocation outlives its task.
BREAK_IT = """
import sys
from pathlib import Path
from airflow_provider_kernel.demo.command import DemoOptions, run_demo
from airflow_provider_kernel.testing import Fault

def setup(emulator):
    emulator.switches.patch_failed_ends_browsers = False
    emulator.add_fault(Fault("DELETE", "/invocations/*/browsers", nth=None, status=403))
    emulator.add_fault(Fault("PATCH", "/invocations/*", nth=1, status=403))

options = DemoOptions(home=Path(sys.argv[1]), dags=("example_kernel_complete", "example_kernel_kill"))
sys.exit(run_demo(options, setup=setup))
"""


#: All but the fifty, which differ from the mapped ones in their number alone.
WITHOUT_A_DATE = """
import sys
from pathlib import Path
from airflow_provider_kernel.demo.command import DemoOptions, run_demo
from airflow_provider_kernel.demo.expected import EXAMPLES

dags = tuple(name for name in EXAMPLES if name != "example_kernel_fifty")
sys.exit(run_demo(DemoOptions(Path(sys.argv[1]), dags, logical_date=False)))
"""

#: Ctrl-C while a task waits for its invocation, and what became of that invocation.
INTERRUPT_IT = """
import os, signal, sys, threading
from pathlib import Path
from airflow_provider_kernel.demo.command import DemoOptions, run_demo

emulators = []

def setup(emulator):
    emulators.append(emulator)
    emulator.register("demo", "echo", lambda ctx: ctx.create_browser() and ctx.wait())
    threading.Thread(target=interrupt, args=(emulator,), daemon=True).start()

def interrupt(emulator):
    emulator.wait_for("GET", "/invocations/*", timeout=120)
    os.kill(os.getpid(), signal.SIGINT)

code = run_demo(DemoOptions(Path(sys.argv[1]), ("example_kernel_invoke", "example_kernel_kill")), setup=setup)
print(*[(invocation.status, invocation.browsers) for invocation in emulators[0].invocations])
sys.exit(code)
"""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "airflow_provider_kernel.cli", "demo", *map(str, arguments)]


def run(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONIOENCODING": "utf-8", **environment}
    return subprocess.run(
        arguments, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=300
    )


def rows(output: str, dag_id: str) -> list[list[str]]:
    """The table's rows of one DAG, as lists of cells; wrapped lines of an output are left out."""
    found: list[list[str]] = []
    current = ""
    for line in output.splitlines():
        cells = re.split(r" {2,}", line)
        if cells[0].startswith("…_"):
            current = cells[0].replace("…_", "example_kernel_")
        if current == dag_id and len(cells) > 2 and cells[1]:
            found.append(cells[1:])
        if not line:
            current = ""
    return found


@pytest.fixture(scope="module")
def dag_bag() -> DagBag:
    return DagBag(dag_folder=FOLDER)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[subprocess.CompletedProcess[str], Path]:
    home = tmp_path_factory.mktemp("demo") / "home"
    return run(command("--home", home)), home


@pytest.fixture(scope="module")
def broken_demo(tmp_path_factory) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-c", BREAK_IT, str(tmp_path_factory.mktemp("broken"))])


class TestLoading:
    @pytest.mark.parametrize("file", FILES)
    def test_example_loads_and_has_documentation(self, dag_bag, file):
        assert not {path: error for path, error in dag_bag.import_errors.items() if Path(path).name == file}
        dag = dag_bag.dags[Path(file).stem]
        assert len(dag.tasks) > 1
        assert dag.doc_md
        assert dag.doc_md.startswith("\n### ")
        assert set(dag.tags) == {"example", "kernel"}
        assert dag.schedule is None or file == "example_kernel_asset.py"

    def test_every_example_has_expectations(self, dag_bag):
        assert set(dag_bag.dags) == set(EXAMPLES) == {Path(file).stem for file in FILES}

    def test_examples_use_all_operators(self, dag_bag):
        used = {task.task_type for dag in dag_bag.dags.values() for task in dag.tasks}
        assert used >= {name for name in vars(operators) if re.fullmatch(r"Kernel(?!Base)\w+Operator", name)}
        assert len(used) == 8  # these four, the sensor, @task, @task.kernel_invocation and @task.kernel_browser

    @pytest.mark.parametrize("file", FILES)
    def test_example_runs_with_another_app(self, file):
        source = (FOLDER / file).read_text()
        if file in WITHOUT_AN_APP:
            assert '"demo"' not in source
            return
        assert 'APP = os.environ.get("KERNEL_EXAMPLE_APP", "demo")' in source
        assert source.count('"demo"') == 1


class TestRunning:
    @pytest.mark.parametrize("file", FILES)
    def test_example_ends_as_expected(self, demo, file):
        result, _ = demo
        dag_id = Path(file).stem
        if dag_id in NOT_RUN:
            assert rows(result.stdout, dag_id)[0][0] == "not run"
            assert f"  not run: {NOT_RUN[dag_id]}\n" in result.stdout
            return
        assert [line for line in result.stdout.splitlines() if f"NOT AS EXPECTED  {dag_id}:" in line] == []
        shown = [(row[0], next(cell for cell in row[1:] if cell)) for row in rows(result.stdout, dag_id)]
        expected = [task.name for task in EXAMPLES[dag_id].tasks]
        if dag_id == "example_kernel_fifty":
            expected = ["page[0]", "…", "page[49]", "total"]
        assert [name for name, _ in shown] == expected, result

    def test_demo_reports_all_as_expected(self, demo):
        result, home = demo
        assert result.returncode == 0, result
        assert result.stderr == ""
        run = [example for dag_id, example in EXAMPLES.items() if dag_id not in NOT_RUN]
        counts = {
            "DAGs": len(run),
            "tasks": sum(len(example.tasks) for example in run),
            "invocations": sum(len(example.actions) for example in run),
            "browsers": sum(example.browsers for example in run),
        }
        shown = ", ".join(f"{what}: {count}" for what, count in counts.items())
        assert f"All as expected ({shown}," in result.stdout
        assert "was left" not in result.stdout
        assert f"Airflow's logs: {home / 'demo.log'}" in result.stdout

    def test_demo_prints_events_and_writes_airflows_logs_to_a_file(self, demo):
        result, home = demo
        events = re.sub(r"^ *[\d.]+ s  ", "", result.stdout, flags=re.MULTILINE)
        killed = events[events.index("example_kernel_kill: ") :]
        assert re.match(
            r"example_kernel_kill: .*\n"
            r"  task browse: running\n"
            r"  invocation \w+ \(browsers\): queued, running\n"
            r"  the task is sent a SIGTERM, as when it is marked as failed\n"
            r"  invocation \w+ \(browsers\): failed\n"
            r"  task browse: failed\n"
            r"  task check: running\n"
            r"  task check: success\n",
            killed,
        ), killed
        assert "[info" not in result.stdout
        log = (home / "demo.log").read_text()
        assert "Invoking demo/echo, version latest" in log
        assert "sk-emulator" not in log

    def test_demo_says_what_a_browser_needs_and_runs_the_rest(self, demo):
        _, home = demo
        dags = ("example_kernel_browser", "example_kernel_invoke")
        done = run(command("--home", home, *dags), KERNEL_EMULATOR_CHROMIUM="no-such-chromium")
        assert done.returncode == 0, done
        reason = "KERNEL_EMULATOR_CHROMIUM names no program that can be run: no-such-chromium"
        assert f"  not run: {reason}\n" in done.stdout
        assert rows(done.stdout, "example_kernel_browser")[0][0] == "not run"
        assert "All as expected (DAGs: 1, tasks: 2, invocations: 1, browsers: 0," in done.stdout

    def test_demo_reuses_its_home(self, demo):
        _, home = demo
        again = run(command("--home", home, "example_kernel_invoke"), AIRFLOW__CORE__EXECUTOR="NoSuchExecutor")
        assert again.returncode == 0, again
        assert f"Airflow starts, with its home in {home}" in again.stdout
        assert "All as expected (DAGs: 1, tasks: 2, invocations: 1," in again.stdout

    def test_examples_run_without_a_logical_date(self, demo):
        _, home = demo
        done = run([sys.executable, "-c", WITHOUT_A_DATE, str(home)])
        assert done.returncode == 0, done

    def test_ctrl_c_ends_the_invocation_and_the_demo(self, demo):
        _, home = demo
        interrupted = run([sys.executable, "-c", INTERRUPT_IT, str(home)])
        assert interrupted.returncode == 130, interrupted
        assert interrupted.stdout.endswith("Interrupted.\n('failed', 0)\n"), interrupted


class TestWhenSomethingIsWrong:
    @pytest.mark.parametrize(
        "difference",
        [
            "example_kernel_complete: task complete: state is 'failed', expected 'success'",
            "example_kernel_complete: task what_the_caller_sees: state is 'upstream_failed', expected 'success'",
            r"example_kernel_complete: invocation \w+: left running",
            r"example_kernel_kill: task check: output is {'status': 'failed', 'browsers': 1}, expected .*",
            "example_kernel_kill: browsers: 1 left open",
        ],
    )
    def test_broken_demo_reports_each_difference(self, broken_demo, difference):
        lines = broken_demo.stdout.splitlines()
        assert [line for line in lines if re.fullmatch(f"  NOT AS EXPECTED  {difference}", line)], broken_demo

    def test_broken_demo_fails(self, broken_demo):
        assert broken_demo.returncode == 1
        reported = broken_demo.stdout.count("  NOT AS EXPECTED  ")
        assert f"Not as expected in {reported} points (DAGs: 2, " in broken_demo.stdout
        assert re.search(r"invocation \w+ \(hang\) was left running; it is ended now", broken_demo.stdout)
