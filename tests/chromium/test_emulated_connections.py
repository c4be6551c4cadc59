"""The DevTools connection of an emulated browser, as Playwright uses it."""

import threading
import time

import psutil
import pytest
from playwright.sync_api import Error, sync_playwright
from support.emulated_browser import EmulatedBrowser

from airflow_provider_kernel.testing import Fault
from airflow_provider_kernel.testing.resources.browsers import Browsers

DOWNLOADS = "/home/kernel/Downloads"
LINK = "data:text/html,<a download=bill.txt href='data:text/plain,paid'>bill</a>"


@pytest.fixture(scope="module")
def playwright():
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture
def browser(kernel_emulator):
    with EmulatedBrowser(kernel_emulator) as browser:
        yield browser


@pytest.fixture
def connect(playwright, browser):
    return lambda **options: playwright.chromium.connect_over_cdp(browser.cdp_url, **options)


@pytest.fixture
def page(connect):
    (page,) = connect().contexts[0].pages
    return page


def names(browser, path):
    return [each["name"] for each in browser.get("fs/list_files", path=path).json()]


def test_connection_has_the_browsers_own_page(page):
    page.goto("data:text/html,<h1>Here</h1>")
    assert page.inner_text("h1") == "Here"


def test_page_outlives_a_connection(connect):
    first = connect()
    first.contexts[0].pages[0].goto("data:text/html,<title>Kept</title>")
    first.close()
    assert connect().contexts[0].pages[0].title() == "Kept"


def test_several_clients_share_a_browser(connect, page):
    page.goto("data:text/html,<title>One</title>")
    assert connect().contexts[0].pages[0].title() == "One"


def test_browser_begins_with_its_start_url_and_size(playwright, kernel_emulator):
    options = {"start_url": "data:text/html,<title>Start</title>", "viewport": {"width": 800, "height": 600}}
    with EmulatedBrowser(kernel_emulator, **options) as browser:
        page = playwright.chromium.connect_over_cdp(browser.cdp_url).contexts[0].pages[0]
        page.wait_for_function("document.title == 'Start'")
        assert page.evaluate("outerWidth") == 800


def test_connected_browser_does_not_idle_out(kernel_emulator, browser, page):
    kernel_emulator.time_scale = 1e9
    assert page.evaluate("1 + 1") == 2
    assert (kernel_emulator.browsers[0].clients, kernel_emulator.browsers[0].is_active) == (1, True)
    page.context.browser.close()
    kernel_emulator.wait_until(lambda: kernel_emulator.browsers[0].end_cause == "idle")


def test_many_large_messages_pass(page):
    text = "é" * 5_000_000
    assert page.evaluate("text => text.length", text) == len(text)
    assert page.evaluate("'é'.repeat(5000000)") == text


class TestPaths:
    """Paths of a client are those of the machine, and the worker's own folders are not in it."""

    def test_download_of_a_page_lands_in_the_machine(self, kernel_emulator, browser, page):
        page.goto(LINK)
        with page.expect_download() as download:
            page.click("a")
        path = download.value.path()
        assert not path.exists()
        assert browser.get("fs/read_file", path=str(path)).text == "paid"

    def test_download_goes_where_the_client_says(self, browser, page):
        session = page.context.browser.new_browser_cdp_session()
        place = {"behavior": "allow", "downloadPath": DOWNLOADS, "eventsEnabled": True}
        session.send("Browser.setDownloadBehavior", place)
        done = threading.Event()
        paths = []

        def progress(event):
            if event["state"] == "completed":
                paths.append(event.get("filePath"))
                done.set()

        session.on("Browser.downloadProgress", progress)
        page.goto(LINK)
        page.click("a")
        while not done.is_set():
            page.wait_for_timeout(10)
        assert names(browser, DOWNLOADS) == ["bill.txt"]
        assert paths in ([f"{DOWNLOADS}/bill.txt"], [None])  # older Chromiums do not say it

    @pytest.mark.parametrize("path", ["Downloads", "/../../../etc", "C:\\Users"])
    def test_path_outside_the_machine_is_refused(self, page, path):
        session = page.context.browser.new_browser_cdp_session()
        with pytest.raises(Error, match=r"downloadPath: path (must be absolute|is outside the machine)"):
            session.send("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": path})

    def test_file_of_the_worker_cannot_be_chosen(self, page, tmp_path):
        mine = tmp_path / "mine"
        mine.write_text("secret")
        page.set_content("<input type=file>")
        session = page.context.new_cdp_session(page)
        root = session.send("DOM.getDocument")["root"]["nodeId"]
        node = session.send("DOM.querySelector", {"nodeId": root, "selector": "input"})["nodeId"]
        session.send("DOM.setFileInputFiles", {"nodeId": node, "files": [str(mine)]})
        read = "document.querySelector('input').files[0].text().catch(error => error.name)"
        assert page.evaluate(read) == "NotFoundError"


