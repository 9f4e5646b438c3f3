"""What scripts/install-service does: `assistant run` of this checkout as a service of the person who is logged in."""

import argparse
import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path
from time import sleep
from typing import NoReturn, Protocol

TOP = Path(__file__).resolve().parent.parent
PROGRAM = TOP / ".venv/bin/assistant"
NAME = "reminder-assistant"
PRIVATE = ("Desktop", "Documents", "Downloads")
"""Folders that macOS opens to no program that a person has not allowed it."""
MODES = ("push", "word", "always")
"""Of `assistant run --wake`; in all but the first it opens the microphone by itself."""


def stop(sentence: str, status: int = 1) -> NoReturn:
    print(f"scripts/install-service: {sentence}", file=sys.stderr)
    sys.exit(status)


def say(sentence: str) -> None:
    print(sentence, flush=True)


class Supervisor(Protocol):
    """What starts programs for a person: launchd or systemd."""

    file: Path
    """Where it reads about ours."""

    def content(self) -> bytes:
        """Of that file."""
    def check(self) -> None:
        """Ends with a sentence if it is not there."""
    def running(self) -> bool: ...
    def start(self) -> None:
        """Starts what the file says now, in place of what ran before."""
    def stop(self) -> None:
        """Stops it, and starts it no more."""
    def forget(self) -> None:
        """Its file is gone."""
    def status(self) -> int:
        """Prints how the service does; the exit status of that."""
    def advice(self) -> str:
        """What is good to know once it runs."""
    def deaf(self) -> str:
        """What to do if no sound arrives there."""


def call(*command: str | Path, quiet: bool = False) -> int:
    """The exit status of a command."""
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} if quiet else {}
    return subprocess.run(command, stdin=subprocess.DEVNULL, **options).returncode


def ours(*command: str | Path, **options) -> subprocess.CompletedProcess:
    """A command of ours, run with the settings that the service has."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ASSISTANT_")}
    return subprocess.run(command, stdin=subprocess.DEVNULL, cwd=TOP, env=env, **options)


class Launchd:
    """A LaunchAgent: launchd.plist(5), launchctl(1)."""

    label = f"local.{NAME}"

    def __init__(self, options: list[str]) -> None:
        self.options = options
        home = Path.home()
        self.file = home / f"Library/LaunchAgents/{self.label}.plist"
        self.log = home / f"Library/Logs/{NAME}.log"
        self.domain = f"gui/{os.getuid()}"
        self.target = f"{self.domain}/{self.label}"

    def content(self) -> bytes:
        return plistlib.dumps({
            "Label": self.label,
            "ProgramArguments": [str(PROGRAM), "run", *self.options],
            "WorkingDirectory": str(TOP),
            "EnvironmentVariables": {
                "PATH": "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                "LANG": os.environ.get("LANG") or "en_US.UTF-8",
            },
            "RunAtLoad": True,
            # Started again if it ends by an error or a signal, and left alone if it was told to stop.
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": 10,
            # A background job's timers may be put off, and reminders ring on time.
            "ProcessType": "Interactive",
            "StandardErrorPath": str(self.log),
        })

    def check(self) -> None:
        if not shutil.which("launchctl"):
            stop("there is no launchctl here, which starts programs on macOS.")

    def running(self) -> bool:
        return call("launchctl", "print", self.target, quiet=True) == 0

    def start(self) -> None:
        self.stop()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        call("launchctl", "enable", self.target)
        if call("launchctl", "bootstrap", self.domain, self.file):
            stop("launchd did not take it: log in at the screen of this machine, and run this again.")

    def stop(self) -> None:
        if self.running():
            call("launchctl", "bootout", self.target)
        for _ in range(60):  # it takes its time, and a new one is refused until the old one is gone
            if not self.running():
                return
            sleep(0.5)
        stop(f"the service does not stop: launchctl kill KILL {self.target}")

    def forget(self) -> None:
        pass

    def status(self) -> int:
        return call("launchctl", "print", self.target)

    def advice(self) -> str:
        return f"Its log is {self.log}."

    def deaf(self) -> str:
        return ("If it has no permission: in System Settings > Privacy & Security > Microphone switch on Python, or "
                "whatever runs it, and run this again.")


class Systemd:
    """A user unit: systemd.service(5), systemctl(1)."""

    def __init__(self, options: list[str]) -> None:
        self.options = options
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        self.unit = f"{NAME}.service"
        self.file = settings / "systemd/user" / self.unit

    def content(self) -> bytes:
        program = str(PROGRAM).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
        return f"""\
[Unit]
Description=Reminder assistant
StartLimitIntervalSec=600
StartLimitBurst=30

