"""Admin > Connections: the form, and the Test button."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from airflow_provider_kernel.connection_form import EXTRA_FIELDS, PLACEHOLDERS
from browser.airflow_ui import field_of


class TestTheForm:
    def test_connection_form_relabels_the_standard_fields(self, ui):
        ui.open_connections()
        form = ui.open_form("unsaved")
        for label, field in (("Base URL", "host"), ("API key", "password")):
            expect(form.get_by_role("textbox", name=label)).to_have_attribute("placeholder", PLACEHOLDERS[field])
        expect(form.get_by_role("spinbutton", name="Port")).to_have_attribute("placeholder", PLACEHOLDERS["port"])
        expect(form.get_by_role("textbox", name="API key")).to_have_attribute("type", "password")
        for hidden in ("Login", "Schema", "Host", "Password"):
            expect(form.get_by_text(hidden, exact=True)).to_have_count(0)

    def test_connection_form_shows_each_extra_field_with_its_help_and_default(self, ui):
        ui.open_connections()
        form = ui.open_form("unsaved")
        ui.open_extra_fields(form)
        for field in EXTRA_FIELDS:
            shown = field_of(form, field.label)
            expect(shown.get_by_text(field.description, exact=True)).to_be_visible()
            box = shown.get_by_role("textbox" if field.type == "string" else "spinbutton")
            expect(box).to_have_value("" if field.default is None else str(field.default))
        ui.screenshot("connection-form-extra", height=1360)

    def test_connection_form_numbers_step_by_one(self, ui):
        ui.open_connections()
        form = ui.open_form("unsaved")
        ui.open_extra_fields(form)
        attempts = field_of(form, "Attempts")
        attempts.get_by_role("button", name="increment value").click()
        expect(attempts.get_by_role("spinbutton")).to_have_value("6")
        attempts.get_by_role("button", name="decrease value").click()
        expect(attempts.get_by_role("spinbutton")).to_have_value("5")


class TestTheTestButton:
    @pytest.fixture
    def press(self, ui):
        """Press it in a connection's row, and find what Airflow says."""

        def press(conn_id, expected):
            ui.open_connections()
            ui.press_test(conn_id)
            notice = ui.notice(expected)
            # It goes away after some seconds, but not from under a mouse.
            notice.hover()
            return notice

        return press

    def test_connection_test_with_a_good_key(self, ui, press, connection, kernel):
        notice = press(connection, "Test Connection Successful")
        expect(notice).to_contain_text(
            f"Connected to {kernel.base_url}: the key belongs to organization org_emulator and acts in project "
        )
        ui.screenshot("connection-test", for_docs=True)

    def test_connection_test_with_a_bad_key(self, ui, press, kernel):
        ui.add_connection("wrong_key", url=kernel.base_url, key="sk_not_this_one", port=kernel.port)
        notice = press("wrong_key", "Test Connection Failed")
        expect(notice).to_contain_text("401")
        expect(notice).to_contain_text("key")
        ui.screenshot("connection-test-bad-key")

    def test_connection_test_while_the_server_is_down(self, ui, press, connection, kernel):
        with kernel.outage():
            notice = press(connection, "Test Connection Failed")
        expect(notice).to_contain_text("the connection was refused")
        ui.screenshot("connection-test-server-down")

    def test_connection_test_without_a_port_is_refused_by_airflow(self, ui, press, kernel):
        # What the form, README and docs say of the port. When this fails, Airflow has mended it.
        ui.add_connection("no_port", url=kernel.base_url, key=kernel.api_key)
        before = len(kernel.journal)
        notice = press("no_port", "Test Connection Failed")
        expect(notice).to_contain_text("Bad Request")
        ui.screenshot("connection-test-no-port")
        assert len(kernel.journal) == before
