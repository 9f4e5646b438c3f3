"""What macOS tells about microphones: which one is the default, whether it is muted, and whether we may use it.

PortAudio knows the default only as of when it started, and whoever lacks the permission hears zeros. Core Audio and
AVFoundation know better; they are asked through ctypes, and what they do not answer is not known. The names and
constants are those of AudioHardware.h and AVCaptureDevice.h in Apple's SDK.
"""

import ctypes
import sys
from functools import cache
from typing import Literal

_FRAMEWORKS = "/System/Library/Frameworks"
_SYSTEM = 1
"""kAudioObjectSystemObject."""


class _Address(ctypes.Structure):
    """AudioObjectPropertyAddress."""

    _fields_ = [("selector", ctypes.c_uint32), ("scope", ctypes.c_uint32), ("element", ctypes.c_uint32)]


@cache
def _library(path: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(path) if sys.platform == "darwin" else None
    except OSError:
        return None


def _property(of: int, selector: bytes, scope: bytes) -> int | None:
    """A property of 32 bits of an audio object; None where there is none."""
    library = _library(f"{_FRAMEWORKS}/CoreAudio.framework/CoreAudio")
    if not library:
        return None
    address = _Address(int.from_bytes(selector, "big"), int.from_bytes(scope, "big"), 0)
    value, size = ctypes.c_uint32(), ctypes.c_uint32(4)
    failed = library.AudioObjectGetPropertyData(
        ctypes.c_uint32(of), ctypes.byref(address), ctypes.c_uint32(0), None, ctypes.byref(size), ctypes.byref(value))
    return None if failed else value.value


def default_input() -> int | None:
    """A number for the system's default microphone: another one when that has changed, None where it is not known
    (other systems: PulseAudio and PipeWire move what listens to the default themselves)."""
    return _property(_SYSTEM, b"dIn ", b"glob")


def muted() -> bool:
    """Whether the default microphone is muted, as far as it tells."""
    device = default_input()
    return bool(device and _property(device, b"mute", b"inpt"))


def permission() -> Literal["not asked", "restricted", "denied", "granted"] | None:
    """Whether this process may use a microphone (AVAuthorizationStatus); None where that is not known."""
    objc = _library("/usr/lib/libobjc.dylib")
    if not objc or not _library(f"{_FRAMEWORKS}/AVFoundation.framework/AVFoundation"):
        return None
    for function in (objc.objc_getClass, objc.sel_registerName):
        function.restype, function.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    device = objc.objc_getClass(b"AVCaptureDevice")
    if not device:
        return None

    def send(restype, argtype, to: int | None, selector: bytes, argument):
        call = ctypes.CFUNCTYPE(restype, ctypes.c_void_p, ctypes.c_void_p, argtype)(("objc_msgSend", objc))
        return call(to, objc.sel_registerName(selector), argument)

    audio = send(ctypes.c_void_p, ctypes.c_char_p, objc.objc_getClass(b"NSString"), b"stringWithUTF8String:", b"soun")
    status = send(ctypes.c_long, ctypes.c_void_p, device, b"authorizationStatusForMediaType:", audio)
    return ("not asked", "restricted", "denied", "granted")[status] if 0 <= status <= 3 else None
