"""Opening a text file of a user: compression by its first bytes, encoding by its BOM or as it is named."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from online_rl.errors import DataError

_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_CUT = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
CP1252 = (
    "If Excel wrote it, set data.args={encoding: cp1252} (online-rl score: --encoding cp1252), or save it as UTF-8."
)


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a plain, gzip, bzip2 or xz file, whatever its name. A file that was cut short raises DataError."""
    try:
        with path.open("rb") as plain:
            head = plain.read(6)
        opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
        with path.open("rb") if opener is None else opener(path, "rb") as file:
            yield file
    except _CUT as error:
        raise DataError(
            f"{path.name}: the compressed file is cut short or damaged ({type(error).__name__}). Copy it again."
        ) from None


def decoder(path: Path, encoding: str | None) -> str:
    """The encoding of a text file: as told, else by its BOM, else UTF-8. Raises DataError for a name that is none."""
    import codecs

    with open_bytes(path) as file:
        head = file.read(3)
    by_bom = next((name for bom, name in _BOMS.items() if head.startswith(bom)), "utf-8")
    try:
        return codecs.lookup(encoding).name if encoding else by_bom
    except LookupError:
        raise DataError(f"encoding: found {encoding!r}, expected a name such as utf-8, cp1252 or utf-16.") from None


def text_lines(path: Path, encoding: str | None = None) -> Iterator[str]:
    """Lines with their ends, split at \\n alone, so that U+2028 in a report does no harm.

    Raises DataError with the line that is not in the encoding.
    """
    name = decoder(path, encoding)
    with open_bytes(path) as file:
        if name in ("utf-16", "utf-16-le", "utf-16-be"):  # \n is two bytes there
            yield from _decoded(path, file.read(), name).splitlines(keepends=True)
            return
        for number, line in enumerate(file, 1):
            try:
                yield line.decode(name if number == 1 or name != "utf-8-sig" else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path.name}:{number}: not {_spelt(name)} (byte {error.object[error.start]:#04x} of the "
                    f"line at {error.start}). {CP1252}"
                ) from None


def _decoded(path: Path, content: bytes, name: str) -> str:
    try:
        return content.decode(name)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: not {_spelt(name)} (byte {error.start}). {CP1252}") from None


def _spelt(name: str) -> str:
    return "UTF-8" if name.startswith("utf-8") else name
