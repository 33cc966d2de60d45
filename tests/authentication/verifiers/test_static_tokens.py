"""Tokens of any text that an operator already has."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import NormalizedName

from tests.fake_time import START, Clock
from tests.refused import refused
from wheelyard.authentication.verifiers.static_tokens import StaticTokens, parse_static_tokens
from wheelyard.errors import Invalid, Unauthenticated
from wheelyard.model.access import EVERY_PROJECT, Action, Identity, Pattern, Scope
from wheelyard.model.index_name import MAIN

SECRET = "an-old-token-of-another-index"
OTHER = "0123456789abcdef"
DIGEST = sha256(SECRET.encode()).hexdigest()
CI = "[[token]]\nname = 'ci'"
ALL = 'projects = ["*"]\n'
FULL = Scope(Action.READ | Action.UPLOAD, (EVERY_PROJECT,), (MAIN,))


def _tokens(folder: Path, clock: Clock, text: str, bare: str = "") -> StaticTokens:
    path = folder / "tokens.toml"
    path.write_text(text)
    path.chmod(0o600)
    return StaticTokens(path, bare, lambda: clock.now, clock.seconds)


@pytest.mark.parametrize("key", [f'value = "{SECRET}"', f'sha256 = "{DIGEST.upper()}"'])
@pytest.mark.parametrize(
    "secrets", [(SECRET,), (SECRET, ""), ("", SECRET), ("NOPASS", SECRET), (SECRET, "__token__")]
)
def test_a_token_opens_as_bearer_name_or_password(
    tmp_path: Path, clock: Clock, key: str, secrets: tuple[str, ...]
) -> None:
    """A token opens as Bearer, as a user's name and as a password, written whole or as digest."""
    tokens = _tokens(tmp_path, clock, f'[[token]]\nname = "proxy"\n{key}\n{ALL}')

    principals = frozenset({"static:proxy", "allAuthenticated", "anonymous"})
    token = tokens.find(secrets)
    assert token is not None
    assert token.identity == Identity("static:proxy", principals, (FULL,))


def test_a_token_has_the_rights_of_its_table(tmp_path: Path, clock: Clock) -> None:
    """A token has the rights that its table gives it, on the projects that the table names."""
    rights = 'can = ["read"]\nprojects = ["Acme_*", "tools"]'
    tokens = _tokens(tmp_path, clock, f'[[token]]\nname = "ci"\nvalue = "{SECRET}"\n{rights}\n')

    token = tokens.find([SECRET])
    assert token is not None
    assert token.identity.scopes == (
        Scope(Action.READ, (Pattern("acme-*"), Pattern("tools")), (MAIN,)),
    )
    assert not token.identity.scopes[0].permits(Action.READ, NormalizedName("acme"))


@pytest.mark.parametrize(
    "secrets", [(), ("",), ("", ""), (SECRET[:-1],), (SECRET + " ",), (DIGEST,), ("\ud800", "ci")]
)
def test_other_text_is_left_alone(tmp_path: Path, clock: Clock, secrets: tuple[str, ...]) -> None:
    """A text that is no static token is left to the other kinds of credentials."""
    tokens = _tokens(tmp_path, clock, f'[[token]]\nname = "ci"\nvalue = "{SECRET}"\n{ALL}', OTHER)

    assert tokens.find(secrets) is None


def test_a_token_of_the_environment_reads_and_uploads_everything(clock: Clock) -> None:
    """One token from the environment may read and upload everything, with no file at all."""
    tokens = StaticTokens(None, f"{SECRET}\n", lambda: clock.now, clock.seconds)

    token = tokens.find(["", SECRET])
    assert token is not None
    assert (token.identity.principal, token.identity.scopes) == ("static:environment", (FULL,))
    assert tokens.file is None


def test_the_file_is_asked_first(tmp_path: Path, clock: Clock) -> None:
    """A token that is in the file and in the environment may what the file says."""
    text = f'[[token]]\nname = "ci"\nvalue = "{SECRET}"\ncan = ["read"]\n{ALL}'
    token = _tokens(tmp_path, clock, text, SECRET).find([SECRET])

    assert token is not None
    assert token.identity.scopes == (Scope(Action.READ, (EVERY_PROJECT,), (MAIN,)),)


