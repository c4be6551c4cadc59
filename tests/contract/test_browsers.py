"""Browsers over the wire, for both clients: each endpoint, what is sent once only, and answers of somebody else."""

from __future__ import annotations

import io
import logging
import re
import zipfile

import pytest
from contract.troubles import ERROR_PAGE, LOSSES, fault_of, read_timeout

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.resources.browsers import flows, machine, requests
from airflow_provider_kernel.client.resources.browsers.errors import (
    KernelBrowserGoneError,
    KernelCommandTimeoutError,
    KernelScriptError,
)
from airflow_provider_kernel.client.resources.browsers.options import browser_body
from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.resources.browsers import Browsers

EXECUTE, EXEC = "/browsers/*/playwright/execute", "/browsers/*/process/exec"
RECORDING = b"\x00\x00\x00\x18ftypmp42"

#: What is sent once: how to send it, and its path.
ONCE = {
    "create": ("/browsers", lambda session_id: requests.create_browser(browser_body())),
    "script": (EXECUTE, lambda session_id: machine.execute_playwright(session_id, "return 1")),
    "command": (EXEC, lambda session_id: machine.exec_command(session_id, "true")),
    "replay": ("/browsers/*/replays", machine.start_replay),
}

#: What may be sent again: method, path, and how to send it.
AGAIN = {
    "get": ("GET", "/browsers/*", requests.get_browser),
    "list": ("GET", "/browsers", lambda session_id: requests.list_browsers()),
    "update": ("PATCH", "/browsers/*", lambda session_id: requests.update_browser(session_id, tags={"a": "b"})),
    "list files": ("GET", "/browsers/*/fs/list_files", lambda session_id: machine.list_files(session_id, "/tmp")),  # noqa: S108
    "write file": (
        "PUT",
        "/browsers/*/fs/write_file",
        lambda session_id: machine.write_file(session_id, "/tmp/a", b"\x00"),  # noqa: S108
    ),
}


@pytest.fixture
def session_id(client):
    return client.send(requests.create_browser(browser_body(headless=False))).session_id


class TestSessions:
    def test_create_sends_the_body_and_returns_the_session(self, client, kernel_emulator):
        body = browser_body(stealth=True, viewport=(1280, 720), tags={"team": "a b"}, name="n.1", idle_timeout=60)
        session = client.send(requests.create_browser(body))
        (request,) = kernel_emulator.requests("POST", "/browsers")
        assert request.json == {
            "headless": True,
            "stealth": True,
            "timeout_seconds": 60,
            "viewport": {"width": 1280, "height": 720},
            "tags": {"team": "a b"},
            "name": "n.1",
        }
        assert (session.name, session.tags, session.timeout_seconds) == ("n.1", {"team": "a b"}, 60)
        assert not session.has_ended

    def test_list_finds_by_all_tags_by_text_and_by_status(self, client):
        def start(name, **tags):
            return client.send(requests.create_browser(browser_body(name=name, tags=tags))).session_id

        first, second = start("page-one", a="1", b="x=y"), start("page-two", a="1")
        client.send(requests.delete_browser(second))

        def found(**options):
            return {each.session_id for each in client.pages(requests.list_browsers(**options))}

        assert found() == {first}
        assert found(tags={"a": "1"}, status="all") == {first, second}
        assert found(tags={"a": "1", "b": "x=y"}, status="all") == {first}
        assert found(status="deleted") == {second}
        assert found(query="e-tw", status="all") == {second}

    def test_get_shows_an_ended_session_only_if_it_is_asked_for(self, client, session_id):
        client.send(requests.delete_browser(session_id))
        with pytest.raises(errors.KernelNotFoundError) as error:
            client.send(requests.get_browser(session_id))
        assert error.value.says_absent
        ended = client.send(requests.get_browser(session_id, include_deleted=True))
        assert ended.has_ended
        assert ended.usage.uptime_ms >= 0

    def test_update_changes_name_and_tags(self, client, session_id):
        client.send(requests.update_browser(session_id, name="old"))
        changed = client.send(requests.update_browser("old", name="new", tags={"a": "b"}))
        assert (changed.session_id, changed.name, changed.tags) == (session_id, "new", {"a": "b"})

    def test_end_tells_an_absent_browser_from_an_absent_project(self, client, kernel_emulator, session_id):
        kernel_emulator.add_fault(
            Fault("DELETE", "/browsers/*", status=404, body={"code": "project_not_found", "message": "no project"})
        )
        with pytest.raises(errors.KernelNotFoundError) as error:
            client.run(flows.end_browser(session_id))
        assert not error.value.says_absent
        assert client.run(flows.end_browser(session_id)) is True
        assert client.run(flows.end_browser(session_id)) is False


