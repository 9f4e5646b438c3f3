"""The model service for programs that read OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1): GET /openapi.json.

A test walks this document against the real service with requests made from it, so that neither can say what the other
does not. What it cannot say in a schema stands in the descriptions.
"""

from typing import get_args

from assistant.grammar import QUANTIFIERS
from assistant.messages import Kind
from assistant.words import MAX_CHARACTERS

WEDNESDAY = "2026-03-11T10:00:00+00:00"
REQUEST = "hey can you remind me to call mum tomorrow at like five ish"


def document(version: str, most_texts: int, keys: bool) -> dict:
    """The document of a service of that version, where one call holds `most_texts` texts; `keys`: it asks for one."""
    predict = {
        "post": {
            "summary": "What a person's words mean; nothing is stored",
            "description": "Texts of a list are understood at once and answered in their order; one that cannot be "
            "taken has an error in its place. If no model had an answer to any of them, the call fails.",
            "parameters": [_prefer()],
            "requestBody": {"required": True, "content": _json({"oneOf": [_ref("Text"), _ref("Texts")]}, {
                "one": {"value": {"text": REQUEST, "now": WEDNESDAY, "tz": "Europe/London"}},
                "several": {"value": {"texts": [REQUEST, "what have I got today"]}},
            })},
            "responses": {
                "200": _answer("An answer to `text`, or the answers to `texts`", {
                    "oneOf": [_ref("Answer"), _ref("Results")]}),
                "400": _error("Not such a request: `bad_request`, `blank`, `too_long`, `bad_instant` or `bad_zone`"),
                "408": _error("The body took too long to arrive: `too_slow`"),
                "413": _error("The body is too large: `too_large`"),
                "422": _error("No sense could be made of the text: `unreadable`"),
                "503": _error("No answer in time (`out_of_time`), too many wait (`busy`), or no model now", retry=True),
            },
        }
    }  # fmt: skip
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Reminder assistant: the model service",
            "version": version,
            "description": "What an informal request for a reminder means: task, instant, recurrence.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {
            "/predict": _guarded(_named("predict", predict), keys),
            "/convert": _guarded(_named("convert", predict), keys),
            "/health": _get("health", "Whether it runs, which model, and how much there is to do", {
                "200": _answer("It takes requests", _ref("Health")),
                "503": _answer("It loads a model, or is about to stop", _ref("Health")),
            }, keys, public=True),
            "/health/live": _get("live", "Whether the process is alive", {
                "200": _answer("It is", _object({"live": {"const": True}})),
            }, keys, public=True),
            "/health/ready": _get("ready", "Whether it takes requests", {
                "200": _answer("It does", _object({"ready": {"const": True}})),
                "503": _answer("Not now", _object({"ready": {"const": False}})),
            }, keys, public=True),
            "/metrics": _get("metrics", "Figures for Prometheus; from the service's own machine without a key", {
                "200": {"description": "In its text format", "content": {"text/plain": {"schema": _STRING}}},
            }, keys),
            "/openapi.json": _get("openapi", "This document", {
                "200": _answer("OpenAPI 3.1", {"type": "object", "required": ["openapi", "info", "paths"]}),
            }, keys),
        },
        "components": {"schemas": _schemas(most_texts), "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "A key of the service"},
        }},
    }  # fmt: skip


