"""What the log says of the page of a function that has failed."""

from airflow_provider_kernel.browser.report import PageReport
from airflow_provider_kernel.client.redaction import MASK, register_key

KEY = "sk-very-secret"


class Page:
    """What a report asks of Playwright's page."""

    url = "https://example.com/cart?token=t"

    def __init__(self):
        self.listeners = {}

    def on(self, event, listener):
        self.listeners[event] = listener

    def title(self):
        return "Cart"


def test_key_in_an_error_is_masked_also_where_the_error_is_cut(caplog):
    register_key(KEY)
    page = Page()
    report = PageReport(page)
    page.listeners["pageerror"](ValueError("x" * 290 + KEY))
    report.log(give_up=lambda: None)
    assert f"{'x' * 290}{MASK}" in caplog.text
    assert "sk-very" not in caplog.text
    assert "token" not in caplog.text
