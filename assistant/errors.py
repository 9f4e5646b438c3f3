"""Every expected error, drawn once.

    AssistantError
    |- BadRequest            what was said or sent cannot be taken (400 / exit 2)
    |  |- TextTooLong, BlankText, Unreadable (422), Unteachable (422)
    |  |- BadInstant, BadZone, PastTime (422), TooLarge (413), TooSlow (408), BadEvent
    |  |- TooMuchSound, NothingHeard (422)
    |- Refused               not for this caller (403)
    |- NoKey                 no key, or one that is not known (401)
    |- NotLoggedIn           the daemon, reached from elsewhere, wants its login token (401 / exit 2)
    |- TooManyRequests       more than this key, or this address, may (429)
    |- TooManyReaders        too many look on at once (503)
    |- AddressTaken          it cannot listen there (exit 1)
    |- NotInstalled          a package that only some need (exit 1)
    |- NotFound              no such reminder (404 / exit 1)
    |- CannotUndo            it has rung or changed since, or is too long ago (409 / exit 1)
    |- BadWhen               not a sentence of the When language (422 / exit 2)
    |- ConfigError           config.toml, environment or .env (exit 2)
    |- ModelError            no model understands it now: missing, broken, busy or away (503 / exit 3)
    |  |- ModelMissing, Loading, Stopping, Busy, OutOfTime
    |  |- RemoteError         the model service on another machine
    |  |  |- RemoteAway, RemoteBusy, RemoteRefused, CircuitOpen
    |  |  |- WrongAnswer      ... and below it Unfaithful
    |  |- NobodyAnswers       neither the model here nor the one there
    |  |- BadManifest, IncompleteModel, CorruptModel, OtherPrompt, OtherArchitecture, ChangedModel
    |  |- NotPromoted        the evaluation speaks against it
    |  |- BadPointer         which model is in use cannot be read or written
    |- AudioError            sound cannot be had or made (exit 1)
    |  |- NoMicrophone         ... and below it NoPortAudio
    |  |- SilentMicrophone, UnreadableSound (415 / exit 2)
    |  |- Muted              the microphone is muted (409)
    |  |- SpeakerError       nothing can be said aloud
    |  |- NoWakeWord         it is not installed, not known, or its model is broken
    |- TranscriptionError    the engine that turns speech into text (503 / exit 3)
    |  |- NoTranscriber      it is not installed, or its model cannot be had
    |  |- TranscriberBusy, TranscriptionTimeout
    |- StoreError            the database (500 / exit 4)
    |  |- NewerDatabase, CorruptDatabase, LockedDatabase, DiskFull, ReadOnlyFolder, DiskFault
    |  |- AlreadyRunning     another daemon uses it
    |- NotRunning            no daemon answers (exit 5)
    |- DeliveryError         one notifier could not deliver (never ends the daemon)
    |  |- Away               ... for now: it is tried until it can
    |  |- NtfyError          the ntfy server: away, refusing, or overrun
    |- CalendarError         the owner's calendar cannot be spoken to (503; never ends the daemon)
    |  |- CalendarAway, CalendarRefused, BadCalendarObject (502)

An `AssistantError` concerns one item and is caught in one place (HTTP middleware, CLI wrapper, delivery task).
Anything else is a bug and ends the process, so that its supervisor starts it afresh.
"""


class AssistantError(Exception):
    """Base of all expected errors; `str(e)` is one sentence that says what to do.

    `code` is a stable word for programs, `status` the HTTP status and `exit_status` the one of the process.
    """

    code = "error"
    status = 500
    exit_status = 1
    retry_after: float | None = None
    """Seconds after which it may be tried again (the header `Retry-After`), where that is known."""


def kind_of(code: str) -> type[AssistantError]:
    """The error of that code, `AssistantError` for one that is not known."""
    kinds = [AssistantError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    return next((kind for kind in kinds if kind.code == code), AssistantError)


class BadRequest(AssistantError):
    code, status, exit_status = "bad_request", 400, 2


class BlankText(BadRequest):
    code = "blank"

    def __init__(self) -> None:
        super().__init__("There is nothing in this request: say what to be reminded of, and when.")


class TextTooLong(BadRequest):
    code = "too_long"

    def __init__(self, length: int, limit: int) -> None:
        self.length, self.limit = length, limit
        super().__init__(f"This request has {length} characters and the limit is {limit}: say it in fewer words.")


class Unreadable(BadRequest):
    code, status = "unreadable", 422

    def __init__(self) -> None:
        super().__init__("I could not make sense of this: say it in fewer and plainer words.")


class Unteachable(BadRequest):
    code, status = "unteachable", 422


class BadInstant(BadRequest):
    code = "bad_instant"

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f'"{text[:40]}" is not an instant: write it as 2026-03-12T14:30, with or without an offset.')


