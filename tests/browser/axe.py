"""axe-core, which finds what a keyboard or a screen reader cannot use; npm installs it, locked."""

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.browser.chromium import Person
from tests.clients.harness import REPOSITORY, system_program
from tests.once import made_once

PACKAGES: Final = REPOSITORY / "requirements" / "npm"
"""A folder for each program of npm, with its lock."""
RUN: Final = """
async () => {
  const found = await axe.run(document, {resultTypes: ["violations"]});
  return found.violations.flatMap(({id, nodes}) =>
    nodes.map((each) => `${id}: ${each.html.slice(0, 160)}: ${each.failureSummary}`));
}
"""
TOO_WIDE: Final = """
() => {
  const main = document.querySelector("main");
  const padding = parseFloat(getComputedStyle(main).paddingRight);
  const right = main.getBoundingClientRect().right - padding;
  const wide = [...main.querySelectorAll("table, pre, dl, ul, form, img, section")].filter(
    (each) => each.getBoundingClientRect().right > right + 1 && !each.closest(".scrolling"));
  const found = wide.map((each) => `too wide: ${each.outerHTML.slice(0, 80)}`);
  if (document.documentElement.scrollWidth > innerWidth) found.push("wider than the window");
  return found;
}
"""
"""Finds what reaches over the right edge of the column."""


def npm_package(name: str) -> Path:
    """Return the folder of a package below `node_modules`; skip the test without npm."""
    npm = system_program("npm")
    lock = PACKAGES / name
    install = functools.partial(_install, npm, lock)
    return made_once(f"npm-{name}", [lock], install) / "node_modules" / name


def violations(person: Person) -> list[str]:
    """Return what axe-core finds on the page that is open, and what on it is too wide."""
    # through the debugger, as the policy of the page allows no such script
    if not person.page.evaluate("'axe' in window"):
        person.page.evaluate(_source())
    found = [*person.page.evaluate(RUN), *person.page.evaluate(TOO_WIDE)]
    return [f"{person.path}: {each}" for each in found]


@functools.cache
def _source() -> str:
    return (npm_package("axe-core") / "axe.min.js").read_text()


def _install(npm: str, lock: Path, folder: Path) -> None:
    shutil.copytree(lock, folder, dirs_exist_ok=True)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
