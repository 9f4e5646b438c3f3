"""A calendar of the owner's on a server, by CalDAV (RFC 4791) over aiohttp.

What is used of it: finding the calendar from the address of a server, a principal, a home or the calendar itself (RFC
6764, RFC 5397), making it, what has changed since a token (RFC 6578) or else a list of all ETags, fetching several
objects at once, and writing and deleting one only if it still is as it was last seen (If-Match, If-None-Match).
"""

import ssl
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit
from xml.sax.saxutils import escape

import aiohttp

from assistant.errors import CalendarAway, CalendarError, CalendarRefused

SECONDS = 30
"""For one exchange with the server."""
MOST_BYTES = 32 * 2**20
"""Of one answer; what is longer is not read."""
AT_ONCE = 50
"""Objects that are fetched by one report."""
DAV, CAL = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}"
_NAMES = 'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"'


@dataclass(frozen=True, slots=True)
class Found:
    """The calendar, as it was found on the server."""

    url: str
    """Absolute, with a slash at its end."""
    made: bool
    """It was not there, and this program has made it."""
    todos: bool
    """It takes to-dos; all take events."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What is new in a calendar."""

    etags: dict[str, str | None]
    """Path of an object -> its ETag."""
    gone: tuple[str, ...]
    """Paths of objects that are not there any more; empty in a list of all."""
    whole: bool
    """Every object is listed, so that what is not is gone."""
    token: str | None
    """To ask from next time; None where the server knows no such thing."""


class Mismatch(CalendarError):
    """The object is not as it was seen last: somebody else has changed it meanwhile."""

    code, status = "calendar_changed", 409


class NoSuchCalendar(CalendarError):
    """The calendar itself is gone."""

    code, status = "calendar_gone", 503


class NotTaken(CalendarRefused):
    """It is this one object that is refused, not all of them."""


