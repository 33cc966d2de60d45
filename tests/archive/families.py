"""Sdists that two programs unpack differently: one for each way to do it."""

import gzip

from tests.archive.builders import END_OF_TAR, pax, sdist_bytes, sdist_tar, tar_block, tar_file

TOP = b"demo-1.0/"
GNU = b"ustar  \0"
V7 = bytes(8)
MAGICS = {b"ustar\x0000": "ustar", GNU: "gnu", V7: "v7"}
CUT = TOP + b"d" * 90 + b"/"
"""A hundred bytes: what is left of a longer name in a header."""
NFC, NFD = "caf\u00e9".encode(), "cafe\u0301".encode()


def file(name: bytes, data: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    """Return a file in the folder of the sdist."""
    return tar_file(TOP + name, data, kind, **fields)


def folder(name: bytes) -> bytes:
    """Return a folder in that of the sdist."""
    return tar_block(TOP + name, kind=b"5")


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """Return the header of GNU tar for a long name; for the target of a link, `kind` is K."""
    return tar_file(b"././@LongLink", name + b"\0", kind)


def linked(name: bytes, target: bytes, kind: bytes = b"2") -> bytes:
    """Return a link; `kind` is 1 for a hard one."""
    return tar_block(TOP + name, kind=kind, target=target)


X, HIDDEN = file(b"x", b"one"), file(b"hidden", b"h")


def with_padding(header: bytes, padding: bytes) -> bytes:
    """Return an extension header of one block of data, with other bytes behind the data."""
    stop = 512 + int(header[124:135], 8)
    return header[:stop] + padding + header[stop + len(padding) :]


def path(name: bytes, **others: bytes) -> bytes:
    """Return a PAX header with a path."""
    return pax({b"path": TOP + name, **{key.encode(): value for key, value in others.items()}})


SLASHES = {
    f"slash-{spelling}-type-{kind.hex()}-{MAGICS[magic]}": sdist_bytes(
        extension, file(b"d/", HIDDEN, kind, magic=magic)
    )
    for kind in (b"\0", b"0")
    for magic in MAGICS
    for spelling, extension in {
        "raw-only-L": long_name(TOP + b"d"),
        "raw-only-pax": path(b"d"),
        "both-L": long_name(TOP + b"d/"),
        "alone": b"",
    }.items()
} | {
    f"slash-final-only-{spelling}-type-{kind.hex()}": sdist_bytes(
        extension, file(b"d", HIDDEN, kind)
    )
    for kind in (b"\0", b"0")
    for spelling, extension in {"L": long_name(TOP + b"d/"), "pax": path(b"d/")}.items()
}

EMPTY_SLASHES = {
    "slash-empty-raw-only-L": sdist_bytes(long_name(TOP + b"d"), tar_block(TOP + b"d/", 0, b"\0")),
    "slash-empty-raw-only-pax": sdist_bytes(path(b"d"), tar_block(TOP + b"d/", 0, b"\0")),
    "slash-empty-both-L": sdist_bytes(long_name(TOP + b"d/"), tar_block(TOP + b"d/", 0, b"\0")),
    "slash-empty-both-pax": sdist_bytes(path(b"d/"), tar_block(TOP + b"d/", 0, b"\0")),
    "slash-empty-behind-K": sdist_bytes(long_name(b"a", b"K"), tar_block(TOP + b"d/", 0, b"\0")),
    "slash-empty-raw-only-0": sdist_bytes(path(b"d"), tar_block(TOP + b"d/", 0, b"0")),
    "slash-empty-final-only": sdist_bytes(path(b"d/"), tar_block(TOP + b"d", 0, b"\0")),
    "slash-empty-0": sdist_bytes(tar_block(TOP + b"d/", 0, b"0")),
    "slash-empty-prefix": sdist_bytes(tar_block(b"", 0, b"\0", prefix=TOP + b"d")),
    "slash-dot": sdist_bytes(file(b"d/.", b"one")),
    "slash-symbolic-link": sdist_bytes(X, linked(b"l/", b"x")),
    "slash-hard-link": sdist_bytes(X, linked(b"l/", TOP + b"x", b"1")),
    "slash-target": sdist_bytes(X, linked(b"l", TOP + b"x/", b"1")),
    "slash-symbolic-target": sdist_bytes(X, linked(b"l", b"x/")),
}

TWICE = {
    "twice-other-bytes": sdist_bytes(X, file(b"x", b"two")),
    "twice-other-size": sdist_bytes(X, file(b"x", b"")),
    "twice-dot": sdist_bytes(X, file(b"./x", b"two")),
    "twice-slashes": sdist_bytes(X, file(b"/x", b"two")),
    "twice-long-name": sdist_bytes(X, long_name(TOP + b"x"), file(b"y", b"two")),
    "twice-pax": sdist_bytes(X, path(b"x"), file(b"y", b"two")),
    "twice-prefix": sdist_bytes(X, tar_file(b"x", b"two", prefix=b"demo-1.0")),
    "symbolic-link-then-file": sdist_bytes(X, linked(b"y", b"x"), file(b"y", b"two")),
    "symbolic-link-then-file-dangling": sdist_bytes(linked(b"y", b"x"), file(b"y", b"two")),
    "symbolic-link-then-same-bytes": sdist_bytes(X, linked(b"y", b"x"), file(b"y", b"one")),
    "hard-link-then-file": sdist_bytes(X, linked(b"y", TOP + b"x", b"1"), file(b"y", b"two")),
    "file-then-symbolic-link": sdist_bytes(X, file(b"y", b"two"), linked(b"y", b"x")),
    "file-then-hard-link": sdist_bytes(X, file(b"y", b"two"), linked(b"y", TOP + b"x", b"1")),
    "two-symbolic-links": sdist_bytes(X, file(b"z", b"z"), linked(b"y", b"x"), linked(b"y", b"z")),
    "two-hard-links": sdist_bytes(X, *[linked(b"y", TOP + b"x", b"1")] * 2),
    "hard-link-to-itself": sdist_bytes(X, linked(b"x", TOP + b"x", b"1")),
    "folder-then-file": sdist_bytes(folder(b"x/"), X),
    "file-then-folder": sdist_bytes(X, folder(b"x/")),
    "folder-then-link": sdist_bytes(folder(b"d/"), folder(b"l/"), linked(b"l", b"d")),
    "link-then-folder": sdist_bytes(folder(b"d/"), linked(b"l", b"d"), folder(b"l/")),
    "folder-below-link": sdist_bytes(folder(b"d/"), linked(b"l", b"d"), folder(b"l/e/")),
    "folder-below-file": sdist_bytes(X, folder(b"x/e/")),
    "normal-forms": sdist_bytes(file(NFC, b"one"), file(NFD, b"two")),
    "normal-forms-of-folders": sdist_bytes(file(NFC + b"/a", b"one"), file(NFD + b"/b", b"two")),
    "normal-forms-pax": sdist_bytes(path(NFC), file(b"a", b"one"), path(NFD), file(b"b", b"two")),
}

LINKS = {
    "hard-link-absolute": sdist_bytes(X, linked(b"l", b"/" + TOP + b"x", b"1")),
    "hard-link-up": sdist_bytes(X, linked(b"l", TOP + b"d/../x", b"1")),
    "hard-link-nul": sdist_bytes(
        X, pax({b"linkpath": TOP + b"x\0y"}), linked(b"l", TOP + b"x", b"1")
    ),
    "symbolic-link-nul": sdist_bytes(X, pax({b"linkpath": b"x\0y"}), linked(b"l", b"x")),
    "symbolic-link-long": sdist_bytes(X, long_name(b"d/" * 3000 + b"x", b"K"), linked(b"l", b"x")),
    "symbolic-link-long-part": sdist_bytes(X, long_name(b"x" * 256, b"K"), linked(b"l", b"x")),
    "link-decomposed": sdist_bytes(
        file(NFD, b"one", magic=GNU), pax({b"linkpath": NFD}), linked(b"l", b"x")
    ),
}

PAX = {
    "pax-in-padding": sdist_bytes(
        with_padding(pax({b"comment": b"a"}), b"19 path=demo-1.0/y\n"), X
    ),
    "long-name-in-padding": sdist_bytes(with_padding(tar_file(b"L", TOP + b"a", b"L"), b"bc"), X),
    "long-target-in-padding": sdist_bytes(
        X, with_padding(tar_file(b"K", TOP + b"x", b"K"), b"bc"), linked(b"l", TOP + b"x", b"1")
    ),
    "pax-empty-key": sdist_bytes(tar_file(b"p", b"5 =a\n19 path=demo-1.0/y\n", b"x"), X),
    "pax-nul-in-key": sdist_bytes(pax({b"path\0": TOP + b"y"}), X),
    **{
        f"pax-blank-before-{key}": sdist_bytes(X, pax({f"{blank}{key}".encode(): value}), HIDDEN)
        for key, value in {
            "path": TOP + b"x",
            "linkpath": b"../../x",
            "size": b"9",
            "GNU.sparse.name": TOP + b"x",
        }.items()
        for blank in (" ", "  ")
    },
    "pax-newline-in-key": sdist_bytes(pax({b"\npath": TOP + b"y"}), X),
    "pax-and-long-name": sdist_bytes(pax({b"size": b"3"}), long_name(TOP + b"y"), X),
    "long-name-and-pax": sdist_bytes(long_name(TOP + b"y"), pax({b"comment": b"a"}), X),
    "pax-twice": sdist_bytes(pax({b"path": TOP + b"y"}), pax({b"mtime": b"1"}), X),
    "pax-then-global": sdist_bytes(path(b"y"), pax({b"comment": b"c"}, b"g"), X),
    "pax-global-twice": sdist_bytes(*[pax({b"comment": b"c"}, b"g")] * 2, X),
    "pax-global-last": sdist_bytes(X, pax({b"comment": b"c"}, b"g")),
    "pax-global-size": sdist_bytes(pax({b"size": b"3"}, b"g"), X),
    "pax-solaris": sdist_bytes(tar_file(b"p", b"19 path=demo-1.0/y\n", b"X"), X),
    "pax-size-spelled": sdist_bytes(pax({b"size": b"03"}), X),
    "pax-size-empty": sdist_bytes(pax({b"size": b""}), X),
    "pax-path-empty": sdist_bytes(pax({b"path": b""}), X),
    "pax-holes": sdist_bytes(pax({b"SUN.holesdata": b" 0 0"}), X),
    "pax-real-size": sdist_bytes(pax({b"SCHILY.realsize": b"9"}), X),
    "pax-file-type": sdist_bytes(pax({b"SCHILY.filetype": b"directory"}), X),
    "pax-dump-folder": sdist_bytes(pax({b"GNU.dumpdir": b"Yx\0\0"}), X),
    "pax-sparse-name": sdist_bytes(pax({b"GNU.sparse.name": TOP + b"y"}), X),
    "pax-charset-in-comment": sdist_bytes(pax({b"comment": b"a\n9 hdrcharset=\xff\n"}), X),
    "pax-time-nan": sdist_bytes(pax({b"mtime": b"nan"}), X, HIDDEN),
    "pax-time-infinite": sdist_bytes(pax({b"mtime": b"1e400"}), X, HIDDEN),
    "pax-time-large": sdist_bytes(pax({b"mtime": b"9" * 19}), X, HIDDEN),
    "pax-time-long": sdist_bytes(pax({b"atime": b"1." + b"0" * 200}), X, HIDDEN),
    "pax-owner-long": sdist_bytes(pax({b"uid": b"0" * 200}), X, HIDDEN),
}

FIELDS = {
    "field-minus": sdist_bytes(file(b"x", b"one", uid=b"-\0\0\0\0\0\0\0"), HIDDEN),
    "field-negative-first": gzip.compress(
        tar_block(TOP, kind=b"5", uid=b"-000001\0") + sdist_tar() + END_OF_TAR
    ),
    "field-junk-first": gzip.compress(
        tar_block(TOP, kind=b"5", uid=b"01\0junk\0") + sdist_tar() + END_OF_TAR
    ),
    "field-time-large": sdist_bytes(file(b"x", b"one", mtime=b"\x80" + b"\x7f" * 11), HIDDEN),
    "field-blank-size": sdist_bytes(tar_block(TOP + b"x", size_field=b" " * 12), HIDDEN),
    "part-of-256": sdist_bytes(long_name(TOP + b"x" * 256), X, HIDDEN),
    "bidi-name": sdist_bytes(file("a\u202eyp.b".encode(), b"one")),
}

BEGINNINGS = {
    f"begins-as-{format_}-{kind.decode()}-{MAGICS[magic]}": gzip.compress(
        tar_file(signature, b"12 comment=a\n" if kind in b"gx" else TOP + b"y\0", kind, magic=magic)
        + sdist_tar(X)
        + END_OF_TAR
    )
    for format_, signature in {
        "gzip": b"\x1f\x8b\x08\x04\0\0\0\0\0\x03",
        "bzip2": b"BZh91AY&SY",
        "compress": b"\x1f\x9d\x90",
        "xz": b"\xfd7zXZ\0",
        "zstd": b"\x28\xb5\x2f\xfd",
        "lrzip": b"LRZI\0\x06",
        "uuencode": b"begin 644 a\n#0V%T\n",
        "cab": b"MSCF",
        "nothing": b"pax_header",
    }.items()
    for kind in (b"g", b"x", b"L")
    for magic in MAGICS
    if format_ not in {"cab", "nothing"} or magic == V7
}
"""The format that the first bytes are the signature of."""

DIFFERENT = SLASHES | EMPTY_SLASHES | TWICE | LINKS | PAX | FIELDS | BEGINNINGS

ALIKE = {
    "file-twice-alike": sdist_bytes(X, X, file(b"./x", b"one")),
    "large-file-twice-alike": sdist_bytes(*[file(b"x", bytes(range(256)) * 9000)] * 2),
    "folder-twice": sdist_bytes(*[folder(b"d/")] * 2, X),
    "folder-without-slash": sdist_bytes(folder(b"d"), X),
    "old-folder": sdist_bytes(tar_block(TOP + b"d/", kind=b"\0", magic=V7), X),
    "old-file": sdist_bytes(file(b"x", b"one", b"\0", magic=V7)),
    "old-prefix": sdist_bytes(tar_file(b"x", b"one", b"\0", prefix=b"demo-1.0")),
    "name-cut-behind-a-slash": sdist_bytes(path(CUT[len(TOP) :] + b"x"), tar_file(CUT, b"one")),
    "long-name-cut-behind-a-slash": sdist_bytes(
        long_name(CUT + b"x"), tar_file(CUT, b"one", magic=GNU)
    ),
    "name-in-ascii-cut-behind-a-slash": sdist_bytes(
        pax({b"path": TOP + b"d" * 80 + NFC + b"eeeeee/x"}),
        file(b"d" * 80 + b"caf?eeeeee/", b"one"),
    ),
    "composed": sdist_bytes(path(NFC), file(b"x", b"one")),
    "decomposed": sdist_bytes(path(NFD), file(b"x", b"one")),
    "right-to-left-letters": sdist_bytes(file("\u05d0\u0627".encode(), b"one")),
    "name-of-255": sdist_bytes(long_name(TOP + b"x" * 255), X),
    "links": sdist_bytes(
        X,
        file(b"d/y", b"two"),
        linked(b"l", b"x"),
        linked(b"m", b"d/"),
        linked(b"d/n", b"../x"),
        linked(b"h", TOP + b"x", b"1"),
        linked(b"i", TOP + b"h", b"1"),
        linked(b"j", b"./" + TOP + b"./x", b"1"),
    ),
    "long-link": sdist_bytes(
        long_name(TOP + b"d/" * 50 + b"x"),
        file(b"d", b"one"),
        long_name(TOP + b"d/" * 50 + b"x", b"K"),
        long_name(TOP + b"l" * 150),
        linked(b"l", TOP + b"d", b"1"),
    ),
    "pax-of-macos": sdist_bytes(
        pax(
            {
                b"mtime": b"1400000000.123456789",
                b"LIBARCHIVE.creationtime": b"1400000000",
                b"LIBARCHIVE.xattr.user.a": b"AQID",
                b"SCHILY.xattr.user.a": b"\1\xff\n",
                b"SCHILY.dev": b"16777220",
                b"SCHILY.ino": b"18446744073709551615",
                b"SCHILY.nlink": b"1",
                b"SCHILY.fflags": b"nodump",
                b"uid": b"4294967294",
                b"gname": b"staff",
                b"size": b"3",
            }
        ),
        X,
    ),
    "pax-unknown-vendor": sdist_bytes(pax({b"ACME.colour": b"red", b"comment": b"a=b"}), X),
    "pax-global-then-pax": sdist_bytes(pax({b"comment": b"c0ffee"}, b"g"), path(b"y"), X),
    "base-256-numbers": sdist_bytes(
        file(b"x", b"one", uid=b"\x80\0\0\0\x7f\xff\xff\xff", mtime=b"\xff" * 12)
    ),
}
