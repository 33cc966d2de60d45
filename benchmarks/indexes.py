"""
Processor time of pages of an index that is made of others, beside the same pages of a plain one.

All are answered by one server. They take turns, round by round.
"""

from collections.abc import Callable
from pathlib import Path

from benchmarks.client_headers import PIP, UNREMEMBERED
from benchmarks.load import answer_of, page_rate, upload_all
from benchmarks.processes import microseconds_each
from benchmarks.report import Figure, in_turn
from benchmarks.servers import Server, wheelyard
from benchmarks.stores import wheels

ROUNDS = 9
SECONDS = 1
CONNECTIONS = 16
PAGE = "/simple/asked/"
SETTINGS = """
[main]
promote_only = false
[[index]]
name = "team"
layers = ["team", "main"]
read = "anyone"
[[index]]
name = "stable"
layers = ["main"]
read = "anyone"
prereleases = false
versions = { "*" = "!=0" }
"""
MADE_OF_OTHERS = {"two layers": "/team", "a view": "/stable"}


def measure(folder: Path) -> list[Figure]:
    """Measure pages of an index of two layers, and of a view, beside the same pages of one."""
    config = folder / "wheelyard.toml"
    config.write_text(SETTINGS)
    with wheelyard(folder / "store", "/simple/", "--config", config) as server:
        upload_all(server, [wheel.form() for wheel in wheels("asked", 10)])
        return [
            _figure(f"processor time of {what}, {name}", server, prefix, more)
            for name, prefix in MADE_OF_OTHERS.items()
            for what, more in (
                ("a remembered page", {}),
                ("a remembered 304", {"If-None-Match": ""}),
                ("a page that is not to be remembered", UNREMEMBERED),
            )
        ]


def _figure(name: str, server: Server, prefix: str, more: dict[str, str]) -> Figure:
    ours, theirs = in_turn(
        ROUNDS, _cost(server, f"{prefix}{PAGE}", more), _cost(server, PAGE, more), warm=1
    )
    return Figure(
        name=name, unit="us", ours=ours, theirs=theirs, versus="plain index", target="<= 1.15x"
    )


def _cost(server: Server, path: str, more: dict[str, str]) -> Callable[[int], float]:
    headers = PIP | {"Authorization": server.authorization} | more
    if "If-None-Match" in more:
        headers["If-None-Match"] = answer_of(server, path, PIP | headers)[0]["ETag"]

    def rate() -> float:
        return page_rate(server, path, headers, connections=CONNECTIONS, seconds=SECONDS)

    return lambda _: microseconds_each(server, rate, SECONDS)