class CalendarServer:
    """A server, once it is entered. Raises `CalendarAway` where it does not answer (rightly), `CalendarRefused` where
    it does not let us."""

    def __init__(self, session: aiohttp.ClientSession, url: str, user: str, password: str) -> None:
        self._session, self.url = session, url
        self._login = {"Authorization": aiohttp.encode_basic_auth(user, password)} if user else {}

    # Finding

    async def reach(self) -> None:
        """See whether a server answers there and lets us in; nothing is made."""
        await self._properties(self.url)

    async def find(self, name: str) -> Found:
        """The calendar of this name, made if there is none; or the one that the address itself is."""
        here = await self._properties(self.url)
        if not here.home and not here.calendar:
            here = await self._at_home(here)
        if here.calendar:
            return Found(_slash(here.url), False, here.todos)
        if not here.home:
            raise CalendarRefused(f"There is no calendar at {self.url}: set [calendar] url to the address of one.")
        home = _slash(self._near(urljoin(here.url, here.home)))
        calendars = [p for p in await self._listed(home) if p.calendar]
        for p in calendars:
            if p.name == name:
                return Found(_slash(p.url), False, p.todos)
        url = home + quote("-".join(name.lower().split()), safe="") + "/"
        if any(_slash(p.url) == url for p in calendars):
            raise CalendarRefused(f"The calendar at {url} has another name: set [calendar] name to that one.")
        body = (f"<c:mkcalendar {_NAMES}><d:set><d:prop><d:displayname>{escape(name)}</d:displayname>"
                '<c:supported-calendar-component-set><c:comp name="VEVENT"/><c:comp name="VTODO"/>'
                "</c:supported-calendar-component-set></d:prop></d:set></c:mkcalendar>")
        status, said = await self._ask("MKCALENDAR", url, body)
        if status not in (200, 201):
            raise CalendarRefused(f"The server will not make a calendar ({status}{_detail(said)}): make one by hand, "
                                  "named as [calendar] name says, or set [calendar] url to that of a calendar.")
        made = await self._properties(url)
        return Found(_slash(url), True, made.todos)

    async def _at_home(self, here: "_Properties") -> "_Properties":
        """The principal's, from wherever one began."""
        principal = here.principal
        if not principal:
            here = await self._properties(urljoin(self.url, "/.well-known/caldav"))
            principal = here.principal
            if here.home or not principal:
                return here
        return await self._properties(self._near(urljoin(here.url, principal)))

    def _near(self, url: str) -> str:
        """An address that the server names. The password goes to the same host, or by TLS to its sister at most."""
        ours, theirs = urlsplit(self.url), urlsplit(url)
        if (theirs.scheme, theirs.netloc) == (ours.scheme, ours.netloc):
            return url
        related = (theirs.hostname or "").split(".")[-2:] == (ours.hostname or "").split(".")[-2:]
        if theirs.scheme == "https" and related and len((ours.hostname or "").split(".")) > 1:
            return url
        raise CalendarRefused(f"The server {ours.hostname} names a calendar at {theirs.hostname}: set [calendar] "
                              "url to that address, if you trust it.")

    async def _properties(self, url: str) -> "_Properties":
        body = (f"<d:propfind {_NAMES}><d:prop><d:resourcetype/><d:displayname/><d:current-user-principal/>"
                "<c:calendar-home-set/><c:supported-calendar-component-set/></d:prop></d:propfind>")
        status, answer, at = await self._exchange("PROPFIND", url, body, {"Depth": "0"})
        if status == 404:
            return _Properties(url)
        return next(iter(_read_properties(self._multistatus(status, answer), at)), _Properties(at))

    async def _listed(self, url: str) -> "list[_Properties]":
        body = (f"<d:propfind {_NAMES}><d:prop><d:resourcetype/><d:displayname/>"
                "<c:supported-calendar-component-set/></d:prop></d:propfind>")
        status, answer, at = await self._exchange("PROPFIND", url, body, {"Depth": "1"})
        return _read_properties(self._multistatus(status, answer), at)

    # Reading

    async def changes(self, calendar: str, token: str | None) -> Listing:
        """What has changed since `token`; all there is without one, or where the server cannot tell or forgot it."""
        body = (f"<d:sync-collection {_NAMES}><d:sync-token>{escape(token or '')}</d:sync-token>"
                "<d:sync-level>1</d:sync-level><d:prop><d:getetag/></d:prop></d:sync-collection>")
        status, answer = await self._ask("REPORT", calendar, body)
        if status == 404:
            raise NoSuchCalendar(f"There is no calendar at {calendar} any more: it is made anew.")
        if status == 207:
            root = self._multistatus(status, answer)
            etags, gone, cut = _etags(root, calendar)
            told = root.findtext(f"{DAV}sync-token")
            if told and not cut:
                return Listing(etags, gone, whole=not token, token=told)
        elif token:
            return await self.changes(calendar, None)
        return await self._list(calendar)

    async def _list(self, calendar: str) -> Listing:
        body = f"<d:propfind {_NAMES}><d:prop><d:getetag/></d:prop></d:propfind>"
        status, answer, _ = await self._exchange("PROPFIND", calendar, body, {"Depth": "1"})
        if status == 404:
            raise NoSuchCalendar(f"There is no calendar at {calendar} any more: it is made anew.")
        etags, _, _ = _etags(self._multistatus(status, answer), calendar)
        return Listing(etags, (), whole=True, token=None)

    async def fetch(self, calendar: str, paths: Sequence[str]) -> dict[str, tuple[str | None, str]]:
        """Path -> ETag and text of those objects that are there."""
        found: dict[str, tuple[str | None, str]] = {}
        for i in range(0, len(paths), AT_ONCE):
            hrefs = "".join(f"<d:href>{escape(path)}</d:href>" for path in paths[i : i + AT_ONCE])
            body = (f"<c:calendar-multiget {_NAMES}><d:prop><d:getetag/><c:calendar-data/></d:prop>{hrefs}"
                    "</c:calendar-multiget>")
            status, answer, _ = await self._exchange("REPORT", calendar, body, {"Depth": "1"})
            for response in self._multistatus(status, answer).iter(f"{DAV}response"):
                data = response.findtext(f".//{CAL}calendar-data")
                if data:
                    found[_path(response, calendar)] = response.findtext(f".//{DAV}getetag"), data
        return found

    # Writing

    async def put(self, calendar: str, path: str, text: str, etag: str | None) -> str | None:
        """Write an object that is as `etag` says, or (None) is not there; its new ETag, if the server says. Raises
        `Mismatch` where that is not so."""
        condition = {"If-Match": etag} if etag else {"If-None-Match": "*"}
        headers = {"Content-Type": "text/calendar; charset=utf-8", **condition}
        status, said, _, told = await self._whole("PUT", urljoin(calendar, path), text, headers)
        if status in (409, 412):
            raise Mismatch(f"The object {path} was changed meanwhile: it is looked at again.")
        if status not in (200, 201, 204):
            raise NotTaken(f"The calendar does not take an object ({status}{_detail(said)}): see whether you may "
                                  "write to it.")
        return told.get("ETag")

    async def delete(self, calendar: str, path: str, etag: str | None) -> None:
        """Delete an object that is as `etag` says. Raises `Mismatch` where it is not; gone already is well."""
        headers = {"If-Match": etag} if etag else {}
        status, said, _, _ = await self._whole("DELETE", urljoin(calendar, path), None, headers)
        if status in (409, 412):
            raise Mismatch(f"The object {path} was changed meanwhile: it is looked at again.")
        if status not in (200, 202, 204, 404, 410):
            raise NotTaken(f"The calendar does not let an object be deleted ({status}{_detail(said)}): see whether "
                                  "you may write to it.")

    # Exchanges

    async def _ask(self, method: str, url: str, body: str) -> tuple[int, bytes]:
        status, answer, _ = await self._exchange(method, url, body, {"Depth": "0"} if method == "REPORT" else {})
        return status, answer

    async def _exchange(self, method: str, url: str, body: str, headers: dict) -> tuple[int, bytes, str]:
        xml = f'<?xml version="1.0" encoding="utf-8"?>{body}'
        headers = {"Content-Type": "application/xml; charset=utf-8", **headers}
        status, answer, at, _ = await self._whole(method, url, xml, headers)
        return status, answer, at

    async def _whole(self, method: str, url: str, body: str | None, headers: dict):
        """Status, body, final address and headers of an answer."""
        data = None if body is None else body.encode()
        try:
            async with self._session.request(method, url, data=data, headers=self._login | headers) as response:
                answer = await response.content.read(MOST_BYTES + 1)
                while len(answer) <= MOST_BYTES and (more := await response.content.read(MOST_BYTES)):
                    answer += more
                status, at, told = response.status, str(response.url), response.headers
        except TimeoutError:
            raise CalendarAway(f"The calendar at {_shown(url)} did not answer within {SECONDS} seconds: "
                               "it is tried again.") from None
        except (aiohttp.ClientError, OSError, ValueError) as e:
            why = getattr(e, "strerror", None) or str(e) or type(e).__name__
            raise CalendarAway(f"The calendar at {_shown(url)} cannot be reached ({why.lower()[:200]}): "
                               "it is tried again.") from None
        if len(answer) > MOST_BYTES:
            raise CalendarAway(f"The calendar at {_shown(url)} answers with more than {MOST_BYTES} bytes: "
                               "name a smaller one.")
        if status == 401:
            raise CalendarRefused("The calendar's server does not know this user and password: set [calendar] user "
                                  "and, in .env, ASSISTANT_CALENDAR__PASSWORD.")
        if status == 403 and method in ("PROPFIND", "MKCALENDAR"):
            raise CalendarRefused(f"The calendar's server forbids {method} at {_shown(url)}: see whether you may "
                                  "write there.")
        if status == 429 or status in (500, 502, 503, 504, 507):
            raise CalendarAway(f"The calendar's server cannot answer now ({status}): it is tried again.")
        return status, answer, at, told

    def _multistatus(self, status: int, answer: bytes) -> ET.Element:
        if status != 207:
            raise CalendarRefused(f"There is no calendar server at {_shown(self.url)} (it answers {status}): correct "
                                  "[calendar] url.")
        try:
            if b"<!DOCTYPE" in answer[:2000]:  # nobody needs one here, and entities hide in it
                raise ET.ParseError
            return ET.fromstring(answer)
        except ET.ParseError:
            raise CalendarAway(f"The server at {_shown(self.url)} answers with what is no XML: "
                               "it is tried again.") from None


