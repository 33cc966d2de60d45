"""Upload forms, whole, cut and hostile; the U numbers are those of the list of attacks."""

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
    "U01 nothing but a file, as curl sends it": form(file("package")),
    "U07 filetype empty": form(*fields(filetype=""), file()),
    "U15 upper-case digest": form(*fields(sha256_digest=SHA256.upper()), file()),
    "U25 unknown field": form(*fields(), text("foo", "bar"), file()),
    "U26 signature": form(*fields(), file(), file("gpg_signature", f"{FILENAME}.asc", b"sig")),
    "U26 signature that calls itself a wheel": form(file("gpg_signature"), file()),
    "U27 attestations behind the file": form(file(), text("attestations", "[]")),
    "U28 many fields": form(*[text("classifiers")] * 1500, file()),
    "U35 newlines in the description": form(text("description", "a\r\n\tb\x85\u202e"), file()),
    "U36 UNKNOWN": form(*fields(name="UNKNOWN", filetype="UNKNOWN"), file()),
    "U47 a second line end": form(file(), end=b"\r\n\r\n"),
    "U53 transfer encoding that changes nothing": form(
        part(f'name="content"; filename="{FILENAME}"', DATA, "Content-Transfer-Encoding: Binary")
    ),
    "U54 one filename in two spellings": form(
        part(f"name=content; filename={FILENAME}; filename*=utf-8'en'{FILENAME}")
    ),
    "U55 a Windows path": form(file(filename=f"C:\\dist\\{FILENAME}")),
    "U56 a path": form(file(filename=f"../../{FILENAME}")),
    "U69 content type": form(
        part(f'name="content"; filename="{FILENAME}"', DATA, "Content-Type: image/png")
    ),
    "extended filename alone": form(part(f"name=content; filename*=UTF-8''%64{FILENAME[1:]}")),
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
    """What real clients send is taken."""
    assert upload(body).distribution.filename == FILENAME
    assert upload(chunks_of(body, 3)).sha256 == SHA256