class TestMachine:
    def test_script_that_fails_is_a_success_of_the_request_and_an_error_of_the_flow(
        self, client, kernel_emulator, session_id
    ):
        body = {"success": False, "error": "Timeout\n30000ms", "stdout": "out", "stderr": "at line 1"}
        kernel_emulator.add_fault(Fault("POST", EXECUTE, None, status=200, body=body))
        assert client.send(machine.execute_playwright(session_id, "throw 1")).success is False
        with pytest.raises(KernelScriptError) as error:
            client.run(flows.run_script(session_id, "throw 1"))
        assert (error.value.result.stdout, error.value.result.stderr) == ("out", "at line 1")
        assert "Timeout 30000ms" in str(error.value)
        assert "\n" not in str(error.value)

    def test_script_sends_its_limit_and_returns_any_json(self, client, kernel_emulator, session_id):
        kernel_emulator.add_fault(Fault("POST", EXECUTE, status=200, body={"success": True, "result": [None, "ü"]}))
        assert client.run(flows.run_script(session_id, "return 1", timeout_seconds=7)).result == [None, "ü"]
        (request,) = kernel_emulator.requests("POST", EXECUTE)
        assert request.json == {"code": "return 1", "timeout_sec": 7}

    def test_command_returns_its_code_and_the_bytes_of_its_output(self, client, kernel_emulator, session_id):
        kernel_emulator.room(Browsers).register_command("x", lambda args: (3, b"\x00\xff", "".join(args)))
        result = client.run(flows.run_command(session_id, "x", args=["a", "ü"], timeout_seconds=5))
        assert (result.exit_code, result.stdout, result.stderr.decode()) == (3, b"\x00\xff", "aü")

    def test_answer_to_a_script_may_take_longer_than_the_clients_read_timeout(
        self, connect, kernel_emulator, session_id
    ):
        kernel_emulator.add_fault(
            Fault("POST", EXECUTE, status=200, body={"success": True, "result": 1}, delay_answer=0.6)
        )
        patient = connect(kernel_emulator, read_timeout=0.2)
        assert patient.send(machine.execute_playwright(session_id, "return 1", timeout_seconds=1)).result == 1

    def test_files_come_back_as_they_were_written(self, client, session_id):
        data = bytes(range(256)) * 5000
        client.send(machine.write_file(session_id, "/tmp/a b&c=d?e#ü", data))  # noqa: S108
        assert client.run(flows.read_file(session_id, "/tmp/a b&c=d?e#ü")) == data  # noqa: S108
        client.send(machine.upload_files(session_id, {"/tmp/up/ü": b"\r\n--x--\r\n", "/tmp/up/0": b""}))  # noqa: S108
        found = client.send(machine.list_files(session_id, "/tmp/up"))  # noqa: S108
        assert {each.name: each.size_bytes for each in found} == {"ü": 9, "0": 0}
        with zipfile.ZipFile(io.BytesIO(client.send(machine.download_folder(session_id, "/tmp/up")))) as folder:  # noqa: S108
            assert {name.rpartition("/")[2] for name in folder.namelist()} >= {"ü", "0"}

    def test_screenshot_is_a_png(self, client, kernel_emulator, session_id):
        kernel_emulator.add_fault(
            Fault("POST", "/browsers/*/computer/screenshot", status=200, body=b"\x89PNG\r\n\x1a\n")
        )
        assert client.send(machine.take_screenshot(session_id)).startswith(b"\x89PNG")


class TestReplays:
    PATH = "/browsers/*/replays/*"

    def pending(self, kernel_emulator, times):
        kernel_emulator.add_fault(
            Fault("GET", self.PATH, range(1, times + 1), status=202, headers={"Retry-After": "3"})
        )
        kernel_emulator.add_fault(
            Fault("GET", self.PATH, range(1, 9), status=200, headers={"Content-Type": "video/mp4"}, body=RECORDING)
        )

    def test_recording_that_is_not_ready_is_no_empty_file(self, client, kernel_emulator):
        self.pending(kernel_emulator, 1)
        assert client.run(flows.download_replay("abc", "r1")) is None

    def test_recording_is_waited_for_as_long_as_the_server_asks(self, client, kernel_emulator):
        self.pending(kernel_emulator, 2)
        assert client.run(flows.download_replay("abc", "r1", patience=60)) == RECORDING
        assert client.waits == [3.0, 3.0]

    def test_recording_is_not_waited_for_beyond_the_patience(self, client, kernel_emulator):
        self.pending(kernel_emulator, 2)
        assert client.run(flows.download_replay("abc", "r1", patience=2)) is None
        assert client.waits == []


