"""Playwright scripts in an emulated browser's machine, by node and playwright-core."""

import threading

import httpx
import psutil
import pytest
from support.emulated_browser import EmulatedBrowser


@pytest.fixture
def browser(kernel_emulator):
    with EmulatedBrowser(kernel_emulator) as browser:
        yield browser


@pytest.fixture
def run(browser):
    def run(code, **rest):
        answer = browser.post("playwright/execute", json={"code": code, **rest})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return run


def test_script_has_page_context_and_browser(run):
    result = run(
        """
        await page.goto('data:text/html,<h1>Prices</h1>');
        return [await page.innerText('h1'), context.pages().length, browser.isConnected()];
        """
    )
    assert result == {"success": True, "result": ["Prices", 1, True], "stdout": "", "stderr": ""}


def test_script_uses_the_page_that_others_use(run):
    run("await page.goto('data:text/html,<title>Kept</title>')")
    assert run("return await page.title()")["result"] == "Kept"


def test_script_may_be_typescript(run):
    result = run("const rows: {price: number}[] = [{price: 20}]; return rows as unknown;")
    assert result["result"] == [{"price": 20}]


def test_script_writes_to_stdout_and_stderr(run):
    result = run("console.log('one', {a: 1}); console.error('two'); process.stdout.write('three'); return 1")
    assert (result["stdout"], result["stderr"], result["result"]) == ("one { a: 1 }\nthree", "two\n", 1)


@pytest.mark.parametrize("value", [None, True, 1.5, "é\u2028\n", [], {"a": [None]}], ids=repr)
def test_result_is_any_json(run, value):
    import json

    assert run(f"return {json.dumps(value)}")["result"] == value


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("throw new Error('no stock')", "no stock"),
        ("throw 'text'", "text"),
        ("const x = ;", "Expression expected"),
        ("setTimeout(() => { throw new Error('late') }, 1); await page.waitForTimeout(60000)", "late"),
        ("return 1n", "BigInt"),
        ("process.exit(3)", "the script's process ended"),
        ("await page.click('none', {timeout: 50})", "Timeout 50ms exceeded"),
    ],
    ids=["error", "text", "syntax", "unhandled", "no JSON", "exit", "Playwright"],
)
def test_script_that_fails_is_a_200(run, code, error):
    result = run(code)
    assert result["success"] is False
    assert error in result["error"]
    assert "result" not in result


def test_error_names_the_line_of_the_script(run):
    assert "script.ts:3:" in run("const a: number = 1;\n\nthrow new Error('here')")["stderr"]


@pytest.mark.parametrize("code", ["await page.waitForTimeout(60000)", "while (true) {}"], ids=["waits", "computes"])
def test_script_over_its_time_has_failed(run, code):
    result = run(code, timeout_sec=1)
    assert (result["success"], result["error"]) == (False, "execution timed out after 1 seconds")
    assert run("return 'next'")["result"] == "next"


@pytest.mark.parametrize(
    "body", [{}, {"code": 1}, {"code": "1", "timeout_sec": 301}, {"code": "1", "timeout_sec": 0}]
)
def test_invalid_script_is_a_400(browser, body):
    assert browser.post("playwright/execute", json=body).status_code == 400


def test_scripts_of_a_browser_wait_for_each_other(run):
    results = []
    code = "globalThis.x = 1; await page.waitForTimeout(300); return Date.now()"
    threads = [threading.Thread(target=lambda: results.append(run(code)["result"])) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert abs(results[0] - results[1]) >= 300


def test_download_of_a_script_stays_in_the_machine(browser, run):
    result = run(
        """
        await page.goto('data:text/html,<a download=x.txt href="data:text/plain,abc">d</a>');
        const [download] = await Promise.all([page.waitForEvent('download'), page.click('a')]);
        return await download.path();
        """
    )
    assert result["result"].startswith("/tmp/playwright-artifacts-")  # noqa: S108 - in the machine


def test_script_goes_on_when_the_caller_leaves(kernel_emulator, browser):
    code = "await page.goto('data:text/html,<title>Before</title>'); await page.waitForTimeout(500);"
    code += "await page.goto('data:text/html,<title>After</title>')"
    with pytest.raises(httpx.TimeoutException):
        browser.post("playwright/execute", json={"code": code}, timeout=0.05)
    kernel_emulator.wait_until(lambda: kernel_emulator.browsers[0].clients == 0, timeout=30)
    after = browser.post("playwright/execute", json={"code": "return await page.title()"}).json()
    assert after["result"] == "After"


def test_end_of_the_browser_ends_its_script(kernel_emulator, browser):
    answers = []
    code = "await page.goto('data:text/html,<title>Runs</title>'); while (true) await page.waitForTimeout(10)"
    call = threading.Thread(target=lambda: answers.append(browser.post("playwright/execute", json={"code": code})))
    call.start()
    kernel_emulator.wait_until(lambda: kernel_emulator.browsers[0].chromium_pid is not None)
    kernel_emulator.wait_until(lambda: scripts() != [])
    assert browser.delete().status_code == 204
    call.join()
    assert (answers[0].status_code, answers[0].json()["code"]) == (404, "not_found")
    assert scripts() == []


def scripts():
    """Return the processes of scripts."""
    return [child for child in psutil.Process().children() if "run_script" in " ".join(child.cmdline())]
