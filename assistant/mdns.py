"""The assistant found by other machines of the network without typing an address: DNS-SD over multicast DNS (RFC 6763,
RFC 6762), which is also called zeroconf and Bonjour.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from ipaddress import ip_address

log = logging.getLogger(__name__)

WYOMING = "_wyoming._tcp.local."
"""The service type that Home Assistant looks for (homeassistant/components/wyoming/manifest.json)."""
_LABEL = 63
"""Bytes of a part of a name at most."""


@asynccontextmanager
async def advertised(service: str, port: int, host: str, on: Sequence[str] | None = None) -> AsyncIterator[None]:
    """The network is told of a service on `port`, and on leaving that it is gone.

    `host` is what it listens on, of which the addresses are told, or all of this machine for `0.0.0.0` and `::`; `on`
    are addresses of the interfaces to tell it on, all of them unless given. That it cannot be told is said in the log
    alone: the address can still be typed.
    """
    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(_advertise(service, port, host, on), name=f"mdns {service}")
        try:
            yield
        finally:
            telling.cancel()


async def _advertise(service: str, port: int, host: str, on: Sequence[str] | None) -> None:
    instead = f"type this machine's address and port {port} where it is wanted"
    if find_spec("zeroconf") is None:
        log.warning("it is not found by itself, as zeroconf is not installed: pip install it, or %s", instead)
        return
    from zeroconf import Error, InterfaceChoice
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    name = instance()
    try:
        told = await asyncio.to_thread(addresses, host)
        info = AsyncServiceInfo(
            service, f"{name}.{service}", port=port, parsed_addresses=told, server=f"{name}.local.")
        async with AsyncZeroconf(interfaces=list(on) if on else InterfaceChoice.All) as network:
            await (await network.async_register_service(info, allow_name_change=True))
            log.info("it is found as %s", info.name, extra={"addresses": ", ".join(told), "port": port})
            await asyncio.Event().wait()
    except (Error, OSError, ValueError) as e:
        log.warning("it is not found by itself (%s): %s", str(e) or type(e).__name__, instead)


def instance() -> str:
    """The same at every start, and another one on each machine: by it Home Assistant knows the assistant again."""
    machine = socket.gethostname().partition(".")[0]
    return f"reminder-assistant-{machine}".encode()[:_LABEL].decode(errors="ignore")


def addresses(host: str) -> list[str]:
    """Of this machine, those that a server on `host` can be reached at from others."""
    import ifaddr

    if host not in ("0.0.0.0", "::"):
        return sorted({str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    known = (ip for adapter in ifaddr.get_adapters() for ip in adapter.ips)
    found = [ip.ip if ip.is_IPv4 else ip.ip[0] for ip in known]
    return [ip for ip in found if not ((a := ip_address(ip)).is_loopback or a.is_link_local)
            and (host == "::" or a.version == 4)]