class TestResending:
    @pytest.mark.parametrize("what", ONCE)
    @pytest.mark.parametrize("loss", LOSSES)
    def test_request_that_may_have_been_taken_is_not_sent_again(
        self, connect, kernel_emulator, session_id, what, loss
    ):
        path, make = ONCE[what]
        before = len(kernel_emulator.requests("POST", path))
        kernel_emulator.add_fault(fault_of(loss, "POST", path, None))
        request = make(session_id)
        request.read_timeout = 0.0  # the client's own counts
        with pytest.raises(errors.KernelError):
            connect(kernel_emulator, read_timeout=read_timeout(loss)).send(request)
        assert len(kernel_emulator.requests("POST", path)) == before + 1

    @pytest.mark.parametrize("what", ONCE)
    @pytest.mark.parametrize("status", [429, 529])
    def test_request_that_was_refused_is_sent_again(self, client, kernel_emulator, session_id, what, status):
        path, make = ONCE[what]
        before = len(kernel_emulator.requests("POST", path))
        kernel_emulator.room(Browsers).register_command("true", lambda args: 0)
        kernel_emulator.add_fault(Fault("POST", EXECUTE, (2,), status=200, body={"success": True}))
        kernel_emulator.add_fault(Fault("POST", path, status=status, headers={"Retry-After": "2"}))
        client.send(make(session_id))
        assert len(kernel_emulator.requests("POST", path)) == before + 2
        assert client.waits[0] >= 2

    @pytest.mark.parametrize("what", ["create", "command", "replay"])
    def test_request_is_sent_again_after_refused_connections(
        self, client, kernel_emulator, session_id, nothing_listens, what
    ):
        path, make = ONCE[what]
        before = len(kernel_emulator.requests("POST", path))
        kernel_emulator.room(Browsers).register_command("true", lambda args: 0)
        nothing_listens(2)
        client.send(make(session_id))
        assert len(client.waits) == 2
        assert len(kernel_emulator.requests("POST", path)) == before + 1

    @pytest.mark.parametrize("what", AGAIN)
    def test_request_that_changes_nothing_twice_is_sent_again(self, client, kernel_emulator, session_id, what):
        method, path, make = AGAIN[what]
        kernel_emulator.add_fault(Fault(method, path, status=500, processed=True))
        client.send(make(session_id))
        assert len(client.waits) == 1


class TestCommandsThatEndLate:
    def timed_out(self, status, body):
        return Fault("POST", EXEC, None, status=status, body=body)

    def test_command_whose_time_is_over_is_told_as_such_and_not_run_again(
        self, client, kernel_emulator, session_id
    ):
        kernel_emulator.add_fault(self.timed_out(500, {"code": "internal", "message": "process timed out"}))
        with pytest.raises(KernelCommandTimeoutError, match="longer than 5 s"):
            client.run(flows.run_command(session_id, "x", timeout_seconds=5))
        assert len(kernel_emulator.requests("POST", EXEC)) == 1

    @pytest.mark.parametrize("status", [502, 503, 504])
    def test_proxy_whose_time_is_over_has_killed_no_command(self, client, kernel_emulator, session_id, status):
        kernel_emulator.add_fault(self.timed_out(status, "<html>upstream request timed out</html>"))
        with pytest.raises(errors.KernelServerError):
            client.run(flows.run_command(session_id, "x", timeout_seconds=5))
        assert len(kernel_emulator.requests("POST", EXEC)) == 1


