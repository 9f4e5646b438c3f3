"""What every answer of the daemon says to browsers: believe what is told, run nothing else, show it in no frame.

The list is that of OWASP (https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html); an answer that
needs more, such as a page with a script, sets its own.
"""

from aiohttp import web

from assistant.access import SECURITY_HEADERS

HEADERS = SECURITY_HEADERS | {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
}


async def secure(_: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`."""
    response.headers["Server"] = HEADERS["Server"]  # aiohttp has named its version there by now
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if response.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="assistant"'
