"""
Known vulnerabilities of what locks name: `nox -s audit`, or `python -m tools.audit [FOLDER]`.

pip-audit asks its service about every package of every lock, also about those for other systems.
What is passed over stands in `requirements/ignored-advisories.toml`. The exit status is 1 for a
vulnerability, and 75 (EX_TEMPFAIL) if the service did not say something about each package:
nobody knows then whether there is one.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from packaging.utils import canonicalize_name

from tools.lock_files import read_lock

REQUIREMENTS: Final = Path(__file__).resolve().parents[1] / "requirements"
IGNORED: Final = "ignored-advisories.toml"
VULNERABLE, NOT_RUN = 1, 75
Package = tuple[str, str]
"""A name and a version."""
Advisories = dict[Package, list[dict[str, Any]]]
"""What the service says; a package is missing of which it says nothing."""


@dataclass(frozen=True)
class Ignored:
    """An entry of the file of advisories to pass over."""

    reason: str
    until: date
    advisory: str = "*"
    locks: tuple[str, ...] = ("*",)

    def covers(self, lock: str, advisory: dict[str, Any]) -> bool:
        """Return whether an advisory about a package of a lock is passed over."""
        names = (advisory["id"], *advisory.get("aliases", ()))
        return any(fnmatch(lock, pattern) for pattern in self.locks) and any(
            fnmatch(name, self.advisory) for name in names
        )


@dataclass(frozen=True)
class Row:
    """What was found in one lock."""

    lock: str
    packages: int
    vulnerable: list[str]
    ignored: list[str]
    not_checked: list[Package]


def main(requirements: Path = REQUIREMENTS) -> int:
    """Audit all locks, and print what is known; return the exit status."""
    today = datetime.now(UTC).date()
    ignored = read_ignored(requirements / IGNORED)
    locks = {
        path.relative_to(requirements).as_posix(): packages_of(path)
        for path in sorted(requirements.rglob("*.txt"))
    }
    advisories, complaint = ask({package for packages in locks.values() for package in packages})
    rows = [
        judge(lock, packages, advisories, [entry for entry in ignored if today < entry.until])
        for lock, packages in locks.items()
    ]
    print_results(rows)
    for entry in ignored:
        if entry.until <= today:
            print(f"passed over until {entry.until}, so it counts again: {entry.reason}")
    vulnerable = {line for row in rows for line in row.vulnerable}
    if vulnerable:
        say(f"{len(vulnerable)} known vulnerabilities, see above")
        return VULNERABLE
    missing = {package for row in rows for package in row.not_checked}
    if missing:
        say(f"NOT RUN for {len(missing)} packages, so nobody knows about them: {complaint}")
        return NOT_RUN
    say("no known vulnerability, but for those that are passed over")
    return 0


def packages_of(lock: Path) -> set[Package]:
    """Return the names and versions of a lock, whatever system they are for."""
    return {(package.name, package.version) for package in read_lock(lock)}


def read_ignored(path: Path) -> list[Ignored]:
    """Return the entries of the file of what is passed over."""
    with path.open("rb") as file:
        entries = tomllib.load(file).get("ignored", [])
    return [Ignored(**entry | {"locks": tuple(entry.get("locks", ("*",)))}) for entry in entries]


def ask(packages: set[Package]) -> tuple[Advisories, str]:
    """Return what the service says of packages, and why it does not say so of all."""
    runs: list[dict[str, str]] = []
    for name, version in sorted(packages):
        # pip-audit takes one version of a package at a time
        run = next((run for run in runs if name not in run), None)
        if run is None:
            runs.append(run := {})
        run[name] = version
    advisories: Advisories = {}
    complaint = ""
    for run in runs:
        answers, problem = ask_once(run)
        complaint = complaint or problem
        for answer in answers:
            if "skip_reason" in answer:
                complaint = complaint or answer["skip_reason"]
            else:
                package = (canonicalize_name(answer["name"]), answer["version"])
                advisories[package] = answer["vulns"]
    return advisories, complaint


def ask_once(versions: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    """Return the answers of one run of pip-audit, or none and the reason."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name}=={version}\n" for name, version in versions.items())
        file.flush()
        options = ("--format=json", "--no-deps", "--disable-pip", "--progress-spinner=off")
        command = [sys.executable, "-m", "pip_audit", *options, f"--requirement={file.name}"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        answers: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return [], (done.stderr.strip().splitlines() or ["pip-audit printed nothing"])[-1]
    return answers, ""


def judge(lock: str, packages: set[Package], advisories: Advisories, ignored: list[Ignored]) -> Row:
    """Return what is known about the packages of a lock."""
    row = Row(lock, len(packages), [], [], [])
    for package in sorted(packages):
        if package not in advisories:
            row.not_checked.append(package)
        for advisory in advisories.get(package, []):
            fixed = ", ".join(advisory["fix_versions"]) or "no version"
            line = f"{'=='.join(package)}: {advisory['id']}, fixed in {fixed}"
            passed_over = any(entry.covers(lock, advisory) for entry in ignored)
            (row.ignored if passed_over else row.vulnerable).append(line)
    return row


def print_results(rows: list[Row]) -> None:
    """Print each vulnerability, then the table of all locks."""
    for row in rows:
        for line in row.vulnerable:
            print(f"requirements/{row.lock}: {line}")
    widths = f"{{:{max(len(row.lock) for row in rows)}}} {{:>9}} {{:>11}} {{:>12}} {{:>12}}"
    print(widths.format("lock", "packages", "vulnerable", "passed over", "not checked"))
    for row in rows:
        numbers = (len(row.vulnerable), len(row.ignored), len(row.not_checked))
        print(widths.format(row.lock, row.packages, *numbers))


def say(message: str) -> None:
    """Print the last line, which says how it went."""
    sys.stdout.flush()
    print(f"audit: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
