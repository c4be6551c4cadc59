"""Every request about browsers is one that Kernel's description allows, and every answer is understood."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta

import pytest
import yaml
from conformance.conftest import serving
from conformance.prism import BROWSERS

from airflow_provider_kernel.client import errors
from airflow_provider_kernel.client.http.request import Request
from airflow_provider_kernel.client.http.response import done
from airflow_provider_kernel.client.resources.browsers import machine, requests
from airflow_provider_kernel.client.resources.browsers.options import browser_body

#: The id of the description's examples.
ID = "htzv5orfit78e1m2biiifpbv"
AWKWARD = ["a b", "50%", "a+b&c=d", "ü😀", "a?b#c", "%2F", "a;b", "{id}", "a:b"]
PATHS = ["/home/kernel/Downloads", "/a b&c=d?e#f", "/ü😀", "/50%"]

BODIES = [
    browser_body(),
    browser_body(headless=False, stealth=True, idle_timeout=timedelta(hours=72), name="a.b_c-d"),
    browser_body(profile="bank", save_profile=True, proxy={"mode": "direct"}, viewport=(1280, 720)),
    browser_body(profile={"id": "p1"}, proxy="isp", viewport={"width": 1, "height": 1, "refresh_rate": 60}),
    browser_body(
        proxy={"id": "p"}, extensions=["a", {"id": "b"}], region="eu-west", start_url="https://example.com"
    ),
    browser_body(
        allowed_hosts=["*.example.com"], tags={"airflow_run": "manual__2026-01-01T00:00:00+00:00", "a b": ""}
    ),
]

#: The operations of the description that this package uses, by how a request of theirs is made.
OPERATIONS = {
    ("post", "/browsers"): lambda: requests.create_browser(browser_body()),
    ("get", "/browsers"): lambda: requests.list_browsers(tags={"a b": "c=d", "e": ""}, query="x", status="all"),
    ("get", "/browsers/{id_or_name}"): lambda: requests.get_browser(ID, include_deleted=True),
    ("patch", "/browsers/{id_or_name}"): lambda: requests.update_browser(ID, name="b", tags={"a": "b"}),
    ("delete", "/browsers/{id_or_name}"): lambda: requests.delete_browser(ID),
    ("post", "/browsers/{id_or_name}/playwright/execute"): lambda: machine.execute_playwright(ID, "return 1"),
    ("post", "/browsers/{id_or_name}/process/exec"): lambda: machine.exec_command(
        ID, "sh", args=["-c", "true"], timeout_seconds=9, cwd="/home", env={"A": "b"}
    ),
    ("get", "/browsers/{id_or_name}/fs/read_file"): lambda: machine.read_file(ID, "/a"),
    ("put", "/browsers/{id_or_name}/fs/write_file"): lambda: machine.write_file(ID, "/a", b"\x00\xff"),
    ("get", "/browsers/{id_or_name}/fs/list_files"): lambda: machine.list_files(ID, "/"),
    ("post", "/browsers/{id_or_name}/fs/upload"): lambda: machine.upload_files(ID, {"/a": b"1", "/b": b"\x00"}),
    ("get", "/browsers/{id_or_name}/fs/download_dir_zip"): lambda: machine.download_folder(ID, "/a"),
    ("post", "/browsers/{id_or_name}/computer/screenshot"): lambda: machine.take_screenshot(ID),
    ("post", "/browsers/{id_or_name}/replays"): lambda: machine.start_replay(ID, framerate=10, max_seconds=60),
    ("get", "/browsers/{id_or_name}/replays"): lambda: machine.list_replays(ID),
    ("get", "/browsers/{id_or_name}/replays/{replay_id}"): lambda: machine.download_replay(ID, "r1"),
    ("post", "/browsers/{id_or_name}/replays/{replay_id}/stop"): lambda: machine.stop_replay(ID, "r1"),
}
#: Those that Prism can judge: it does not read the names of the parts of an upload, ``files[0][file]``. The
#: official SDK sends the same ones in ``tests/contract``.
READ = [each for each in OPERATIONS if not each[1].endswith("/fs/upload")]
#: Those whose example of Prism's is the word "string": it makes neither base64 nor pictures.
WITHOUT_EXAMPLE = ("/process/exec", "/computer/screenshot")


@pytest.fixture(scope="module")
def prism():
    """Prism with the description of browsers."""
    with serving(BROWSERS) as server:
        yield server


@pytest.fixture
def judged(prism):
    """Prism, which is to reject none of the test's requests."""
    before = len(prism.verdicts)
    yield prism
    verdicts = prism.verdicts[before:]
    assert verdicts
    assert [verdict for verdict in verdicts if verdict[1]] == []


def documented():
    """All answers that the description knows, of the operations that are used."""
    paths = yaml.safe_load(BROWSERS.read_text())["paths"]
    return [(method, path, int(status)) for method, path in READ for status in paths[path][method]["responses"]]


def test_prism_rejects_what_the_description_does_not_allow(prism, send):
    wrong = Request("POST", "/browsers", done, body=json.dumps({"timeout_seconds": 1}).encode())
    with pytest.raises(errors.KernelBadRequestError):
        send(prism, wrong)
    assert prism.verdicts[-1][1]


@pytest.mark.parametrize("operation", READ, ids=" ".join)
def test_request_of_each_operation_is_accepted(judged, send, operation):
    with suppress(errors.KernelServerError, errors.KernelResponseError):  # Prism makes no files
        send(judged, OPERATIONS[operation]())


@pytest.mark.parametrize("body", BODIES, ids=str)
def test_body_of_a_create_is_accepted(judged, send, body):
    send(judged, requests.create_browser(body))


@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_names_are_accepted(judged, send, name):
    with suppress(errors.KernelResponseError):  # its example is another browser
        send(judged, requests.get_browser(name))
    send(judged, requests.delete_browser(name))
    send(judged, requests.list_browsers(query=name))


@pytest.mark.parametrize("path", PATHS)
def test_awkward_paths_are_accepted(judged, send, path):
    send(judged, machine.list_files(ID, path))
    send(judged, machine.write_file(ID, path, b"x"))


@pytest.mark.parametrize(("method", "path", "status"), documented(), ids=str)
def test_every_documented_answer_is_understood(judged, send, method, path, status):
    try:
        send(judged, OPERATIONS[method, path](), f"code={status}")
    except errors.KernelAPIError as error:
        # Prism gives no files, and says so with a 500 or a 406.
        assert error.status_code == status or (status == 200 and error.status_code in (406, 500))  # noqa: PT017
    except errors.KernelResponseError as error:
        assert (path.endswith(WITHOUT_EXAMPLE), error.status_code, status) == (True, 200, 200)  # noqa: PT017
    else:
        assert status < 300
