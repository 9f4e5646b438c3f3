"""The site that nginx serves: nginx.conf beside this file, with the values of one machine filled in."""

import re
from dataclasses import dataclass, fields
from pathlib import Path

from names import is_name

TEMPLATE = Path(__file__).with_name("nginx.conf")


@dataclass(frozen=True, slots=True)
class Site:
    """The values of nginx.conf, in nginx's own writing."""

    known: tuple[str, ...]
    """The names and addresses that the machine goes by; a request to any other is refused."""
    certificate: Path
    certificate_key: Path
    """PEM files, as nginx reads them."""
    upstream: str = "127.0.0.1:8000"
    """Where `assistant serve` listens."""
    answer: str = "15s"
    """How long it may take to answer."""
    patience: str = "10s"
    """How long a client may take for the head of a request, or between two reads or writes."""
    rate: str = "10r/s"
    burst: str = "40"
    connections: str = "20"
    """Of one address: requests in the long run, and at once beyond that, and connections."""
    http: str = "80"
    https: str = "443"
    """Ports."""
    acme: Path = Path("/var/lib/reminder-assistant-acme")
    """Where certbot leaves what Let's Encrypt asks for."""
    logs: Path = Path("/var/log/nginx")

    def render(self, ipv6: bool = True) -> str:
        """What nginx reads; `ipv6` is whether the machine has it at all. Raises ValueError for what is no name."""
        for name in self.known:
            if not is_name(name):
                raise ValueError(f"{name!r} is not the name or the address of a machine")
        values = {f.name: str(getattr(self, f.name)) for f in fields(self)}
        hosts = (f"[{name}]" if ":" in name else name for name in self.known)
        values["known"] = "\n".join(f'    "{host}" 1;' for host in hosts)
        values["https_suffix"] = "" if self.https == "443" else f":{self.https}"
        text = re.sub(r"\{\{(\w+)\}\}", lambda found: values[found[1]], TEMPLATE.read_text("utf-8"))
        return text if ipv6 else re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.M)