class TestEnd:
    def test_delete_closes_the_connection_and_ends_chromium(self, kernel_emulator, browser, page):
        (record,) = kernel_emulator.browsers
        group = [psutil.Process(record.chromium_pid), *psutil.Process(record.chromium_pid).children(recursive=True)]
        assert len(group) > 1
        browser.delete()
        with pytest.raises(Error, match="closed"):
            page.wait_for_timeout(60_000)
        assert [process for process in group if is_alive(process)] == []
        assert not record.folder.exists()
        assert kernel_emulator.browsers[0].chromium_pid is None

    def test_connection_may_stay_open_with_nothing_behind_it(self, kernel_emulator, browser, page):
        kernel_emulator.switches.cdp_open_after_delete = True
        closed = []
        page.context.browser.on("disconnected", lambda _: closed.append(1))
        browser.delete()
        with pytest.raises(Error, match="Timeout 300ms"):
            page.goto("data:text/html,x", timeout=300)
        assert (closed, kernel_emulator.browsers[0].clients) == ([], 1)
        kernel_emulator.reset()
        with pytest.raises(Error, match="closed"):
            page.wait_for_timeout(60_000)

    def test_idle_end_closes_nothing_that_is_used(self, kernel_emulator, browser, page):
        kernel_emulator.room(Browsers).end(browser.session_id, "idle")
        with pytest.raises(Error, match="closed"):
            page.wait_for_timeout(60_000)

    def test_stop_of_the_emulator_ends_chromium(self, kernel_emulator, page):
        chromium = psutil.Process(kernel_emulator.browsers[0].chromium_pid)
        folder = kernel_emulator.browsers[0].folder
        kernel_emulator.stop()
        assert not is_alive(chromium)
        assert not folder.parent.exists()
        with pytest.raises(Error, match="closed"):
            page.wait_for_timeout(60_000)

    def test_browser_gets_another_chromium_after_a_restart_of_the_emulator(self, kernel_emulator, connect, page):
        kernel_emulator.stop()
        kernel_emulator.start()
        assert connect().contexts[0].pages[0].evaluate("1 + 1") == 2

    def test_browser_gets_another_chromium_after_a_crash(self, kernel_emulator, connect, page):
        psutil.Process(kernel_emulator.browsers[0].chromium_pid).kill()
        with pytest.raises(Error, match="closed"):
            page.wait_for_timeout(60_000)
        assert connect().contexts[0].pages[0].evaluate("1 + 1") == 2
        assert kernel_emulator.browsers[0].is_active

    def test_cut_connection_leaves_the_browser(self, kernel_emulator, browser, connect, page):
        page.goto("data:text/html,<title>Kept</title>")
        kernel_emulator.room(Browsers).cut_connections(browser.session_id)
        with pytest.raises(Error, match="closed"):
            page.wait_for_timeout(60_000)
        assert connect().contexts[0].pages[0].title() == "Kept"

    @pytest.mark.parametrize("kind", ["refuse", "error", "hang"])
    def test_outage_cuts_the_connection_and_leaves_the_browser(self, kernel_emulator, connect, page, kind):
        page.goto("data:text/html,<title>Kept</title>")
        with kernel_emulator.outage(kind), pytest.raises(Error, match="closed"):
            page.wait_for_timeout(60_000)
        assert connect().contexts[0].pages[0].title() == "Kept"

    def test_fault_cuts_a_connection_after_some_messages(self, kernel_emulator, connect):
        kernel_emulator.add_fault(Fault("GET", "/browser/*/cdp", cut_after=3))
        with pytest.raises(Error, match="closed"):
            connect()
        assert connect().contexts[0].pages[0].evaluate("1 + 1") == 2


class TestScreenshot:
    def test_screenshot_is_that_of_the_page(self, browser, page):
        page.set_viewport_size({"width": 300, "height": 200})
        page.set_content("<body style='background: #f00'>")
        picture = browser.post("computer/screenshot", json={}).content
        red = page.evaluate(
            """async data => {
                const bitmap = await createImageBitmap(await (await fetch('data:image/png;base64,' + data)).blob());
                const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
                context.drawImage(bitmap, 0, 0);
                return [bitmap.width, bitmap.height, ...context.getImageData(9, 9, 1, 1).data];
            }""",
            EmulatedBrowser.base64(picture),
        )
        assert red == [300, 200, 255, 0, 0, 255]


def is_alive(process):
    deadline = time.monotonic() + 5
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return True
    return False