_STRING = {"type": "string"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT = {"type": "integer", "minimum": 0}


def _schemas(most_texts: int) -> dict:
    text = {
        "type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS,
        "description": "As it was said or typed: one line, counted after runs of blanks have become one. A text of "
        "nothing but blanks is refused.",
    }  # fmt: skip
    context = {
        "now": {"type": "string", "format": "date-time", "examples": [WEDNESDAY],
                "description": "When it was said; without an offset, wall time in `tz`. By default now."},
        "tz": {"type": "string", "examples": ["Europe/London"],
               "description": "IANA name of the zone in which it is meant. By default the service's own."},
    }  # fmt: skip
    when = {"type": ["string", "null"], "description": "A sentence of the When language; null where no time was said"}
    return {
        "Text": _object({"text": text}, context, closed=True),
        "Texts": _object({
            "texts": {"type": "array", "items": _STRING, "minItems": 1, "maxItems": most_texts,
                      "description": "Each as `text`; one that is blank or too long has an error in its place"},
        }, context, closed=True),
        "Results": _object({"results": {"type": "array", "items": {"oneOf": [_ref("Answer"), _ref("Error")]}}}),
        "Answer": _object({
            "text": _STRING | {"description": "The text, normalised, without words such as \"even at night\""},
            "kind": {"enum": list(get_args(Kind))},
            "rewrite": _STRING | {"description": "One line a reminder, `task | when`; or one that begins with a slash"},
            "reminders": {"type": "array", "items": _ref("Reminder")},
            "confidence": _SHARE | {"description": "How sure the model is of the kind and the times"},
            "ask_below": _SHARE | {"description": "The confidence below which this model should ask first"},
            "model": _STRING | {"description": "Who wrote the rewrite"},
            "ms": {"type": "number", "minimum": 0, "description": "Milliseconds of inference"},
        }, {
            "target": _object({
                "quantifier": {"enum": [*QUANTIFIERS, None]}, "words": _STRING, "range": {"type": ["string", "null"]},
            }) | {"description": "Which reminders are meant, where they are listed or changed"},
            "shift_minutes": {"type": "integer", "description": "By how much to move one; earlier if negative"},
            "even_at_night": {"const": True, "description": "It is to make a sound in quiet hours as well"},
            "error": _STRING | {"description": "Why the rewrite is not acted on"},
            "skipped": {"type": "array", "items": _STRING, "description": "Why others did not answer first"},
        }),
        "Reminder": _object({
            "task": {"type": ["string", "null"], "description": "In the person's words; null where none was said"},
            "when": when,
            "due": {"type": ["string", "null"], "format": "date-time", "description": "The first, if it recurs"},
            "rrule": {"type": ["string", "null"], "description": "RFC 5545, over wall time, from `due` on"},
        }, {"past": {"const": True, "description": "That time lies behind"}}),
        "Health": _object({
            "status": _STRING, "live": {"const": True}, "ready": {"type": "boolean"}, "version": _STRING,
            "model": {"type": ["string", "null"]}, "model_sha256": {"type": ["string", "null"]},
            "uptime_s": {"type": "number", "minimum": 0},
            "in_flight": _COUNT | {"description": "Requests that are worked on"},
            "waiting": _COUNT | {"description": "Requests for which no context is free"},
        }),
        "Error": _object({"error": _object({
            "code": _STRING | {"description": "A stable word"},
            "message": _STRING | {"description": "A sentence that says what to do"},
        })}),
    }  # fmt: skip


def _object(required: dict, optional: dict | None = None, closed: bool = False) -> dict:
    """`closed`: other keys are refused."""
    schema = {"type": "object", "properties": required | (optional or {}), "required": list(required)}
    return schema | ({"additionalProperties": False} if closed else {})


def _ref(name: str) -> dict:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict, examples: dict | None = None) -> dict:
    return {"application/json": {"schema": schema} | ({"examples": examples} if examples else {})}


def _answer(description: str, schema: dict) -> dict:
    return {"description": description, "content": _json(schema)}


def _error(description: str, retry: bool = False) -> dict:
    header = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds after which to try again, if known"}
    return _answer(description, _ref("Error")) | ({"headers": {"Retry-After": header}} if retry else {})


def _prefer() -> dict:
    return {
        "name": "Prefer", "in": "header", "schema": _STRING, "example": "wait=5",
        "description": "`wait=SECONDS` (RFC 7240): how long the answer is of use, if not as long as the deadline",
    }  # fmt: skip


def _get(name: str, summary: str, responses: dict, keys: bool, public: bool = False) -> dict:
    """`public`: without a key, in any case."""
    item = _named(name, {"get": {"summary": summary, "responses": responses}})
    return item if keys and public else _guarded(item, keys)


def _guarded(item: dict, keys: bool) -> dict:
    """What every route says of who may ask it (`access.py`)."""
    if keys:
        errors = {
            "401": _error("No key, or one that is not known: `no_key`"),
            "429": _error("This key, or this address without one, asks too often: `too_many_requests`", retry=True),
        }
        security = {"security": [{"bearer": []}]}
    else:
        errors = {"403": _error("Not from this machine, or a page of another origin: `refused`")}
        security = {}
    return {
        method: operation | security | {"responses": dict(sorted((operation["responses"] | errors).items()))}
        for method, operation in item.items()
    }


def _named(name: str, item: dict) -> dict:
    return {method: {"operationId": name} | operation for method, operation in item.items()}
