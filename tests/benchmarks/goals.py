"""What a benchmark must show, and whether it did."""

from __future__ import annotations


class Goals:
    """Collects goals as they are measured."""

    def __init__(self) -> None:
        self._lines: list[tuple[bool, str]] = []

    def at_most(self, what: str, measured: float, limit: float) -> None:
        """Take note of a number that must not be larger."""
        self._lines.append((measured <= limit, f"{what}: {measured:.4g}, at most {limit:g}"))

    def at_least(self, what: str, measured: float, limit: float) -> None:
        """Take note of a number that must not be smaller."""
        self._lines.append((measured >= limit, f"{what}: {measured:.4g}, at least {limit:g}"))

    def tell(self) -> int:
        """Print each, and return the exit status of the benchmark."""
        print()
        for met, line in self._lines:
            print(f"{'met' if met else 'MISSED':>6}  {line}")
        return 0 if all(met for met, _ in self._lines) else 1
