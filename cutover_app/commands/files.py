"""Records in files of lines: NDJSON of message values, or what `kcat -J` writes.

A line is an *envelope* when it is a JSON object with `topic` (text), `partition` and `offset` (integers of 0 or more)
and `payload` (text or null): what kcat writes for a record. Any other line is the *value* of a message, whatever is in
it, even if it is no JSON: then it is judged as the worker would judge such a record. The rule looks at one line alone.

A value has no position, key, headers or timestamp; it stands at its line number in a topic named like the file. Lines
of white space alone are no records, because many programs end a file with one; an empty value or a tombstone can be
said by an envelope. Skipped lines are counted.
"""

import codecs
import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated, Final

import msgspec

STANDARD_INPUT: Final = "-"

CHUNK_BYTES: Final = 2 * 1024 * 1024
"""Bytes of lines that are read at once."""

_NUMBER = Annotated[int, msgspec.Meta(ge=0)]
_PARTITION = Annotated[int, msgspec.Meta(ge=0, lt=100_000)]
"""Whatever is said for each partition would fill memory with more."""
_SIGNS: Final = (b'"payload"', b'"offset"', b'"partition"', b'"topic"')


class SourceRecord(msgspec.Struct, gc=False):
    """One record, in the form in which aiokafka would have returned it."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    timestamp_type: int | None
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class _Envelope(msgspec.Struct):
    """A line of `kcat -J`; what else it says is not needed."""

    topic: str
    partition: _PARTITION
    offset: _NUMBER
    payload: str | None
    key: str | None = None
    ts: int = -1
    tstype: str = "create"
    headers: list[str | None] | None = None


_decode = msgspec.json.Decoder(_Envelope).decode


def parse_line(line: bytes, name: str, number: int) -> SourceRecord:
    """Return the record of one line, the `number`th of the file `name`."""
    if all(sign in line for sign in _SIGNS):
        try:
            return _from_envelope(_decode(line))
        except (msgspec.DecodeError, UnicodeError):
            pass
    return SourceRecord(name, 0, number, None, None, None, line, ())


def _from_envelope(envelope: _Envelope) -> SourceRecord:
    names = envelope.headers or []
    headers = tuple((names[at] or "", _bytes(names[at + 1])) for at in range(0, len(names) - 1, 2))
    return SourceRecord(
        envelope.topic,
        envelope.partition,
        envelope.offset,
        envelope.ts if envelope.ts >= 0 else None,
        1 if envelope.tstype == "logappend" else 0,
        _bytes(envelope.key),
        _bytes(envelope.payload),
        headers,
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


@dataclass(slots=True)
class LineFile:
    """One side's file, read in chunks."""

    name: str
    lines: int = 0
    blank: int = 0

    def chunks(self) -> Iterator[list[SourceRecord]]:
        """Yield the records of the file, some megabytes of lines at a time."""
        with self._open() as stream:
            while lines := stream.readlines(CHUNK_BYTES):
                yield list(self._records(lines))

    def _records(self, lines: list[bytes]) -> Iterator[SourceRecord]:
        name = self.shown_name
        for line in lines:
            self.lines += 1
            content = line.rstrip(b"\r\n")
            if self.lines == 1:
                content = content.removeprefix(codecs.BOM_UTF8)  # an editor's mark, no part of a message
            if not content or content.isspace():
                self.blank += 1
                continue
            yield parse_line(content, name, self.lines)

    @property
    def shown_name(self) -> str:
        """Return what verdicts call the file."""
        return "standard input" if self.name == STANDARD_INPUT else Path(self.name).name

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        if self.name == STANDARD_INPUT:
            if sys.stdin is None:
                raise OSError(errno.EBADF, "closed", self.shown_name)
            yield sys.stdin.buffer
        else:
            with Path(self.name).open("rb") as stream:
                yield stream
