"""The socket that the daemon, or the model service, listens on."""

import errno
import socket

from assistant.errors import AddressTaken


def open_socket(host: str, port: int, section: str = "http") -> socket.socket:
    """A listening TCP socket. Raises `AddressTaken` with what to do, and in which section of the settings, when it
    cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, UnicodeError) as e:
        other = f"or set another with --port or [{section}] port"
        if getattr(e, "errno", None) == errno.EADDRINUSE:
            say = f"Port {port} of {host} is taken by another program: stop that, {other}."
        elif getattr(e, "errno", None) == errno.EACCES:
            say = f"Port {port} of {host} is not for this user: run as one who may, {other}."
        else:
            say = f"{host}:{port} is no address of this machine ({e}): set [{section}] host to 127.0.0.1."
        raise AddressTaken(say) from None
