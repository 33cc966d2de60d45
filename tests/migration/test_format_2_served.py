"""Stores of format 2, copied by the command: clients see and may do what they did before."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import called
from tests.clients.harness import Sandbox
from tests.fake_gcs.server import running_fake_gcs
from tests.http.in_process import InProcessServer, in_process
from tests.http.servers import RunningServer, running_server
from tests.migration.format_2_stores import KINDS, Answers, answers_of, copy, objects_of, store_of
from tests.operations.distributions import Made, make_wheel
from tests.operations.in_memory_index import IndexHarness
from tests.upstream.fake_pages import JSON, FakeFile, Fault
from tests.upstream.fake_upstream import FakeUpstream, running_fake_upstream
from tests.upstream.public_packages import public_wheel
from tests.upstream.reading import file_of, look, page_of
from tests.upstream.settings import close
from wheelyard.settings.sections import Settings
from wheelyard.settings.upstream_section import UpstreamSettings
from wheelyard.storage.base import Key

pytestmark = pytest.mark.integration

ARRIVING = "arriving"
"""In the bucket, the copy that brought it died after what the old version was asked."""
COMMANDS = ("list", "names list", "access show", "token list", "upstream decisions", "journal")


@dataclass(frozen=True)
class Copied:
    """A store of format 2 and its copy, as commands name them."""

    old: str
    new: str
    folder: Path
    variables: Mapping[str, str]
    answers: Answers
    printed: str

    def run(self, *arguments: str) -> str:
        """Run a command on the copy, which has to succeed; return what it printed."""
        done = called(self.folder, self.variables, *arguments, "--store", self.new)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=KINDS)
def copied(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Copied]:
    """The copy of a store, from a folder to a folder and from a bucket to a bucket."""
    folder = tmp_path_factory.mktemp(request.param)
    sandbox = Sandbox(folder, folder / "home")
    (folder / "home").mkdir()
    variables, old, new = sandbox.environment(), str(folder / "old"), str(folder / "store")
    with ExitStack() as stack:
        if request.param == "bucket":
            google = stack.enter_context(running_fake_gcs("old", "new"))
            variables |= google.environment()
            old, new = "gs://old/team", "gs://new"
            for key, body in objects_of("bucket").items():
                google.bucket("old").put(f"team/{key}", body)
        else:
            written(objects_of("folder"), Path(old))
        done = called(folder, variables, "copy", "--with-credentials", old, new)
        assert done.returncode == 0, done.stderr
        assert "wheelyard: warning: The approval of unseen 1.0 is about no file" in done.stderr
        yield Copied(old, new, folder, variables, answers_of(request.param), done.stdout)


@pytest.fixture(scope="module")
def server(copied: Copied) -> Iterator[RunningServer]:
    """A server on the copy."""
    folder = copied.folder / "served"
    folder.mkdir()
    with running_server(folder, "--store", copied.new, environment=copied.variables) as running:
        yield running


def test_what_commands_print(copied: Copied) -> None:
    """Lists, private names, rights, tokens, decisions and the whole history are the same."""
    for command in COMMANDS:
        before = lines_of(copied.answers["commands"][command])
        after = lines_of(copied.run(*command.split(), "--json"))
        assert after == before, command


def lines_of(text: str) -> list[dict[str, Any]]:
    """Return the values in a command's JSON, in lines; the first one is that of a list."""
    values = [json.loads(line) for line in text.splitlines() if line]
    values = [each for each in values if each]
    if len(values) == 1:
        # the list of private names had no patterns of the settings, that of grants no number
        values[0].pop("patterns", None)
        values[0].pop("revision", None)
        (values,) = values[0].values() if len(values[0]) == 1 else [values]
    return [expected(each) for each in values if each.get("project", each.get("name")) != ARRIVING]


def expected(each: dict[str, Any]) -> dict[str, Any]:
    """Return a value without what is to differ."""
    # a token that was rotated ends by itself
    if each.get("name") == "turned":
        del each["state"]
    # early versions left out the digests of some approvals
    if each.get("project") in {"approved", "bound", "unseen"}:
        each.pop("sha256", None)
        each["reason"] = str(each.get("reason", "")).partition(",")[0].partition(" (")[0]
    # what was the reason of a status is an event of its own
    text = str(each.get("reason", ""))
    if each.get("what") == "status" and text.startswith("name "):
        word, _, reason = text.removeprefix("name ").partition(": ")
        each |= {"what": word, "reason": reason}
        del each["status"]
    # an administrator's token approves, which had no word of its own
    if "admin" in each.get("can", ()):
        each["can"] = [word for word in each["can"] if word != "approve"]
    # tokens had no such fields
    new = {"revoked", "revoked_by", "marks", "publishers"}
    return {name: value for name, value in each.items() if value != "" and name not in new}


