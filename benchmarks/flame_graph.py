"""
Draw where the processor time of the server goes, as flame graphs.

    python -m benchmarks.flame_graph [NAME ...]

It writes `docs/images/flame-NAME.svg`, and prints the shares of the kernel, Granian and Python.
`perf` samples the whole process, with the kernel's work for it. It does not see which function of
Python runs. py-spy does, under the same load, and its samples divide Python's share. Linux only, as
root.
"""

import argparse
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import downloads
from benchmarks.client_headers import PIP, UNREMEMBERED
from benchmarks.flame_picture import Stacks, draw
from benchmarks.load import page_rate, upload_rate
from benchmarks.memory import peak_of_upload
from benchmarks.servers import Server, wheelyard
from benchmarks.stores import Wheel, collection, fill_wheelyard
from tests.clients.harness import REPOSITORY, program

SECONDS = 4
UPLOADS = 40
PAGE = "/simple/project-00001/"
HEAVY = Wheel("heavy", "1.0")
PYTHON = "Python"
PARTS = {
    "[kernel": "kernel",
    "_granian": "Granian",
    "libpython": PYTHON,
    "/bin/python": PYTHON,
    "": "C libraries",
}
"""To whom a sample belongs, by what is in the name of the file that its last frame is in."""
FRAME = re.compile(r"^\s+[0-9a-f]+ (.+?) \((.+)\)$")
ENTRIES = re.compile(r"entry_SYSCALL|do_syscall|x64_sys_call|^\[|^asm_|^ret_from|^__x64_sys")
"""Frames with which each call of the kernel begins."""
OUTER = re.compile(r"\((?:asyncio/runners|threading|concurrent/futures/thread)\.py")
"""Frames of Python's own in which all others run."""

Load = Callable[[], object]
"""Some load, for at most a few seconds."""


def main() -> None:
    """Draw the flame graphs that the command line names, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flame_graph", description=__doc__)
    parser.add_argument("name", nargs="*", help=", ".join(TITLES))
    asked: list[str] = parser.parse_args().name or list(TITLES)
    if unknown := set(asked) - set(TITLES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(TITLES)}")
    if shutil.which("perf") is None:
        parser.error("perf is not installed; install it (apt install linux-perf)")
    with TemporaryDirectory(prefix="flame-graph-") as place:
        folder = Path(place)
        fill_wheelyard(folder / "store", collection(200, 10))
        with wheelyard(folder / "store") as server:
            loads = _loads(server, folder)
            for name in asked:
                stacks = _stacks(server, loads[name], folder)
                picture = REPOSITORY / "docs" / "images" / f"flame-{name}.svg"
                picture.write_text(draw(stacks, TITLES[name]))
                print(name, _shares(stacks))


TITLES = {
    "fast-path": "A page of 10 files with a token, by the fast path",
    "ordinary-path": "The same page by the ordinary path",
    "upload": "Uploads of wheels of 1 kB by 4 clients",
    "download": "Downloads of a file of 200 MB",
}


def _loads(server: Server, folder: Path) -> Mapping[str, Load]:
    token = PIP | {"Authorization": server.authorization}
    page = partial(page_rate, server, PAGE, connections=16, seconds=1)
    batches = count()
    file = folder / HEAVY.filename
    with file.open("wb") as target:
        HEAVY.write(target, blocks=downloads.MIB)
    peak_of_upload(server, HEAVY, file)

    def upload() -> None:
        batch = next(batches)
        wheels = [Wheel(f"new-{each % 10}", f"{batch}.{each}") for each in range(UPLOADS)]
        upload_rate(server, wheels, clients=4)

    download = downloads.rate(server, f"/packages/{file.name}", [])
    return {
        "fast-path": partial(page, token),
        "ordinary-path": partial(page, token | UNREMEMBERED),
        "upload": upload,
        "download": partial(download, 0),
    }


def _stacks(server: Server, load: Load, folder: Path) -> Stacks:
    """Return the samples of a server under a load, by their frames, the outermost one first."""
    load()  # so that what is only done once is not sampled
    sampled, traced = folder / "perf.data", folder / "stacks.txt"
    perf = ["perf", "record", "-q", "-F", "997", "-g", "-o", str(sampled), "-p", str(server.pid)]
    _run_beside(load, [*perf, "--", "sleep", str(SECONDS)])
    spy = [str(program("py-spy")), "record", "--gil", "--function", "--format", "raw"]
    spy += ["--rate", "200", "--duration", str(SECONDS), "--output", str(traced)]
    _run_beside(load, [*spy, "--pid", str(server.pid)])
    script = ["perf", "script", "-i", str(sampled), "-F", "ip,sym,dso"]
    printed = subprocess.run(script, capture_output=True, check=True, text=True).stdout
    native = Counter(filter(None, map(_native_stack, printed.split("\n\n"))))
    python = Counter[tuple[str, ...]]()
    for line in traced.read_text().splitlines():
        frames, _, times = line.rpartition(" ")
        python[_python_stack(frames)] += int(times)
    scale = native.pop((PYTHON,), 0) / max(1, python.total())
    return {**native, **{stack: times * scale for stack, times in python.items()}}


def _run_beside(load: Load, command: list[str]) -> None:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            load()
        if process.returncode:
            said = process.stderr.read().decode() if process.stderr else ""
            raise RuntimeError(f"{command[0]} failed: {said}")


def _native_stack(sample: str) -> tuple[str, ...]:
    """Return a stack of perf: the part of the server, and for the kernel its functions."""
    frames = [found.groups() for found in map(FRAME.match, sample.splitlines()) if found]
    if not frames:
        return ()
    file = frames[0][1]
    part = next(name for piece, name in PARTS.items() if piece in file)
    if part != "kernel":
        return (part,)
    return (
        part,
        *(
            name
            for name, file in reversed(frames)
            if "[kernel" in file and not ENTRIES.search(name)
        ),
    )


def _python_stack(frames: str) -> tuple[str, ...]:
    """Return a stack of py-spy without the frames that begin each thread."""
    names = frames.split(";")
    begun = max((place for place, name in enumerate(names) if OUTER.search(name)), default=-1)
    return (PYTHON, *(name.rpartition(" (")[0] or name for name in names[begun + 1 :]))


def _shares(stacks: Stacks) -> str:
    parts = Counter[str]()
    for stack, samples in stacks.items():
        parts[stack[0]] += round(samples)
    return ", ".join(f"{name} {times / parts.total():.0%}" for name, times in parts.most_common())


if __name__ == "__main__":
    main()
