"""The options of the browser tests, and the one Airflow, Kernel and Chromium that they share."""

from __future__ import annotations

import importlib.util
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_kernel.testing import KernelEmulator
from airflow_stack.services import MissingServiceError
from airflow_stack.stack import AirflowStack
from browser.dashboard import Dashboard

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from browser.airflow_ui import AirflowUi

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "dags_examples"
CONNECTION = "kernel_default"
#: Seconds that a step of Airflow's may take on a small machine.
PATIENCE = 60

_STACK = pytest.StashKey[AirflowStack]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("the browser tests").addoption(
        "--screenshots",
        type=Path,
        metavar="DIR",
        help="where to keep the screenshots: those that the docs show in DIR, all others in DIR/other",
    )


def pytest_xdist_auto_num_workers() -> int:
    """Run in one process: there is one Airflow, and it wants the whole machine."""
    return 0


def pytest_configure(config: pytest.Config) -> None:
    if importlib.util.find_spec("playwright") is None:
        raise pytest.UsageError(
            "Playwright is not installed; run the browser tests with: uv run --group browser pytest tests/browser"
        )


@pytest.fixture(scope="session")
def kernel() -> Iterator[KernelEmulator]:
    # A key that nothing else could be taken for.
    with KernelEmulator(f"sk_{uuid.uuid4().hex}") as kernel:
        yield kernel


@pytest.fixture(scope="session")
def dashboard() -> Iterator[Dashboard]:
    with Dashboard() as dashboard:
        yield dashboard


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kernel: KernelEmulator
) -> Iterator[AirflowStack]:
    """Start an Airflow that knows nothing of any Kernel, with an example and two tasks that wait for long."""
    from cryptography.fernet import Fernet

    dags = tmp_path_factory.mktemp("dags")
    for file in (EXAMPLES / "example_kernel_deferrable.py", *(HERE / "dags").glob("*.py")):
        shutil.copy(file, dags)
    settings = {
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
        "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
    }
    try:
        stack = AirflowStack("local", dags, settings=settings)
    except MissingServiceError as missing:
        pytest.fail(str(missing), pytrace=False)
    try:
        stack.start()
        stack.wait_for_dags({"example_kernel_deferrable", "wait_on_a_worker", "wait_in_the_triggerer", "fails"})
        request.config.stash[_STACK] = stack
        yield stack
    finally:
        for record in kernel.invocations:
            if not record.finished:
                kernel.finish(record.id, output=None)
        stack.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    program = shutil.which("chromium")
    if program is None:
        pytest.fail(
            "Chromium is not installed; the browser tests need it: "
            "apt-get install --no-install-recommends chromium fonts-dejavu-core (Debian)",
            pytrace=False,
        )
    expect.set_options(timeout=PATIENCE * 1000)
    # Its sandbox refuses to work for root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that the screenshots go to."""
    folder: Path = request.config.getoption("--screenshots") or tmp_path_factory.mktemp("screenshots")
    (folder / "other").mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def open_airflow(stack: AirflowStack, chromium: Browser, screenshots: Path) -> Callable[[], AirflowUi]:
    """Open Airflow in a new window, as somebody who has just come."""
    from browser.airflow_ui import AirflowUi

    def open_it() -> AirflowUi:
        context = chromium.new_context(
            base_url=stack.url, viewport={"width": 1280, "height": 800}, locale="en-US", timezone_id="UTC"
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        return AirflowUi(page, screenshots)

    return open_it


@pytest.fixture
def ui(open_airflow: Callable[[], AirflowUi], request: pytest.FixtureRequest) -> Iterator[AirflowUi]:
    ui = open_airflow()
    yield ui
    if request.session.testsfailed:
        ui.screenshot(f"last-page-of-{request.node.name}")
    ui.page.context.close()


@pytest.fixture
def page(ui: AirflowUi) -> Page:
    return ui.page


@pytest.fixture(scope="session")
def connection(open_airflow: Callable[[], AirflowUi], kernel: KernelEmulator, dashboard: Dashboard) -> str:
    """Add the connection that the DAGs use through the form, as a person does; return its id."""
    ui = open_airflow()
    ui.add_connection(
        CONNECTION,
        url=kernel.base_url,
        key=kernel.api_key,
        port=kernel.port,
        dashboard_url=dashboard.template,
        screenshot="connection-form",
    )
    ui.page.context.close()
    return CONNECTION


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    result = yield
    report = result.get_result()
    stack = item.config.stash.get(_STACK, None)
    if report.when == "call" and report.failed and stack is not None:
        report.sections.append(("the logs of Airflow", stack.logs(15)))