class BadZone(BadRequest):
    code = "bad_zone"


class PastTime(BadRequest):
    code, status = "past", 422

    def __init__(self, passed: str) -> None:
        self.passed = passed
        super().__init__(f"{passed}: say another time.")


class TooLarge(BadRequest):
    code, status = "too_large", 413


class TooSlow(BadRequest):
    code, status = "too_slow", 408


class TooMuchSound(BadRequest):
    code, status = "too_much_sound", 422

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"A recording may last {limit} seconds: say one thing, in fewer words.")


class NothingHeard(BadRequest):
    code, status = "nothing_heard", 422

    def __init__(self) -> None:
        super().__init__("No words could be heard in this recording: say it again, nearer to the microphone.")


class BadEvent(BadRequest):
    code = "bad_event"

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(f"This is no event of the Wyoming protocol ({detail}): check what sends it.")


class Refused(AssistantError):
    code, status = "refused", 403


class NoKey(AssistantError):
    code, status = "no_key", 401

    def __init__(self) -> None:
        super().__init__("This service wants a key that it knows: send `Authorization: Bearer KEY`.")


class NotLoggedIn(AssistantError):
    code, status, exit_status = "not_logged_in", 401, 2

    def __init__(self) -> None:
        super().__init__(
            "This assistant wants its login token: open the address that `assistant address` shows, "
            "or send `Authorization: Bearer TOKEN`."
        )


class TooManyRequests(AssistantError):
    code, status = "too_many_requests", 429

    def __init__(self, retry_after: float, why: str = "This key has made too many requests") -> None:
        self.retry_after = retry_after
        super().__init__(f"{why}: try again in {retry_after:.0f} seconds.")


class TooManyReaders(AssistantError):
    code, status, retry_after = "too_many_readers", 503, 5.0

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} pages and programs look on already: close one of them.")


class AddressTaken(AssistantError):
    code = "address_taken"


class NotInstalled(AssistantError):
    code = "not_installed"


class NotFound(AssistantError):
    code, status, exit_status = "not_found", 404, 1


class CannotUndo(AssistantError):
    code, status, exit_status = "cannot_undo", 409, 1


class BadWhen(AssistantError):
    code, status, exit_status = "bad_when", 422, 2

    def __init__(self, when: str) -> None:
        self.when = when
        super().__init__(f'"{when[:80]}" is not a time that I know: try "tomorrow 17:00" or "every thursday 07:00".')


class ConfigError(AssistantError):
    code, exit_status = "config", 2


class ModelError(AssistantError):
    code, status, exit_status = "model", 503, 3


class ModelMissing(ModelError):
    code = "model_missing"

    def __init__(self, path: object) -> None:
        self.path = path
        super().__init__(f"There is no model at {path}: restore the models folder, or set [model] path in config.toml.")


class Loading(ModelError):
    code = "loading"

    def __init__(self) -> None:
        super().__init__("The model is being loaded: try again in a moment.")

    retry_after = 1.0


class Stopping(ModelError):
    code = "stopping"

    def __init__(self) -> None:
        super().__init__("The service is about to stop: try again in a moment.")

    retry_after = 1.0


class Busy(ModelError):
    code = "busy"

    def __init__(self) -> None:
        super().__init__("Too many requests are waiting for the model: try again in a moment.")

    retry_after = 1.0


class OutOfTime(ModelError):
    code = "out_of_time"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"The model had no answer within {seconds:g} seconds: try again, or give it more time.")

    retry_after = 1.0


class RemoteError(ModelError):
    """`reason` is a stable word for a metric."""

    code, reason = "remote", "error"


class RemoteAway(RemoteError):
    """No connection, no answer in time, or a server error."""

    code, reason = "remote_away", "away"

    def __init__(self, url: str, detail: str, advice: str = "see whether it runs") -> None:
        self.url, self.detail, self.advice = url, detail, advice
        super().__init__(f"The model service at {url} does not answer ({detail}): {advice}.")


class RemoteBusy(RemoteError):
    """It said that it has too much to do (429 or 503); `retry_after` as it said."""

    code, reason = "remote_busy", "busy"

    def __init__(self, url: str, retry_after: float | None = None) -> None:
        self.url, self.retry_after = url, retry_after
        super().__init__(f"The model service at {url} has too much to do: try again in a moment.")


