"""Every expected error, drawn once.

    AssistantError
    |- BadRequest            what was said or sent cannot be taken (400 / exit 2)
    |  |- TextTooLong, BlankText
    |- NotFound              no such reminder (404 / exit 1)
    |- BadWhen               not a sentence of the When language (422 / exit 2)
    |- ConfigError           config.toml, environment or .env (exit 2)
    |- ModelError            the rewrite model is missing, broken or busy (503 / exit 3)
    |  |- ModelMissing, Busy
    |- StoreError            the database (500 / exit 4)
    |  |- NewerDatabase, CorruptDatabase, LockedDatabase, DiskFull, ReadOnlyFolder
    |- NotRunning            no daemon answers (exit 5)
    |- DeliveryError         one notifier could not deliver (never ends the daemon)

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


class NotFound(AssistantError):
    code, status, exit_status = "not_found", 404, 1


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


class Busy(ModelError):
    code = "busy"

    def __init__(self) -> None:
        super().__init__("Too many requests are waiting for the model: try again in a moment.")


class StoreError(AssistantError):
    code, exit_status = "store", 4


class NotRunning(AssistantError):
    code, status, exit_status = "not_running", 503, 5


class DeliveryError(AssistantError):
    code = "delivery"
