"""A certificate that the machine makes for itself, where no domain is there that Let's Encrypt could certify.

Whoever has its certificate file and trusts that (`[remote] ca_file`, `curl --cacert`) is as safe as with any other.
"""

import ipaddress
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

DAYS = 3650
RENEW_DAYS = 30
"""It is made anew when fewer days than these are left."""


def make_certificate(names: Sequence[str], certificate: Path, key: Path) -> None:
    """Write a self-signed certificate for names and addresses, and its key, which only the owner may read.

    It is its own authority, with what OpenSSL's strict check (Python 3.13's default) asks of one. Raises
    `subprocess.CalledProcessError`.
    """
    extensions = [
        f"subjectAltName={','.join(map(_alternative, names))}",
        "basicConstraints=critical,CA:TRUE,pathlen:0",
        "keyUsage=critical,digitalSignature,keyCertSign",
        "extendedKeyUsage=serverAuth",
    ]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", str(DAYS), "-subj", "/CN=reminder-assistant", "-keyout", f"{key}.part"]
    command += ["-out", f"{certificate}.part"]
    for extension in extensions:
        command += ["-addext", extension]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    os.chmod(f"{key}.part", 0o600)
    os.chmod(f"{certificate}.part", 0o644)
    os.replace(f"{key}.part", key)
    os.replace(f"{certificate}.part", certificate)


def still_good(names: Sequence[str], certificate: Path) -> bool:
    """Whether a certificate is there, is for all of these names, and will be valid for a while."""
    checks = [["-checkend", str(RENEW_DAYS * 24 * 3600)]]
    checks += [["-checkip", _address(name)] if _address(name) else ["-checkhost", name] for name in names]
    for check in checks:
        done = subprocess.run(["openssl", "x509", "-noout", "-in", certificate, *check], capture_output=True, text=True)
        if done.returncode or "does NOT match" in done.stdout:
            return False
    return True


def _alternative(name: str) -> str:
    return f"IP:{_address(name)}" if _address(name) else f"DNS:{name}"


def _address(name: str) -> str:
    """The IP address that a name is, "" if it is none."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return ""
