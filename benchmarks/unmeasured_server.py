"""
The command `wheelyard` without the durations of requests: what these cost.

    python -m benchmarks.unmeasured_server serve [OPTION ...]
"""

from wheelyard.cli.main import main
from wheelyard.http.instrumentation import Instrumentation


def record_nothing(*_: object) -> None:
    """Do nothing with a request."""


if __name__ == "__main__":
    Instrumentation.observe = record_nothing  # type: ignore[assignment,method-assign]
    main()
