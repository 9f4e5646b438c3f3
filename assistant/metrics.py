"""Figures for Prometheus, in its text format (https://prometheus.io/docs/instrumenting/exposition_formats/).

    assistant_requests_total{route, status, key}      answers; status 499 is a client that went away before its answer
    assistant_request_seconds{route}                  a histogram of how long they took
    assistant_refused_total{reason}                   ... of them those that were refused, by the code of their error;
                                                      and connections: too many, silent, no HTTP
    assistant_build_info{version}
    process_...                                       memory, processor, open files and start of the process (Linux)

of the model service:

    assistant_texts_total                             texts understood
    assistant_in_flight, assistant_waiting            requests that the model works on, and that wait for it
    assistant_contexts                                how many it can work on at once
    assistant_model_reloads_total                     times that another model came into use
    assistant_model_info{name, sha256}                which one is

and of the daemon, which may ask several models:

    assistant_answered_total{source}                  requests understood, by "local" or "remote"
    assistant_not_answered_total{source, code}        requests that one of them could not do, by the code of the error
    assistant_remote_failures_total{reason}           how the model service failed
    assistant_remote_retries_total                    broken connections to it that were tried again
    assistant_circuit_open                            1 while it is left alone for that
    assistant_circuit_changes_total{state}            how often that began, was tried out, and ended
    assistant_kept                                    requests that wait until a model answers

and of its ears:

    assistant_utterances_total                        utterances heard
    assistant_utterances_refused_total                ... of them those whose words were not believed
    assistant_utterances_dropped_total                ... and those that were not meant for it
    assistant_microphone_reopened_total               times that the microphone was opened again
    assistant_microphone_drops_total                  blocks of sound that were not asked for in time
    assistant_microphone_xruns_total                  times that sound was lost because the machine was too busy
    assistant_muted                                   1 while the microphone is closed because a person said so

and of its connection to an MQTT broker, where it has one:

    assistant_mqtt_connected                          1 while there is one
    assistant_mqtt_connections_total                  times that it was made
    assistant_mqtt_messages_total{direction}          messages "in" and "out"
    assistant_mqtt_refused_total                      messages that could not be taken: malformed, too many, not allowed
    assistant_mqtt_repeated_total                     messages that the broker sent again

Every label has a bounded number of values: a route is named by its template, a key by its name, and what is at no
route is one. Nothing is registered globally.
"""

from asyncio import CancelledError
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from assistant import __version__
from assistant.guard import ERROR_CODE, KEY_NAME, Handler

if TYPE_CHECKING:
    from assistant.hearing import Hearing
    from assistant.mqtt import Mqtt
    from assistant.rewriters import Rewriters

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
"""Seconds: a small model takes a few milliseconds, and nobody waits longer than the deadline."""
NO_ROUTE = "none"
"""The label of what is at no route; a raw path could be anything."""
WENT_AWAY = "499"
"""No status of HTTP: nginx's word for a client that did not wait for its answer."""


class Model(Protocol):
    """What a rewriter tells of itself, as `ReloadingRewriter` does."""

    name: str
    sha256: str
    in_flight: int
    waiting: int
    reloads: int


class Metrics:
    """Counts requests as a middleware, the outermost one, and whatever else registers with `registry`.

    `clock` tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self.registry = CollectorRegistry()
        self._clock = clock

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"assistant_{name}", says, labels, registry=self.registry)

        self._requests = counter("requests", "Requests answered.", "route", "status", "key")
        self._seconds = Histogram(
            "assistant_request_seconds", "Seconds until a request was answered.", ["route"],
            buckets=BUCKETS, registry=self.registry,
        )
        self._refused = counter("refused", "Requests refused.", "reason")
        self.texts = 0
        """Understood by the model service."""
        self.registry.register(_Asked(lambda: [
            InfoMetricFamily("assistant_build", "The program.", {"version": __version__})]))
        ProcessCollector(registry=self.registry)

    def watch(self, model: Model, contexts: int) -> None:
        """Tell of the model of the model service, and of the texts that it understood."""
        self.registry.register(_Asked(lambda: [
            CounterMetricFamily("assistant_texts", "Texts understood.", self.texts),
            GaugeMetricFamily("assistant_in_flight", "Requests that the model works on.", model.in_flight),
            GaugeMetricFamily("assistant_waiting", "Requests that wait for the model.", model.waiting),
            GaugeMetricFamily("assistant_contexts", "Requests that the model can work on at once.", contexts),
            CounterMetricFamily("assistant_model_reloads", "Times that another model came into use.", model.reloads),
            InfoMetricFamily("assistant_model", "The model in use.", {"name": model.name, "sha256": model.sha256}),
        ]))

    def watch_sources(self, rewriters: "Rewriters", kept: Callable[[], int]) -> None:
        """Tell of the models that a daemon asks, and of how many requests it keeps."""
        self.registry.register(_Asked(lambda: _sources(rewriters, kept())))

    def watch_hearing(self, hearing: "Hearing") -> None:
        """Tell of what a daemon hears."""
        self.registry.register(_Asked(lambda: _hearing(hearing)))

    def watch_mqtt(self, mqtt: "Mqtt") -> None:
        """Tell of the connection to a broker."""
        self.registry.register(_Asked(lambda: _mqtt(mqtt)))

    def refused(self, reason: str) -> None:
        """Count what was refused before it could be told to be a request of some route."""
        self._refused.labels(reason).inc()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        began, status = self._clock(), WENT_AWAY
        try:
            answer = await handler(request)
            status = str(answer.status)
            if reason := answer.get(ERROR_CODE):
                self.refused(reason)
            return answer
        except CancelledError:
            raise
        except Exception:  # nothing turned it into an answer, so aiohttp will
            status = "500"
            raise
        finally:
            route = route_of(request)
            self._requests.labels(route, status, request.get(KEY_NAME, "")).inc()
            self._seconds.labels(route).observe(self._clock() - began)

    def render(self) -> tuple[bytes, str]:
        """What Prometheus is answered with, and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    async def answer(self, _: web.Request) -> web.Response:
        """The handler of `GET /metrics`."""
        body, content_type = self.render()
        return web.Response(body=body, headers={"Content-Type": content_type})


