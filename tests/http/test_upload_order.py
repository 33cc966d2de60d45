"""In which order an upload is checked: what is asked first is answered first."""

import itertools
from collections.abc import Iterator

import pytest

from tests.http.packages import Package, post, publish, wheel
from tests.http.raw import basic, wire
from tests.http.servers import Site, running_site

pytestmark = pytest.mark.integration

FORM = "multipart/form-data; boundary=frontier"
TOO_LONG = str((1 << 20) + (32 << 20) + 1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A private server that takes files of at most 1 MiB."""
    config = "[uploads]\nmax_file_size = 1\n"
    folder = tmp_path_factory.mktemp("order")
    with running_site(folder, "--private", config=config) as site:
        publish(site, wheel("mine"), wheel("theirs"))
        publish(site, wheel("mine-old"))
        site.change("mine-old", "status", status="archived")
        yield site


FAULTS = ("method", "credential", "length", "right", "type")
"""What can be wrong before the body is looked at, in the order of the contract."""
STATUSES = {"method": 405, "credential": 401, "length": 413, "right": 403, "type": 415}
PAIRS = list(itertools.combinations(FAULTS, 2))


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_order_of_what_needs_no_body(site: Site, first: str, second: str) -> None:
    """Of two things that are wrong with a head, the one that comes first is answered."""
    wrong = {first, second}
    token = "wyd_wrong" if "credential" in wrong else site.token
    if "right" in wrong and "credential" not in wrong:
        token = site.make_token(can="read")
    answer = send_head(
        site,
        "PUT" if "method" in wrong else "POST",
        token,
        TOO_LONG if "length" in wrong else "5",
        "application/json" if "type" in wrong else FORM,
    )
    assert answer == STATUSES[first]


def send_head(site: Site, method: str, token: str, length: str, kind: str) -> int:
    """Send the head of a request, and five bytes of the body that it announces."""
    headers = (basic("u", token), f"Content-Length: {length}", f"Content-Type: {kind}")
    with wire(site) as line:
        line.ask(f"{method} /legacy/ HTTP/1.1", *headers)
        line.send(b"-----")
        reply = line.reply()
        assert reply is not None
        return reply.status


def test_right_is_asked_before_the_file_is_read(site: Site) -> None:
    """Without a right on the project it does not matter what the file is."""
    token = site.make_token("mine-*")
    broken = Package("theirs-1.0-py3-none-any.whl", b"nothing", b"")
    large = Package("theirs-1.0-py3-none-any.whl", bytes(2 << 20), b"")
    for package in (broken, large):
        assert post(site, package, token=token, sha256_digest="0" * 64).status_code == 403


def test_filename_is_read_before_the_right(site: Site) -> None:
    """What is no filename is 400 to everybody: there is no project to have a right on."""
    token = site.make_token("mine-*")
    answer = post(site, Package("theirs.whl", b"nothing", b""), token=token)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_filename")


def test_closed_project_comes_before_the_file(site: Site) -> None:
    """An archived project refuses whatever the file is, and even one that it has."""
    broken = Package("mine_old-2.0-py3-none-any.whl", b"nothing", b"")
    for package in (broken, wheel("mine-old")):
        assert post(site, package).status_code == 403


def test_digest_comes_before_the_archive(site: Site) -> None:
    """Damage on the way is told as such, not as a broken archive."""
    broken = Package("mine-2.0-py3-none-any.whl", b"nothing", b"")
    answer = post(site, broken, sha256_digest="0" * 64)
    assert answer.json()["error"] == "digest_mismatch"


def test_known_filename_comes_before_the_archive(site: Site) -> None:
    """Other bytes under a listed filename are a conflict, whatever they are."""
    answer = post(site, Package("mine-1.0-py3-none-any.whl", b"nothing", b""))
    assert (answer.status_code, answer.json()["error"]) == (409, "file_exists")


@pytest.mark.parametrize("kind", ["existing", "missing"])
def test_foreign_project_is_refused_alike(site: Site, kind: str) -> None:
    """Whether the project exists cannot be told from a refusal."""
    token = site.make_token("mine-*")
    name = "theirs" if kind == "existing" else "nobody"
    answer = post(site, wheel(name, "9.0"), token=token)

    assert answer.status_code == 403
    assert answer.json() == {
        "message": f"This token may not upload to '{name}'. Ask the operator of this index for the "
        f"right, or use a token that has it: 'wheelyard token create NAME --can upload "
        f"--project {name}'.",
        "code": f"403 This token may not upload to '{name}'.",
        "title": "Forbidden",
        "error": "forbidden",
    }


def test_nothing_was_kept(site: Site) -> None:
    """None of these refusals has left anything in the store."""
    projects = {key.split("/")[1] for key in site.kept() if key.startswith("files/")}
    assert projects == {"mine", "theirs", "mine-old"}
    assert not any("spool" in key for key in site.kept())
