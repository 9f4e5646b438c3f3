"""scripts/deploy/install in a folder of its own."""

import json
import os
import runpy
import shutil
import ssl
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.nginx import make_certificate, still_good
from tests.process import ROOT

INSTALL = ROOT / "scripts/deploy/install"
DEBIAN = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
pytestmark = linux = pytest.mark.skipif(sys.platform != "linux", reason="a model service is installed on Linux")
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is wanted: apt install openssl")


def machine(root: Path) -> Path:
    """A folder that is a machine to scripts/deploy/install, where the program's environment has been made already: to
    compile llama.cpp takes minutes."""
    (root / "etc").mkdir(parents=True)
    (root / "etc/os-release").write_text(DEBIAN)
    program = root / "opt/reminder-assistant"
    (program / "scripts").mkdir(parents=True)
    for name in ("scripts/install.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, program / name)
    tools = program / ".venv/bin"
    tools.mkdir(parents=True)
    for name, words in {"python": "", "assistant": "-m assistant"}.items():
        (tools / name).write_text(f'#!/bin/sh\nPYTHONPATH={program} exec {sys.executable} {words} "$@"\n')
        (tools / name).chmod(0o755)
    module = runpy.run_path(str(program / "scripts/install.py"))
    module["stamp"]("run").write_text(module["fingerprint"]())
    return root


def install(root: Path | None, *words: str, tools: Path | None = None) -> tuple[int, str, str]:
    """Exit status and words of scripts/deploy/install; programs in `tools` stand in for the machine's."""
    path = os.pathsep.join([*([str(tools)] if tools else []), os.environ["PATH"], "/usr/sbin"])
    env = os.environ | {"PATH": path, "PYTHON": sys.executable}
    where = ["--root", str(root)] if root else []
    done = subprocess.run([INSTALL, *where, *words], env=env, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its mode and content."""
    return {str(p.relative_to(root)): (p.stat().st_mode, p.read_bytes()) for p in sorted(root.rglob("*"))
            if p.is_file() and "__pycache__" not in p.parts}  # fmt: skip


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def key_of(said: str) -> str:
    [key] = [line.strip() for line in said.splitlines() if line.startswith("    ra_")]
    return key


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> tuple[Path, str]:
    """A machine after one install, and what that said. Not to be changed."""
    root = machine(tmp_path_factory.mktemp("machine"))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("ASSISTANT_")]:
            patch.delenv(name)
        status, said, complained = install(root, "--name", "203.0.113.7", "--name", "Reminders.Example.org")
    assert status == 0, complained
    return root, said


@pytest.fixture
def again(installed, tmp_path) -> Path:
    """A copy of it, to be changed."""
    root = tmp_path / "machine"
    shutil.copytree(installed[0], root, symlinks=True)
    for file in (p for p in root.rglob("*") if p.is_file() and p.suffix not in (".gguf", ".png", ".pyc")):
        text = file.read_text()
        if str(installed[0]) in text:
            file.write_text(text.replace(str(installed[0]), str(root)))
    module = runpy.run_path(str(root / "opt/reminder-assistant/scripts/install.py"))
    module["stamp"]("run").write_text(module["fingerprint"]())
    return root


# What it makes

@needs_openssl
def test_an_install_brings_program_settings_key_certificate_unit_and_site(installed):
    root, said = installed
    program = root / "opt/reminder-assistant"
    assert (program / "assistant/serve.py").read_bytes() == (ROOT / "assistant/serve.py").read_bytes()
    assert (program / "models/small/manifest.json").exists() and not (program / "tests").exists()
    config = tomllib.loads((root / "etc/reminder-assistant/config.toml").read_text())
    assert config["data"]["dir"] == str(root / "var/lib/reminder-assistant")
    assert config["serve"]["host"] == "127.0.0.1"
    assert f"{program}/.venv/bin/assistant serve --config {root}/etc" in (root / "etc/systemd/system/assistant.service").read_text()
    site = (root / "etc/nginx/conf.d/reminder-assistant.conf").read_text()
    assert '"203.0.113.7" 1;' in site and '"reminders.example.org" 1;' in site and "{{" not in site
    assert "proxy_read_timeout 15s;" in site and "server 127.0.0.1:8000;" in site


@needs_openssl
def test_secrets_are_for_those_who_need_them_alone(installed):
    root, _ = installed
    settings, state = root / "etc/reminder-assistant", root / "var/lib/reminder-assistant"
    assert [mode(settings / name) for name in ("config.toml", "env", "tls/key.pem")] == [0o640, 0o640, 0o600]
    assert mode(state) == 0o750 and mode(state / "keys.json") == 0o600
    assert mode(settings / "tls/certificate.pem") == 0o644


@needs_openssl
def test_the_first_key_is_shown_once_with_the_curl_that_uses_it(installed):
    root, said = installed
    key = key_of(said)
    assert f"https://203.0.113.7/predict -H 'Authorization: Bearer {key}'" in said and "--cacert" in said
    [kept] = json.loads((root / "var/lib/reminder-assistant/keys.json").read_text())["keys"]
    assert kept["name"] == "laptop" and key not in json.dumps(kept)


@needs_openssl
def test_a_second_run_keeps_keys_models_settings_and_certificate_and_takes_over_the_program(again):
    program, state = again / "opt/reminder-assistant", again / "var/lib/reminder-assistant"
    config = again / "etc/reminder-assistant/config.toml"
    config.write_text(config.read_text().replace("port = 8000", "port = 8123").replace("deadline_seconds = 10", "deadline_seconds = 20"))
    (state / "models/fresh").mkdir()
    (program / "assistant/gone.py").write_text("# of an older version\n")
    (program / "assistant/serve.py").write_text("# of an older version\n")
    before = snapshot(again)
    status, said, complained = install(again)
    assert status == 0, complained
    after = snapshot(again)
    changed = {name for name in before | after if before.get(name) != after.get(name)}
    assert changed == {"opt/reminder-assistant/assistant/gone.py", "opt/reminder-assistant/assistant/serve.py",
                       "etc/nginx/conf.d/reminder-assistant.conf"}  # fmt: skip
    assert (state / "models/fresh").is_dir()
    site = (again / "etc/nginx/conf.d/reminder-assistant.conf").read_text()
    assert "server 127.0.0.1:8123;" in site and "proxy_read_timeout 25s;" in site and '"203.0.113.7" 1;' in site
    assert "ra_" not in said and "Bearer KEY" in said


@needs_openssl
@pytest.mark.parametrize(("name", "made"), [("203.0.113.7", False), ("198.51.100.4", True)], ids=["the same", "another"])
def test_another_name_gets_another_certificate(installed, name, made):
    said = install(installed[0], "--dry-run", "--name", name)[1]
    assert (f"tls/certificate.pem and its key for {name}" in said) is made


@needs_openssl
def test_what_was_removed_leaves_keys_models_and_settings(again):
    kept = {name for name in snapshot(again) if name.startswith(("var/lib/reminder-assistant/", "etc/reminder-assistant/"))}
    status, said, _ = install(again, "--uninstall")
    assert status == 0 and "var/lib/reminder-assistant" in said
    assert set(snapshot(again)) == kept | {"etc/os-release"}
    assert install(again, "--uninstall")[0] == 0


# What it says beforehand

@needs_openssl
def test_a_dry_run_shows_every_file_and_changes_none(tmp_path):
    root = machine(tmp_path / "machine")
    before = snapshot(root)
    status, said, _ = install(root, "--dry-run", "--domain", "reminders.example.org")
    assert status == 0 and snapshot(root) == before
    for file in ("etc/reminder-assistant/config.toml", "etc/systemd/system/assistant.service", "etc/nginx/conf.d/reminder-assistant.conf"):
        assert f"+ write {root}/{file}" in said
    assert "    | ExecStart=" in said and '"reminders.example.org" 1;' in said
    assert "systemctl" not in "".join(line for line in said.splitlines() if line.startswith("+"))


@pytest.mark.skipif(not shutil.which("systemctl"), reason="systemctl is wanted: apt install systemd")
@needs_openssl
def test_a_dry_run_on_the_machine_itself_shows_every_command(tmp_path):
    if not any(f"\nID={name}\n" in "\n" + Path("/etc/os-release").read_text() for name in ("debian", "ubuntu")):
        pytest.skip("this is neither Debian nor Ubuntu")
    status, said, complained = install(None, "--dry-run", "--domain", "reminders.example.org")
    if status == 1 and "it wants" in complained:
        pytest.skip(complained)
    assert status == 0, complained
    commands = [line for line in said.splitlines() if line.startswith("+")]
    for words in ("apt-get -q install -y --no-install-recommends build-essential", " nginx ", "useradd --system",
                  "scripts/install run", "assistant keys add laptop", "systemctl restart assistant",
                  "certbot certonly --webroot", "nginx -t", "systemctl reload-or-restart nginx"):  # fmt: skip
        assert any(words in line for line in commands), words


def os_release(text: str):
    return lambda root, tools: (root / "etc/os-release").write_text(text)


def processor(name: str):
    return lambda root, tools: script(tools / "uname", f"echo {name}")


def memory(megabytes: int):
    def write(root: Path, tools: Path) -> None:
        (root / "proc").mkdir()
        (root / "proc/meminfo").write_text(f"MemTotal: {megabytes * 1024} kB\nMemFree: 1 kB\nSwapTotal: 0 kB\n")
    return write


def disk(megabytes: int):
    return lambda root, tools: script(tools / "df", f"printf 'Filesystem 1M Used Available Use\\nx 1 1 {megabytes} 1 /\\n'")


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("change", "words", "status", "sentence"), [
    (os_release('ID=fedora\nVERSION_ID=40\nPRETTY_NAME="Fedora Linux 40"\n'), [], 1, "Fedora Linux 40 is not among the systems"),
    (os_release('ID=amzn\nVERSION_ID="2"\nPRETTY_NAME="Amazon Linux 2"\n'), [], 1, "Amazon Linux 2 is too old: take Amazon Linux 2023."),
    (processor("riscv64"), [], 1, "the processor here is riscv64"),
    (processor("armv7l"), [], 1, "take such a machine"),
    (memory(480), [], 1, "this machine has 480 MiB of memory, swap included, and compiling llama.cpp wants 1 GB"),
    (disk(900), [], 1, "there are 900 MB free"),
    (None, ["--domain", "a.example.org", "--name", "b.example.org"], 2, "give --domain or --name, not both."),
    (None, ["--name", "not a name"], 2, "cannot name a machine"),
    (None, ["--frob"], 2, "unrecognized arguments: --frob"),
], ids=["system", "old system", "processor", "small processor", "memory", "disk", "domain and name", "bad name", "option"])  # fmt: skip
def test_where_it_cannot_be_installed_a_sentence_says_why_and_nothing_changes(tmp_path, change, words, status, sentence):
    root, tools = machine(tmp_path / "machine"), tmp_path / "tools"
    tools.mkdir()
    if change:
        change(root, tools)
    before = snapshot(root)
    found, _, complained = install(root, "--dry-run", *words, tools=tools)
    assert (found, sentence in complained) == (status, True), complained
    assert snapshot(root) == before


@pytest.mark.parametrize(("release", "advice"), [
    ('ID=ubuntu\nVERSION_ID="22.04"\nPRETTY_NAME="Ubuntu 22.04.5 LTS"\n', "take Ubuntu 24.04 or newer"),
    ('ID=debian\nVERSION_ID="11"\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\n', "take Debian 12 or newer"),
], ids=["Ubuntu 22.04", "Debian 11"])  # fmt: skip
def test_a_system_whose_python_is_too_old_is_told_unless_another_python_is_there(tmp_path, release, advice):
    root, tools = machine(tmp_path / "machine"), tmp_path / "tools"
    tools.mkdir()
    (root / "etc/os-release").write_text(release)
    for name in ("sh", "dirname", "sed", "awk", "uname", "df", "getconf", "cat"):
        (tools / name).symlink_to(shutil.which(name))
    script(tools / "python3", "exit 1")
    command = [INSTALL, "--root", root, "--dry-run", "--name", "a.example.org"]
    done = subprocess.run(command, env={"PATH": str(tools)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and advice in done.stderr and "PYTHON=python3.11" in done.stderr
    there = {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": sys.executable}
    assert subprocess.run(command, env=there, capture_output=True, timeout=60).returncode == 0


@pytest.mark.parametrize(("megabytes", "jobs"), [(940, 1), (1900, 2)], ids=["1 GB", "2 GB"])
def test_a_small_machine_compiles_one_thing_at_a_time(tmp_path, megabytes, jobs):
    root, tools = machine(tmp_path / "machine"), tmp_path / "tools"
    tools.mkdir()
    memory(megabytes)(root, tools)
    script(tools / "getconf", "echo 8")
    assert f"compiled with {jobs} at a time" in install(root, "--dry-run", "--name", "a.example.org", tools=tools)[2]


@pytest.mark.parametrize(("head", "made_for"), [
    (b"\x7fELF\2\1\1" + bytes(9) + b"\3\0\xf3\0", "another processor"),
    (b"\xcf\xfa\xed\xfe" + bytes(20), "another system"),
], ids=["another processor", "macOS"])  # fmt: skip
def test_an_environment_that_was_made_elsewhere_is_made_anew(tmp_path, head, made_for):
    root = machine(tmp_path / "machine")
    library = root / "opt/reminder-assistant/.venv/lib/python3.11/site-packages/llama_cpp/lib/libllama.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(head)
    _, said, complained = install(root, "--dry-run", "--name", "a.example.org")
    assert f".venv was made for {made_for}, and this machine is {os.uname().machine}" in complained
    assert f"+ rm -r {root}/opt/reminder-assistant/.venv" in said


def test_the_help_tells_all_of_the_head_of_the_script():
    status, said, _ = install(None, "--help")
    assert status == 0 and said.startswith("Make this machine a model service") and said.rstrip().endswith("2 wrong options.")


# The certificate

@needs_openssl
def test_a_certificate_passes_the_strictest_check_for_its_names_and_is_made_anew_for_others(tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    names = ["reminders.example.org", "203.0.113.7", "2001:db8::1"]
    assert not still_good(names, certificate)
    make_certificate(names, certificate, key)
    assert still_good(names, certificate) and not still_good(["other.example.org"], certificate)
    assert not still_good(["203.0.113.8"], certificate)
    strict = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", certificate, certificate], capture_output=True)
    assert strict.returncode == 0, strict.stderr
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)


# The scripts

@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is wanted: apt install shellcheck")
def test_the_scripts_have_nothing_that_shellcheck_minds():
    scripts = [ROOT / "scripts" / name for name in ("deploy/install", "deploy/push-model", "install-service")]
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