@pytest.mark.parametrize(
    "written",
    [
        *("2031-05-06", "2031-05-06T00:00:00Z", "2031-05-06T00:00:00"),
        *("2031-05-06T02:00:00+02:00", '"2031-05-06"', '"2031-05-06T00:00:00Z"'),
    ],
)
def test_a_token_holds_until_it_expires(tmp_path: Path, clock: Clock, written: str) -> None:
    """A static token holds until the moment of its expiry, and not from then on."""
    text = f'[[token]]\nname = "ci"\nvalue = "{SECRET}"\nexpires = {written}\n{ALL}'
    tokens = _tokens(tmp_path, clock, text)
    expiry = datetime(2031, 5, 6, tzinfo=UTC)

    clock.now = expiry - timedelta(microseconds=1)
    assert tokens.find([SECRET]) is not None
    clock.now = expiry
    with refused(Unauthenticated, "token_expired") as caught:
        tokens.find([SECRET])
    assert "static token ci has expired on 2031-05-06 00:00 UTC." in caught.value.message
    assert SECRET not in caught.value.message


FILE = f"""[[token]]
name = "old-ci"
value = "{SECRET}"
can = ["read"]
expires = 2031-05-06
projects = ["acme-*"]
"""


@pytest.mark.parametrize("length", range(len(FILE)))
def test_a_cut_file_opens_no_more_than_the_whole(length: int) -> None:
    """Wherever a file is cut off, it opens no more than it would whole."""
    opened: tuple[Scope, ...] = ()
    try:
        tokens = parse_static_tokens(FILE[:length]).value
    except Invalid:
        tokens = {}
    for held in tokens.values():
        opened += held.identity.scopes
        assert held.expires_at == datetime(2031, 5, 6, tzinfo=UTC)

    assert set(opened) <= {Scope(Action.READ, (Pattern("acme-*"),), (MAIN,))}


@pytest.mark.parametrize("indexes", ["[]", '[""]'])
def test_a_list_of_indexes_names_one(tmp_path: Path, clock: Clock, indexes: str) -> None:
    """A list without an index is wrong, and does not mean main."""
    table = f'[[token]]\nname = "ci"\nvalue = "{SECRET}"\nindexes = {indexes}\n{ALL}'

    with pytest.raises(Invalid, match="indexes: expected a list of indexes such as"):
        _tokens(tmp_path, clock, table)


def test_a_token_of_15_characters_is_refused(tmp_path: Path, clock: Clock) -> None:
    """A static token shorter than 16 characters is refused, even if its digest is configured."""
    texts = ("hello", "0123456789abcde", OTHER)
    tables = "".join(
        f'[[token]]\nname = "t{len(text)}"\nsha256 = "{sha256(text.encode()).hexdigest()}"\n{ALL}'
        for text in texts
    )
    tokens = _tokens(tmp_path, clock, tables)
    matching = [tokens.find([text]) for text in texts]
    assert [token is not None for token in matching] == [False, False, True]


def test_expired_tokens_are_told_without_the_token(tmp_path: Path, clock: Clock) -> None:
    """Whose token has expired can be told without the token."""
    until = clock.now.date() + timedelta(days=1)
    table = f'[[token]]\nname = "ci"\nvalue = "{SECRET}"\nexpires = {until}\n{ALL}'
    tokens = _tokens(tmp_path, clock, table)
    assert tokens.expired() == frozenset()
    clock.advance(seconds=2 * 86_400)
    assert tokens.expired() == frozenset({"static:ci"})


