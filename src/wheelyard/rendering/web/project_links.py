"""The people and the web addresses in core metadata: names with mail, and links with their kind."""

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from wheelyard.model.metadata import CoreMetadata

PEOPLE_LIMIT: Final = 2000
"""Characters of a field with people that are shown."""
TEXT_LIMIT: Final = 200
"""Characters of any other text that are shown."""

_MAIL: Final = re.compile(r"[^\s@<>\"(),:;]{1,64}@[A-Za-z0-9.-]{1,255}")
_ADDRESS_TOKENS: Final = re.compile(r'=\?[^?\s]*\?[bBqQ]\?[^?\s]*\?=|"[^"]*"|<[^>]*>|[^",<=]+|.')
_ENCODED_WORDS: Final = re.compile(r"=\?[!-~]+\?=(?:\s+=\?[!-~]+\?=)*")
_ENCODED_WORD: Final = re.compile(
    r"=\?(utf-?8|us-ascii|iso-8859-[0-9]{1,2}|windows-125[0-9]|koi8-[ru]|gb2312|gbk|gb18030|big5"
    r"|euc-jp|euc-kr|shift_jis|iso-2022-jp)(?:\*[a-z-]*)?\?([bq])\?([!->@-~]*)\?=",
    re.IGNORECASE,
)
"""Python knows more encodings, of which some are for other things than texts."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_LABEL_NOISE: Final = re.compile(r"[\W_]+")
_KINDS: Final = {
    "Home page": "homepage home website site",
    "Source code": "source sourcecode repository repo code github gitlab bitbucket vcs scm",
    "Documentation": "documentation docs doc manual guide",
    "Changes": "changelog changes whatsnew history news",
    "Release notes": "releasenotes releases",
    "Issues": "issues bugs issue tracker issuetracker bugtracker bugreports bug",
    "Download": "download",
    "Funding": "funding sponsor sponsors donate donation donations",
}
"""The kinds of links by their labels: those of the specification, and usual others."""
_KIND_BY_LABEL: Final = {label: kind for kind, labels in _KINDS.items() for label in labels.split()}
_KIND_BY_HOST: Final = {
    "github.com": "Source code",
    "gitlab.com": "Source code",
    "codeberg.org": "Source code",
    "bitbucket.org": "Source code",
    "readthedocs.io": "Documentation",
    "readthedocs.org": "Documentation",
}


class Person(NamedTuple):
    """A person or a team in core metadata."""

    name: str
    mail: str
    """The URL `mailto:...`; empty without a plausible address."""


class WebLink(NamedTuple):
    """A URL in core metadata, of any scheme."""

    text: str
    kind: str
    """What it leads to, in words; empty if that is not known, or says no more than `text`."""
    host: str
    url: str


def people(names: str | None, mails: str | None) -> tuple[Person, ...]:
    """Return the people of the two fields for authors, or of those for maintainers."""
    return _people((names or "")[:PEOPLE_LIMIT], (mails or "")[:PEOPLE_LIMIT])


@lru_cache(1024)  # releases have them in common
def _people(names: str, mails: str) -> tuple[Person, ...]:
    found = dict[str, Person]()
    for encoded, mail in _addresses(mails):
        name = decode_words(encoded)
        if _MAIL.fullmatch(mail):
            shown = name.strip() or mail
            found.setdefault(shown, Person(shown[:TEXT_LIMIT], f"mailto:{quote(mail, safe='@')}"))
    text = decode_words(names if found else names or mails).strip()
    with_mail = {name.casefold() for name in found}
    if text and not {part.strip().casefold() for part in text.split(",")} <= with_mail:
        return (Person(text[:TEXT_LIMIT], ""), *found.values())
    return tuple(found.values())


def _addresses(text: str) -> Iterator[tuple[str, str]]:
    """
    Yield name and address of each part of a list such as `Ann <ann@x.example>, bob@x.example`.

    `email.utils` is not used: it recurses into nested comments.
    """
    name, mail = "", ""
    for part in (*_ADDRESS_TOKENS.findall(text), ","):
        if part == ",":
            yield (name.strip(), mail) if mail else ("", name.strip())
            name, mail = "", ""
        elif part.startswith("<"):
            mail = part.strip("<> ")
        else:
            name += part.strip('"') if part.startswith('"') else part


def decode_words(text: str) -> str:
    """Return `text` with its encoded words (RFC 2047) decoded, except for broken ones."""
    return _ENCODED_WORDS.sub(_decode_run, text) if "=?" in text else text


def _decode_run(run: re.Match[str]) -> str:
    """Return what is in a row of encoded words; a letter may have its bytes in two of them."""
    words = [word for each in run[0].split() if (word := _ENCODED_WORD.fullmatch(each))]
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
    """Return the bytes in an encoded word; raise ValueError if they are no Base64."""
    content = word[3].encode()
    if word[2] in "bB":
        return b64decode(content + b"=" * (-len(content) % 4), validate=True)
    return a2b_qp(content, header=True)


def project_links(core: CoreMetadata) -> Iterator[WebLink]:
    """Yield the project URLs of a release, each URL once, and then the two older fields."""
    older = (("Home page", core.home_page), ("Download", core.download_url))
    seen = set[str]()
    for label, url in (*core.project_urls, *older):
        if url and url not in seen:
            seen.add(url)
            yield _link(label[:TEXT_LIMIT], url)


def _link(label: str, url: str) -> WebLink:
    try:
        host = (urlsplit(url).hostname or "").removeprefix("www.")
    except ValueError:
        host = ""
    kind = _KIND_BY_LABEL.get(_letters(label), "")
    kind = kind or _KIND_BY_HOST.get(".".join(host.split(".")[-2:]), "")
    text = label or kind or host or url[:TEXT_LIMIT]
    is_said = _letters(kind).startswith(_letters(text))  # "Source" of "Source code"
    return WebLink(text, "" if is_said else kind, host, url)


def _letters(text: str) -> str:
    return _LABEL_NOISE.sub("", text).casefold()