def test_pages_and_files(copied: Copied, server: RunningServer) -> None:
    """Each page of the Simple API has the same bytes, and each file that it links."""
    token = copied.answers["tokens"]["admin"]
    listed = server.get("/simple/", token, accept=JSON).json()
    for described in (listed["meta"], *listed["projects"]):
        described.pop("_last-serial", None)  # which format 2 did not have
    assert listed == copied.answers["index"]
    for name, page in copied.answers["pages"].items():
        answer = server.get(f"/simple/{name}/", token, accept=JSON)
        assert answer.json() == page, name
        for file in page["files"]:
            body = server.get(file["url"].removeprefix("../.."), token).content
            assert hashlib.sha256(body).hexdigest() == file["hashes"]["sha256"]
            if file["core-metadata"]:
                metadata = server.get(file["url"].removeprefix("../..") + ".metadata", token)
                digest = hashlib.sha256(metadata.content).hexdigest()
                assert {"sha256": digest} == file["core-metadata"]


def test_tokens_work_as_before(copied: Copied, server: RunningServer) -> None:
    """They work as before; one that was revoked does not."""
    tokens = copied.answers["tokens"]
    status = {
        name: server.get("/simple/team-old/", text, accept=JSON).status_code
        for name, text in tokens.items()
        if name != "turned"  # it has expired, or will
    }
    assert status == {"admin": 200, "ci": 200, "old": 401, "owned": 200, "turned_new": 200}


def test_what_comes_next(copied: Copied, server: RunningServer) -> None:
    """Histories go on, tokens have the same rights, and what was deleted stays so."""
    ci, admin = copied.answers["tokens"]["ci"], copied.answers["tokens"]["admin"]
    wheel, again = make_wheel("demo", "3.0"), make_wheel("demo", "0.9")
    assert publish(server, ci, wheel) == 200
    assert publish(server, ci, again) == 400
    assert publish(server, ci, make_wheel("dying", "4.0")) == 403
    assert publish(server, copied.answers["tokens"]["turned_new"], wheel) == 403
    assert publish(server, admin, make_wheel("acme_next", "1.0")) == 200
    assert publish(server, admin, make_wheel("team_shut", "2.0")) == 403
    for name in ("dying", "arriving"):
        assert publish(server, admin, make_wheel(name, "4.0")) == 200
    checked = json.loads(copied.run("check", "--json"))
    assert (checked["problems"], checked["mended"]) == ([], [])


def publish(server: RunningServer, token: str, made: Made) -> int:
    """Upload a distribution, and return the status."""
    name, version = made.filename.split("-")[:2]
    form = {":action": "file_upload", "name": name, "version": version}
    files = {"content": (made.filename, made.body)}
    return server.client.post("/", data=form, files=files, auth=("__token__", token)).status_code


@contextmanager
def two_upstreams() -> Iterator[tuple[FakeUpstream, FakeUpstream]]:
    """Run two upstream indexes."""
    with running_fake_upstream() as first, running_fake_upstream() as public:
        yield first, public


def asking(*urls: tuple[str, str, str], offline: bool = False) -> Settings:
    """Return the settings for upstream indexes, each with its label and the host of its files."""
    tables = tuple({"url": url, "label": label, "file_hosts": (host,)} for label, url, host in urls)
    networks = ("127.0.0.0/8",)
    section = UpstreamSettings(
        enabled=True,
        private=("team-*",),
        allow_private_networks=networks,
        index=tables,
        offline=offline,
    )
    return Settings(upstream=section)


@contextmanager
def before(target: IndexHarness, settings: Settings) -> Iterator[InProcessServer]:
    """Run a server on a copy, with these settings."""
    with in_process(target.folder, settings, store=target.store) as server:
        try:
            yield server
        finally:
            close(server.index)


def test_who_owns_a_public_name(tmp_path: Path) -> None:
    """An index keeps its names, and no other one gets them; pinned digests are compared with."""
    target, objects = IndexHarness(tmp_path), objects_of("folder")
    with two_upstreams() as (first, public):
        owners = {"first": first, "public": public}
        for label, upstream in owners.items():
            # the fake upstreams are at other addresses now, so these are other ids
            new = f"upstream/{label}-{sha256(upstream.url.encode()).hexdigest()[:8]}/"
            old = next(key[: len(new)] for key in objects if key.startswith(f"upstream/{label}-"))
            objects = {key.replace(old, new): body for key, body in objects.items()}
            upstream.publish(*(public_wheel(name, "9.0") for name in ("shared", "fresh")))
        for name in ("contested", "kept"):
            first.publish(public_wheel(name, "9.0"))
        public.publish(public_wheel("kept", "1.0"), public_wheel("moved", "9.0"))
        other = FakeFile.of(public_wheel("unhashed", "1.0"))
        public.publish(replace(other, body=other.body[:-1] + b"?"))
        public.behave("unhashed", Fault.NO_HASH)
        assert copy(store_of(objects), target).problems == []

        urls = [(label, each.url, each.file_host) for label, each in owners.items()]
        with before(target, asking(*urls)) as server:
            status = {
                name: page_of(server, name).status
                for name in ("shared", "fresh", "kept", "contested", "moved", "gone")
            }
            assert status == {
                "shared": 200,
                "fresh": 200,
                "kept": 404,  # another index, which is asked first, has it now
                "contested": 404,
                "moved": 404,
                "gone": 404,
            }
            assert public.asked_pages("shared") == public.asked_pages("fresh") == []
            refused = file_of(server, "unhashed", "unhashed-1.0-py3-none-any.whl")
            assert (refused.status, b"another digest" in refused.body) == (502, True)


