"""
The process that renders descriptions: `python -m wheelyard.operations.descriptions.child`.

It reads requests from standard input and writes answers to standard output, each a line of JSON. It
ends with its standard input. It holds no secret, and it limits itself before it reads the first
request. The kernel ends it when a description takes more processor time than its limit: no code has
to run for that.
"""

import json
import mimetypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from wheelyard.operations.descriptions.html_rewriting import TooComplex, rewrite

PROCESSOR_SECONDS: Final = 1.0
"""Processor time for one description."""
MEMORY: Final = 256 * 1024**2
"""Address space of the process; without a description it takes 40 MB."""
MAX_OUTPUT: Final = 2 * 1024**2
"""Characters of a rendered description."""
OPEN_FILES: Final = 16

Render = Callable[[str], str | None]
"""Returns a text as HTML; None if it is no such markup."""

_FORBIDDEN: Final = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system")


def main() -> None:
    """Answer the requests on standard input, until it ends."""
    _limit_resources()
    _write({"ready": ""})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        render = _renderer(request["markup"])
        signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)  # SIGPROF ends the process
        answer = _answer(render, request["text"], images=request["images"])
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answer)


def _write(message: dict[str, str]) -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


def _renderer(markup: str) -> Render:
    """Return what renders a markup; only the first description that has it needs the import."""
    if markup == "rst":  # three quarters of the start of this process would be docutils
        from readme_renderer import rst  # noqa: PLC0415

        return rst.render
    from readme_renderer import markdown  # noqa: PLC0415

    return partial(markdown.render, variant=markup)


def _answer(render: Render, text: str, *, images: bool) -> dict[str, str]:
    """Return `html`, or the `problem` in one word: `markup` or `complex`."""
    try:
        rendered = render(text)
        if rendered is None:
            return {"problem": "markup"}
        html = rewrite(rendered, has_images=images) if len(rendered) <= MAX_OUTPUT else ""
    except (MemoryError, RecursionError, TooComplex):
        return {"problem": "complex"}
    except Exception:  # noqa: BLE001 - docutils raises many types for text that it does not expect
        return {"problem": "markup"}
    return {"html": html} if 0 < len(html) <= MAX_OUTPUT else {"problem": "complex"}


def _limit_resources() -> None:
    """Take from this process what rendering does not need."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")  # a machine without memory ends this process, not the server
    limits = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    for limit, value in limits.items():
        with suppress(OSError, ValueError):  # macOS knows no limit of address space
            resource.setrlimit(limit, (value, value))
    mimetypes.init([])  # docutils asks it about images; it would read files of this machine
    sys.dont_write_bytecode = True
    # some installers link the files of packages to those of a cache
    code = tuple(os.path.abspath(each) for each in sys.path if each)  # noqa: PTH100

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open":
            # lexers and languages are imported by the first description that needs them
            path = arguments[0]
            if not isinstance(path, str) or not os.path.abspath(path).startswith(code):  # noqa: PTH100
                raise PermissionError(path)
        elif event.startswith(_FORBIDDEN):
            raise PermissionError(event)

    sys.addaudithook(refuse)


if __name__ == "__main__":
    main()
