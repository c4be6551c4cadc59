"""The arguments of a browser, as a base class of operators: Airflow applies ``default_args`` to those of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator

from airflow_provider_kernel.client.resources.browsers.options import (
    DEFAULT_IDLE_TIMEOUT,
    DEFAULT_START_TIMEOUT,
    Reference,
    browser_body,
)
from airflow_provider_kernel.client.safe_logger import SafeLogMixin


class TakesBrowserOptions(SafeLogMixin, BaseOperator):
    """
    Takes the arguments of a browser; :data:`~airflow_provider_kernel.browser_arguments.BROWSER_ARGUMENTS` says what
    each means.
    """

    def __init__(
        self,
        *,
        headless: bool = True,
        stealth: bool = False,
        profile: Reference | None = None,
        save_profile: bool = False,
        proxy: Reference | None = None,
        viewport: Sequence[int] | Mapping[str, int] | None = None,
        extensions: Sequence[Reference] = (),
        region: str | None = None,
        start_url: str | None = None,
        allowed_hosts: Sequence[str] = (),
        idle_timeout: float | timedelta = DEFAULT_IDLE_TIMEOUT,
        tags: Mapping[str, str] | None = None,
        start_timeout: float | timedelta = DEFAULT_START_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.headless = headless
        self.stealth = stealth
        self.profile = profile
        self.save_profile = save_profile
        self.proxy = proxy
        self.viewport = viewport
        self.extensions = extensions
        self.region = region
        self.start_url = start_url
        self.allowed_hosts = allowed_hosts
        self.idle_timeout = idle_timeout
        self.tags = tags
        self.start_timeout = start_timeout

    def browser_body(self) -> dict[str, Any]:
        """
        Build the body of the create request, without the name and the tags of the owner.

        :raises KernelInputError: for a rendered argument that Kernel cannot take.
        """
        return browser_body(
            headless=self.headless,
            stealth=self.stealth,
            profile=self.profile,
            save_profile=self.save_profile,
            proxy=self.proxy,
            viewport=self.viewport,
            extensions=self.extensions,
            region=self.region,
            start_url=self.start_url,
            allowed_hosts=self.allowed_hosts,
            idle_timeout=self.idle_timeout,
            tags=self.tags,
        )