def route_of(request: web.Request) -> str:
    """The template of the route, such as `/reminders/{id}`."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else NO_ROUTE


def _sources(rewriters: "Rewriters", kept: int) -> Iterable[Metric]:
    answered = CounterMetricFamily("assistant_answered", "Requests understood.", labels=["source"])
    for source, n in rewriters.rewriter.answered.items():
        answered.add_metric([source], n)
    failed = CounterMetricFamily("assistant_not_answered", "Requests not understood.", labels=["source", "code"])
    for labels, n in rewriters.rewriter.failed.items():
        failed.add_metric([*labels], n)
    yield from (answered, failed, GaugeMetricFamily("assistant_kept", "Requests that wait for a model.", kept))
    if remote := rewriters.remote:
        failures = CounterMetricFamily("assistant_remote_failures", "Failures of the service.", labels=["reason"])
        for reason, n in remote.failures.items():
            failures.add_metric([reason], n)
        changes = CounterMetricFamily("assistant_circuit_changes", "States that were entered.", labels=["state"])
        for state, n in remote.breaker.transitions.items():
            changes.add_metric([state], n)
        yield from (failures, changes)
        yield CounterMetricFamily("assistant_remote_retries", "Connections tried again.", remote.retries)
        yield GaugeMetricFamily("assistant_circuit_open", "Left alone.", remote.breaker.state == "open")


def _hearing(hearing: "Hearing") -> Iterable[Metric]:
    counts, now = hearing.counts, hearing.status()
    for name, says, n in (
        ("utterances", "Utterances heard.", counts.utterances),
        ("utterances_refused", "Utterances not believed.", counts.refused),
        ("utterances_dropped", "Utterances not meant for it.", counts.dropped),
        ("microphone_reopened", "Times that the microphone was opened again.", now.reopened),
        ("microphone_drops", "Blocks of sound dropped.", now.drops),
        ("microphone_xruns", "Times that sound was lost.", now.xruns),
    ):  # fmt: skip
        yield CounterMetricFamily(f"assistant_{name}", says, n)
    yield GaugeMetricFamily("assistant_muted", "The microphone is closed.", now.muted)


def _mqtt(mqtt: "Mqtt") -> Iterable[Metric]:
    messages = CounterMetricFamily("assistant_mqtt_messages", "Messages.", labels=["direction"])
    messages.add_metric(["in"], mqtt.received)
    messages.add_metric(["out"], mqtt.published)
    yield messages
    yield GaugeMetricFamily("assistant_mqtt_connected", "There is a broker.", mqtt.connected)
    for name, says, n in (
        ("connections", "Times that it connected.", mqtt.connections),
        ("refused", "Messages that could not be taken.", mqtt.refused),
        ("repeated", "Messages that the broker sent again.", mqtt.duplicates),
    ):  # fmt: skip
        yield CounterMetricFamily(f"assistant_mqtt_{name}", says, n)


class _Asked(Collector):
    """What is asked for at the instant when it is told."""

    def __init__(self, ask: Callable[[], Iterable[Metric]]) -> None:
        self._ask = ask

    def collect(self) -> Iterable[Metric]:
        return self._ask()
