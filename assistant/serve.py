"""The composition root of the model service, `assistant serve`: it understands what it is asked, and stores nothing.

    POST /predict, /convert                   see `predict.py`
    GET  /health, /health/live, /health/ready how it is; the last is for load balancers
    GET  /metrics                             see `metrics.py`
    GET  /openapi.json                        all of this for programs

It is ready as soon as its model is loaded, and is not while it stops: then what is under way is answered, and nothing
new is let in. Who is let in is in `access.py`; how connections are kept is in `connections.py`.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from socket import socket
from time import monotonic
from zoneinfo import ZoneInfo

from aiohttp import web

from assistant import __version__
from assistant.access import Access, ip_of, secure
from assistant.clock import SystemClock
from assistant.config import Config
from assistant.connections import Connections
from assistant.errors import ConfigError, Loading, Stopping
from assistant.guard import KEY_NAME, MAX_BODY, Handler, json_errors
from assistant.keys import Keys
from assistant.lifecycle import reload_on_signal, run, stop_on_signals
from assistant.listen import open_socket
from assistant.messages import Understanding
from assistant.metrics import Metrics, route_of
from assistant.openapi import document
from assistant.pointer import models_of
from assistant.predict import Predict
from assistant.processors import processors
from assistant.reload import ReloadingRewriter
from assistant.systemd import Systemd
from assistant.understand import understand_text

log = logging.getLogger(__name__)

ADDRESSES = "POST /predict, GET /health, GET /metrics, GET /openapi.json"
TEXT_BODY = 2048
"""Bytes of a body for each text that it may hold: its characters in UTF-8, and some to spare."""
STOP_SECONDS = 5
"""What it takes to stop beyond what is under way; then the process ends all the same."""


def serve_forever(config: Config, json_log: bool = False) -> int:
    """Run the service until a signal stops it; the exit status. Raises `AssistantError` if it cannot start or go on."""
    return run(_serve(config), config.log, json_log)


async def _serve(config: Config) -> None:
    began = monotonic()
    drain = config.serve.deadline_seconds + 1
    stop = stop_on_signals(drain + STOP_SECONDS, "")
    keys, systemd = Keys.open(config.keys), Systemd()
    contexts = config.serve.contexts or processors()
    rewriter = ReloadingRewriter(models_of(config), config.model.threads, config.serve.queue, contexts)
    service = Service(config, rewriter, contexts, keys)
    with open_socket(config.serve.host, config.serve.port, "serve") as sock:
        if not keys.wanted and not _is_here(sock):
            raise ConfigError(
                f"Other machines may reach {config.serve.host}, and there are no keys yet: make one with "
                "`assistant keys add NAME`, or set [serve] host to 127.0.0.1."
            )
        host, port = sock.getsockname()[:2]
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        async with service.connections.serving(service.application(), sock), rewriter, asyncio.TaskGroup() as tasks:
            service.loaded()

            async def reload() -> None:
                systemd.reloading()
                keys.refresh()
                found = await rewriter.reload()
                log.info("reloaded", extra={"model": found.model, "changed": found.changed, "keys": len(keys)}
                         | ({"problem": found.problem} if found.problem else {}))
                systemd.ready(f"Answers at {url}.")

            reload_on_signal(reload, tasks, stop)
            running = [
                tasks.create_task(rewriter.watch(), name="model pointer"),
                tasks.create_task(systemd.keep_alive(service.pulse.alive), name="watchdog"),
            ]
            facts = {"model": rewriter.name, "keys": len(keys), "contexts": contexts,
                     "ms": round((monotonic() - began) * 1000)}
            log.info("ready: %s", url, extra=facts)
            if not _is_here(sock):
                log.warning("%s is not encrypted, keys and requests neither: put a proxy with TLS before it", url)
            systemd.ready(f"Answers at {url}.")
            await stop.wait()
            systemd.stopping()
            await service.drain(drain)
            for task in running:
                task.cancel()
    log.info("stopped")


def _is_here(sock: socket) -> bool:
    """Whether programs of this machine alone can reach it."""
    ip = ip_of(sock.getsockname()[0])
    return ip is not None and ip.is_loopback


class Pulse:
    """Whether the model still works: what it has begun comes to an end, be it that nobody waits for it any more.

    `patience` is in seconds, as is what `clock` tells.
    """

    def __init__(self, rewriter: ReloadingRewriter, patience: float, clock: Callable[[], float] = monotonic) -> None:
        self._rewriter, self._patience, self._clock = rewriter, patience, clock
        self._ended, self._since = 0, clock()

    def alive(self) -> bool:
        """To be asked now and then: it compares with what was so the last time."""
        ended = self._rewriter.ended
        if ended != self._ended or not self._rewriter.in_flight:
            self._ended, self._since = ended, self._clock()
        return self._clock() - self._since <= self._patience


class Service:
    """The routes, over a rewriter of so many contexts that is entered by whoever calls `loaded`."""

    def __init__(self, config: Config, rewriter: ReloadingRewriter, contexts: int, keys: Keys) -> None:
        self._config, self._rewriter, self._contexts, self._keys = config, rewriter, contexts, keys
        self._policy, self._tz = config.when.policy, config.when.tz
        self._began = monotonic()
        self._is_loaded = False
        self.metrics = Metrics()
        self.connections = Connections(self.metrics.refused)
        self.pulse = Pulse(rewriter, 3 * config.serve.deadline_seconds)

    def loaded(self) -> None:
        """The model is there: from now on it answers."""
        self.metrics.watch(self._rewriter, self._contexts)
        self._is_loaded = True

    async def drain(self, seconds: float) -> None:
        """Answer what is under way, for no longer than that; then the model may be closed."""
        await self.connections.drain(seconds)
        self._is_loaded = False

    @property
    def ready(self) -> bool:
        return self._is_loaded and not self.connections.draining

    def application(self) -> web.Application:
        serve = self._config.serve
        app = web.Application(
            middlewares=[
                self.connections.middleware, self.metrics.middleware, self._tell, json_errors(ADDRESSES, private=True),
                Access(self._keys, serve.requests_a_minute).middleware,
            ],
            client_max_size=max(MAX_BODY, TEXT_BODY * serve.most_texts),
        )
        app.on_response_prepare.append(secure)
        at_once = self._contexts + min(self._contexts, serve.queue)
        predict = Predict(self.understand, SystemClock(), self._tz, serve.deadline_seconds, serve.most_texts, at_once)
        app.add_routes([
            *predict.routes(),
            web.get("/health", self.health),
            web.get("/health/live", self.is_live),
            web.get("/health/ready", self.is_ready),
            web.get("/metrics", self.metrics.answer),
            web.get("/openapi.json", self.openapi),
        ])
        return app

    @web.middleware
    async def _tell(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        began = monotonic()
        answer = await handler(request)
        facts = {"route": route_of(request), "status": answer.status, "key": request.get(KEY_NAME),
                 "ms": round((monotonic() - began) * 1000, 1)}
        log.debug("answered", extra=facts)
        return answer

    async def understand(self, text: str, now: datetime, tz: ZoneInfo) -> Understanding:
        """What `predict.Understand` says. Raises `Loading` before there is a model, `Stopping` once it is closed."""
        if not self._is_loaded:
            raise Stopping if self.connections.draining else Loading
        meant = await understand_text(self._rewriter, text, now, tz, self._policy, self._config.model.ask_below)
        self.metrics.texts += 1
        if self._config.serve.log_text:
            log.info("understood", extra={"text": meant.text, "rewrite": meant.rewrite, "ms": meant.ms})
        return meant

    async def health(self, _: web.Request) -> web.Response:
        model = self._rewriter if self._is_loaded else None
        status = "ok" if self.ready else "draining" if self.connections.draining else "loading"
        return web.json_response({
            "status": status, "live": True, "ready": self.ready, "version": __version__,
            "model": model and model.name, "model_sha256": model and model.sha256,
            "uptime_s": round(monotonic() - self._began, 1),
            "in_flight": model.in_flight if model else 0, "waiting": model.waiting if model else 0,
        }, status=200 if self.ready else 503)

    async def is_live(self, _: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def is_ready(self, _: web.Request) -> web.Response:
        return web.json_response({"ready": self.ready}, status=200 if self.ready else 503)

    async def openapi(self, _: web.Request) -> web.Response:
        return web.json_response(document(__version__, self._config.serve.most_texts, self._keys.wanted))
