"""The emulated platform: everything behind the HTTP layer, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_kernel.testing import demo_app
from airflow_provider_kernel.testing.actions import Runner
from airflow_provider_kernel.testing.apps import Apps
from airflow_provider_kernel.testing.errors import ApiError
from airflow_provider_kernel.testing.projects import Projects
from airflow_provider_kernel.testing.state import Store
from airflow_provider_kernel.testing.times import Clock

if TYPE_CHECKING:
    from airflow_provider_kernel.testing.state import Run
    from airflow_provider_kernel.testing.switches import Switches


class Platform:
    """
    Projects, apps and runs.

    :param api_key: the org-wide key.
    :param switches: how to behave where Kernel's documentation is silent.
    :param time_scale: emulated seconds in a real one.
    """

    def __init__(self, api_key: str, switches: Switches, time_scale: float) -> None:
        self.clock = Clock(time_scale)
        self.projects = Projects(api_key)
        self.apps = Apps()
        demo_app.install(self.apps)
        self.store = Store(switches, self.clock)
        self._runner = Runner(self.store, self.clock)

    @property
    def switches(self) -> Switches:
        """The switches in force."""
        return self.store.switches

    def invoke(
        self,
        project_id: str,
        app_name: str,
        version: str,
        action_name: str,
        payload: str | None,
        async_timeout_seconds: int,
    ) -> Run:
        """
        Start a run.

        :param project_id: the project it is made in.
        :param app_name: the app.
        :param version: the version label.
        :param action_name: the action.
        :param payload: a string of JSON.
        :param async_timeout_seconds: emulated seconds it may run.
        :return: the run, still queued.
        :raises ApiError: 404, 429 or 529.
        """
        app, action = self.apps.find(app_name, version, action_name, self.switches)
        run = self.store.create(project_id, app, action_name, payload, async_timeout_seconds)
        self._runner.start(run, action)
        return run

    def update(self, run: Run, status: str, output: str | None) -> None:
        """
        Do what PATCH does.

        :param run: the run.
        :param status: succeeded or failed.
        :param output: its output, if one was sent.
        :raises ApiError: when it had ended and the switch says that this is refused.
        """
        switches = self.switches
        failed = status == "failed"
        ended = self.store.finish(
            run,
            status,
            output=output,
            reason=switches.reason_patched,
            end_browsers=(
                switches.patch_failed_ends_browsers if failed else switches.patch_succeeded_ends_browsers
            ),
            stop_code=switches.patch_stops_code,
        )
        if ended or switches.patch_on_finished == "unchanged":
            return
        if switches.patch_on_finished == "overwrite":
            self.store.overwrite(run, status, output)
            return
        refusal = int(switches.patch_on_finished)
        codes = {400: "bad_request", 404: switches.not_found_code, 409: switches.conflict_code}
        raise ApiError(refusal, codes[refusal], f"Invocation {run.id!r} has ended: {run.status}")
