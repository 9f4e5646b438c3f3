"""The page that asks for the login token: one answer without another request, and a policy that lets only it run.

An address that ends in `#token=...` logs in by itself, and the token leaves the address bar. Whoever follows a link
from elsewhere sends no cookie with SameSite=Strict at first: then the page asks whether it is logged in, and goes on.
"""

from base64 import b64encode
from hashlib import sha256

from aiohttp import web

_STYLE = """
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 24rem; margin: 15vh auto; padding: 0 1rem; }
input, button { font: inherit; width: 100%; box-sizing: border-box; padding: .5rem; margin-top: .5rem; }
"""
_SCRIPT = """
const say = (text) => { document.getElementById('said').textContent = text; };
async function logIn(token) {
  try {
    const answer = await fetch('/login', {
      method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({token: token.trim()}),
    });
    if (answer.ok) return location.replace('/');
    say((await answer.json()).error.message);
  } catch { say('The assistant does not answer: try again in a moment.'); }
}
async function goOn() {
  const answer = await fetch('/login');
  if (sessionStorage.getItem('went-on') || !(await answer.json()).logged_in) return sessionStorage.clear();
  sessionStorage.setItem('went-on', '1');
  location.replace('/');
}
const token = new URLSearchParams(location.hash.slice(1)).get('token');
if (location.hash) history.replaceState(null, '', '/');
document.getElementById('form').addEventListener('submit', (event) => {
  event.preventDefault();
  logIn(document.getElementById('token').value);
});
if (token) logIn(token); else goOn();
"""
_HTML = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Reminder assistant</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head>
<body><main><h1>Reminder assistant</h1>
<p>This device is not logged in. Open the address that <code>assistant address</code> shows, or give its token.</p>
<form id="form"><label for="token">Token</label>
<input id="token" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button></form><p id="said" role="alert"></p></main>
<script>{_SCRIPT}</script></body></html>
"""


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content Security Policy Level 3: https://www.w3.org/TR/CSP3/"""


def login_page() -> web.Response:
    """The page, with status 401, so that programs take it for what it is."""
    return web.Response(text=_HTML, content_type="text/html", status=401, headers={"Content-Security-Policy": POLICY})
