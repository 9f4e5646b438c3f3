"""The assistant as a conversation agent of Home Assistant: a server of the Wyoming protocol, whose service `handle`
takes what a satellite heard and gives back what is to be said.

    describe                           -> info          what there is here
    transcript {"text", "context"?}    -> handled       the answer, for the ear
                                       -> not-handled   no reminder, or it could not be taken: a sentence all the same
    ping                               -> pong

Home Assistant opens a connection for each sentence and puts the id of the conversation into the context
(homeassistant/components/wyoming/conversation.py): a follow-up answer finds its question by that. Events that are not
known are dropped, as the protocol wants it; what is no event ends its connection, so that a web page cannot speak here.
Wyoming has neither password nor encryption.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from assistant import __version__, aloud
from assistant.clock import Clock
from assistant.errors import AddressTaken, AssistantError, BadEvent, NotInstalled
from assistant.listen import is_here, open_socket
from assistant.mdns import WYOMING, advertised
from assistant.messages import Reply, Request
from assistant.sections import Wyoming
from assistant.wyoming_events import MAX_EVENT, missing, read_event

if TYPE_CHECKING:
    from wyoming.event import Event

log = logging.getLogger(__name__)

NAME = "Reminder Assistant"
"""What Home Assistant calls the agent."""
MOST_CONNECTIONS = 64
IDLE_SECONDS = 60.0
"""Within which the next event must be there, whole."""
SEND_SECONDS = 10.0
"""Within which a client must take an answer."""
LONGEST_ID = 80
"""Characters of the id of a conversation; one that is longer, or not printable, is none."""
_INSIDE = "Something went wrong inside; the log there has the details."
Handle = Callable[[Request], Awaitable[Reply]]
"""The pipeline's."""


@asynccontextmanager
async def agent(settings: Wyoming, handle: Handle, clock: Clock) -> AsyncIterator[None]:
    """The agent that the settings want, which is none unless they enable it. That it cannot be had is told to the log
    alone: reminders ring without it."""
    async with AsyncExitStack() as parts:
        if settings.enabled:
            try:
                await _enter(settings, WyomingServer(handle, clock), parts)
            except (AddressTaken, NotInstalled) as e:
                log.error("Home Assistant cannot talk to the assistant: %s", e)
        yield


async def _enter(settings: Wyoming, server: "WyomingServer", parts: AsyncExitStack) -> None:
    if problem := missing():
        raise NotInstalled(problem)
    sock = parts.enter_context(open_socket(settings.host, settings.port, "wyoming"))
    host, port = sock.getsockname()[:2]
    await parts.enter_async_context(server.serving(sock))
    log.info("a conversation agent for Home Assistant", extra={"host": host, "port": port})
    if not is_here(host):
        log.warning("other machines may talk to the assistant at port %d, and nobody is asked for a password", port)
        if settings.zeroconf:
            await parts.enter_async_context(advertised(WYOMING, port, host))


class WyomingServer:
    """Answers events."""

    def __init__(self, handle: Handle, clock: Clock) -> None:
        self._handle, self._clock = handle, clock

    @asynccontextmanager
    async def serving(
        self, sock: socket.socket, most: int = MOST_CONNECTIONS, idle: float = IDLE_SECONDS
    ) -> AsyncIterator[None]:
        """Serve on a listening socket. Leaving closes every connection; what was under way is taken up at the next
        start."""
        async with asyncio.TaskGroup() as tasks:
            connections: set[asyncio.Task[None]] = set()
            leaving = False

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                if leaving or len(connections) >= most:
                    log.debug("a connection too many")
                    writer.transport.abort()
                    return
                task = tasks.create_task(self._converse(reader, writer, idle), name="wyoming connection")
                connections.add(task)
                task.add_done_callback(connections.discard)

            server = await asyncio.start_server(connected, sock=sock, limit=MAX_EVENT)
            try:
                yield
            finally:
                leaving = True
                server.close()
                for task in connections:
                    task.cancel()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: float) -> None:
        own = f"wyoming:{uuid4()}"
        try:
            while True:
                async with asyncio.timeout(idle):
                    event = await read_event(reader)
                if event is None:
                    break
                if answer := await self._answer(*event, own):
                    await _send(answer, writer)
        except BadEvent as e:
            log.warning("a connection is closed: %s", e, extra={"peer": _peer(writer)})
            with suppress(OSError):
                await _send(_error(e), writer)
        except OSError:  # it has gone away, is silent, or does not read
            log.debug("a connection has ended", extra={"peer": _peer(writer)})
        except Exception:
            log.exception("a bug", extra={"peer": _peer(writer)})
        finally:
            writer.close()

    async def _answer(self, kind: str, data: dict[str, Any], own: str) -> "Event | None":
        """What to send; `own` is the channel of who names no conversation. Raises `BadEvent`."""
        from wyoming.ping import Pong

        match kind, data:
            case "describe", _:
                return info()
            case "ping", {**more}:
                return Pong(text=more.get("text")).event()
            case "transcript", {"text": str(text), **more}:
                context = more.get("context")
                return await self._handled(text, context if isinstance(context, dict) else {}, own)
            case "transcript", _:
                raise BadEvent("a transcript without a text")
        return None

    async def _handled(self, text: str, context: dict[str, Any], own: str) -> "Event":
        from wyoming.handle import Handled, NotHandled

        text = text.encode("utf-8", "replace").decode()  # JSON can write lone surrogates, which nothing can store
        request = Request(str(uuid4()), text, _channel(context) or own, self._clock.now())
        try:
            reply = await self._handle(request)
        except AssistantError as e:
            return NotHandled(str(e), context or None).event()
        except Exception:
            log.exception("a bug", extra={"request": request.id})
            return NotHandled(_INSIDE, context or None).event()
        answer = NotHandled if reply.kind == "other" else Handled
        return answer(aloud.answer(reply), context or None).event()


def info() -> "Event":
    """What this server is, for Home Assistant: one program that handles English, and controls nothing at home."""
    from wyoming.info import Attribution, HandleModel, HandleProgram, Info

    by = Attribution("The reminder assistant's authors", "")
    about = "Sets, lists, moves and cancels reminders"
    model = HandleModel("reminders", by, True, about, __version__, ["en"])
    return Info(handle=[HandleProgram(NAME, by, True, about, __version__, [model])]).event()


def _channel(context: dict[str, Any]) -> str | None:
    """Of the conversation, else of the satellite or the device that heard it."""
    for name in ("conversation_id", "satellite_id", "device_id"):
        id = context.get(name)
        if isinstance(id, str) and 0 < len(id) <= LONGEST_ID and id.isprintable():
            return f"wyoming:{id}"
    return None


async def _send(event: "Event", writer: asyncio.StreamWriter) -> None:
    """Raises OSError, TimeoutError among them for who does not read; then the rest is thrown away."""
    from wyoming.event import async_write_event

    try:
        async with asyncio.timeout(SEND_SECONDS):
            await async_write_event(event, writer)
    except TimeoutError:
        writer.transport.abort()
        raise


def _error(e: BadEvent) -> "Event":
    from wyoming.error import Error

    return Error(str(e), e.code).event()


def _peer(writer: asyncio.StreamWriter) -> str:
    return str((writer.get_extra_info("peername") or ("",))[0])
