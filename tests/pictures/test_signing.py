"""Paths of pictures: of the URLs that a page has shown, and of no others."""

from hypothesis import given
from hypothesis import strategies as st

from wheelyard.pictures.signing import PICTURES, PicturePaths

PATHS = PicturePaths(b"k" * 32, "/python")
TEXTS = st.text(st.characters(exclude_categories=[]), max_size=80)


def parts(path: str) -> tuple[str, str]:
    """Return signature and address of a path."""
    signature, _, address = path.removeprefix(f"/python{PICTURES}").partition("/")
    return signature, address


@given(TEXTS)
def test_a_path_leads_back_to_its_url(url: str) -> None:
    """A path has the URL in it, in characters that need no quoting."""
    path = PATHS.path_of(url)
    assert path.startswith("/python/-/pictures/")
    assert path.isascii()
    assert not set(path) & set("\"'<>&?#%+= ")
    assert PATHS.url_of(*parts(path)) == url


@given(TEXTS, TEXTS)
def test_a_signature_is_for_one_url(one: str, other: str) -> None:
    """The signature of another URL, or with another key, opens nothing."""
    (signature, address), (_, other_address) = map(parts, map(PATHS.path_of, (one, other)))
    assert (PATHS.url_of(signature, other_address) is None) == (one != other)
    assert PicturePaths(b"x" * 32, "/python").url_of(signature, address) is None


@given(TEXTS, TEXTS)
def test_any_path_is_answered(signature: str, address: str) -> None:
    """Whatever a client writes there is no URL."""
    assert PATHS.url_of(signature, address) is None


def test_one_url_has_one_path() -> None:
    """Another spelling of the same address is none, so that nobody fills the memory with them."""
    signature, address = parts(PATHS.path_of("https://a.example/x"))
    assert PATHS.url_of(signature, address) is not None
    for other in (f"{address}=", f"{address}==", f"{address}\n", f" {address}", f"{address}A"):
        assert PATHS.url_of(signature, other) is None
    assert PATHS.url_of(signature.upper(), address) is None or signature.isdigit()
    assert "kkkk" not in repr(PATHS)
