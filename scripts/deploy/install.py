"""What scripts/deploy/install does once there are packages and a Python: program, settings, keys, systemd, nginx.

Every step looks first whether it is done, so that the second run upgrades what has changed and keeps the rest.
"""

import argparse
import json
import os
import pwd
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from doing import Doing, stop
from front import open_front
from names import is_name, names_of_this_machine
from places import SERVICE, USER, Places

TOP = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).parent
PROGRAM = (
    "assistant", "models/small", "scripts/install", "scripts/install.py", "scripts/deploy",
    "pyproject.toml", "constraints.txt", "config.toml", "README.md", "LICENSE",
)  # fmt: skip
"""What of a checkout goes to the machine."""
FIRST_KEY = "laptop"
MACHINES = {62: "x86_64", 183: "aarch64"}
"""e_machine of an ELF file (elf(5))."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the person asked for, kept for the next run."""

    domain: str = ""
    email: str = ""
    name: tuple[str, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser("scripts/deploy/install", usage="scripts/deploy/install --help")
    parser.add_argument("--domain", default="")
    parser.add_argument("--email", default="")
    parser.add_argument("--name", action="append", default=[])
    parser.add_argument("--root", type=Path)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--uninstall", action="store_true")
    asked = parser.parse_args()
    os.umask(0o022)
    staged = asked.root is not None
    places = Places(asked.root.absolute() if staged else Path("/"))
    do = Doing(asked.dry_run, staged)
    if asked.uninstall:
        uninstall(places, do)
        return
    options = remembered(places, Options(asked.domain.lower(), asked.email, tuple(n.lower() for n in asked.name)))
    for name in (*options.name, *filter(None, [options.domain])):
        if not is_name(name):
            stop(f"{name!r} cannot name a machine: write it as reminders.example.org or 203.0.113.7.", 2)
    make_user(places, do)
    copy_program(places, do)
    write_settings(places, do, options)
    key = make_first_key(places, do)
    start_service(places, do)
    names = (options.domain,) if options.domain else options.name or names_of_this_machine(ask=not staged)
    open_front(places, do, options.domain, options.email, names)
    if not do.dry:
        tell(places, options, names, key)


def remembered(places: Places, asked: Options) -> Options:
    """What was asked for now or, if it was nothing, the last time."""
    if asked.domain and asked.name:
        stop("give --domain or --name, not both.", 2)
    if asked.domain or asked.name:
        return asked
    try:
        kept = json.loads((places.settings / "install.json").read_text("utf-8"))
        return Options(kept["domain"], kept["email"], tuple(kept["name"]))
    except (OSError, ValueError, KeyError, TypeError):
        return asked


# The program

def make_user(places: Places, do: Doing) -> None:
    if do.staged:
        return
    try:
        if pwd.getpwnam(USER).pw_uid >= 1000:
            stop(f"the user {USER} is a person here, and the service wants that name: rename that account.")
    except KeyError:
        do.run("useradd", "--system", "--user-group", "--home-dir", places.state, "--no-create-home",
               "--shell", "/usr/sbin/nologin", USER, why="the user could not be made")  # fmt: skip


def copy_program(places: Places, do: Doing) -> None:
    """The program and its environment, which is made for this very machine."""
    do.folder(places.program)
    if places.program.resolve() != TOP:
        for name in PROGRAM:
            do.replace(TOP / name, places.program / name)
    venv = places.program / ".venv"
    if foreign := made_elsewhere(venv):
        here = os.uname().machine
        print(f"{venv} was made for {foreign}, and this machine is {here}: making another.", file=sys.stderr)
        do.remove(venv)
    # Where /tmp is kept in memory, as on Amazon Linux, llama.cpp would be compiled there.
    environ = os.environ | {"PYTHON": sys.executable, "TMPDIR": "/var/tmp"}
    do.run(places.program / "scripts/install", "run", env=environ, why="the program could not be installed")
    # The service may write nothing here, so what it would keep of compiling is made now.
    do.run(venv / "bin/python", "-m", "compileall", "-q", places.program / "assistant")


def made_elsewhere(venv: Path) -> str:
    """For which machine an environment was made, "" if for this one or if there is none."""
    for library in sorted(venv.glob("lib/python*/site-packages/**/*.so"))[:50]:
        head = library.open("rb").read(20)
        if head[:4] != b"\x7fELF":
            return "another system"
        machine = MACHINES.get(int.from_bytes(head[18:20], "little"), "another processor")
        if machine != os.uname().machine:
            return machine
    return ""


# Its settings

def write_settings(places: Places, do: Doing, options: Options) -> None:
    group = USER
    do.folder(places.settings)
    do.folder(places.state, 0o750, USER)
    do.folder(places.state / "models", 0o750, USER)
    if not places.config.exists():
        do.write(places.config, places.here((HERE / "config.toml").read_text("utf-8")), 0o640, group)
    if not (places.settings / "env").exists():
        text = "# Settings as environment variables, such as ASSISTANT_LOG__LEVEL=debug; secrets are better here.\n"
        do.write(places.settings / "env", text, 0o640, group)
    kept = {"domain": options.domain, "email": options.email, "name": options.name}
    do.write(places.settings / "install.json", json.dumps(kept) + "\n")


def assistant(places: Places, do: Doing, *words: str, **options) -> str:
    """`assistant` as the service runs it: its user, its settings."""
    command = [places.program / ".venv/bin/assistant", *words, "--config", places.config]
    if not do.staged:
        command = ["runuser", "-u", USER, "--", *command]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ASSISTANT_") and k != "API_BASE_URL"}
    where = places.state if places.state.is_dir() else None
    return do.run(*command, env=environ | {"HOME": str(places.state)}, cwd=where, **options)


def make_first_key(places: Places, do: Doing) -> str:
    """A key if there is none yet, "" if there is: without one the service would answer nobody outside."""
    why = "the keys could not be read or made"
    if places.config.exists() and not do.dry and json.loads(
        assistant(places, do, "keys", "list", "--json", capture=True, why=why)
    )["keys"]:
        return ""
    made = assistant(places, do, "keys", "add", FIRST_KEY, "--json", capture=True, why=why)
    return json.loads(made)["key"] if made else ""


def start_service(places: Places, do: Doing) -> None:
    do.write(places.unit, places.here((HERE / "assistant.service").read_text("utf-8")))
    if not do.staged and systemd_version() >= 254:
        do.write(places.back_off, "[Service]\nRestartSteps=5\nRestartMaxDelaySec=60\n")
    do.system("systemctl", "daemon-reload")
    do.system("systemctl", "enable", "--quiet", SERVICE)
    do.system("systemctl", "restart", SERVICE,
              why=f"the service did not start (journalctl -u {SERVICE} -n 30 shows its log)")  # fmt: skip


def systemd_version() -> int:
    try:
        said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        stop("there is no systemd here, which is to start the service: take a machine that has it.")
    found = re.match(r"systemd (\d+)", said)
    return int(found[1]) if found else 0


# The end

def tell(places: Places, options: Options, names: tuple[str, ...], key: str) -> None:
    """What the person needs to know now."""
    own = places.settings / "tls/certificate.pem"
    host = f"[{names[0]}]" if ":" in names[0] else names[0]
    print(f"The service runs and answers at https://{host}.")
    if key:
        print(f"Its first key, which is shown this once:\n\n    {key}\n")
    print(f"Keys: sudo {places.program}/.venv/bin/assistant keys --help, with --config {places.config}")
    if not options.domain:
        print(f"Its certificate is its own. Fetch it to where the service is used: ssh HOST cat {own} > reminders.pem\n"
              "and trust it there: ASSISTANT_REMOTE__CA_FILE=/path/to/reminders.pem in .env, or [remote] ca_file.")
    trust = "" if options.domain else "--cacert reminders.pem "
    print("Try it from there:\n\n"
          f"    curl -s {trust}https://{host}/predict -H 'Authorization: Bearer {key or 'KEY'}' \\\n"
          "        -H 'Content-Type: application/json' -d '{\"text\": \"remind me to call mum at 5\"}'")


def uninstall(places: Places, do: Doing) -> None:
    """All away but what cannot be had again."""
    if places.unit.exists():
        do.system("systemctl", "disable", "--now", "--quiet", SERVICE)
    for path in (places.unit, places.back_off, places.site, places.program, places.acme):
        do.remove(path)
    do.system("systemctl", "daemon-reload")
    if not do.staged and subprocess.run(["systemctl", "is-active", "-q", "nginx"]).returncode == 0:
        do.system("systemctl", "reload", "nginx")
    if not do.dry:
        print(f"The service is gone. Keys and models stay in {places.state}, settings and certificates in "
              f"{places.settings}: remove these, and the user {USER}, if you want them no more.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except PermissionError as e:
        stop(f"{e.filename} cannot be read or written: run it as root, sudo scripts/deploy/install.")
    except OSError as e:
        stop(f"{e.filename or 'this machine'}: {(e.strerror or str(e)).lower()}. Put that right and run this again.")
