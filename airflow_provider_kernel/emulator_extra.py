"""The extra ``[emulator]``: what the emulator and the demo need beyond the provider itself."""

from __future__ import annotations

from importlib.util import find_spec

#: Imported only by ``testing`` and ``demo``.
MODULES = ("rich", "starlette", "uvicorn")


def require_emulator_extra() -> None:
    """Raise an error with the command that installs the extra, unless it is installed."""
    missing = [name for name in MODULES if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"the emulator and the demo need {', '.join(missing)}; install the extra: "
            'pip install "airflow-provider-kernel[emulator]"'
        )
