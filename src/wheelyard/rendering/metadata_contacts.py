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
    persons: dict[str, Contact] = {}
    for encoded, mail in _addresses(mails):
        # a stranger wrote the field: what is no plausible address would be a link to nowhere
        if _MAIL.fullmatch(mail):
            name = decode_words(encoded).strip() or mail
            persons.setdefault(name, Contact(name[:NAME_LIMIT], _mail_url(mail)))
    text = names
    if not persons:
        # the field for mails may have names alone
        text = names or mails
    remaining = _without(persons, decode_words(text).strip())
    if not remaining:
        return tuple(persons.values())
    name = remaining[:NAME_LIMIT]
    if len(persons) == 1 and "," not in remaining:
        (person,) = persons.values()
        if person.mail == _mail_url(person.name):
            # one field has the name of a person alone, and the other one the address alone
            return (Contact(name, person.mail),)
    return (Contact(name, ""), *persons.values())


def _mail_url(address: str) -> str:
    return f"mailto:{quote(address, safe='@')}"


def _without(persons: Iterable[str], text: str) -> str:
    """Return a list of names, between commas, without those that are persons, in any case."""
    # uv writes each name into both fields, and a name may have commas: then it is several texts
    names = {_split(name.casefold()) for name in persons}
    sizes = sorted({len(name) for name in names}, reverse=True)
    texts = _split(text)
    folded = _split(text.casefold())
    remaining: list[str] = []
    start = 0
    while start < len(texts):
        # the longest name first, as a shorter one may be its beginning
        size = next((size for size in sizes if folded[start : start + size] in names), 0)
        if not size:
            remaining.append(texts[start])
        start += size or 1
    return ", ".join(filter(None, remaining))


def _split(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(","))


def _addresses(text: str) -> Iterator[tuple[str, str]]:
    """
    Yield name and address of each entry of a list such as `Ann <ann@x.example>, bob@x.example`.

    `email.utils` is not used: it recurses into nested comments.
    """
    name = ""
    mail = ""
    # a comma at the end, so that the last entry is yielded as the others are
    for piece in [*_ADDRESS_TOKENS.findall(text), ","]:
        if piece == ",":
            if mail:
                yield name.strip(), mail
            else:
                # without brackets it is an address or a name, which the caller tells apart
                yield "", name.strip()
            name = ""
            mail = ""
        elif piece.startswith("<"):
            mail = piece.strip("<> ")
        elif piece.startswith('"'):
            name += piece.strip('"')
        else:
            name += piece


def decode_words(text: str) -> str:
    """Return `text` with its encoded words (RFC 2047) decoded, except for broken ones."""
    if "=?" not in text:  # nearly all texts
        return text
    return _ENCODED_WORDS.sub(_decode_run, text)


def decode_addresses(text: str) -> str:
    """
    Return a list of names and addresses with its encoded words decoded, except for broken ones.

    A name is in quotes if it has a character that would end it (RFC 5322, 3.2.4).
    """
    if "=?" not in text:
        return text
    return _QUOTED_OR_ENCODED.sub(_decode_name, text)


def _decode_name(name: re.Match[str]) -> str:
    """Return a name in quotes, or encoded words, decoded and in quotes if that needs them."""
    inner = name[0].strip('"')
    decoded = decode_words(inner)
    if decoded == inner:
        return name[0]
    is_quoted = name[0].startswith('"')
    if not is_quoted and not _SPECIAL.search(decoded):
        return decoded
    return '"' + _ESCAPED.sub(r"\\\g<0>", decoded) + '"'


def _decode_run(run: re.Match[str]) -> str:
    """Return what is in a row of encoded words, of which two may share the bytes of a letter."""
    words: list[re.Match[str]] = []
    for text in run[0].split():
        word = _ENCODED_WORD.fullmatch(text)
        if word is None:
            return run[0]
        words.append(word)
    decoded = ""
    try:
        # some mailers break a text between two bytes of one letter, so bytes are joined first
        for charset, group in groupby(words, key=lambda word: word[1].lower()):
            decoded += b"".join(map(_decode_bytes, group)).decode(charset)
    except (ValueError, LookupError):  # a stranger wrote it: no Base64, or not of its charset
        return run[0]
    # what was encoded may hold line feeds, which would begin another header in a mail
    return _CONTROL.sub(" ", decoded)


def _decode_bytes(word: re.Match[str]) -> bytes:
    """
    Return the bytes in an encoded word.

    Raises ValueError if they are no Base64.
    """
    content = word[3].encode()
    if word[2] in "bB":
        padding = b"=" * (-len(content) % 4)  # which some programs leave out
        return b64decode(content + padding, validate=True)
    return a2b_qp(content, header=True)
