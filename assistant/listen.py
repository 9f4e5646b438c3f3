"""The sockets that the daemon, and the model service, listen on."""

import errno
import socket
from ipaddress import ip_address

from assistant.errors import AddressTaken

_OPTIONS = ("http", "serve")
"""Sections whose port can be given on the command line."""


def open_socket(host: str, port: int, section: str = "http", prefix: str = "") -> socket.socket:
    """A listening TCP socket. Raises `AddressTaken` with what to do, and in which section of the settings, when it
    cannot be had; `prefix` stands before `host` and `port` there."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as e:
        option = "--port or " if section in _OPTIONS else ""
        other = f"or set another with {option}[{section}] {prefix}port"
        if getattr(e, "errno", None) == errno.EADDRINUSE:
            say = f"Port {port} of {host} is taken by another program: stop that, {other}."
        elif getattr(e, "errno", None) == errno.EACCES:
            say = f"Port {port} of {host} is not for this user: run as one who may, {other}."
        else:
            say = f"{host}:{port} is no address of this machine ({e}): set [{section}] {prefix}host to 127.0.0.1."
        raise AddressTaken(say) from None


def is_here(host: str) -> bool:
    """Whether what listens on that name or address is reached from this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