[Service]
Type=exec
# By a shell, as the name of a program may not have quotes in it for systemd, but any word after it may.
ExecStart=/bin/sh -c 'exec "$$0" {" ".join(["run", *self.options])}' "{program}"
SyslogIdentifier={NAME}
WorkingDirectory={str(TOP).replace("%", "%%")}
Restart=on-failure
RestartSec=5
# Settings that cannot be taken do not get better by trying again.
RestartPreventExitStatus=2
TimeoutStopSec=30
UMask=0077
# It rings by programs of yours, on your desktop and in your files: more than this would keep it from that. A program
# that it rings by ([notify.command]) cannot use sudo.
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=default.target
""".encode()

    def check(self) -> None:
        if not shutil.which("systemctl"):
            stop("there is no systemd here: start scripts/start by what starts your programs.")
        if call("systemctl", "--user", "show-environment", quiet=True):
            stop("your systemd cannot be reached: log in as yourself, by ssh or at the screen, not by su or sudo.")

    def running(self) -> bool:
        return call("systemctl", "--user", "is-active", "--quiet", self.unit, quiet=True) == 0

    def start(self) -> None:
        for command in (["daemon-reload"], ["enable", "--quiet", self.unit], ["restart", self.unit]):
            if call("systemctl", "--user", *command):
                stop(f"systemd did not start it: journalctl --user -u {NAME} -n 20 shows why.")

    def stop(self) -> None:
        call("systemctl", "--user", "disable", "--now", "--quiet", self.unit)

    def forget(self) -> None:
        call("systemctl", "--user", "daemon-reload")

    def status(self) -> int:
        return call("systemctl", "--user", "--no-pager", "status", self.unit)

    def advice(self) -> str:
        return (f"Its log: journalctl --user -u {NAME}. It ends when you log out, unless you say once: "
                "loginctl enable-linger")

    def deaf(self) -> str:
        return "`assistant devices --test` tries the microphone, `assistant doctor` says more."


def main() -> None:
    parser = argparse.ArgumentParser("scripts/install-service", usage="scripts/install-service --help")
    what = parser.add_mutually_exclusive_group()
    for option in ("--status", "--uninstall", "--dry-run"):
        what.add_argument(option, action="store_true")
    parser.add_argument("--wake", choices=MODES)
    asked = parser.parse_args()
    options = ["--wake", asked.wake] if asked.wake else []
    service: Supervisor = Launchd(options) if sys.platform == "darwin" else Systemd(options)
    if asked.dry_run:
        say(f"# {service.file}\n{service.content().decode()}")
        return
    service.check()
    if asked.status:
        sys.exit(service.status())
    if asked.uninstall:
        uninstall(service)
    else:
        install(service, asked.wake)


def install(service: Supervisor, wake: str | None) -> None:
    if os.geteuid() == 0 and "SUDO_USER" in os.environ:
        stop("run this as yourself, without sudo: it is your service.")
    if not PROGRAM.exists():
        stop("there is no program here yet: run scripts/start once, which installs it.")
    if "\n" in str(TOP):
        stop("the name of this folder has a line break in it: give it another.")
    content = service.content()
    listens = (wake or mode()) in MODES[1:]
    if service.file.exists() and service.file.read_bytes() == content and service.running():
        say(f"The assistant is a service of yours already ({service.file}).")
        if listens:
            hear(service)
        return
    if listens and sys.platform == "darwin":
        ask_permission()
    service.file.parent.mkdir(parents=True, exist_ok=True)
    part = service.file.with_name(f".{service.file.name}.part")
    part.write_bytes(content)
    part.chmod(0o644)
    part.replace(service.file)
    service.start()
    say(f"The assistant runs, and will whenever you log in ({service.file}). {service.advice()}")
    if hidden := [name for name in os.environ if name.startswith("ASSISTANT_")]:
        say(f"It does not see what is set in this terminal alone ({', '.join(sorted(hidden))}): put that into .env.")
    if sys.platform == "darwin" and any(TOP.is_relative_to(Path.home() / folder) for folder in PRIVATE):
        say(f"macOS may not let it read {TOP}: move the checkout out of {', '.join(PRIVATE)} if its log says so.")
    if listens:
        hear(service)


def mode() -> str:
    """`[wake] mode` of the settings; empty where they cannot be read, which the log of the service tells then."""
    python, code = PROGRAM.with_name("python"), "from assistant.config import load; print(load().wake.mode)"
    try:
        return ours(python, "-c", code, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def ask_permission() -> None:
    """macOS asks only what is started in a terminal; what launchd starts records zeros if it has no permission."""
    say("The assistant is going to listen by itself: allow it the microphone if you are asked, and say something.")
    if ours(PROGRAM, "devices", "--test").returncode:
        say("It is set up all the same; what is wrong with the microphone can be put right later.")


def hear(service: Supervisor) -> None:
    """Whether real sound arrives at the service itself, which need not have the permission that a terminal has."""
    say("Waiting until sound arrives at it ...")
    if ours(PROGRAM, "hearing", "--wait").returncode == 1:  # it says what it heard
        say(service.deaf())


def uninstall(service: Supervisor) -> None:
    if not service.file.exists() and not service.running():
        say("The assistant is no service here.")
        return
    service.stop()
    service.file.unlink(missing_ok=True)
    service.forget()
    say("The assistant is a service no more; your reminders stay. scripts/start runs it by hand.")


if __name__ == "__main__":
    try:
        main()
    except OSError as e:
        stop(f"{e.filename or 'this machine'}: {(e.strerror or str(e)).lower()}.")
    except KeyboardInterrupt:
        sys.exit(130)
