"""The browser of a task process, against the emulator: started once, and ended on every path."""

from support.browser_operator import BrowserOperator


def active(kernel):
    return [browser for browser in kernel.browsers if browser.is_active]


def test_task_has_its_browser_while_it_works_and_none_afterwards(run, kernel_emulator, execution_api):
    seen = []

    def work(operator, owned):
        seen.extend(active(kernel_emulator))
        return owned.session.session_id

    result = run(BrowserOperator, work=work)
    assert result.state == "success", result.error
    (browser,) = seen
    assert execution_api.xcoms["return_value"] == execution_api.xcoms["browser_id"] == browser.session_id
    assert active(kernel_emulator) == []


def test_browser_is_ended_when_the_task_fails(run, kernel_emulator):
    def work(operator, owned):
        raise ValueError("no such page")

    result = run(BrowserOperator, work=work)
    assert result.state == "up_for_retry"
    assert [browser.end_cause for browser in kernel_emulator.browsers] == ["deleted"]
