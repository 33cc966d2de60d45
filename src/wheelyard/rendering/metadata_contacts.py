"""The people that core metadata name, with their addresses, also in encoded words (RFC 2047)."""

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import Container, Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple
from urllib.parse import quote

PEOPLE_LIMIT: Final = 2000
"""Characters of a field with people that are shown."""
NAME_LIMIT: Final = 200
"""Characters of a name that are shown."""

_PLAUSIBLE_ADDRESS: Final = re.compile(r"[^\s@<>\"(),:;]{1,64}@[A-Za-z0-9.-]{1,255}")
_ADDRESS_TOKENS: Final = re.compile(r'=\?[^?\s]*\?[bBqQ]\?[^?\s]*\?=|"[^"]*"|<[^>]*>|[^",<=]+|.')
_ENCODED_WORDS: Final = re.compile(r"=\?[!-~]+\?=(?:\s+=\?[!-~]+\?=)*")
_QUOTED_OR_ENCODED: Final = re.compile(rf'"[^"]*"|{_ENCODED_WORDS.pattern}')
_SPECIAL_CHARACTER: Final = re.compile(r'[()<>\[\]:;@\\,"]')
"""A character that ends a name without quotes, or begins another part of the field."""
_ESCAPED_IN_QUOTES: Final = re.compile(r'[\\"]')
_ENCODED_WORD: Final = re.compile(
    r"=\?(utf-?8|us-ascii|iso-8859-[0-9]{1,2}|windows-125[0-9]|koi8-[ru]|gb2312|gbk|gb18030|big5"
    r"|euc-jp|euc-kr|shift_jis|iso-2022-jp)(?:\*[a-z-]*)?\?([bq])\?([!->@-~]*)\?=",
    re.IGNORECASE,
)
"""An encoded word. Python has more encodings, but some of these are not for texts."""
_CONTROL_CHARACTERS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Contact(NamedTuple):
    """A person or a team in core metadata."""

    name: str
    mail: str
    """The URL `mailto:...`, or an empty text without a plausible address."""


def people(names: str | None, mails: str | None) -> tuple[Contact, ...]:
    """
    Return the people that a field of names and a field of addresses have together.

    The fields are those for authors, or those for maintainers. None stands for a missing field.
    """
    shown_names = (names or "")[:PEOPLE_LIMIT]
    shown_mails = (mails or "")[:PEOPLE_LIMIT]
    return _people_of_fields(shown_names, shown_mails)


@lru_cache(1024)  # many releases have the same people
def _people_of_fields(names: str, mails: str) -> tuple[Contact, ...]:
    """
    Return the people of both fields, each person once.

    Names without an address are one contact, which comes first.
    """
    contacts = _contacts_with_address(mails)
    name_list = names
    if not contacts:
        # the field for mails may have names alone
        name_list = names or mails
    remaining_names = _remove_names(contacts, decode_words(name_list).strip())
    if not remaining_names:
        return tuple(contacts.values())
    name = remaining_names[:NAME_LIMIT]
    if len(contacts) == 1 and "," not in remaining_names:
        (contact,) = contacts.values()
        if contact.mail == _mail_url(contact.name):
            # one field has the name of a person alone, and the other one the address alone
            return (Contact(name, contact.mail),)
    return (Contact(name, ""), *contacts.values())


def _contacts_with_address(mails: str) -> dict[str, Contact]:
    """Return the people that a field names with a plausible address, by their whole names."""
    contacts: dict[str, Contact] = {}
    for encoded_name, mail in _parse_addresses(mails):
        # a stranger wrote the field: what is no plausible address would be a link to nowhere
        if _PLAUSIBLE_ADDRESS.fullmatch(mail):
            name = decode_words(encoded_name).strip() or mail
            contacts.setdefault(name, Contact(name[:NAME_LIMIT], _mail_url(mail)))
    return contacts


def _mail_url(address: str) -> str:
    """Return the URL that writes to an address."""
    return f"mailto:{quote(address, safe='@')}"


