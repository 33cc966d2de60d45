"""`nox -s audit`: known vulnerabilities of locked versions, told by a service on this machine."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, Sandbox
from tests.http_server import serving
from tests.release.environment import release_python
from tools.audit import IGNORED, REQUIREMENTS, packages_of, read_ignored

pytestmark = pytest.mark.integration

LOCK = """\
acme-core==1.0 ; sys_platform == 'win32' \\
    --hash=sha256:{0}
acme-core==2.0 ; sys_platform != 'win32' \\
    --hash=sha256:{0} \\
    --hash=sha256:{1}
acme_tool[fast]==3.0 \\
    --hash=sha256:{0}
""".format("0" * 64, "1" * 64)
ENTRY = '[[ignored]]\nadvisory = "{}"\nlocks = ["{}"]\nreason = "Not called."\nuntil = {}\n'
ADVISORY = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-0001"],
    "summary": "Too much trust.",
    "details": "Too much trust.",
    "affected": [
        {
            "package": {"name": "acme-core", "ecosystem": "PyPI"},
            "ranges": [
                {"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.5"}]},
            ],
        }
    ],
}


class Service(BaseHTTPRequestHandler):
    """Answers as OSV does: one version has a vulnerability."""

    def do_POST(self) -> None:
        """Answer about one version of a package."""
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_vulnerable = (question["package"]["name"], question["version"]) == ("acme-core", "1.0")
        body = json.dumps({"vulns": [ADVISORY]} if is_vulnerable else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The URL of a service that knows one vulnerability."""
    with serving(Service) as url:
        yield url


@pytest.fixture
def locks(tmp_path: Path) -> Path:
    """A folder with a lock, and nothing to pass over."""
    folder = tmp_path / "requirements"
    (folder / "clients").mkdir(parents=True)
    (folder / "clients" / "run.txt").write_text(LOCK)
    (folder / "clients" / "other.txt").write_text("acme-tool==3.0\n")
    (folder / IGNORED).touch()
    return folder


def audit(sandbox: Sandbox, folder: Path, url: str) -> tuple[int, str, list[str]]:
    """Return the exit status, the last line, and the lines before it."""
    service = {"PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": url}
    command = (release_python(), "-m", "tools.audit", folder)
    done = sandbox.at(REPOSITORY).attempt(*command, **service)
    (last,) = done.stderr.splitlines()
    return done.returncode, last, [re.sub(" +", " ", line) for line in done.stdout.splitlines()]


def test_a_vulnerability_fails(sandbox: Sandbox, locks: Path, service: str) -> None:
    """A known vulnerability is named with its lock and the version to take, for every system."""
    status, last, printed = audit(sandbox, locks, service)

    assert (status, last) == (1, "audit: 1 known vulnerabilities, see above")
    assert printed == [
        "requirements/clients/run.txt: acme-core==1.0: PYSEC-2026-1, fixed in 1.5",
        "lock packages vulnerable passed over not checked",
        "clients/other.txt 1 0 0 0",
        "clients/run.txt 3 1 0 0",
    ]


@pytest.mark.weekly
@pytest.mark.parametrize(
    ("entry", "status"),
    [
        (ENTRY.format("CVE-2026-0001", "clients/*.txt", "2999-01-01"), 0),
        (ENTRY.format("PYSEC-2026-1", "clients/other.txt", "2999-01-01"), 1),
        (ENTRY.format("PYSEC-2026-1", "*", "2026-01-01"), 1),
    ],
    ids=["passed over", "another lock", "expired"],
)
def test_what_is_passed_over(
    sandbox: Sandbox, locks: Path, service: str, entry: str, status: int
) -> None:
    """An advisory is passed over for the locks that an entry names, until its day."""
    (locks / IGNORED).write_text(entry)

    done, last, printed = audit(sandbox, locks, service)

    assert done == status
    assert ("clients/run.txt 3 0 1 0" in printed) is (status == 0)
    assert last.startswith("audit: no known") is (status == 0)
    again = "passed over until 2026-01-01, so it counts again: Not called."
    assert (again in printed) is ("2026-01-01" in entry)


@pytest.mark.weekly
def test_a_service_that_does_not_answer_is_no_yes(sandbox: Sandbox, locks: Path) -> None:
    """Where the service cannot be asked, the last line says so, and the exit status is 75."""
    status, last, printed = audit(sandbox, locks, "http://127.0.0.1:9/")

    assert status == 75
    assert last.startswith("audit: NOT RUN for 3 packages, so nobody knows about them: ")
    assert "clients/run.txt 3 0 0 3" in printed


def test_every_locked_package_is_asked_about() -> None:
    """No line of a lock is left out, and every lock that an entry names exists."""
    locks = sorted(REQUIREMENTS.rglob("*.txt"))
    pins = [line for path in locks for line in path.read_text().splitlines() if "==" in line]
    versions = {line.split("==")[1].split()[0] for line in pins if line[0] != " "}

    asked = {version for path in locks for _, version in packages_of(path)}
    patterns = [name for entry in read_ignored(REQUIREMENTS / IGNORED) for name in entry.locks]

    assert len(locks) > 30
    assert asked == versions
    assert [name for name in patterns if not list(REQUIREMENTS.glob(name))] == []
