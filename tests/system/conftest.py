"""The options of the system tests, the one Airflow that they share, and the table at the end."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from airflow_provider_kernel.testing import KernelEmulator
from airflow_provider_kernel.testing.resources.limits import Limits
from airflow_stack.services import MissingServiceError
from airflow_stack.stack import AirflowStack
from system.scenario import Run
from system.table import as_markdown, as_text, failures_as_markdown
from system.task_run import Matrix, TaskRun
from system.under_test.browser_variants import browser_dag_ids
from system.under_test.notices import GATE, NOTICES
from system.under_test.variants import dag_ids

HERE = Path(__file__).parent
#: The most tasks that run at once: those of the outage of Kernel.
PARALLELISM = 16
_MATRIX = pytest.StashKey[Matrix]()
_FAILED = pytest.StashKey[list[tuple[str, str, str]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("the kill matrix")
    group.addoption("--executor", choices=("local", "celery"), default="local", help="what runs the tasks")
    group.addoption(
        "--operator",
        choices=("ours", "naive"),
        default="ours",
        help="naive runs, with a deliberately naive operator, the rows that it must fail",
    )
    group.addoption(
        "--full",
        action="store_true",
        help="outages of a minute, of every kind, in place of short ones of one kind; each row with every function "
        "of a task with a browser",
    )
    group.addoption("--count", type=int, default=0, help="how often to kill a task with a page, again and again")
    group.addoption(
        "--table", type=Path, help="a file to write the table to, as Markdown; that of the browsers is beside it"
    )


def pytest_xdist_auto_num_workers() -> int:
    """Run in one process: there is one Airflow, and it wants the whole machine."""
    return 0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "row(number, title, celery=False, naive_fails=()): the row of the kill matrix; whether it involves a "
        "worker, and so runs on Celery as well; the modes in which a naive operator fails it",
    )
    config.addinivalue_line(
        "markers", "modes(*modes, full=()): how the task waits, one test each; the others with --full only"
    )
    config.addinivalue_line("markers", "again: only with --count, and as often")
    config.addinivalue_line("markers", "full: only with --full")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    modes = metafunc.definition.get_closest_marker("modes")
    if modes is not None:
        more = modes.kwargs.get("full", ()) if metafunc.config.getoption("--full") else ()
        metafunc.parametrize("mode", [*modes.args, *more])
    if "outage" in metafunc.fixturenames:
        # The kinds share the work: it is the same for each.
        short = {"local": "error", "celery": "hang"}[metafunc.config.getoption("--executor")]
        is_full = metafunc.config.getoption("--full")
        outages = [(kind, 60) for kind in ("error", "refuse", "hang")] if is_full else [(short, 20)]
        metafunc.parametrize("outage", outages, ids=[kind for kind, _ in outages])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if not _is_wanted(config, item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if config.getoption("--operator") == "naive":
        for item in items:
            item.add_marker(pytest.mark.xfail(strict=True, raises=AssertionError, reason="a naive operator leaks"))


def _is_wanted(config: pytest.Config, item: pytest.Item) -> bool:
    if item.get_closest_marker("again") and not config.getoption("--count"):
        return False
    if item.get_closest_marker("full") and not config.getoption("--full"):
        return False
    row = item.get_closest_marker("row")
    if row is None:
        return config.getoption("--executor") == "local" and config.getoption("--operator") == "ours"
    if config.getoption("--executor") == "celery" and not row.kwargs.get("celery", False):
        return False
    mode = item.callspec.params.get("mode") if hasattr(item, "callspec") else None
    return config.getoption("--operator") == "ours" or mode in row.kwargs.get("naive_fails", ())


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    folder = tmp_path_factory.mktemp("matrix")
    naive = request.config.getoption("--operator") == "naive"
    with KernelEmulator() as kernel:
        kernel.room(Limits).max_concurrent_sessions = 100
        settings = {
            "PYTHONPATH": str(HERE),
            NOTICES: str(folder / "notices"),
            GATE: str(folder),
            "KILL_MATRIX_OPERATOR": request.config.getoption("--operator"),
            "AIRFLOW_CONN_KERNEL_DEFAULT": kernel.airflow_connection,
        }
        try:
            stack = AirflowStack(
                request.config.getoption("--executor"), HERE / "dags", settings=settings, parallelism=PARALLELISM
            )
        except MissingServiceError as missing:
            pytest.fail(str(missing), pytrace=False)
        try:
            stack.start()
            stack.wait_for_dags(dag_ids() | browser_dag_ids())
            matrix = request.config.stash[_MATRIX] = Matrix(stack, kernel, folder, patience=0.6 if naive else 1.0)
            yield matrix
            if not naive:
                matrix.recheck()
        finally:
            stack.stop()


@pytest.fixture
def stack(matrix: Matrix) -> AirflowStack:
    return matrix.stack


@pytest.fixture
def kernel(matrix: Matrix) -> Iterator[KernelEmulator]:
    yield matrix.kernel
    matrix.kernel.clear_faults()


@pytest.fixture
def is_full(request: pytest.FixtureRequest) -> bool:
    """Whether the times are those of an ordinary outage."""
    return bool(request.config.getoption("--full"))


@pytest.fixture
def start(matrix: Matrix, kernel: KernelEmulator) -> Iterator[Callable[..., Any]]:
    """
    Start a run of a variant in a mode, for a row of some title; the end of the test ends what is left of it.

    ``kind`` says what its task owns: ``Run`` an invocation, ``BrowserRun`` a browser.
    """
    runs: list[TaskRun] = []

    def start(variant: str, mode: str, row: str, title: str, kind: type[TaskRun] = Run) -> TaskRun:
        run = kind(matrix, variant, mode, row, title)
        runs.append(run)
        return run.start()

    matrix.stack.wait_until_healthy()
    yield start
    for run in runs:
        run.sweep()


@pytest.fixture
def scenario(start: Callable[..., Any], mode: str, request: pytest.FixtureRequest) -> Callable[[str], Any]:
    """Start a run of a variant, for the row and in the mode of the test."""
    row = request.node.get_closest_marker("row")
    return lambda variant: start(variant, mode, *row.args)


@pytest.fixture
def api_server_away(stack: AirflowStack) -> AbstractContextManager[None]:
    """While this is entered, no API server runs."""

    @contextmanager
    def away() -> Iterator[None]:
        server = stack.programs["api-server"]
        server.stop(signal.SIGKILL)
        try:
            yield
        finally:
            server.start()
            stack.wait_until_healthy()

    return away()


@pytest.fixture
def frozen_workers(stack: AirflowStack) -> AbstractContextManager[None]:
    """While this is entered, what the LocalExecutor queues stays queued: a frozen worker holds the queue's lock."""

    @contextmanager
    def frozen() -> Iterator[None]:
        workers = [p for p in psutil.Process(stack.programs["scheduler"].pid).children() if _is_worker(p)]
        assert workers, "the LocalExecutor has no workers"
        for worker in workers:
            worker.suspend()
        try:
            yield
        finally:
            for worker in workers:
                worker.resume()

    return frozen()


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "LocalExecutor" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # or a zombie
        return False


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    result = yield
    row = item.get_closest_marker("row")
    if row is not None and hasattr(item, "callspec") and call.when == "call" and call.excinfo is not None:
        mode = item.callspec.params.get("mode", "").replace("_", " ")
        item.config.stash.setdefault(_FAILED, []).append((*row.args, mode))
    report = result.get_result()
    matrix = item.config.stash.get(_MATRIX, None)
    if report.when == "call" and report.failed and matrix is not None:
        report.sections.append(("the logs of Airflow", matrix.stack.logs()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    matrix = config.stash.get(_MATRIX, None)
    if matrix is None:
        return
    table, executor = config.getoption("--table"), config.getoption("--executor")
    if config.getoption("--operator") == "naive":
        text = failures_as_markdown(config.stash.setdefault(_FAILED, []))
        terminalreporter.section("what the naive operator fails")
        terminalreporter.write_line(text)
        if table:
            table.write_text(text)
    elif matrix.outcomes:
        terminalreporter.section("the kill matrix")
        terminalreporter.write_line(as_text(matrix.outcomes))
        if table:
            arguments = shlex.join(map(str, config.invocation_params.args))
            command = f"uv run pytest {arguments}".replace(str(table), "<file>")
            texts = as_markdown(matrix.outcomes, executor=executor, cores=os.cpu_count(), command=command)
            for kind, text in texts.items():
                # That of the invocations has the name, that of the browsers one made from it.
                (table if kind == "invocation" else table.with_stem(f"{table.stem}-{kind}s")).write_text(text)
