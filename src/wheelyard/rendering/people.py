"""The people of core metadata: names and addresses, of which some are encoded words (RFC 2047)."""

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple
from urllib.parse import quote

PEOPLE_LIMIT: Final = 2000
"""Characters of a field with people that are shown."""
NAME_LIMIT: Final = 200
"""Characters of a name that are shown."""

_MAIL: Final = re.compile(r"[^\s@<>\"(),:;]{1,64}@[A-Za-z0-9.-]{1,255}")
_ADDRESS_TOKENS: Final = re.compile(r'=\?[^?\s]*\?[bBqQ]\?[^?\s]*\?=|"[^"]*"|<[^>]*>|[^",<=]+|.')
_ENCODED_WORDS: Final = re.compile(r"=\?[!-~]+\?=(?:\s+=\?[!-~]+\?=)*")
_QUOTED_OR_ENCODED: Final = re.compile(rf'"[^"]*"|{_ENCODED_WORDS.pattern}')
_SPECIAL: Final = re.compile(r'[()<>\[\]:;@\\,"]')
"""The characters that end a name, or begin something else."""
_ESCAPED: Final = re.compile(r'[\\"]')
_ENCODED_WORD: Final = re.compile(
    r"=\?(utf-?8|us-ascii|iso-8859-[0-9]{1,2}|windows-125[0-9]|koi8-[ru]|gb2312|gbk|gb18030|big5"
    r"|euc-jp|euc-kr|shift_jis|iso-2022-jp)(?:\*[a-z-]*)?\?([bq])\?([!->@-~]*)\?=",
    re.IGNORECASE,
)
"""Python knows more encodings, of which some are for other things than texts."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Contact(NamedTuple):
    """A person or a team in core metadata."""

    name: str
    mail: str
    """The URL `mailto:...`, or an empty text without a plausible address."""


def people(names: str | None, mails: str | None) -> tuple[Contact, ...]:
    """Return the people of the two fields for authors, or of those for maintainers."""
    return _people((names or "")[:PEOPLE_LIMIT], (mails or "")[:PEOPLE_LIMIT])


@lru_cache(1024)  # releases have them in common
def _people(names: str, mails: str) -> tuple[Contact, ...]:
    persons = dict[str, Contact]()
    for encoded, mail in _addresses(mails):
        name = decode_words(encoded)
        if _MAIL.fullmatch(mail):
            shown = name.strip() or mail
            persons.setdefault(
                shown, Contact(shown[:NAME_LIMIT], f"mailto:{quote(mail, safe='@')}")
            )
    # the field for mails may have names alone
    text = decode_words(names if persons else names or mails).strip()
    others = _without(persons, text)
    if not others:
        return tuple(persons.values())
    if len(persons) == 1 and "," not in others:
        (person,) = persons.values()
        if person.mail == f"mailto:{quote(person.name, safe='@')}":  # each field has the half of it
            return (Contact(others[:NAME_LIMIT], person.mail),)
    return (Contact(others[:NAME_LIMIT], ""), *persons.values())


def _without(persons: Iterable[str], text: str) -> str:
    """Return a list of names, between commas, without those that are persons, in any case."""
    # uv writes each name into both fields, and a name may have commas
    names = {_parts(name.casefold()) for name in persons}
    sizes = sorted({len(name) for name in names}, reverse=True)
    parts = _parts(text)
    folded = _parts(text.casefold())
    others = list[str]()
    at = 0
    while at < len(parts):
        size = next((size for size in sizes if folded[at : at + size] in names), 0)
        if not size:
            others.append(parts[at])
        at += size or 1
    return ", ".join(filter(None, others))


def _parts(names: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in names.split(","))


def _addresses(text: str) -> Iterator[tuple[str, str]]:
    """
    Yield name and address of each part of a list such as `Ann <ann@x.example>, bob@x.example`.

    `email.utils` is not used: it recurses into nested comments.
    """
    name = ""
    mail = ""
    for part in (*_ADDRESS_TOKENS.findall(text), ","):
        if part == ",":
            yield (name.strip(), mail) if mail else ("", name.strip())
            name = ""
            mail = ""
        elif part.startswith("<"):
            mail = part.strip("<> ")
        else:
            name += part.strip('"') if part.startswith('"') else part


def decode_words(text: str) -> str:
    """Return `text` with its encoded words (RFC 2047) decoded, except for broken ones."""
    return _ENCODED_WORDS.sub(_decode_run, text) if "=?" in text else text


def decode_addresses(text: str) -> str:
    """
    Return a list of names and addresses with its encoded words decoded, except for broken ones.

    A name is in quotes if it has a character that would end it (RFC 5322, 3.2.4).
    """
    return _QUOTED_OR_ENCODED.sub(_decode_name, text) if "=?" in text else text


def _decode_name(name: re.Match[str]) -> str:
    inner = name[0].strip('"')
    decoded = decode_words(inner)
    is_quoted = name[0].startswith('"')
    if not is_quoted and (decoded == inner or not _SPECIAL.search(decoded)):
        return decoded
    return name[0] if decoded == inner else '"' + _ESCAPED.sub(r"\\\g<0>", decoded) + '"'


def _decode_run(run: re.Match[str]) -> str:
    """Return what is in a row of encoded words, of which two may share the bytes of a letter."""
    words = [word for text in run[0].split() if (word := _ENCODED_WORD.fullmatch(text))]
    if len(words) < len(run[0].split()):
        return run[0]
    try:
        parts = [
            b"".join(map(_decode_bytes, group)).decode(charset)
            for charset, group in groupby(words, key=lambda word: word[1].lower())
        ]
    except (ValueError, LookupError):
        return run[0]
    return _CONTROL.sub(" ", "".join(parts))


def _decode_bytes(word: re.Match[str]) -> bytes:
    """
    Return the bytes in an encoded word.

    Raises ValueError if they are no Base64.
    """
    content = word[3].encode()
    if word[2] in "bB":
        return b64decode(content + b"=" * (-len(content) % 4), validate=True)
    return a2b_qp(content, header=True)
