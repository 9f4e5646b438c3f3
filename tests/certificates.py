"""Certificates for the tests, made by the openssl command."""

import shutil
import subprocess
from pathlib import Path

import pytest


def certificate(folder: Path, name: str, host: str) -> Path:
    """A file of a key and a certificate for `host` (a name or an address), signed by itself."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl command")
    kind = "IP" if host.replace(".", "").isdecimal() or ":" in host else "DNS"
    key, chain, both = (folder / f"{name}.{end}" for end in ("key", "crt", "pem"))
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName={kind}:{host}",
            "-addext", "keyUsage=critical,digitalSignature,keyCertSign", "-keyout", key, "-out", chain,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_bytes(key.read_bytes() + chain.read_bytes())
    return both