class RemoteRefused(RemoteError):
    """It will not serve this client: 401, 403 and other 4xx."""

    code, reason = "remote_refused", "refused"

    def __init__(self, url: str, status: int) -> None:
        self.url, self.found = url, status
        super().__init__(f"The model service at {url} refuses us (HTTP {status}): check [remote] url and key.")


class WrongAnswer(RemoteError):
    """What it answered is no rewrite of the request."""

    code, reason = "wrong_answer", "wrong"

    def __init__(self, url: str, detail: str) -> None:
        self.url, self.detail = url, detail
        super().__init__(f"The model service at {url} gives answers of no use ({detail}): check [remote] url and api.")


class Unfaithful(WrongAnswer):
    """A rewrite, but not of this request: its model is not held to what was said, and would write the same again."""


class CircuitOpen(RemoteError):
    """It has failed several times; it is left alone for a while."""

    code, reason = "circuit_open", "open"

    def __init__(self, url: str, retry_after: float) -> None:
        self.url, self.retry_after = url, retry_after
        super().__init__(f"The model service at {url} has failed: it is tried again in {retry_after:.0f} seconds.")


class NobodyAnswers(ModelError):
    code = "nobody_answers"

    def __init__(self, why: tuple[str, ...]) -> None:
        self.why = why
        super().__init__(f"No model answers: {' '.join(why)}")


class BadManifest(ModelError):
    code = "bad_manifest"

    def __init__(self, name: str, detail: str) -> None:
        self.name, self.detail = name, detail
        super().__init__(f"The model {name} has no proper manifest.json ({detail}): copy its whole folder again.")


class IncompleteModel(ModelError):
    code = "incomplete_model"

    def __init__(self, name: str, file: str, found: int, bytes: int) -> None:
        self.name, self.file, self.found, self.bytes = name, file, found, bytes
        super().__init__(f"The model {name} is not complete ({file} has {found} of {bytes} bytes): copy it again.")


class CorruptModel(ModelError):
    code = "corrupt_model"

    def __init__(self, name: str, detail: str) -> None:
        self.name, self.detail = name, detail
        super().__init__(f"The model {name} is damaged ({detail}): copy or export it again.")


class OtherPrompt(ModelError):
    code = "other_prompt"

    def __init__(self, name: str, found: object, known: int) -> None:
        self.name, self.found, self.known = name, found, known
        super().__init__(
            f"The model {name} was trained for version {found} of the prompt and this program has version {known}: "
            "train it for this one, or use the program that it was made for."
        )


class OtherArchitecture(ModelError):
    code = "other_architecture"

    def __init__(self, name: str, found: str, expected: object) -> None:
        self.name, self.found, self.expected = name, found, expected
        super().__init__(
            f"The file of the model {name} has the architecture {found} and its manifest says {expected}: "
            "put the file there that belongs to this manifest."
        )


class ChangedModel(ModelError):
    code = "changed_model"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"The model {name} is no longer the one that was promoted: promote it again, or another.")


class NotPromoted(ModelError):
    code = "not_promoted"

    def __init__(self, name: str, objection: str) -> None:
        self.name, self.objection = name, objection
        super().__init__(
            f"{name} is not promoted, for {objection}: "
            "evaluate it against the one in use, or give --force and a reason."
        )