def test_kept_public_files_are_served_offline(tmp_path: Path) -> None:
    """With the kept files beside it, an index that is offline serves what it served before."""
    target, objects = IndexHarness(tmp_path), objects_of("folder")
    answers = answers_of("folder")["upstreams"]
    assert copy(store_of(objects), target).problems == []
    for key, body in objects.items():  # as the page on upgrading says
        if key.startswith("upstream/") and not key.endswith(".zst"):
            target.store.put(Key(key), body, None)

    urls = [(label, answers[label], "127.0.0.1:1") for label in ("first", "public")]
    with before(target, asking(*urls, offline=True)) as server:
        listed = {name: len(page_of(server, name).files) for name in ("shared", "kept", "early")}
        assert listed == {"shared": 1, "kept": 2, "early": 1}
        assert file_of(server, "kept", "kept-1.0-py3-none-any.whl").status == 200
        for name in ("gone", "contested", "moved"):
            assert look(server, f"/simple/{name}/").status == 404


def test_no_copy_into_it(sandbox: Sandbox) -> None:
    """A copy of this version is not added to a backup of format 2, nor a copy made of format 1."""
    old = written(objects_of("folder"), sandbox.folder / "old")
    older = written({"wheelyard.json": b'{"format":1}'}, sandbox.folder / "older")

    done = called(sandbox.folder, sandbox.environment(), "copy", old, old + "-2")
    assert done.returncode == 0
    done = called(sandbox.folder, sandbox.environment(), "copy", old + "-2", old)
    assert (done.returncode, done.stderr) == (1, REFUSED)
    done = called(sandbox.folder, sandbox.environment(), "copy", older, old + "-3")
    assert done.returncode == 1
    assert "This store has format 1, which no release of wheelyard wrote" in done.stderr
    assert tree(old) == objects_of("folder")


REFUSED = (
    "wheelyard: This store has format 2, and this version of wheelyard knows 3. Copy it to a new "
    "place with 'wheelyard copy --with-credentials OLD NEW'; to check or repair it, use the "
    "version that wrote it.\n"
)


def written(objects: Mapping[str, bytes], folder: Path) -> str:
    """Write a store into a folder, and return its path."""
    for key, body in objects.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    return str(folder)


def tree(folder: str) -> dict[str, bytes]:
    """Return the objects in a folder."""
    paths = (path for path in Path(folder).rglob("*") if path.is_file())
    bodies = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return {key: body for key, body in bodies.items() if not key.startswith(".")}


def test_files_and_pages_in_other_places(sandbox: Sandbox) -> None:
    """A bucket for files is found by the old store; `[upstream] bucket` gets its pages anew."""
    objects = objects_of("bucket")
    with running_fake_gcs("old", "files", "pages", "new") as google:
        for key, body in objects.items():
            place = key.split("/")[0] if key.startswith("files/") else "old"
            google.bucket("pages" if key.startswith("upstream/") else place).put(key, body)
        google.bucket("old").put("wheelyard.json", b'{"format":2,"files":"gs://files"}\n')
        config = sandbox.folder / "wheelyard.toml"
        config.write_text(
            '[store]\nlocation = "gs://old"\n[upstream]\nenabled = true\nbucket = "gs://pages"\n'
            'url = "https://packages.example.com/simple/"\nprivate = ["team-*"]\n'
        )
        variables = sandbox.environment() | google.environment()
        for number in range(2):
            done = called(sandbox.folder, variables, "copy", "gs://old", "gs://new")
            assert done.returncode == 0, done.stderr
            assert (", 12 objects about public names" in done.stdout) == (number == 0)
        assert len(google.bucket("new").names("files/")) == 26
        assert google.bucket("new").names("upstream/") == []
        pages = [name for name in google.bucket("pages").names() if name.endswith(".json.gz")]
        assert len(pages) == 12