TWO_NAMES = part(f"name=content; filename={FILENAME}; filename*=UTF-8''b-1-py3-none-any.whl")
REFUSED = {
    "U02 list_classifiers": ("invalid_action", form(text(":action", "list_classifiers"), file())),
    "U03": ("invalid_field", form(text("protocol_version", "2"), file())),
    "U07": ("invalid_field", form(text("filetype", "bdist_egg"), file())),
    "U08": ("invalid_filename", form(text("filetype", "sdist"), file())),
    "U09": ("invalid_filename", form(*fields(), file(filename="demo-1.0.tar.gz"))),
    "U16 short": ("invalid_field", form(text("sha256_digest", "0" * 63), file())),
    "U16 no hex": ("invalid_field", form(text("blake2_256_digest", "g" * 64), file())),
    "U18": ("missing_field", form(*fields())),
    "U19": ("invalid_field", form(text("content"))),
    "U20": ("invalid_filename", form(file(filename=""))),
    "U21": ("invalid_archive", form(file(data=b""))),
    "U22 same name": ("duplicate_field", form(file(), file())),
    "U23 name": ("duplicate_field", form(text("name", "a"), text("name", "a"), file())),
    "U24": ("invalid_field", form(file("name"))),
    "U27 twice": (
        "duplicate_field",
        form(file(), text("attestations", "[1]"), text("attestations", "[]")),
    ),
    "U27 no JSON": ("invalid_field", form(file(), text("attestations", "[}"))),
    "U27 long": ("invalid_field", form(file(), text("attestations", "[" + " " * (1 << 20) + "]"))),
    "U27 deep": ("invalid_field", form(file(), text("attestations", "[" * 100_000))),
    "U31": ("bad_encoding", form(text("author", b"\xff\xfe"), file())),
    "U31 cut character": ("bad_encoding", form(text("author", b"\xc3"), file())),
    "U32": ("bad_encoding", form(part(b'name="content"; filename="\xff.whl"'))),
    "U32 extended": ("bad_encoding", form(part(b"name=content; filename*=UTF-8''%ff.whl"))),
    "U34": ("invalid_field", form(text("author", "a\0b"), file())),
    "U35 LF": ("invalid_field", form(text("version", "1\n"), file())),
    "U35 U+202E": ("invalid_field", form(text("summary", "\u202ea"), file())),
    "U41": ("bad_multipart", GOOD.replace(BOUNDARY, b"frontiex")),
    "U43": ("incomplete_body", b"".join([*fields(), file()])),
    "U43 empty body": ("incomplete_body", b""),
    "U47 epilogue": ("bad_multipart", form(file(), end=b"\r\nmore")),
    "U47 endless epilogue": ("bad_multipart", form(file(), end=b"\r\n" * EPILOGUE_LIMIT_BYTES)),
    "U48": ("bad_multipart", GOOD + GOOD),
    "U49 text": ("bad_multipart", b"hello\r\n" + GOOD),
    "U49 line ends": ("bad_multipart", b"\r\n\r\n" + GOOD),
    "U49 half a line end": ("bad_multipart", b"\r" + GOOD),
    "U50": ("bad_multipart", GOOD.replace(b"\r\n", b"\n")),
    "U50 in headers": (
        "bad_multipart",
        form(file(), file("x").replace(b"filename", b"\nfilename")),
    ),
    "U51 no disposition": (
        "bad_multipart",
        form(file(), text("a").replace(b"Content-Disposition", b"Content-Type")),
    ),
    "U51 no name": ("bad_multipart", form(file(), part('filename="x"'))),
    "U51 empty name": ("bad_multipart", form(file(), text(""))),
    "U51 attachment": ("bad_multipart", form(file().replace(b"form-data", b"attachment"))),
    "U52 long": ("bad_multipart", form(part("name=a", b"", "X: " + "x" * (1 << 20)), file())),
    "U52 many": ("bad_multipart", form(part("name=a", b"", *map("X{}: y".format, range(9999))))),
    "U52 one too many": (
        "bad_multipart",
        form(part("name=a", b"", *map("X{}: y".format, range(MAX_PART_HEADERS))), file()),
    ),
    "U53": (
        "bad_multipart",
        form(part(f'name="content"; filename="{FILENAME}"', b"", "Content-Transfer-Encoding: x")),
    ),
    "U54": ("bad_multipart", form(TWO_NAMES)),
    "U54 filename in pieces": (
        "bad_multipart",
        form(part(f'name=content; filename="{FILENAME}"; filename*0=b.whl; filename*1=c.whl')),
    ),
    "U54 name in another spelling": (
        "bad_multipart",
        form(part(f"name=content; name*=utf-8''gpg_signature; filename={FILENAME}")),
    ),
    "U27 half a character": ("invalid_field", form(file(), text("attestations", '["\\ud800"]'))),
    "U54 charset": ("bad_multipart", form(part("name=content; filename*=latin-1''a.whl"))),
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
    """A form that is wrong is refused as the client's mistake, and says which."""
    assert code_of(body) == code


@pytest.mark.parametrize("row", [row for row, (_, body) in REFUSED.items() if len(body) < 1 << 16])
def test_chunks_decide_nothing(row: str) -> None:
    """How a body is cut into chunks decides nothing."""
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
    """U27: attestations that came with a file are read, wherever in the form they stand."""
    for parts in ((*sent, file()), (file(), *sent)):
        assert upload(form(*parts)).attestations == kept


@pytest.mark.parametrize("action", ["submit", "verify", "doc_upload"])
def test_retired_action_is_told_apart(action: str) -> None:
    """U02: what old clients did besides uploading is told apart from nonsense."""
    assert read(form(text(":action", action), text("name", "demo"))) is None


@pytest.mark.parametrize("name", ["name", "version"])
@pytest.mark.parametrize("value", ["", " ", "UNKNOWN", None])
def test_absent_field_is_no_claim(name: str, value: str | None) -> None:
    """U04, U05: a field that is missing, or says nothing, is no claim."""
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
    ids=["right, and long", "right", "U12 none", "U13", "U14 right and wrong", "U14", "U17"],
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
    """U44: a form that was cut anywhere is none."""
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
    """U37, U38, U39: another media type is no form at all."""
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
    """U40, U42: a form without a boundary of the right kind is refused."""
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