class BadPointer(ModelError):
    code = "bad_pointer"

    def __init__(self, path: object, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(
            f"Which model is in use cannot be kept in {path} ({detail}): make that file readable and writable, "
            "or move it away to use the model that ships."
        )


class AudioError(AssistantError):
    code = "audio"


class NoMicrophone(AudioError):
    code, status = "no_microphone", 503

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(f"No microphone can be opened ({detail}): plug one in, or choose one of `assistant devices`.")


class NoPortAudio(NoMicrophone):
    code = "no_portaudio"

    def __init__(self) -> None:
        self.detail = "the PortAudio library is missing"
        AudioError.__init__(
            self,
            "No microphone can be opened, for the PortAudio library is missing: install it (Debian, Ubuntu: "
            "apt install libportaudio2; Fedora: dnf install portaudio), or run scripts/start again.",
        )


class SilentMicrophone(AudioError):
    code, status = "silent_microphone", 503

    def __init__(self, device: str) -> None:
        self.device = device
        super().__init__(
            f"The microphone {device} delivers silence: is it muted, is the lid closed, or the permission missing "
            "(macOS: System Settings > Privacy & Security > Microphone)?"
        )


class Muted(AudioError):
    code, status = "muted", 409

    def __init__(self) -> None:
        super().__init__("The microphone is muted: unmute it with `assistant unmute`, then say it.")


class UnreadableSound(AudioError):
    code, status, exit_status = "unreadable_sound", 415, 2

    def __init__(self, name: object, detail: str) -> None:
        self.name, self.detail = name, detail
        super().__init__(f"{name} cannot be read as sound ({detail}): give a WAV or FLAC file.")


class SpeakerError(AudioError):
    code, status = "speaker", 503


class NoWakeWord(AudioError):
    code, status = "no_wake_word", 503


class TranscriptionError(AssistantError):
    code, status, exit_status = "transcription", 503, 3


class NoTranscriber(TranscriptionError):
    code = "no_transcriber"


class TranscriberBusy(TranscriptionError):
    code = "transcriber_busy"

    def __init__(self) -> None:
        super().__init__("What was said before is still being transcribed: say it again in a moment.")

    retry_after = 1.0


class TranscriptionTimeout(TranscriptionError):
    code = "transcription_timeout"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"There was no transcript within {seconds:g} seconds: "
            "choose a smaller [stt] model, or give it more time ([stt] timeout_seconds)."
        )


class StoreError(AssistantError):
    code, exit_status = "store", 4


class NewerDatabase(StoreError):
    code = "newer_database"

    def __init__(self, path: object, found: int, known: int) -> None:
        self.path, self.found, self.known = path, found, known
        super().__init__(
            f"The database {path} has version {found} and this program knows versions up to {known}: "
            "update the program, or give another folder with --data."
        )


class CorruptDatabase(StoreError):
    code = "corrupt_database"

    def __init__(self, path: object, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(
            f"The database {path} is damaged ({detail}): put a backup in its place, or move it away to begin anew; "
            "`sqlite3 FILE .recover` may save what it holds."
        )


class LockedDatabase(StoreError):
    code, status = "locked_database", 503

    def __init__(self, path: object) -> None:
        self.path = path
        super().__init__(f"Another program holds the database {path} locked: close it and try again.")


class DiskFull(StoreError):
    code, status = "disk_full", 507

    def __init__(self, path: object) -> None:
        self.path = path
        super().__init__(f"The disk of {path} is full: free some space and try again; nothing was changed.")


class ReadOnlyFolder(StoreError):
    code = "read_only"

    def __init__(self, path: object, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(
            f"The database {path} cannot be written ({detail}): make its folder writable, or give another with --data."
        )


class DiskFault(StoreError):
    code = "disk_fault"

    def __init__(self, path: object, detail: str) -> None:
        self.path, self.detail = path, detail
        super().__init__(f"The disk fails to read or write {path} ({detail}): check the disk and its connection.")


class AlreadyRunning(StoreError):
    code, status = "already_running", 409

    def __init__(self, path: object, process: str) -> None:
        self.path, self.process = path, process
        super().__init__(
            f"A daemon {f'(process {process}) ' if process else ''}already uses {path}: "
            "talk to that one, stop it first, or give another folder with --data."
        )


class NotRunning(AssistantError):
    code, status, exit_status = "not_running", 503, 5


class DeliveryError(AssistantError):
    code = "delivery"


class Away(DeliveryError):
    """Whoever would take it is away, which says nothing against it: it is tried again until there is somebody."""

    code, status = "away", 503


class NtfyError(DeliveryError):
    """`found` is the HTTP status, None where there was no answer."""

    code, status = "ntfy", 502

    def __init__(self, url: str, detail: str, advice: str, found: int | None = None, undone: bool = False) -> None:
        self.url, self.detail, self.found = url, detail, found
        self.undone = undone or (found is not None and found < 500)
        """It has certainly done nothing of what it was asked."""
        super().__init__(f"The ntfy server {url} {detail}: {advice}.")


class CalendarError(AssistantError):
    code, status = "calendar", 503


class CalendarAway(CalendarError):
    """It does not answer, or answers that it cannot now."""

    code = "calendar_away"


class CalendarRefused(CalendarError):
    """It answers, and does not let us: a person has to do something."""

    code = "calendar_refused"


class BadCalendarObject(CalendarError):
    code, status = "bad_calendar_object", 502

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"An object of the calendar is left alone, as {why}: change it there.")
