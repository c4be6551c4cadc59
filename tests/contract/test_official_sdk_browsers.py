"""Kernel's official SDK finds the browsers that it is for, and what runs inside them."""

from __future__ import annotations

import base64
import io
import zipfile

import kernel as sdk
import pytest
from contract.official_sdk import AsyncSdk, SyncSdk

from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.resources.browsers import Browsers, chromium
from airflow_provider_kernel.testing.resources.browsers.pictures import MP4
from airflow_provider_kernel.testing.resources.limits import Limits


@pytest.fixture(autouse=True)
def no_chromium(monkeypatch):
    # The same answers everywhere; tests/chromium has those of a real one.
    monkeypatch.setenv(chromium.VARIABLE, "/none")


@pytest.fixture(params=[SyncSdk, AsyncSdk], ids=["sync", "async"])
def kernel(request, kernel_emulator):
    client = request.param(kernel_emulator)
    yield client
    client.close()


@pytest.fixture(params=["/browsers/*/**", "/browser/*/kernel/**"], ids=["by the API", "by the machine's address"])
def machine(request, kernel, kernel_emulator, monkeypatch):
    """A client, and a browser to whose machine it sends requests in one of the SDK's two ways."""
    if request.param == "/browsers/*/**":
        monkeypatch.setenv("KERNEL_BROWSER_ROUTING_SUBRESOURCES", "")
        kernel = type(kernel)(kernel_emulator)
    yield kernel, kernel("browsers.create", headless=True).session_id
    assert kernel_emulator.requests(path=request.param)
    if request.param == "/browsers/*/**":
        kernel.close()


def test_sdk_creates_a_browser_with_everything(kernel, kernel_emulator):
    options = {
        "name": "prices-1",
        "tags": {"airflow_dag": "prices"},
        "headless": False,
        "stealth": True,
        "timeout_seconds": 300,
        "profile": {"name": "shop", "save_changes": True},
        "proxy": {"mode": "direct"},
        "viewport": {"width": 1280, "height": 720},
        "extensions": [{"name": "ads"}],
        "region": "eu-west",
        "start_url": "https://example.com",
        "network": {"allowed_hosts": ["*.example.com"]},
        "kiosk_mode": True,
        "location": {"timezone": "Europe/Berlin"},
        "telemetry": {"enabled": True},
    }
    created = kernel("browsers.create", **options)
    assert kernel_emulator.browsers[0].options == options
    assert (created.name, created.profile.name, created.profile_save_changes) == ("prices-1", "shop", True)
    assert (created.viewport.width, created.network.allowed_hosts) == (1280, ["*.example.com"])
    assert "?jwt=" in created.browser_live_view_url


def test_sdk_finds_browsers_by_tags_and_by_name(kernel):
    first = kernel("browsers.create", name="a", tags={"run": "manual__2026-01-01T00:00:00+00:00", "try": "1"})
    kernel("browsers.create", name="b", tags={"run": "other"})
    found = kernel.all("browsers.list", tags=first.tags)
    assert [browser.session_id for browser in found] == [first.session_id]
    assert kernel("browsers.retrieve", "a").session_id == first.session_id


def test_sdk_reads_the_list_page_by_page(kernel, kernel_emulator):
    kernel_emulator.room(Limits).max_concurrent_sessions = 50
    created = [kernel("browsers.create").session_id for _ in range(23)]
    assert [browser.session_id for browser in kernel.all("browsers.list")] == created[::-1]


def test_sdk_is_refused_a_taken_name_and_a_place_above_the_limit(kernel, kernel_emulator):
    kernel("browsers.create", name="a")
    with pytest.raises(sdk.ConflictError):
        kernel("browsers.create", name="a")
    kernel_emulator.room(Limits).max_concurrent_sessions = 1
    with pytest.raises(sdk.RateLimitError):
        kernel("browsers.create")
    limits = kernel("organization.limits.retrieve")
    assert (limits.concurrent_sessions_used, limits.max_concurrent_sessions) == (1, 1)


def test_sdk_changes_and_ends_a_browser(kernel):
    session = kernel("browsers.create", name="a").session_id
    updated = kernel("browsers.update", session, name="b", tags={"x": "1"})
    assert (updated.name, updated.tags) == ("b", {"x": "1"})
    kernel("browsers.delete_by_id", "b")
    with pytest.raises(sdk.NotFoundError) as gone:
        kernel("browsers.retrieve", session)
    assert gone.value.body["code"] == "not_found"
    ended = kernel("browsers.retrieve", session, include_deleted=True)
    assert ended.deleted_at is not None
    assert (ended.usage_status, ended.usage.uptime_ms >= 0) == ("ready", True)


def test_sdk_files(machine):
    kernel, session = machine
    kernel("browsers.fs.write_file", session, b"one", path="/data/a")
    assert kernel.content("browsers.fs.read_file", session, path="/data/a") == b"one"
    kernel("browsers.fs.upload", session, files=[{"file": b"two", "dest_path": "/data/b"}])
    kernel("browsers.fs.create_directory", session, path="/data/c")
    listed = kernel("browsers.fs.list_files", session, path="/data")
    assert [(each.name, each.size_bytes, each.is_dir) for each in listed][:2] == [("a", 3, False), ("b", 3, False)]
    assert kernel("browsers.fs.file_info", session, path="/data/c").is_dir
    kernel("browsers.fs.delete_file", session, path="/data/a")
    archive = kernel.content("browsers.fs.download_dir_zip", session, path="/data")
    assert "b" in zipfile.ZipFile(io.BytesIO(archive)).namelist()
    kernel("browsers.fs.upload_zip", session, dest_path="/back", zip_file=archive)
    assert kernel.content("browsers.fs.read_file", session, path="/back/b") == b"two"


def test_sdk_runs_a_command(machine, kernel_emulator):
    kernel, session = machine
    kernel_emulator.room(Browsers).register_command("greet", lambda args: f"hello {args[0]}")
    result = kernel("browsers.process.exec", session, command="greet", args=["you"], timeout_sec=5)
    assert (result.exit_code, base64.b64decode(result.stdout_b64)) == (0, b"hello you")
    with pytest.raises(sdk.InternalServerError):
        kernel("browsers.process.exec", session, command="none")


def test_sdk_takes_a_screenshot(machine):
    kernel, session = machine
    assert kernel.content("browsers.computer.capture_screenshot", session).startswith(b"\x89PNG")


def test_sdk_script_says_what_to_install(machine):
    kernel, session = machine
    with pytest.raises(sdk.InternalServerError, match=r"KERNEL_EMULATOR_CHROMIUM|\[emulator,playwright\]"):
        kernel("browsers.playwright.execute", session, code="return 1")


def test_sdk_script_that_fails_is_no_error(kernel, kernel_emulator):
    session = kernel("browsers.create").session_id
    body = {"success": False, "error": "no stock", "stdout": "", "stderr": "Error: no stock"}
    kernel_emulator.add_fault(Fault("POST", "/**/playwright/execute", body=body))
    result = kernel("browsers.playwright.execute", session, code="throw new Error('no stock')")
    assert (result.success, result.error) == (False, "no stock")


def test_sdk_records_a_replay(kernel):
    session = kernel("browsers.create", headless=False).session_id
    replay = kernel("browsers.replays.start", session, framerate=10).replay_id
    with pytest.raises(sdk.ConflictError):
        kernel("browsers.replays.start", session)
    kernel("browsers.replays.stop", replay, id_or_name=session)
    assert [each.replay_id for each in kernel("browsers.replays.list", session)] == [replay]
    assert kernel.content("browsers.replays.download", replay, id_or_name=session) == MP4
