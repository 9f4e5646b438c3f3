"""What the head of a GGUF file says of its model, read without loading it: which architecture it has.

    "GGUF" | version u32 | tensors u64 | pairs u64 | key, type u32, value | key, type u32, value | ...

All of it little-endian; a string is its length as u64 and its bytes, an array its type as u32, its length as u64 and
its members. (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)
"""

import struct
from pathlib import Path
from typing import BinaryIO

ARCHITECTURE = b"general.architecture"
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a number, by its type."""
_STRING, _ARRAY = 8, 9
_LONGEST = 1 << 26
"""Bytes or members: what claims to be longer is no string or array of a head."""


def architecture(file: Path) -> str:
    """Such as "llama" or "phi2". Raises ValueError with what is wrong if `file` has not the head of a GGUF file."""
    with file.open("rb") as f:
        if f.read(4) != b"GGUF":
            raise ValueError("it does not begin as a GGUF file does")
        _version, _tensors, pairs = struct.unpack("<IQQ", _read(f, 20))
        for _ in range(pairs):
            key, kind = _read(f, _length(f)), _type(f)
            if key == ARCHITECTURE and kind == _STRING:
                return _read(f, _length(f)).decode(errors="replace")
            _skip(f, kind)
    raise ValueError("its head names no architecture")


def _read(f: BinaryIO, count: int) -> bytes:
    got = f.read(count)
    if len(got) < count:
        raise ValueError("its head is cut off")
    return got


def _type(f: BinaryIO) -> int:
    return struct.unpack("<I", _read(f, 4))[0]


def _length(f: BinaryIO) -> int:
    length = struct.unpack("<Q", _read(f, 8))[0]
    if length > _LONGEST:
        raise ValueError("its head makes no sense")
    return length


def _skip(f: BinaryIO, kind: int, depth: int = 0) -> None:
    if kind == _STRING:
        _read(f, _length(f))
    elif kind == _ARRAY and depth < 4:
        member, count = _type(f), _length(f)
        if member in _SIZES:
            _read(f, count * _SIZES[member])
        else:
            for _ in range(count):
                _skip(f, member, depth + 1)
    elif kind in _SIZES:
        _read(f, _SIZES[kind])
    else:
        raise ValueError("its head makes no sense")
