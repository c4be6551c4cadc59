"""What a person does in Airflow's UI, by what is written on it."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect


class AirflowUi:
    """
    A window with Airflow in it.

    :param page: the window.
    :param screenshots: the folder that screenshots go to.
    """

    def __init__(self, page: Page, screenshots: Path) -> None:
        self.page = page
        self._screenshots = screenshots

    def screenshot(self, name: str, *, for_docs: bool = False, height: int | None = None) -> None:
        """
        Keep a picture of the page.

        :param name: what to call it.
        :param for_docs: whether the docs show it.
        :param height: how high the window must be for all of it to be seen.
        """
        folder = self._screenshots if for_docs else self._screenshots / "other"
        size = self.page.viewport_size
        assert size is not None
        if height is not None:
            self.page.set_viewport_size({"width": size["width"], "height": height})
        self.page.screenshot(path=folder / f"{name}.png", full_page=True, animations="disabled")
        self.page.set_viewport_size(size)

    # --- connections

    def open_connections(self) -> None:
        """Go to Admin > Connections."""
        self.page.goto("/")
        self.page.get_by_role("button", name="Admin", exact=True).click()
        self.page.get_by_role("menuitem", name="Connections").click()
        expect(self._add_button).to_be_visible()

    def open_form(self, conn_id: str) -> Locator:
        """
        Begin a new connection of type Kernel.

        :param conn_id: its id.
        :return: the form.
        """
        self._add_button.click()
        form = self.page.get_by_role("dialog")
        form.get_by_role("textbox", name="Connection ID").fill(conn_id)
        form.get_by_role("combobox", name="Connection Type").fill("Kernel")
        self.page.get_by_role("option", name="Kernel", exact=True).click()
        expect(form.get_by_role("textbox", name="API key")).to_be_visible()
        return form

    def add_connection(
        self,
        conn_id: str,
        *,
        url: str,
        key: str,
        port: int | None = None,
        dashboard_url: str | None = None,
        screenshot: str | None = None,
    ) -> None:
        """
        Add a connection through the form.

        :param conn_id: its id.
        :param url: what to type as the base URL.
        :param key: what to type as the API key.
        :param port: what to type as the port; None for nothing.
        :param dashboard_url: what to type as the dashboard URL; None for leaving it alone.
        :param screenshot: the name of a picture of the filled form.
        """
        self.open_connections()
        form = self.open_form(conn_id)
        form.get_by_role("textbox", name="Base URL").fill(url)
        form.get_by_role("textbox", name="API key").fill(key)
        if port is not None:
            form.get_by_role("spinbutton", name="Port").fill(str(port))
        if screenshot:
            self.screenshot(screenshot, for_docs=True, height=880)
        if dashboard_url is not None:
            self.open_extra_fields(form)
            field_of(form, "Dashboard URL").get_by_role("textbox").fill(dashboard_url)
        form.get_by_role("button", name="Save").click()
        expect(self.notice("Connection has been successfully created.")).to_be_visible()
        expect(form).to_be_hidden()
        expect(self.row(conn_id)).to_be_visible()

    def open_extra_fields(self, form: Locator) -> None:
        """Unfold the part of the form that is this package's."""
        form.get_by_role("button", name="Extra Fields", exact=True).click()
        expect(field_of(form, "Project")).to_be_visible()

    def press_test(self, conn_id: str) -> None:
        """Press the button that tests a connection, in its row of the list."""
        self.row(conn_id).get_by_role("button", name="Test Connection").click()

    def row(self, name: str) -> Locator:
        """Find the row of a table that has a cell with this text."""
        cell = self.page.get_by_role("cell", name=name, exact=True)
        return self.page.get_by_role("row").filter(has=cell)

    def notice(self, text: str | re.Pattern[str]) -> Locator:
        """Find a message that Airflow shows for some seconds in a corner."""
        return self.page.get_by_role("status").filter(has_text=text)

    @property
    def _add_button(self) -> Locator:
        return self.page.get_by_role("button", name="Add Connection")

    # --- DAGs and tasks

    def trigger(self, dag_id: str) -> str:
        """
        Go to a DAG by the list of DAGs, and press Trigger.

        :param dag_id: the DAG.
        :return: the id of the run.
        """
        self.page.goto("/")
        self.page.get_by_role("link", name="Dags", exact=True).click()
        self.page.get_by_role("link", name=dag_id, exact=True).first.click()
        # The list has a button of that name in each row; go on when it is gone.
        where = self.page.get_by_role("navigation", name="breadcrumb")
        expect(where.get_by_role("link", name=dag_id, exact=True)).to_be_visible()
        self.page.get_by_role("button", name="Trigger Dag").click()
        self.page.get_by_role("dialog").get_by_role("button", name="Trigger", exact=True).click()
        self.page.wait_for_url(re.compile(rf"/dags/{dag_id}/runs/[^/]+$"))
        return self.page.url.rpartition("/")[2]

    def open_task(self, task_id: str) -> None:
        """From a run, go to the page of one of its tasks."""
        self.page.get_by_role("row").get_by_role("link", name=task_id, exact=True).click()
        expect(self.page.get_by_role("heading", name=task_id, exact=True)).to_be_visible()

    def open_tab(self, name: str) -> None:
        """Go to another tab of a task's page."""
        self.page.get_by_role("link", name=name, exact=True).click()

    def expect_state(self, state: str) -> None:
        """Wait until the task's page shows a state."""
        expect(self.page.get_by_text(state, exact=True).first).to_be_visible()

    def mark_as(self, state: str) -> None:
        """On a task's page, mark it as something, and confirm."""
        self.page.get_by_role("button", name="Mark Task Instance as...").click()
        self.page.get_by_role("menuitem", name=state).click()
        dialog = self.page.get_by_role("dialog")
        expect(dialog).to_contain_text("Affected Tasks: 1")
        dialog.get_by_role("button", name="Confirm").click()
        expect(dialog).to_be_hidden()

    @property
    def log(self) -> Locator:
        """The lines of a task's log."""
        return self.page.get_by_role("code").first

    def wrap_log(self) -> None:
        """Have the log's long lines wrapped."""
        self.page.get_by_role("button", name="Log Settings").click()
        self.page.get_by_role("menuitem", name="Wrap").click()


def field_of(form: Locator, label: str) -> Locator:
    """Find a field with its label and its line; Airflow ties the labels of text fields in the extra to nothing."""
    return form.get_by_role("group").filter(has=form.page.get_by_text(label, exact=True))
