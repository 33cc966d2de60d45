"""
The command `wheelyard` without metrics and access log of the fast path: what these two cost.

    python -m benchmarks.unmeasured_server serve [OPTION ...]
"""

from wheelyard.cli.main import main
from wheelyard.http.observability.instrumentation import Instrumentation


def record_nothing(*_: object) -> None:
    """Do nothing with a request."""


if __name__ == "__main__":
    Instrumentation.record_fast_path = record_nothing  # type: ignore[assignment,method-assign]
    main()
