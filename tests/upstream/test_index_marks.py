"""The marks of public packages, and of private ones beside them."""

import re
from pathlib import Path

from tests.distributions import make_requiring, make_wheel
from tests.http.in_process import InProcessServer, in_process
from tests.index_tables import toml_of
from tests.upstream.fake_upstream import FakeUpstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.settings import close, upstream_section
from wheelyard.settings.sections import Settings

HTML = ("Accept", "text/html")
INDEXES = (
    {"name": "dev", "layers": ["dev", "upstream"], "read": "anyone"},
    {"name": "own", "read": "anyone"},
    {"name": "secret", "layers": ["secret", "upstream"]},
)


def _text(server: InProcessServer, path: str) -> str:
    body = server.get(path, HTML).body.decode().partition("<main")[2]
    return " ".join(re.sub("<[^>]*>", " ", body).split())


def test_public_and_private_packages_are_told_apart(upstream: FakeUpstream, tmp_path: Path) -> None:
    """Heads, rows and dependencies tell public from private packages, and link to other indexes."""
    upstream.publish(public_wheel("lib", "1.0"))
    tables = toml_of(index=INDEXES, main={"read": "anyone", "promote_only": False})
    settings = Settings(upstream=upstream_section(upstream))
    with in_process(tmp_path, settings, tables=tables) as server:
        required = make_requiring("app", "1.0", "lib", "base", "unheard-of")
        server.publish_to("dev", make_wheel("base"), required)
        public = _text(server, "/dev/project/lib/")
        links = server.get("/dev/project/lib/", HTML).body
        private = _text(server, "/dev/project/app/dependencies/")
        rows = _text(server, "/dev/-/projects/1/")
        close(server.index)

    assert "lib 1.0 public In: main dev ✓ has 1.0 " in public
    assert b'href="../../../project/lib/">main</a>' in links
    assert "app 1.0 private In: " in private
    assert "lib public base private unheard-of Used by" in private
    assert "app 1.0 private" in rows
    assert "lib 1.0 public" in rows
    assert "secret" not in public


def test_a_public_project_of_one_index_names_no_other(
    upstream: FakeUpstream, tmp_path: Path
) -> None:
    """Where one of several indexes has public packages, their pages list no indexes."""
    upstream.publish(public_wheel("lib", "1.0"))
    tables = toml_of(index=INDEXES, main={"read": "granted", "promote_only": False})
    settings = Settings(upstream=upstream_section(upstream))
    with in_process(tmp_path, settings, tables=tables) as server:
        page = _text(server, "/dev/project/lib/")
        close(server.index)

    assert "lib 1.0 public" in page
    assert "In: " not in page
