"""A secrets backend of a user's own that does not answer for a while."""

from __future__ import annotations

from typing import Any


class DownBackend:
    """
    Holds no connection but what it is given.

    :param calls_down: how many calls fail before it answers.
    """

    def __init__(self, calls_down: float = float("inf")) -> None:
        self.calls_down = calls_down
        self.connections: dict[str, str] = {}

    def get_conn_value(self, conn_id: str) -> str | None:
        self.calls_down -= 1
        if self.calls_down >= 0:
            raise ConnectionError("the vault is sealed")
        return self.connections.get(conn_id)

    def get_connection(self, conn_id: str) -> Any:
        from airflow.sdk import Connection

        text = self.get_conn_value(conn_id)
        return None if text is None else Connection.from_json(text, conn_id)

    def install(self, monkeypatch: Any) -> None:
        """Let Airflow ask it before the environment."""
        from airflow.sdk.execution_time import supervisor

        load = supervisor.ensure_secrets_backend_loaded
        monkeypatch.setattr(supervisor, "ensure_secrets_backend_loaded", lambda: [self, *load()])
