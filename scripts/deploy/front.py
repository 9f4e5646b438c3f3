"""What stands before the service: nginx, and the certificate that it shows."""

import subprocess
import tomllib
from pathlib import Path

from certificate import make_certificate, still_good
from doing import Doing, stop
from nginx_site import Site
from places import Places


def open_front(places: Places, do: Doing, domain: str, email: str, names: tuple[str, ...]) -> None:
    """The site with TLS: of Let's Encrypt for a domain, once nginx can answer its question, or the machine's own."""
    own, own_key = places.settings / "tls/certificate.pem", places.settings / "tls/key.pem"
    do.folder(own.parent)
    do.folder(places.acme)
    if not still_good(names, own):
        if do.dry:
            print(f"+ make the certificate {own} and its key for {', '.join(names)}")
        else:
            try:
                make_certificate(names, own, own_key)
            except subprocess.CalledProcessError as e:
                stop(f"openssl could not make a certificate for {', '.join(names)}: {e.stderr.strip()[-200:]}")
    if not do.staged:
        default = Path("/etc/nginx/sites-enabled/default")
        if default.is_symlink() and default.resolve() == Path("/etc/nginx/sites-available/default"):
            do.remove(default)  # Debian's own page, which would take the ports' first place
    lets = Path("/etc/letsencrypt/live") / domain
    if not domain or do.staged:
        serve_site(places, do, names, own, own_key)
        return
    if not (lets / "fullchain.pem").exists():
        serve_site(places, do, names, own, own_key)
        who = ["--email", email] if email else ["--register-unsafely-without-email"]
        why = f"Let's Encrypt gave no certificate ({domain} must lead to this machine, and port 80 be open)"
        do.run("certbot", "certonly", "--webroot", "-w", places.acme, "-d", domain, "--non-interactive",
               "--agree-tos", *who, "--deploy-hook", "systemctl reload nginx", why=why)  # fmt: skip
        if Path("/usr/lib/systemd/system/certbot-renew.timer").exists():  # Debian's certbot.timer is started by itself
            do.system("systemctl", "enable", "--now", "--quiet", "certbot-renew.timer")
    serve_site(places, do, names, lets / "fullchain.pem", lets / "privkey.pem")


def serve_site(places: Places, do: Doing, names: tuple[str, ...], certificate: Path, key: Path) -> None:
    """Write the site and let nginx take it over; a site that nginx refuses is not left there."""
    config = places.config if places.config.exists() else Path(__file__).with_name("config.toml")
    try:
        serve = tomllib.loads(config.read_text("utf-8")).get("serve", {})
        upstream, answer = f"127.0.0.1:{serve.get('port', 8000)}", f"{serve.get('deadline_seconds', 10) + 5:.0f}s"
        site = Site(names, certificate, key, upstream, answer, acme=places.acme)
        text = site.render(ipv6=Path("/proc/net/if_inet6").exists())
    except tomllib.TOMLDecodeError as e:
        stop(f"{config} cannot be read: {e}.")
    before = places.site.read_text("utf-8") if places.site.exists() else None
    do.write(places.site, text)
    if do.dry or do.staged:
        do.system("nginx", "-t")
        do.system("systemctl", "reload-or-restart", "nginx")
        return
    if subprocess.run(["nginx", "-t", "-q"], stdin=subprocess.DEVNULL).returncode:
        if before is None:
            do.remove(places.site)
        else:
            do.write(places.site, before)
        stop("nginx does not take the site and goes on as before: put right what it says above, and run this again.")
    do.system("systemctl", "enable", "--quiet", "nginx")
    do.system("systemctl", "reload-or-restart", "nginx", why="nginx did not start")
