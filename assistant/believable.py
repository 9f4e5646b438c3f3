"""Whether a transcript can be believed.

Whisper was trained on subtitles of films, silent stretches among them, and given noise it writes what stands there:
"Thanks for watching!", a translator's name, one phrase over and over. So an utterance must have been heard, its text
must fit into the time it took, and the engine must have been sure of it. What nobody says to an assistant but subtitles
are full of is refused on less.

Every refusal is a word for programs and figures, `Transcript.refused`.
"""

import re
import unicodedata
import zlib
from dataclasses import dataclass

from assistant.messages import Utterance

SHORTEST_SECONDS = 0.1
"""A shorter sound holds no word."""
QUIETEST_DBFS = -65.0
"""Speech at arm's length reaches a laptop's microphone at -45 to -25 dBFS, from the other end of the room, or if it is
turned down, at -60; its own noise is at -70 or below."""
LEAST_SPEECH = 0.1
"""Of an utterance. The shortest that `endpointing` makes, 0.3 s of speech in 1.1 s, has 0.27."""

NO_SPEECH = 0.6
LOW_LOGPROB = -1.0
MOST_COMPRESSION = 2.4
"""The defaults of OpenAI's own decoding (whisper/transcribe.py: `no_speech_threshold`, `logprob_threshold`,
`compression_ratio_threshold`): silence is what exceeds the first *and* falls below the second."""
LOWEST_LOGPROB = -1.5
"""Below it a text is not asked about either: each token had a probability of less than 0.22."""
MOST_REPEATS = 4
"""So often in a row a person may say the same words; the compression of a short text shows it too late."""
MOST_CHARACTERS_A_SECOND = 35.0
"""People who speak fast reach seven syllables a second, in English some 26 characters; a third is left over."""
SLACK_SECONDS = 0.2
"""The beginning and end of a word that voice activity may not count as speech."""

WEAK_NO_SPEECH = 0.1
WEAK_LOGPROB = -0.6
WEAK_DBFS = -50.0
WEAK_SPEECH = 0.3
"""Beyond these nothing is refused that people say, but what subtitles say is. Ours: between what clear speech has (a
`no_speech_prob` near 0, a mean near -0.3) and what Whisper itself counts as failed."""
SUBTITLES = frozenset(
    phrase.strip()
    for phrase in """
    you|bye|bye bye|the end|thank you|thank you very much|thank you so much|thanks|thank you for watching
    thanks for watching|thank you for watching this video|thanks for watching this video|thank you for listening
    thanks for listening|thank you for your attention|please subscribe|please subscribe to my channel
    please like and subscribe|like and subscribe|don't forget to like and subscribe|don't forget to subscribe
    subscribe to my channel|see you next time|see you in the next video|i'll see you in the next video
    see you in the next one|we'll be right back|to be continued|all rights reserved
    """.replace("\n", "|").split("|")
    if phrase.strip()
)
"""What Whisper writes on silence, in the words of those who found it (openai/whisper, discussion 679)."""
_CREDITS = re.compile(r"^((sub)?titles?|captions?|transcri(bed|ption)|translat(ed|ions?)) (by|from)\b|\bamara\.org\b")
_NOISES = re.compile(r"\[[^\]]*\]|♪[^♪]*♪|[♩♪♫♬♭♮♯]|\*[^*]*\*|<\|[^|]*\|>")
"""What is heard but not said: `[BLANK_AUDIO]`, `*sighs*`, music."""
_PARENTHESES = re.compile(r"(\([^)]*\)[\s.]*)+")


@dataclass(frozen=True, slots=True)
class Signs:
    """What an engine tells about a text of its own; None for what it does not tell."""

    no_speech: float | None = None
    """The probability that nobody spoke, 0 to 1."""
    logprob: float | None = None
    """The mean of the natural logarithms of its tokens' probabilities."""


def tidy(text: str) -> str:
    """`text` on one line, without what is no word; the words stay as they are."""
    text = unicodedata.normalize("NFC", _NOISES.sub(" ", text))
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return "" if _PARENTHESES.fullmatch(text) or not any(c.isalnum() for c in text) else text


def unheard(utterance: Utterance) -> str | None:
    """Why an engine need not be asked about an utterance; None if it must be."""
    if utterance.seconds < SHORTEST_SECONDS:
        return "short"
    if utterance.level < QUIETEST_DBFS:
        return "silence"
    if utterance.speech < LEAST_SPEECH:
        return "no_speech"
    return None


def refusal(text: str, utterance: Utterance, signs: Signs = Signs(), prompt: str = "") -> str | None:
    """Why a tidy `text` is not what was said; None if it may be.

    `prompt` is what the engine was told beforehand: it may read from that instead of hearing.
    """
    if not text:
        return "no_words"
    no_speech, logprob = signs.no_speech or 0.0, 0.0 if signs.logprob is None else signs.logprob
    if no_speech > NO_SPEECH and logprob < LOW_LOGPROB:
        return "no_speech"
    if logprob < LOWEST_LOGPROB:
        return "unlikely"
    if compression(text) > MOST_COMPRESSION or repeats(text) > MOST_REPEATS:
        return "repetition"
    if len(text) > MOST_CHARACTERS_A_SECOND * (utterance.seconds * utterance.speech + SLACK_SECONDS):
        return "too_fast"
    if weak(utterance, signs):
        plain = _plain(text)
        if plain in SUBTITLES or _CREDITS.search(text.lower()):
            return "subtitle"
        if f" {plain} " in f" {_plain(prompt)} ":
            return "prompt"
    return None


def weak(utterance: Utterance, signs: Signs) -> bool:
    """Whether there is little to say that anybody spoke."""
    return (
        (signs.no_speech or 0.0) > WEAK_NO_SPEECH
        or (signs.logprob or 0.0) < WEAK_LOGPROB
        or utterance.level < WEAK_DBFS
        or utterance.speech < WEAK_SPEECH
    )


def compression(text: str) -> float:
    """How many times zlib makes a text smaller; what repeats itself compresses well."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def repeats(text: str) -> int:
    """How often in a row the words that repeat most do so; at least 1."""
    words, most = _plain(text).split(), 1
    for size in range(1, len(words) // 2 + 1):
        run = 0  # words in a row that are the same as those `size` before
        for place in range(size, len(words)):
            run = run + 1 if words[place] == words[place - size] else 0
            most = max(most, run // size + 1)
    return most


def _plain(text: str) -> str:
    """Lower case, words and apostrophes alone."""
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("’", "'")))