@asynccontextmanager
async def calendar_server(url: str, user: str, password: str, ca_file: str = "") -> AsyncIterator[CalendarServer]:
    """The server at an http or https address. Raises `CalendarRefused` for certificates that cannot be read."""
    try:
        trusted = ssl.create_default_context(cafile=ca_file) if ca_file else True
    except (OSError, ssl.SSLError):
        raise CalendarRefused(f"The certificates {ca_file} cannot be read: correct [calendar] ca_file.") from None
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=trusted)) as session:
        yield CalendarServer(session, url, user, password)


@dataclass(frozen=True, slots=True)
class _Properties:
    url: str
    calendar: bool = False
    name: str = ""
    principal: str = ""
    home: str = ""
    todos: bool = True


def _read_properties(root: ET.Element, url: str) -> list[_Properties]:
    found = []
    for response in root.iter(f"{DAV}response"):
        supported = response.find(f".//{CAL}supported-calendar-component-set")
        kinds = {c.get("name", "").upper() for c in supported} if supported is not None else set()
        found.append(_Properties(
            urljoin(url, response.findtext(f"{DAV}href", "").strip()),
            response.find(f".//{DAV}resourcetype/{CAL}calendar") is not None and (not kinds or "VEVENT" in kinds),
            response.findtext(f".//{DAV}displayname", "").strip(),
            response.findtext(f".//{DAV}current-user-principal/{DAV}href", "").strip(),
            response.findtext(f".//{CAL}calendar-home-set/{DAV}href", "").strip(),
            not kinds or "VTODO" in kinds,
        ))
    return found


def _etags(root: ET.Element, calendar: str) -> tuple[dict[str, str | None], tuple[str, ...], bool]:
    """ETags of the objects, paths of those that are gone, and whether the server left some out."""
    etags, gone, cut = {}, [], False
    own = unquote(urlsplit(calendar).path)
    for response in root.iter(f"{DAV}response"):
        path, status = _path(response, calendar), response.findtext(f"{DAV}status", "")
        if unquote(path).rstrip("/") == own.rstrip("/"):
            cut = cut or " 507" in status
        elif " 404" in status or " 410" in status:
            gone.append(path)
        elif not path.endswith("/"):
            etags[path] = response.findtext(f".//{DAV}getetag")
    return etags, tuple(gone), cut


def _path(response: ET.Element, calendar: str) -> str:
    return urlsplit(urljoin(calendar, response.findtext(f"{DAV}href", "").strip())).path


def _slash(url: str) -> str:
    return url if url.endswith("/") else url + "/"


def _shown(url: str) -> str:
    """An address without what may be a secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"


def _detail(said: bytes) -> str:
    text = " ".join(said[:300].decode("utf-8", "replace").split())
    return f", {text[:80]}" if text and not text.startswith("<") else ""