def _remove_names(known_names: Iterable[str], name_list: str) -> str:
    """
    Return a list of names, with commas between them, without the known names.

    Upper and lower case are equal. uv writes each name into both fields.
    """
    # a name may have commas: then it is several parts of the list
    known_parts = {_split_at_commas(name.casefold()) for name in known_names}
    # the longest name first, as a shorter one may be its beginning
    sizes = sorted({len(parts) for parts in known_parts}, reverse=True)
    parts = _split_at_commas(name_list)
    folded_parts = _split_at_commas(name_list.casefold())
    remaining: list[str] = []
    start = 0
    while start < len(parts):
        size = _size_of_name(folded_parts[start:], known_parts, sizes)
        if size:
            start += size
            continue
        if parts[start]:
            remaining.append(parts[start])
        start += 1
    return ", ".join(remaining)


def _size_of_name(
    parts: tuple[str, ...], known_parts: Container[tuple[str, ...]], sizes: Iterable[int]
) -> int:
    """Return how many of the first parts are a known name, or 0 if they begin with none."""
    for size in sizes:
        if parts[:size] in known_parts:
            return size
    return 0


def _split_at_commas(names: str) -> tuple[str, ...]:
    """Return the parts of a text between its commas, without the blanks around each part."""
    return tuple(name.strip() for name in names.split(","))


def _parse_addresses(text: str) -> Iterator[tuple[str, str]]:
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
                # an entry without brackets is an address or a name, which the caller tells apart
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
    return _ENCODED_WORDS.sub(_decode_matched_words, text)


def decode_addresses(text: str) -> str:
    """
    Return a list of names and addresses with its encoded words decoded, except for broken ones.

    A name is in quotes if it has a character that would end it (RFC 5322, 3.2.4).
    """
    if "=?" not in text:
        return text
    return _QUOTED_OR_ENCODED.sub(_decode_matched_name, text)


def _decode_matched_name(match: re.Match[str]) -> str:
    """
    Return the decoded name of a match of `_QUOTED_OR_ENCODED`.

    The name is in quotes if it was so, or if it has a character that would end the name. Without
    an encoded word that can be decoded, the matched text is returned as it is.
    """
    encoded_name = match[0].strip('"')
    decoded = decode_words(encoded_name)
    if decoded == encoded_name:
        return match[0]
    is_quoted = match[0].startswith('"')
    if not is_quoted and not _SPECIAL_CHARACTER.search(decoded):
        return decoded
    escaped_name = _ESCAPED_IN_QUOTES.sub(r"\\\g<0>", decoded)
    return f'"{escaped_name}"'


def _decode_matched_words(match: re.Match[str]) -> str:
    """
    Return the decoded text of a match of `_ENCODED_WORDS`, which are words in a row.

    If one of them is broken, the matched text is returned as it is.
    """
    words: list[re.Match[str]] = []
    for text in match[0].split():
        word = _ENCODED_WORD.fullmatch(text)
        if word is None:
            return match[0]
        words.append(word)
    decoded = ""
    try:
        # some mailers break a text between two bytes of one letter, so bytes are joined first
        for charset, words_of_charset in groupby(words, key=_charset_of_word):
            content = b"".join(map(_decode_bytes, words_of_charset))
            decoded += content.decode(charset)
    except (ValueError, LookupError):  # a stranger wrote it: no Base64, or not of its charset
        return match[0]
    # a decoded text may hold line feeds, which would begin another header in a mail
    return _CONTROL_CHARACTERS.sub(" ", decoded)


def _charset_of_word(word: re.Match[str]) -> str:
    """Return the charset of a match of `_ENCODED_WORD` in lower case."""
    return word[1].lower()


def _decode_bytes(word: re.Match[str]) -> bytes:
    """
    Return the bytes that a match of `_ENCODED_WORD` encodes.

    Raises ValueError if the word says that it is Base64, and is not.
    """
    content = word[3].encode()
    if word[2] in "bB":
        # some programs leave out the padding up to a multiple of 4 characters
        padding = b"=" * (-len(content) % 4)
        return b64decode(content + padding, validate=True)
    return a2b_qp(content, header=True)
