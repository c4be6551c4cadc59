"""A function that takes a page, on a worker without Playwright."""

from airflow.sdk import DAG
from support.execution_api import ExecutionAPI, task_instance
from support.in_process import run_task

from airflow_provider_kernel.browser import installed
from airflow_provider_kernel.operators.browser import KernelBrowserTaskOperator


def run(function):
    with DAG("d", schedule=None):
        task = KernelBrowserTaskOperator(task_id="t", python_callable=function, retries=3)
    return run_task(ti=task_instance(), task=task, client=ExecutionAPI(max_tries=3).client())


def test_task_fails_before_there_is_a_browser_and_without_a_retry(kernel_connection, kernel_emulator, monkeypatch):
    monkeypatch.setattr(installed, "has_playwright", lambda: False)
    result = run(lambda page: None)
    assert result.state == "failed"
    assert "pip install 'airflow-provider-kernel[playwright]'" in str(result.error)
    assert not kernel_emulator.journal


def test_function_without_a_page_runs(kernel_connection, kernel_emulator, monkeypatch):
    monkeypatch.setattr(installed, "has_playwright", lambda: False)
    assert run(lambda browser: browser.session_id).state == "success"
    assert kernel_emulator.browsers[0].end_cause == "deleted"
