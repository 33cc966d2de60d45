"""Sdists that begin as a valid one, and in which a few things are then changed."""

import gzip

from hypothesis import strategies as st

from tests.archive.builders import PKG_INFO, pax, tar_block, tar_file
from tests.archive.families import GNU, NFC, NFD, TOP, V7, long_name

NAMES = (
    *(b"a", b"b", b"d", b"d/a", b"e/d/a", b"f", b"g", b"d/h", b"i/j", b"k", b"l", b"m/n", b"o"),
    *(b"PKG-INFO", NFC, NFD, b"n" * 120, b"d/" * 60 + b"a"),
)
ENDS = (b"", b"/", b"//", b"/.", b"/..", b" ", b"\\")
BEGINNINGS = (TOP, b"./" + TOP, TOP + b"./", TOP + b"/", b"/" + TOP, TOP + b"../" + TOP)
TARGETS = (b"a", b"b", b"d", b"d/", b"./a", b"../a", b"../../a", TOP + b"a", b"", b"a\0b", NFD)
CONTENTS = (b"", b"one", b"two", b"x" * 512, b"y" * 1000, tar_file(TOP + b"hidden", b"h"))
KINDS = tuple(bytes([kind]) for kind in b"\x000123457gxLKXSVDA")
MAGICS = (b"ustar\x0000", GNU, V7, b"ustar\x00  ", b"ustar 00", b"junkjunk")
NUMBERS = (
    *(b"0000644\0", b"       \0", b"        ", bytes(8), b"-0000001", b"+0000001", b"0644 \0ab"),
    *(b"\0junk\0\0\0", b"0x1F   \0", b"-\0\0\0\0\0\0\0", b"77777777", b"\x80\0\0\0\0\0\0\x01"),
    *(b"\xff" * 8, b"\x81" + b"\0" * 7, b"\xc0" + b"\0" * 7, b"8\0\0\0\0\0\0\0", b"1_0\0\0\0\0\0"),
)
FIELDS = {"mode": 100, "uid": 108, "gid": 116, "mtime": 136, "major": 329, "minor": 337}
SIZES = (
    *(b"00000000003\0", b"00000001000\0", b"          3 ", b"3\0\0\0\0\0\0\0\0\0\0\0", b" " * 12),
    *(bytes(12), b"-0000000001\0", b"\x80" + bytes(10) + b"\x03", b"\xff" * 12, b"777777777777"),
    *(b"3 0000000000", b"\x000000000003\0", b"0000000003_0"),
)
DECIDING = (
    (124, SIZES),
    (156, KINDS),
    (157, tuple(target.ljust(100, b"\0") for target in TARGETS)),
    (257, MAGICS),
    # where some formats have the beginning of a name, and GNU tar has times
    (345, (TOP[:-1], TOP, TOP + b"d", b"00000000000\0", b"\0a", b"/")),
)
"""Where fields of a header are, and what they may hold: size, type, target, magic, prefix."""
KEYS = (
    *("path", "linkpath", "size", "mtime", "atime", "uid", "uname", "comment", "hdrcharset", ""),
    *("GNU.sparse.name", "GNU.sparse.size", "GNU.sparse.map", "GNU.sparse", "GNU.dumpdir", "path "),
    *("SUN.holesdata", "SCHILY.realsize", "SCHILY.filetype", "SCHILY.xattr.user.a", "SCHILY.ino"),
    *("path\0", "\npath", "charset", "LIBARCHIVE.creationtime", "SCHILY.fflags", "Path", "x=y"),
    *("GNU.sparse.major", "GNU.sparse.realsize", "GNU.volume.label", "SCHILY.acl.access"),
)
VALUES = (
    *(
        TOP + b"a",
        TOP + b"d/",
        TOP + b"b",
        TOP + NFD,
        b"",
        b"0",
        b"3",
        b"03",
        b"512",
        b"-1",
        b"1.5",
    ),
    *(b"nan", b"1e400", b"9" * 30, b"1." + b"0" * 200, b"BINARY", b"ISO-IR 10646 2000 UTF-8"),
    *(b"a\n9 hdrcharset=BINARY\n", b"\xff", b" 0 1", b"0,1", b"a\0b", b"schg", b"directory"),
)


