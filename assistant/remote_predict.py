"""Asking `assistant serve`, or anything else that answers `POST /predict {"text": ...}` with a rewrite."""

from typing import Any

from assistant.canonical import canonical
from assistant.endpoint import Endpoint
from assistant.errors import Unfaithful, Unreadable, WrongAnswer
from assistant.messages import ASK_BELOW, Rewrite
from assistant.words import model_text, words

ABOUT_THE_TEXT = frozenset(("unreadable", "too_long", "blank"))
"""Errors of the service that speak against the request and not against the service."""
LONGEST_NAME = 100


class Predict:
    """`{"rewrite", "confidence"?, "model"?, "ask_below"?}` is read, all else is left alone. Without a confidence it
    counts as sure; without a threshold `messages.ASK_BELOW` stands."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def rewrite(self, text: str) -> Rewrite:
        """Raises `RemoteError`, `Unreadable`; `ms` is left at 0."""
        answer = await self._endpoint.call("/predict", {"text": text})
        if answer.status in (400, 422) and answer.code in ABOUT_THE_TEXT:
            raise Unreadable
        if problem := self._endpoint.problem(answer):
            raise problem
        match answer.json():
            case {"rewrite": str(rewrite), **more}:
                try:
                    name = f"remote:{_name(more)}"
                    sure, ask_below = _share(more, "confidence", 1.0), _share(more, "ask_below", ASK_BELOW)
                except ValueError as e:
                    raise WrongAnswer(self._endpoint.url, str(e)) from None
                try:
                    lines = canonical(rewrite, [w.folded for w in words(model_text(text))])
                except ValueError as e:
                    raise Unfaithful(self._endpoint.url, str(e)) from None
                return Rewrite(lines, name, sure, 0.0, ask_below)
            case None:
                raise WrongAnswer(self._endpoint.url, "no JSON")
            case _:
                raise WrongAnswer(self._endpoint.url, 'no "rewrite"')


def _share(answer: dict[str, Any], key: str, default: float) -> float:
    value = answer.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f'"{key}" is not a number from 0 to 1')
    return float(value)


def _name(answer: dict[str, Any]) -> str:
    name = answer.get("model", "unnamed")
    if not isinstance(name, str) or not (0 < len(name) <= LONGEST_NAME and name.isprintable()):
        raise ValueError('"model" is not a name')
    return name