def test_a_token_taken_out_of_the_file_opens_nothing(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that is taken out of the file opens nothing a second later; nonsense waits."""
    tokens = _tokens(tmp_path, clock, f'[[token]]\nname = "ci"\nvalue = "{SECRET}"\n{ALL}')
    path = tmp_path / "tokens.toml"
    path.write_text(f'[[token]]\nname = "ci"\nvalue = "{OTHER}')
    clock.advance(seconds=1)
    assert tokens.find([SECRET]) is not None
    assert len(caplog.records) == 1
    assert OTHER not in caplog.text

    path.write_text(f'[[token]]\nname = "ci"\nvalue = "{OTHER}"\n{ALL}')
    clock.advance(seconds=1)
    assert tokens.find([SECRET]) is None
    assert tokens.find([OTHER]) is not None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("value = 'x", "It is no TOML at its end."),
        ("[[token]]\nname ci", "It is no TOML at line 2."),
        ("[token]\nname = 'ci'", "It has something else in it than [[token]] tables."),
        ("[[tokens]]\nname = 'ci'", "It has something else in it than [[token]] tables."),
        ("token = ['secret-secret-secret']", "It has something else in it"),
        (f"[[token]]\nvalue = '{SECRET}'", "[[token]] number 1: name: is missing, give"),
        (f"{CI.replace('ci', ' ')}\nvalue = '{SECRET}'\n{ALL}", "number 1 (' '): name: expected"),
        (f"[[token]]\nname = \"a\\nb\"\nvalue = '{SECRET}'\n{ALL}", "its name has the character"),
        (f"[[token]]\nname = 'environment'\nvalue = '{SECRET}'\n{ALL}", "its name is taken."),
        (f"{CI}\n{ALL}", "number 1 ('ci'): it needs either value or sha256."),
        (f"{CI}\nvalue='{SECRET}'\nsha256='{DIGEST}'\n{ALL}", "it needs either value or sha256"),
        (f"{CI}\nvalue = 'secret-secret--'\n{ALL}", "it has fewer than 16 characters."),
        (f"{CI}\nvalue = ''\n{ALL}", "it has fewer than 16 characters."),
        (f"{CI}\nvalue = 7\n{ALL}", "value: expected a text."),
        (f"{CI}\nvalue = '{SECRET} '\n{ALL}", "spaces around it. Leave them out."),
        (f'{CI}\nvalue = "{SECRET}\\u0007"\n{ALL}', "it has control characters"),
        (f"{CI}\nvalue = 'wyd_{'a' * 48}'\n{ALL}", "it begins with wyd_"),
        (f"{CI}\nvalue = 'wyd_secret-secret'\n{ALL}", "it begins with wyd_"),
        (f"{CI}\nsha256 = '{DIGEST[1:]}'\n{ALL}", "sha256: expected the 64 hexadecimal digits"),
        (f"{CI}\nsha256 = '{sha256().hexdigest()}'\n{ALL}", "its digest is that of nothing."),
        (f"{CI}\nvalue = '{SECRET}'\nproject = 'a'", "project: there is no such key"),
        (
            f"{CI}\nvalue = '{SECRET}'\n{ALL}index = 'dev'\nindexes = ['dev']",
            "it has indexes and index. Leave index out.",
        ),
        (f"{CI}\nvalue = '{SECRET}'", "projects: is missing, give a list such as"),
        (f"{CI}\nvalue = '{SECRET}'\nprojects = []", "projects: expected a list such as"),
        (f"{CI}\nvalue = '{SECRET}'\nprojects = 'a'", "projects: expected a list such as"),
        (f"{CI}\nvalue = '{SECRET}'\nprojects = ['a*b']", "'a*b' is not a project pattern"),
        (f"{CI}\nvalue = '{SECRET}'\n{ALL}can = ['write']", "'write' is not an action"),
        (f"{CI}\nvalue = '{SECRET}'\n{ALL}can = []", 'can: expected a list such as ["read"]'),
        (f"{CI}\nvalue = '{SECRET}'\n{ALL}expires = 'soon'", "expires is no time. Write"),
        (f"{CI}\nvalue = '{SECRET}'\n{ALL}expires = 2027", "expires is no time. Write"),
        (f"{CI}\nvalue = '{SECRET}'\n{ALL}expires = 12:00:00", "expires is no time. Write"),
        (
            f"{CI}\nvalue='{SECRET}'\n{ALL}[[token]]\nname='b'\nsha256='{DIGEST}'\n{ALL}",
            "[[token]] number 2 ('b'): it has the text of another one.",
        ),
        (
            f"{CI}\nvalue='{SECRET}'\n{ALL}{CI}\nvalue='{OTHER}'\n{ALL}",
            "[[token]] number 2 ('ci'): its name is taken. Choose another.",
        ),
    ],
)
def test_wrong_file_is_refused(tmp_path: Path, clock: Clock, text: str, complaint: str) -> None:
    """A refusal names the table and what to do, and shows neither a token nor its digest."""
    with refused(Invalid, "bad_setting") as caught:
        _tokens(tmp_path, clock, text)

    message = caught.value.message
    assert message.startswith(f"{tmp_path / 'tokens.toml'}: ")
    assert complaint in message
    for secret in (SECRET, OTHER, DIGEST[1:], "secret-secret"):
        assert secret not in message


@pytest.mark.parametrize("bare", ["too-short", f"wyd_{'a' * 48}", "two lines\nof a variable"])
def test_a_wrong_token_of_the_environment_stops_the_start(clock: Clock, bare: str) -> None:
    """A variable that holds no good token keeps the server from starting, and is not shown."""
    with refused(Invalid, "bad_setting") as caught:
        StaticTokens(None, bare, lambda: clock.now, clock.seconds)

    assert bare not in caught.value.message


@given(st.text())
def test_any_text_is_a_file_of_tokens_or_refused(text: str) -> None:
    """Any text is a file of tokens, or is refused."""
    code = "bad_setting"
    try:
        parse_static_tokens(text)
    except Invalid as fault:
        code = fault.code

    assert code == "bad_setting"


@given(
    st.text(min_size=16).filter(
        lambda text: text.isprintable() and text.strip() == text and not text.startswith("wyd_")
    )
)
def test_any_printable_text_of_16_characters_is_a_token(secret: str) -> None:
    """Any printable text of 16 characters is a token, in every script."""
    now = START
    tokens = StaticTokens(None, secret, lambda: now, lambda: 0.0)

    assert (tokens.find(["", secret]) is None) is secret.startswith("wyd_")
