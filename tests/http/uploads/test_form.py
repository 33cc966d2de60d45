"""Upload forms, whole, cut and hostile."""

from collections.abc import Iterable
from hashlib import blake2b, md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.forms import (
    BOUNDARY,
    DATA,
    FILENAME,
    GOOD,
    SHA256,
    chunks_of,
    code_of,
    fields,
    file,
    form,
    part,
    read,
    text,
    upload,
)
from wheelyard.errors import Invalid, WheelyardError
from wheelyard.http.upload_form import EPILOGUE_LIMIT_BYTES, MAX_PART_HEADERS
from wheelyard.http.upload_handler import parse_boundary

BLAKE2 = blake2b(DATA, digest_size=32).hexdigest()
MD5 = md5(DATA, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("size", [1, 2, 7, 64, 1 << 20])
def test_form_is_read_in_any_chunks(size: int) -> None:
    """A good form gives its file and its claims, however it was cut into chunks."""
    arrival = upload(chunks_of(GOOD, size))

    assert arrival.distribution.filename == FILENAME
    assert (arrival.size, arrival.sha256) == (len(DATA), SHA256)
    assert (arrival.form_name, arrival.form_version) == ("demo", "1.0")


ACCEPTED = {
    "nothing but a file, as curl sends it": form(file("package")),
    "an empty filetype": form(*fields(filetype=""), file()),
    "an upper-case digest": form(*fields(sha256_digest=SHA256.upper()), file()),
    "an unknown field": form(*fields(), text("foo", "bar"), file()),
    "a signature": form(*fields(), file(), file("gpg_signature", f"{FILENAME}.asc", b"sig")),
    "a signature that calls itself a wheel": form(file("gpg_signature"), file()),
    "attestations behind the file": form(file(), text("attestations", "[]")),
    "many fields": form(*[text("classifiers")] * 1500, file()),
    "newlines in the description": form(text("description", "a\r\n\tb\x85\u202e"), file()),
    "UNKNOWN as the name and the filetype": form(
        *fields(name="UNKNOWN", filetype="UNKNOWN"), file()
    ),
    "a second line end": form(file(), end=b"\r\n\r\n"),
    "a transfer encoding that changes nothing": form(
        part(f'name="content"; filename="{FILENAME}"', DATA, "Content-Transfer-Encoding: Binary")
    ),
    "one filename in two spellings": form(
        part(f"name=content; filename={FILENAME}; filename*=utf-8'en'{FILENAME}")
    ),
    "a Windows path": form(file(filename=f"C:\\dist\\{FILENAME}")),
    "a path": form(file(filename=f"../../{FILENAME}")),
    "a content type of the file": form(
        part(f'name="content"; filename="{FILENAME}"', DATA, "Content-Type: image/png")
    ),
    "an extended filename alone": form(part(f"name=content; filename*=UTF-8''%64{FILENAME[1:]}")),
    "headers in any case, with blanks": form(
        part(f'name="content"; FileName="{FILENAME}" ;', DATA).replace(
            b"Content-Disposition: form-data", b"content-disposition:Form-Data "
        )
    ),
    "fields behind the file": form(file(), *fields()),
    "a line end first, as distutils sends": b"\r\n" + form(*fields(), file()),
    "BLAKE2b of full length, as distutils sends": form(
        text("blake2_256_digest", blake2b(DATA).hexdigest()), file()
    ),
}


@pytest.mark.parametrize("body", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_forms_of_real_clients_are_taken(body: bytes) -> None:
    """An odd form that real clients send is taken, whole or in small chunks."""
    assert upload(body).distribution.filename == FILENAME
    assert upload(chunks_of(body, 3)).sha256 == SHA256


TWO_NAMES = part(f"name=content; filename={FILENAME}; filename*=UTF-8''b-1-py3-none-any.whl")
REFUSED = {
    "an action that no client of today has": (
        "invalid_action",
        form(text(":action", "list_classifiers"), file()),
    ),
    "another protocol version": ("invalid_field", form(text("protocol_version", "2"), file())),
    "an unknown filetype": ("invalid_field", form(text("filetype", "bdist_egg"), file())),
    "an sdist that is a wheel": ("invalid_filename", form(text("filetype", "sdist"), file())),
    "a wheel that is an sdist": (
        "invalid_filename",
        form(*fields(), file(filename="demo-1.0.tar.gz")),
    ),
    "a digest that is too short": ("invalid_field", form(text("sha256_digest", "0" * 63), file())),
    "a digest of other characters": (
        "invalid_field",
        form(text("blake2_256_digest", "g" * 64), file()),
    ),
    "no file": ("missing_field", form(*fields())),
    "a text in the place of the file": ("invalid_field", form(text("content"))),
    "an empty filename": ("invalid_filename", form(file(filename=""))),
    "an empty file": ("invalid_archive", form(file(data=b""))),
    "two files": ("duplicate_field", form(file(), file())),
    "two names": ("duplicate_field", form(text("name", "a"), text("name", "a"), file())),
    "a file in the place of the name": ("invalid_field", form(file("name"))),
    "attestations twice": (
        "duplicate_field",
        form(file(), text("attestations", "[1]"), text("attestations", "[]")),
    ),
    "attestations that are no JSON": ("invalid_field", form(file(), text("attestations", "[}"))),
    "attestations that are too long": (
        "invalid_field",
        form(file(), text("attestations", "[" + " " * (1 << 20) + "]")),
    ),
    "attestations that are too deep": (
        "invalid_field",
        form(file(), text("attestations", "[" * 100_000)),
    ),
    "a text that is no UTF-8": ("bad_encoding", form(text("author", b"\xff\xfe"), file())),
    "a text that ends within a character": ("bad_encoding", form(text("author", b"\xc3"), file())),
    "a filename that is no UTF-8": (
        "bad_encoding",
        form(part(b'name="content"; filename="\xff.whl"')),
    ),
    "an extended filename that is no UTF-8": (
        "bad_encoding",
        form(part(b"name=content; filename*=UTF-8''%ff.whl")),
    ),
    "a NUL in a text": ("invalid_field", form(text("author", "a\0b"), file())),
    "a line feed in the version": ("invalid_field", form(text("version", "1\n"), file())),
    "a change of the direction of writing in the summary": (
        "invalid_field",
        form(text("summary", "\u202ea"), file()),
    ),
    "another boundary": ("bad_multipart", GOOD.replace(BOUNDARY, b"frontiex")),
    "no last boundary": ("incomplete_body", b"".join([*fields(), file()])),
    "an empty body": ("incomplete_body", b""),
    "text behind the form": ("bad_multipart", form(file(), end=b"\r\nmore")),
    "endless line ends behind the form": (
        "bad_multipart",
        form(file(), end=b"\r\n" * EPILOGUE_LIMIT_BYTES),
    ),
    "a second form behind the form": ("bad_multipart", GOOD + GOOD),
    "text before the form": ("bad_multipart", b"hello\r\n" + GOOD),
    "two line ends before the form": ("bad_multipart", b"\r\n\r\n" + GOOD),
    "half a line end before the form": ("bad_multipart", b"\r" + GOOD),
    "bare line feeds": ("bad_multipart", GOOD.replace(b"\r\n", b"\n")),
    "a bare line feed in a header": (
        "bad_multipart",
        form(file(), file("x").replace(b"filename", b"\nfilename")),
    ),
    "a part without a disposition": (
        "bad_multipart",
        form(file(), text("a").replace(b"Content-Disposition", b"Content-Type")),
    ),
    "a part without a name": ("bad_multipart", form(file(), part('filename="x"'))),
    "a part with an empty name": ("bad_multipart", form(file(), text(""))),
    "a part that is an attachment": (
        "bad_multipart",
        form(file().replace(b"form-data", b"attachment")),
    ),
    "a header of a part that is too long": (
        "bad_multipart",
        form(part("name=a", b"", "X: " + "x" * (1 << 20)), file()),
    ),
    "far too many headers of a part": (
        "bad_multipart",
        form(part("name=a", b"", *map("X{}: y".format, range(9999)))),
    ),
    "one header of a part too many": (
        "bad_multipart",
        form(part("name=a", b"", *map("X{}: y".format, range(MAX_PART_HEADERS))), file()),
    ),
    "an unknown transfer encoding": (
        "bad_multipart",
        form(part(f'name="content"; filename="{FILENAME}"', b"", "Content-Transfer-Encoding: x")),
    ),
    "two filenames": ("bad_multipart", form(TWO_NAMES)),
    "a filename in pieces": (
        "bad_multipart",
        form(part(f'name=content; filename="{FILENAME}"; filename*0=b.whl; filename*1=c.whl')),
    ),
    "two names in two spellings": (
        "bad_multipart",
        form(part(f"name=content; name*=utf-8''gpg_signature; filename={FILENAME}")),
    ),
    "attestations with half a character": (
        "invalid_field",
        form(file(), text("attestations", '["\\ud800"]')),
    ),
    "a filename in Latin-1": (
        "bad_multipart",
        form(part("name=content; filename*=latin-1''a.whl")),
    ),
    "a parameter twice": ("bad_multipart", form(part("name=a; name=b"), file())),
    "the end of the form among headers": (
        "bad_multipart",
        file() + form(b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; name=a\r\n"),
    ),
    "a part that is shorter than it says": (
        "bad_multipart",
        form(part("name=a", b"xyz", "Content-Length: 4"), file()),
    ),
    "a header twice": ("bad_multipart", form(part("name=a", b"", "A: 1", "a: 2"), file())),
    "an open quote": ("bad_multipart", form(part('name="content; filename=a.whl'))),
    "only an egg": ("missing_field", form(file("package", "demo-1.0-py3.11.egg"))),
    "only a signature": ("missing_field", form(file("x", f"{FILENAME}.asc"))),
    "a name beyond all names": ("invalid_field", form(text("name", "a" * 1025), file())),
}


@pytest.mark.parametrize(("code", "body"), REFUSED.values(), ids=REFUSED.keys())
def test_wrong_form_is_refused_with_its_code(code: str, body: bytes) -> None:
    """A wrong form is refused with the code of its mistake."""
    assert code_of(body) == code


@pytest.mark.parametrize("row", [row for row, (_, body) in REFUSED.items() if len(body) < 1 << 16])
def test_chunks_decide_nothing(row: str) -> None:
    """A wrong form is refused with the same code if each chunk has one byte."""
    code, body = REFUSED[row]

    assert code_of(chunks_of(body, 1)) == code


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ((text("attestations", '[{"version": 1}]'),), '[{"version": 1}]'),
        ((text("attestations", ' {"version": 1}'),), ' {"version": 1}'),
        ((file("attestations", "x.json", b"[]"),), "[]"),
        ((file("attestations", FILENAME, b"[]"),), "[]"),
        ((text("attestations", "null"),), "null"),
        ((text("attestation", "[1]"), file("gpg_signature", f"{FILENAME}.asc", b"x")), ""),
        ((), ""),
    ],
)
def test_attestations_are_read(sent: tuple[bytes, ...], kept: str) -> None:
    """Attestations that come with a file are read, before the file or behind it."""
    for parts in ((*sent, file()), (file(), *sent)):
        assert upload(form(*parts)).attestations == kept


@pytest.mark.parametrize("action", ["submit", "verify", "doc_upload"])
def test_retired_action_is_told_apart(action: str) -> None:
    """An action of old clients that does not upload is told apart from nonsense."""
    assert read(form(text(":action", action), text("name", "demo"))) is None


@pytest.mark.parametrize("name", ["name", "version"])
@pytest.mark.parametrize("value", ["", " ", "UNKNOWN", None])
def test_absent_field_is_no_claim(name: str, value: str | None) -> None:
    """A name or version that is missing, or says nothing, is no claim."""
    arrival = upload(form(*fields(**{name: value}), file()))

    assert getattr(arrival, f"form_{name}") == ""


@pytest.mark.parametrize(
    ("digests", "code"),
    [
        ({"blake2_256_digest": blake2b(DATA).hexdigest()}, None),
        ({"sha256_digest": SHA256, "md5_digest": MD5, "blake2_256_digest": BLAKE2.upper()}, None),
        ({"sha256_digest": "", "md5_digest": "UNKNOWN"}, None),
        ({"sha256_digest": "0" * 64}, "digest_mismatch"),
        ({"sha256_digest": SHA256, "md5_digest": "0" * 32}, "digest_mismatch"),
        ({"md5_digest": "0" * 32}, "digest_mismatch"),
        ({"blake2_256_digest": "0" * 64}, "digest_mismatch"),
    ],
    ids=[
        *("a BLAKE2b of full length", "all right", "none", "a wrong SHA-256"),
        *("a right SHA-256, a wrong MD5", "a wrong MD5", "a wrong BLAKE2b"),
    ],
)
def test_each_sent_digest_is_compared(digests: dict[str, str], code: str | None) -> None:
    """Every digest that was sent is compared, wherever in the form it stands."""
    sent = [text(name, value) for name, value in digests.items()]

    for body in (form(*sent, file()), form(file(), *sent)):
        if code is None:
            assert upload(body).sha256 == SHA256
            continue
        with pytest.raises(Invalid) as caught:
            read(body)
        assert caught.value.code == code
        assert caught.value.fact.endswith("digest sent does not match the uploaded file.")


def test_truncated_form_is_refused() -> None:
    """A form that is cut anywhere is refused as incomplete."""
    for at in range(len(GOOD)):
        assert code_of(GOOD[:at]) == "incomplete_body"


def test_boundary_at_every_seam() -> None:
    """A boundary is found wherever two chunks meet."""
    for at in range(len(GOOD)):
        assert upload([GOOD[:at], GOOD[at:]]).sha256 == SHA256


@pytest.mark.parametrize(
    "data",
    [
        DATA + b"\r\n--" + BOUNDARY + b"x",
        b"--" + BOUNDARY + b"--\r\n",
        (b"\r\n--" + BOUNDARY + b"x") * 30_000,
    ],
    ids=["once", "the last, where headers end", "often"],
)
@pytest.mark.parametrize("size", [10, 1 << 18])
def test_boundary_inside_a_file_is_refused(data: bytes, size: int) -> None:
    """A line that begins like a boundary, and is none, is refused: readers disagree about it."""
    assert code_of(chunks_of(form(file(data=data)), size)) == "bad_multipart"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"application/json",
        b"application/x-www-form-urlencoded",
        b"multipart/mixed; boundary=b",
        b"text/plain\xff",
    ],
)
def test_another_media_type_is_no_form(content_type: bytes | None) -> None:
    """A body of another media type is no form at all."""
    assert parse_boundary(content_type) is None


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=abc", b"abc"),
        (b'Multipart/Form-Data;charset=latin-1; BOUNDARY="a b/c=d"', b"a b/c=d"),
        (b"multipart/form-data; boundary====12==", b"===12=="),
        (b"multipart/form-data; boundary=" + b"b" * 70, b"b" * 70),
    ],
)
def test_boundary_may_be_quoted(content_type: bytes, boundary: bytes) -> None:
    """A boundary comes bare or quoted, among other parameters."""
    assert parse_boundary(content_type) == boundary


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        b"; boundary=",
        b'; boundary=""',
        b"; boundary=" + b"b" * 71,
        b"; boundary=b; boundary=c",
        b'; boundary="a "',
        b'; boundary="\r\n"',
        b"; boundary=\xe9",
        b"; boundary=a b",
        b"; x",
    ],
)
def test_bad_boundary_is_refused(parameters: bytes) -> None:
    """A form without a boundary of the right kind is refused."""
    with pytest.raises(Invalid) as caught:
        parse_boundary(b"multipart/form-data" + parameters)

    assert caught.value.code == "bad_multipart"


@given(
    at=st.integers(0, len(GOOD)),
    removed=st.integers(0, 40),
    put=st.binary(max_size=8) | st.sampled_from([b"\r\n", b"--" + BOUNDARY, b'"', b";", b"\r"]),
    size=st.sampled_from([1, 5, 1 << 20]),
)
def test_damaged_form_means_the_same_in_any_chunks(
    at: int, removed: int, put: bytes, size: int
) -> None:
    """A damaged body is refused on purpose, or is a form; whichever, in any chunks."""
    body = GOOD[:at] + put + GOOD[at + removed :]

    def outcome(pieces: Iterable[bytes]) -> object:
        try:
            return read(pieces)
        except WheelyardError:
            return "refused"

    assert outcome(chunks_of(body, size)) == outcome([body])
