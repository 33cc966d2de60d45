"""The data of a ZIP file's members, inflated in pieces and held to what the headers claim."""

import os
import zlib
from collections.abc import Iterator

from wheelyard.archive.deadline import Deadline
from wheelyard.archive.faults import archive_bomb, invalid_archive
from wheelyard.archive.inflate import PIECE, RAW, Inflater
from wheelyard.archive.zip_structure import STORED, Member, ZipFile


def read_member(archive: ZipFile, member: Member, limit: int, deadline: Deadline) -> bytes:
    """
    Return the whole data of a small member.

    Args:
        archive: Whose structure has been accepted.
        member: One of its members.
        limit: The most bytes that it may have.
        deadline: Asked for every piece.

    Raises:
        Invalid: The member is larger (code `archive_bomb`), or is not what its header says (code
            `invalid_archive`).
    """
    if member.size > limit:
        raise archive_bomb(f"a member is larger than {limit} bytes", member.name)
    return b"".join(member_pieces(archive, member, deadline))


def member_pieces(archive: ZipFile, member: Member, deadline: Deadline) -> Iterator[bytes]:
    """
    Yield the data of a member in pieces of at most 1 MiB.

    Raises:
        Invalid: The data is longer or shorter than the header says, does not fill its place, or
            has another checksum (code `invalid_archive`).
    """
    source = _compressed_pieces(archive, member)
    pieces = source if member.method == STORED else _inflated_pieces(source, member)
    crc = size = 0
    for piece in pieces:
        deadline.check()
        crc = zlib.crc32(piece, crc)
        size += len(piece)
        if size > member.size:
            raise invalid_archive("a member is longer than its header says", member.name)
        yield piece
    if size != member.size or crc != member.crc:
        raise invalid_archive("a member is not what its header says", member.name)


def _compressed_pieces(archive: ZipFile, member: Member) -> Iterator[bytes]:
    at = archive.data_offsets[member.name]
    stop = at + member.compressed
    while at < stop:
        piece = os.pread(archive.descriptor, min(PIECE, stop - at), at)
        if not piece:
            raise invalid_archive("a member is cut off", member.name)
        at += len(piece)
        yield piece


def _inflated_pieces(source: Iterator[bytes], member: Member) -> Iterator[bytes]:
    inflater = Inflater(RAW)
    try:
        yield from inflater.pieces(source)
    except zlib.error as error:
        raise invalid_archive("a member cannot be inflated", member.name) from error
    if not inflater.ended or inflater.leftover or next(source, b""):
        raise invalid_archive("a member's data does not end where it should", member.name)
