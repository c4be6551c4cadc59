"""A real task, or trigger, that shows an API key of the environment: Airflow masks it in the task's log."""

import json

import pytest
import structlog
from airflow.sdk._shared.secrets_masker import reset_secrets_masker
from airflow.sdk.log import logging_processors
from support.task_process import run_task
from support.triggerer_process import run_trigger
from support.triggers import ShowsTheKey


@pytest.fixture(params=["sk_of_the_environment", "sk\"of'the\\environment", "sk_of_the_environment\n"], ids=repr)
def key(request, monkeypatch):
    monkeypatch.setenv("KERNEL_API_KEY", request.param)
    reset_secrets_masker()  # of this process, which is the supervisor
    yield request.param.strip()
    reset_secrets_masker()


def test_key_of_the_environment_is_not_in_the_log_of_a_task(key, execution_api, tmp_path):
    path = tmp_path / "task.log"
    with path.open("wb") as file:
        logger = structlog.wrap_logger(
            structlog.BytesLogger(file), processors=logging_processors(json_output=True), logger_name="task"
        ).bind()
        run_task(execution_api, "shows_the_key", dag_id="key", file="key.py", logger=logger)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    text = "\n".join(str(record["event"]) for record in records)
    assert "printed ***" in text
    assert "dumped {'KERNEL_API_KEY': '***" in text
    assert 'as JSON {"key": "***"}' in text
    assert "refused with ***" in path.read_text()
    assert "environment" not in path.read_text().replace("of the environment", "")
    assert execution_api.final_state == "failed"


def test_key_of_the_environment_is_not_in_the_log_of_a_trigger(key, execution_api, tmp_path):
    log = tmp_path / "task.log"
    with run_trigger(ShowsTheKey(), execution_api, log) as triggerer:
        triggerer.service_until(lambda: triggerer.supervisor.failed_triggers)
    text = log.read_text()
    assert "shown ***" in text
    assert "refused with ***" in text
    assert "environment" not in text.replace("of the environment", "")
