"""Serve an emulator from a script or a shell."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, TextIO

from airflow_provider_kernel.testing.emulator import DEFAULT_API_KEY, KernelEmulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_kernel.testing.settings import Switches


def run_emulator(
    port: int = 8787,
    api_key: str = DEFAULT_API_KEY,
    *,
    switches: Switches | None = None,
    time_scale: float = 1.0,
    setup: Callable[[KernelEmulator], object] | None = None,
    stream: TextIO | None = None,
    until: threading.Event | None = None,
) -> None:
    """
    Serve until interrupted, and print how to connect first.

    :param port: port to listen on; 0 picks a free one.
    :param api_key: the key that clients must send.
    :param switches: behaviour where Kernel's documentation is silent.
    :param time_scale: emulated seconds in a real second.
    :param setup: called with the emulator before it starts, to register actions.
    :param stream: the stream to print to; standard output by default.
    :param until: stops serving when it is set.
    """
    emulator = KernelEmulator(api_key, port, switches=switches, time_scale=time_scale)
    if setup is not None:
        setup(emulator)
    with emulator:
        lines = (
            f"Kernel emulator at {emulator.base_url}",
            f"API key: {emulator.api_key}",
            f"export AIRFLOW_CONN_KERNEL_DEFAULT='{emulator.airflow_connection}'",
            "Stop with Ctrl-C.",
        )
        print(*lines, sep="\n", file=stream or sys.stdout, flush=True)
        try:
            (until or threading.Event()).wait()
        except KeyboardInterrupt:
            return