class TestHostileAnswers:
    @pytest.mark.parametrize(
        "body", [ERROR_PAGE, {}, [5], b"null", [], b"", {"session_id": ""}, {"session_id": 5}], ids=repr
    )
    @pytest.mark.parametrize("method", ["POST", "GET", "PATCH"])
    def test_200_that_is_no_session_is_refused(self, client, kernel_emulator, method, body):
        kernel_emulator.add_fault(Fault(method, "/browsers**", None, status=200, body=body))
        request = {
            "POST": requests.create_browser(browser_body()),
            "GET": requests.get_browser("abc"),
            "PATCH": requests.update_browser("abc", tags={}),
        }[method]
        with pytest.raises(errors.KernelResponseError):
            client.send(request)

    @pytest.mark.parametrize("method", ["GET", "PATCH"])
    def test_session_of_another_request_is_refused(self, client, kernel_emulator, session_id, method):
        other = {"session_id": "another", "name": "its", "cdp_ws_url": "wss://x/?jwt=eyJ.s3cret"}
        kernel_emulator.add_fault(Fault(method, "/browsers/*", None, status=200, body=other))
        request = requests.get_browser if method == "GET" else requests.update_browser
        with pytest.raises((errors.KernelResponseError, errors.KernelConnectionError), match="another") as error:
            client.send(request(session_id))
        assert "s3cret" not in f"{error.value} {error.value!r}"

    @pytest.mark.parametrize(
        ("method", "path", "make"),
        [
            ("DELETE", "/browsers/*", requests.delete_browser),
            ("PUT", "/browsers/*/fs/write_file", lambda i: machine.write_file(i, "/a", b"")),
            ("POST", "/browsers/*/fs/upload", lambda i: machine.upload_files(i, {"/a": b""})),
            ("POST", "/browsers/*/replays/*/stop", lambda i: machine.stop_replay(i, "r")),
            ("GET", "/browsers/*/fs/read_file", lambda i: machine.read_file(i, "/a")),
            ("GET", "/browsers/*/fs/download_dir_zip", lambda i: machine.download_folder(i, "/a")),
            ("GET", "/browsers/*/replays/*", lambda i: machine.download_replay(i, "r")),
            ("POST", "/browsers/*/computer/screenshot", machine.take_screenshot),
        ],
        ids=["delete", "write", "upload", "stop", "read", "folder", "recording", "screenshot"],
    )
    def test_page_of_a_proxy_is_no_success(self, client, kernel_emulator, session_id, method, path, make):
        kernel_emulator.add_fault(Fault(method, path, None, status=200, body=ERROR_PAGE))
        with pytest.raises(errors.KernelResponseError):
            client.send(make(session_id))
        assert kernel_emulator.browsers[0].is_active

    @pytest.mark.parametrize(
        "body", [{"exit_code": 0, "stdout_b64": "%%%"}, {"exit_code": "x"}, [], ERROR_PAGE], ids=repr
    )
    def test_output_that_is_no_base64_is_an_answer_of_somebody_else(
        self, client, kernel_emulator, session_id, body
    ):
        kernel_emulator.add_fault(Fault("POST", EXEC, None, status=200, body=body))
        with pytest.raises(errors.KernelResponseError):
            client.send(machine.exec_command(session_id, "x"))
        assert len(kernel_emulator.requests("POST", EXEC)) == 1

    def test_picture_that_is_none_is_refused(self, client, kernel_emulator, session_id):
        kernel_emulator.add_fault(Fault("POST", "/browsers/*/computer/screenshot", None, status=200, body={"a": 1}))
        with pytest.raises(errors.KernelResponseError):
            client.send(machine.take_screenshot(session_id))

    def test_404_of_a_proxy_is_not_the_end_of_a_browser(self, client, kernel_emulator, session_id):
        kernel_emulator.add_fault(Fault("DELETE", "/browsers/*", None, status=404, body=ERROR_PAGE))
        kernel_emulator.add_fault(Fault("POST", EXECUTE, None, status=404, body=ERROR_PAGE))
        for flow in flows.end_browser(session_id), flows.run_script(session_id, "return 1"):
            with pytest.raises(errors.KernelNotFoundError) as error:
                client.run(flow)
            assert not error.value.says_absent

    def test_file_larger_than_the_limit_is_an_error_that_names_it(
        self, client, kernel_emulator, session_id, monkeypatch
    ):
        monkeypatch.setattr("airflow_provider_kernel.client.http.response_body.MAX_RESPONSE_BYTES", 2**20)
        kernel_emulator.add_fault(Fault("GET", "/browsers/*/fs/read_file", None, status=200, body=bytes(2**20 + 1)))
        with pytest.raises(errors.KernelResponseTooLargeError, match="larger than 1 MiB"):
            client.run(flows.read_file(session_id, "/a"))


