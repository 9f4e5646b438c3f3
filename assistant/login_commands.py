"""`assistant address`: where the page is, for this machine and, with the login token, for others."""

import socket
from typing import TYPE_CHECKING, Annotated

import typer

from assistant.options import ConfigFile, DataFolder, Host, Json, Port, print_json, settings

if TYPE_CHECKING:
    from assistant.sections import Http

_ELSEWHERE = ("192.0.2.1", 9)
"""An address of nobody (RFC 5737): towards it one sees by which of its addresses this machine is reached."""


def address(
    new: Annotated[bool, typer.Option("--new", help="Make a new token: whoever is logged in is so no more.")] = False,
    config: ConfigFile = None, data: DataFolder = None, host: Host = None, port: Port = None, as_json: Json = False,
) -> None:
    """Show the address of the page; for other machines with the token that logs a browser in.

    \b
    Example: assistant address
             assistant address --new      # a phone was lost
    """
    from assistant.errors import BadRequest
    from assistant.login_token import LoginToken

    found = settings(config, host, port, data)
    http = found.http
    if not http.needs_login and new:
        raise BadRequest("Only this machine reaches the assistant, and needs no token: set [http] host or names first.")
    if not http.port:
        raise BadRequest("[http] port is 0, which is any that is free: set one, or see the log for it.")
    token = LoginToken(found.data_dir).make(new) if http.needs_login else None
    addresses = [f"{url}{f'#token={token}' if token else ''}" for url in urls(http)]
    if as_json:
        print_json({"addresses": addresses, "token": token})
        return
    print("\n".join(addresses))
    if not token:
        print("For this machine alone: [http] host or names in config.toml let in others, by a token.")


def urls(http: "Http") -> list[str]:
    """By its names, and by the address that it listens on. Where it listens to this machine alone, a name is that of a
    proxy, which is taken to speak TLS."""
    from assistant.listen import is_here

    if is_here(http.host):
        return [f"https://{name}/" for name in http.names] or [_url(http.host, http.port)]
    own = _own_address(http.host)
    return [_url(name, http.port) for name in (*http.names, *([own] if own else []))]


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def _own_address(host: str) -> str | None:
    """That of this machine where it listens on all of them; None if there is no network."""
    if host not in ("0.0.0.0", "::", ""):
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:  # nothing is sent
        try:
            sock.connect(_ELSEWHERE)
        except OSError:
            return None
        return sock.getsockname()[0]
