"""What takes more than one request, against the emulator."""

import pickle

import pytest

from airflow_provider_kernel.client import (
    KernelAmbiguousStartError,
    KernelBrowserGoneError,
    KernelBrowserLimitError,
    KernelClient,
    KernelCommandTimeoutError,
    KernelConfig,
    KernelConflictError,
    KernelConnectionError,
    KernelInputError,
    KernelNotFoundError,
    RetryPolicy,
)
from airflow_provider_kernel.client.resources.browsers import flows
from airflow_provider_kernel.client.resources.browsers.options import browser_body
from airflow_provider_kernel.hooks.browsers import places
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.resources.browsers import Browsers
from airflow_provider_kernel.testing.resources.limits import Limits


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def client(kernel_emulator, pauses):
    config = KernelConfig(
        kernel_emulator.api_key, kernel_emulator.base_url, retry=RetryPolicy(base_seconds=0.01, cap_seconds=0.02)
    )
    with KernelClient(config, sleep=pauses.append) as client:
        yield client


@pytest.fixture
def start(client):
    def start(start_timeout=60.0, **options):
        flow = flows.start_browser(
            browser_body(**options), start_timeout=start_timeout, places=places, mark=options.get("tags")
        )
        return client.run(flow)

    return start


def creates(kernel):
    return len(kernel.requests("POST", "/browsers"))


class TestStart:
    def test_place_that_becomes_free_is_taken(self, kernel_emulator, client, pauses):
        kernel_emulator.room(Limits).max_concurrent_sessions = 1
        first = client.run(flows.start_browser(browser_body()))

        def wait(error):
            assert error.status_code == 429
            client.run(flows.end_browser(first.session_id))

        second = client.run(flows.start_browser(browser_body(), on_wait=wait))
        assert [each.is_active for each in kernel_emulator.browsers] == [False, True]
        assert second.session_id != first.session_id
        assert pauses == [1.0]  # the server's Retry-After

    def test_no_place_in_time_is_an_error_that_names_used_and_allowed_sessions(self, kernel_emulator, start):
        kernel_emulator.room(Limits).max_concurrent_sessions = 1
        start()
        with pytest.raises(KernelBrowserLimitError, match=r"within 0 s; 1 of 1 sessions are in use") as error:
            start(start_timeout=0.0)
        assert (error.value.used, error.value.allowed, error.value.permanent) == (1, 1, False)
        assert "invocations" not in str(error.value)  # the advice of every other 429

    def test_no_capacity_in_time_is_the_same_error(self, kernel_emulator, start):
        kernel_emulator.switches.capacity_exhausted = True
        with pytest.raises(KernelBrowserLimitError, match=r"0 of 5 sessions are in use: .*529"):
            start(start_timeout=0.0)

    def test_limit_is_told_although_the_limits_cannot_be_read(self, kernel_emulator, start):
        kernel_emulator.switches.capacity_exhausted = True
        kernel_emulator.add_fault(Fault("GET", "/org/limits", nth=None, status=403))
        with pytest.raises(KernelBrowserLimitError) as error:
            start(start_timeout=0.0)
        assert error.value.used is None

    def test_refused_connection_is_tried_again(self, kernel_emulator, start):
        with kernel_emulator.outage("refuse"), pytest.raises(KernelConnectionError) as error:
            start(start_timeout=0.0)
        assert not error.value.sent
        assert start().session_id

    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 500, "processed": True},
            {"status": 503},
            {"drop": "after"},
            {"drop": "before"},
            {"body": "<html>"},
        ],
        ids=str,
    )
    def test_create_that_may_have_been_taken_is_not_sent_again(self, kernel_emulator, start, fault):
        kernel_emulator.add_fault(Fault("POST", "/browsers", nth=None, **fault))
        with pytest.raises(KernelAmbiguousStartError):
            start()
        assert creates(kernel_emulator) == 1

    def test_conflict_with_its_own_lost_create_is_that_browser(self, kernel_emulator, start):
        lost = start(name="mine", tags={"start": "1"})
        assert start(name="mine", tags={"start": "1"}).session_id == lost.session_id
        assert len(kernel_emulator.browsers) == 1

    def test_conflict_with_another_browser_is_an_error(self, start):
        start(name="mine", tags={"start": "1"})
        with pytest.raises(KernelConflictError):
            start(name="mine", tags={"start": "2"})

    def test_name_that_is_free_late_is_waited_for(self, kernel_emulator, start, pauses):
        kernel_emulator.add_fault(Fault("POST", "/browsers", nth=1, status=409))
        assert start(name="mine").name == "mine"
        assert len(pauses) == 1