def name_of(draw: st.DrawFn) -> bytes:
    """Return a name, nearly always one below the folder of the sdist."""
    begin = draw(st.sampled_from(BEGINNINGS)) if draw(st.integers(0, 3)) == 0 else TOP
    end = draw(st.sampled_from(ENDS)) if draw(st.integers(0, 3)) == 0 else b""
    return begin + draw(st.sampled_from(NAMES)) + end


def extension(draw: st.DrawFn) -> bytes:
    """Return a long name, or a PAX header of one or two records."""
    kind = draw(st.sampled_from(b"LKxxxg"))
    if kind in b"LK":
        target = draw(st.sampled_from(TARGETS)) if kind == ord("K") else name_of(draw)
        return long_name(target, bytes([kind]))
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=2))
    return pax({key.encode(): value_for(draw, key) for key in keys}, bytes([kind]))


def value_for(draw: st.DrawFn, key: str) -> bytes:
    """Return a value for a PAX header, mostly one that makes sense there."""
    if key == "path" and draw(st.booleans()):
        return name_of(draw)
    if key == "linkpath" and draw(st.booleans()):
        return draw(st.sampled_from(TARGETS))
    return draw(st.sampled_from(VALUES))


def member(draw: st.DrawFn) -> list[bytes]:
    """Return a member as some program could have written it, after its long name if it has one."""
    name = TOP + draw(st.sampled_from(NAMES))
    magic = draw(st.sampled_from(MAGICS[:3]))
    kind = draw(st.sampled_from([b"0", b"0", b"0", b"\0", b"5", b"1", b"2"]))
    data = draw(st.sampled_from(CONTENTS)) if kind in b"0\0" else b""
    target = b"" if kind in b"0\x005" else draw(st.sampled_from(TARGETS))
    target = TOP + target if kind == b"1" else target
    if kind == b"5" or (kind == b"\0" and not data and draw(st.booleans())):
        name += b"/"
    before = [long_name(name)] if len(name) > 100 and magic == GNU else []
    if draw(st.integers(0, 2)) == 0 and magic != GNU:
        before = [pax({b"path": name})]
    return [*before, tar_file(name[:100], data, kind, magic=magic, target=target)]


