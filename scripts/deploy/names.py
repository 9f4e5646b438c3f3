"""By which names and addresses others may reach this machine."""

import ipaddress
import re
import socket
import urllib.error
import urllib.request

METADATA = "http://169.254.169.254/latest"
"""Where a machine on EC2 asks about itself (IMDSv2:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html)."""


def is_name(text: str) -> bool:
    """Whether that can be the name of a machine, in small letters, or its address."""
    if re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", text):
        return True
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def names_of_this_machine(ask: bool = True) -> tuple[str, ...]:
    """Names and addresses, the best known first; `ask` whether the cloud may be asked, which knows what the machine
    itself cannot: its public address."""
    found = _of_the_cloud() if ask else []
    found += [_address(socket.AF_INET, "192.0.2.1"), _address(socket.AF_INET6, "2001:db8::1"), socket.getfqdn().lower()]
    return tuple(dict.fromkeys(name for name in found if name and _names_it(name)))


def _of_the_cloud() -> list[str]:
    """What EC2 says; nothing where that is not there."""
    try:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = _ask("PUT", "/api/token", headers)
        who = {"X-aws-ec2-metadata-token": token}
        return [_ask("GET", f"/meta-data/{fact}", who).lower() for fact in ("public-ipv4", "public-hostname")]
    except OSError:  # URLError and timeouts among them
        return []


def _ask(method: str, path: str, headers: dict[str, str]) -> str:
    request = urllib.request.Request(METADATA + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=1) as answer:
            return answer.read(1000).decode("ascii", "replace").strip()
    except urllib.error.HTTPError:  # such as no public name
        return ""


def _address(family: socket.AddressFamily, elsewhere: str) -> str:
    """From which address this machine would speak to another (of those for documentation); nothing is sent."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.connect((elsewhere, 9))
            return s.getsockname()[0]
    except OSError:
        return ""


def _names_it(name: str) -> bool:
    """Not what every machine calls itself."""
    try:
        return not ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.partition(".")[0] != "localhost"