class TestTokens:
    SECRET = "eyJhbGciOi.s3cret-token_x"

    def test_token_of_an_address_is_in_no_error_and_no_log(self, client, kernel_emulator, session_id, caplog):
        caplog.set_level(logging.DEBUG)
        text = f"cannot connect to wss://proxy.example:8443/browser/cdp?jwt={self.SECRET}"
        kernel_emulator.add_fault(Fault("POST", EXECUTE, (1,), status=200, body={"success": False, "error": text}))
        kernel_emulator.add_fault(Fault("POST", EXECUTE, (2,), status=500, body={"code": "x", "message": text}))
        kernel_emulator.add_fault(
            Fault("GET", "/browsers/*", (1,), status=500, body={"code": "x", "message": text})
        )
        kernel_emulator.add_fault(
            Fault("GET", "/browsers/*", (3,), status=302, headers={"Location": text.split()[-1]})
        )
        told = []
        for _ in range(2):
            with pytest.raises(errors.KernelError) as error:
                client.run(flows.run_script(session_id, "return 1"))
            told.append(f"{error.value} {error.value!r} {error.value.__cause__!r}")
        client.send(requests.get_browser(session_id))
        with pytest.raises(errors.KernelResponseError) as error:
            client.send(requests.get_browser(session_id))
        told.append(f"{error.value} {error.value!r} {error.value.__cause__!r}")
        assert "s3cret" not in "\n".join(told) + caplog.text
        assert "jwt=***" in told[0]
        assert "jwt=***" in caplog.text

    def test_addresses_are_in_no_repr(self, client, kernel_emulator, session_id):
        (token,) = {kernel_emulator.browsers[0].token}
        session = client.send(requests.get_browser(session_id))
        assert token in session.cdp_ws_url
        assert token in session.browser_live_view_url
        replay = client.send(machine.start_replay(session_id))
        for shown in session, replay:
            assert token not in f"{shown!r} {shown}"

    def test_error_of_an_ended_browser_has_no_address(self, client, kernel_emulator, session_id):
        token = kernel_emulator.browsers[0].token
        kernel_emulator.room(Browsers).end(session_id, "idle")
        with pytest.raises(KernelBrowserGoneError) as error:
            client.run(flows.run_script(session_id, "return 1"))
        assert token not in f"{error.value} {error.value!r} {vars(error.value)}"
        assert re.search(r"s awake, its idle limit was 300 s\)", str(error.value))
        assert "\n" not in str(error.value)


class TestNames:
    def start(self, client, mark=None, **options):
        return client.run(flows.start_browser(browser_body(**options), start_timeout=0.0, mark=mark))

    def test_browser_that_has_the_name_already_is_not_taken_for_an_own_one(self, client, kernel_emulator):
        self.start(client, name="shared", tags={"team": "a"})
        with pytest.raises(errors.KernelConflictError):
            self.start(client, name="shared", tags={"team": "a"})
        with pytest.raises(errors.KernelConflictError):
            self.start(client, name="shared")
        assert [each.is_active for each in kernel_emulator.browsers] == [True]

    def test_browser_with_the_mark_of_the_start_is_its_own_lost_create(self, client, kernel_emulator):
        lost = self.start(client, name="n", tags={"start": "1"})
        mark = {"start": "1"}
        assert self.start(client, mark, name="n", tags={"start": "1"}).session_id == lost.session_id
        with pytest.raises(errors.KernelConflictError):
            self.start(client, {"start": "2"}, name="n", tags={"start": "2"})


class TestArguments:
    @pytest.mark.parametrize(
        "make",
        [
            lambda: machine.exec_command("a", "x", args="abc"),
            lambda: machine.exec_command("a", "x", args=[5]),
            lambda: machine.exec_command("a", "x", args=["\ud800"]),
            lambda: machine.exec_command("a", "x", env={"A": 5}),
            lambda: machine.exec_command("a", "x", env={"A": "\ud800"}),
            lambda: machine.write_file("a", "/a", "text"),
            lambda: machine.upload_files("a", {"/a": "text"}),
            lambda: machine.upload_files("a", {}),
            lambda: requests.update_browser("a", tags=object()),
            lambda: requests.update_browser("a", name="\ud800"),
        ],
    )
    def test_argument_that_cannot_be_sent_is_refused_before_anything_is_sent(self, make):
        with pytest.raises(errors.KernelInputError, match=r"args|env|data|files|tags|name"):
            make()