def changed_number(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Put another number into a field of a header that means nothing for what is unpacked."""
    field = FIELDS[draw(st.sampled_from(sorted(FIELDS)))]
    number = draw(st.sampled_from(NUMBERS))
    parts[at] = put(
        parts[at], field, number + (number[-1:] * 4 if field == FIELDS["mtime"] else b"")
    )


def changed_field(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Put something else into a field of a header that decides what is unpacked."""
    place, values = draw(st.sampled_from(DECIDING))
    parts[at] = put(parts[at], place, draw(st.sampled_from(values)))


def changed_name(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Rename a member to a name of another member."""
    parts[at] = put(parts[at], 0, name_of(draw)[:100].ljust(100, b"\0"))


def changed_byte(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Put any byte anywhere into a header, the checksum included."""
    place = draw(st.integers(0, 511))
    value = draw(st.sampled_from(b"\0 /.0127-Lgx5\x7f\x80\xff"))
    parts[at] = put(parts[at], place, bytes([value]), repaired=draw(st.integers(0, 7)) > 0)


def changed_padding(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Put bytes behind the data of a member, or of a long name or PAX header."""
    size = int(parts[at][124:135].strip(b"\0 ") or b"0", 8) if parts[at][124:135].isdigit() else 0
    padding = draw(st.sampled_from([b"x", b"19 path=demo-1.0/y\n", b"9" * 20]))
    if 512 + size + len(padding) <= len(parts[at]):
        parts[at] = parts[at][: 512 + size] + padding + parts[at][512 + size + len(padding) :]


def repeated(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Put a member there once more, somewhere."""
    parts.insert(draw(st.integers(0, len(parts))), parts[at])


def retold(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Put a member there once more with other bytes, or as something else."""
    name = parts[at][:100]
    kind = draw(st.sampled_from([b"0", b"\0", b"1", b"2", b"5"]))
    data = draw(st.sampled_from(CONTENTS)) if kind in b"0\0" else b""
    target = draw(st.sampled_from(TARGETS))
    parts.insert(draw(st.integers(at, len(parts))), tar_file(name, data, kind, target=target))


def extended(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Put a long name or a PAX header before a member."""
    parts.insert(at, extension(draw))


def slashed(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Let a header say of a name that it is a folder's, and an extension that it is not."""
    name = TOP + draw(st.sampled_from(NAMES[:4]))
    slashes = draw(st.sampled_from([(b"/", b""), (b"", b"/"), (b"/", b"/")]))
    long = name + slashes[1]
    before = long_name(long) if draw(st.booleans()) else pax({b"path": long})
    kind, data = draw(st.sampled_from([b"0", b"\0"])), draw(st.sampled_from(CONTENTS))
    magic = draw(st.sampled_from(MAGICS))
    parts[at:at] = [before, tar_file(name + slashes[0], data, kind, magic=magic)]


def moved(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Put a member, or a header, somewhere else."""
    parts.insert(draw(st.integers(0, len(parts) - 1)), parts.pop(at))


def ended(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Put blocks of zeros, or a half one, before a member."""
    parts.insert(at, bytes(draw(st.sampled_from([512, 1024, 256]))))


def cut(draw: st.DrawFn, parts: list[bytes], at: int) -> None:
    """Take bytes away from the end of a member."""
    parts[at] = parts[at][: draw(st.integers(0, len(parts[at])))]


CHANGES = {
    change.__name__: change
    for change in (
        *(changed_number, changed_field, changed_name, changed_byte, changed_padding, repeated),
        *(retold, extended, slashed, moved, ended, cut),
    )
}
PACKED = {
    "whole": lambda tar: gzip.compress(tar, 1),
    "zeros behind": lambda tar: gzip.compress(tar, 1) + bytes(700),
    "junk behind": lambda tar: gzip.compress(tar, 1) + b"junk",
    "two members": lambda tar: gzip.compress(tar[:2048], 1) + gzip.compress(tar[2048:], 1),
    "a member of zeros": lambda tar: gzip.compress(tar, 1) + gzip.compress(bytes(1024), 1),
    "another archive": lambda tar: gzip.compress(tar, 1) + gzip.compress(CONTENTS[-1], 1),
    "a damaged member": lambda tar: gzip.compress(tar, 1) + gzip.compress(bytes(9), 1)[:-1],
}
ENDINGS = (bytes(512), b"", bytes(9 * 512), bytes(1024) + b"x", bytes(700))


def put(part: bytes, at: int, data: bytes, *, repaired: bool = True) -> bytes:
    """Return a header with other bytes at a place, and nearly always with its new checksum."""
    block = bytearray(part[:512].ljust(512, b"\0"))
    block[at : at + len(data)] = data
    block = block[:512]
    if repaired:
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + part[512:]


@st.composite
def cases(draw: st.DrawFn, what: str) -> bytes:
    """Return an sdist in which `what`, and perhaps another thing, was changed."""
    parts = [tar_block(TOP, kind=b"5"), tar_file(TOP + b"PKG-INFO", PKG_INFO)]
    parts.append(tar_file(TOP + b"a", b"one"))
    for _ in range(draw(st.integers(0, 3))):
        parts += member(draw)
    changes = [what] * (what in CHANGES) + draw(st.lists(st.sampled_from([*CHANGES]), max_size=1))
    for change in changes:
        CHANGES[change](draw, parts, draw(st.integers(0, len(parts) - 1)))
    tar = b"".join(parts) + draw(st.sampled_from([*[bytes(1024)] * 11, *ENDINGS]))
    return PACKED[what if what in PACKED else "whole"](tar)