class TestEnd:
    def test_end_tells_whether_there_was_one(self, client, start):
        session = start()
        assert client.run(flows.end_browser(session.session_id)) is True
        assert client.run(flows.end_browser(session.session_id)) is False

    def test_other_project_is_not_taken_for_gone(self, kernel_emulator, start):
        session = start()
        config = KernelConfig(kernel_emulator.api_key, kernel_emulator.base_url, project="another one")
        with KernelClient(config) as client, pytest.raises(KernelNotFoundError):
            client.run(flows.end_browser(session.session_id))

    def test_use_of_an_ended_browser_says_when_it_ended_and_what_to_change(self, kernel_emulator, client, start):
        session = start(idle_timeout=42)
        kernel_emulator.room(Browsers).end(session.session_id, "idle")
        with pytest.raises(KernelBrowserGoneError) as error:
            client.run(flows.run_script(session.session_id, "return 1"))
        text = str(error.value)
        assert "its idle limit was 42 s" in text
        assert f"at {kernel_emulator.browsers[0].ended_at}" in text
        assert "Kernel does not say why" in text
        assert "Raise idle_timeout" in text
        assert b"jwt=" not in pickle.dumps(error.value)

    def test_missing_file_of_a_browser_that_runs_is_not_found(self, client, start):
        with pytest.raises(KernelNotFoundError):
            client.run(flows.read_file(start().session_id, "/none"))


class TestCommands:
    def test_command_that_takes_too_long_is_not_run_again(self, kernel_emulator, client, start):
        kernel_emulator.add_fault(
            Fault(
                "POST",
                "/browsers/*/process/exec",
                status=500,
                body={"code": "internal", "message": "process timed out"},
            )
        )
        with pytest.raises(KernelCommandTimeoutError, match="longer than 5 s"):
            client.run(flows.run_command(start().session_id, "sleep", args=["9"], timeout_seconds=5))
        assert len(kernel_emulator.requests("POST", "/browsers/*/process/exec")) == 1

    def test_output_of_a_command_is_bytes(self, kernel_emulator, client, start):
        kernel_emulator.room(Browsers).register_command("echo", lambda args: " ".join(args))
        result = client.run(flows.run_command(start().session_id, "echo", args=["a", "b"], timeout_seconds=5))
        assert (result.exit_code, result.stdout) == (0, b"a b")


class TestArgs:
    def test_args_stand_on_the_first_line_of_the_script(self):
        code = flows.with_args("const a = 1;\nthrow new Error('x')", {"a": "b\nc"})
        assert code.splitlines()[1] == "throw new Error('x')"
        assert code.startswith("const args = JSON.parse(")

    @pytest.mark.parametrize("value", ["\ud800", float("nan"), object()], ids=["half a surrogate", "NaN", "object"])
    def test_args_that_json_cannot_hold_are_refused(self, value):
        with pytest.raises(KernelInputError, match="args"):
            flows.with_args("return args", value)


def test_scripts_wait_longer_than_their_own_limit(client, start):
    from airflow_provider_kernel.client.resources.browsers import machine

    assert machine.execute_playwright("id", "return 1", timeout_seconds=300).read_timeout == 330
