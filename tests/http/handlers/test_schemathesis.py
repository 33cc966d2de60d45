"""schemathesis asks a server for whatever docs/openapi.json allows, and for what it does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.harness import REPOSITORY, new_sandbox, program
from tests.distributions import make_sdist, make_wheel
from tests.http.google_users import GoogleUsersServer, running_google_server
from tests.http.packages import publish

HERE = Path(__file__).parent
GRANTS: tuple[dict[str, object], ...] = (
    {"who": ["user:ana@acme.dev"], "projects": ["*"], "actions": ["admin"]},
)

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleUsersServer]:
    """A server with projects that schemathesis tries first, and an administrator."""
    folder = tmp_path_factory.mktemp("server")
    with running_google_server(folder, GRANTS, failed_login_per_minute=100_000) as users:
        publish(
            users.server,
            make_wheel("demo"),
            make_sdist("demo"),
            make_wheel("0"),
            make_wheel("a", "0"),
        )
        yield users


def test_what_the_document_says(users: GoogleUsersServer, tmp_path: Path) -> None:
    """No answer is a 5xx, undescribed, or of another form, and the right requests are taken."""
    login = f"Authorization: Bearer {users.id_token('ana@acme.dev')}"
    new_sandbox(tmp_path).run(
        program("schemathesis"),
        *("--config-file", str(HERE / "schemathesis.toml")),
        *("run", "--url", users.server.url, "--header", login, "--checks", "all", "--no-color"),
        *("--phases", "fuzzing", "--max-examples", "3", "--generation-deterministic"),
        REPOSITORY / "docs" / "openapi.json",
    )
