"""The tables, as numbered steps from an empty file to the present; `PRAGMA user_version` counts those that were made.

A step that has been released is never edited: what changes is a new function at the end of `MIGRATIONS`.
Instants are UTC text in a fixed width (`2026-03-12T07:00:00.000000Z`), wall times the same without the Z.
"""

from pathlib import Path

from sqlite_utils import Database

from assistant.errors import NewerDatabase


def _1_remember(db: Database) -> None:
    for statement in (
        # What was said, by which channel, and what it became. settled_at is null until it was answered.
        """CREATE TABLE requests (
            id TEXT PRIMARY KEY NOT NULL, text TEXT NOT NULL, channel TEXT NOT NULL, said_at TEXT NOT NULL,
            settled_at TEXT, kind TEXT, rewrite TEXT, model TEXT, confidence REAL, ms REAL, reply TEXT,
            question INTEGER NOT NULL DEFAULT 0, error TEXT)""",
        "CREATE INDEX requests_unsettled ON requests (said_at) WHERE settled_at IS NULL",
        "CREATE INDEX requests_channel ON requests (channel, settled_at)",
        # The truth about what is to ring; due is null when nothing more will. fold: of a wall time that occurs twice
        # as the clock goes back, the second.
        """CREATE TABLE reminders (
            id INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT REFERENCES requests (id),
            parent_id INTEGER REFERENCES reminders (id), task TEXT NOT NULL, "when" TEXT NOT NULL,
            wall TEXT NOT NULL, fold INTEGER NOT NULL, zone TEXT NOT NULL, rrule TEXT, due TEXT,
            state TEXT NOT NULL CHECK (state IN ('pending', 'fired', 'done', 'missed', 'cancelled')),
            CHECK ((state = 'pending') = (due IS NOT NULL)))""",
        "CREATE INDEX reminders_due ON reminders (due, id) WHERE state = 'pending'",
        "CREATE INDEX reminders_fired ON reminders (id) WHERE state = 'fired'",
        "CREATE INDEX reminders_request ON reminders (request_id)",
        "CREATE INDEX reminders_parent ON reminders (parent_id) WHERE parent_id IS NOT NULL",
        # The outbox: an occurrence that came due. `ringing` until it is acknowledged, missed or otherwise over.
        # next_ring: when it rings again or counts as missed; null while no notifier has succeeded or all still try.
        """CREATE TABLE deliveries (
            id INTEGER PRIMARY KEY AUTOINCREMENT, reminder_id INTEGER NOT NULL REFERENCES reminders (id),
            due_utc TEXT NOT NULL, occurrences INTEGER NOT NULL, ring INTEGER NOT NULL DEFAULT 1, state TEXT NOT NULL
            CHECK (state IN ('ringing', 'done', 'snoozed', 'moved', 'cancelled', 'missed')),
            fired_at TEXT NOT NULL, rung_at TEXT, next_ring TEXT, acknowledged_at TEXT,
            UNIQUE (reminder_id, due_utc))""",
        "CREATE INDEX deliveries_ringing ON deliveries (reminder_id) WHERE state = 'ringing'",
        "CREATE INDEX deliveries_missed ON deliveries (rung_at) WHERE state = 'missed'",
        # What each notifier made of each ring. next_try is null when it will not be tried again.
        """CREATE TABLE outcomes (
            delivery_id INTEGER NOT NULL REFERENCES deliveries (id), notifier TEXT NOT NULL, ring INTEGER NOT NULL,
            tries INTEGER NOT NULL, ok INTEGER NOT NULL, error TEXT, at TEXT NOT NULL, next_try TEXT,
            UNIQUE (delivery_id, notifier, ring))""",
        "CREATE INDEX outcomes_next_try ON outcomes (notifier, next_try) WHERE next_try IS NOT NULL",
    ):
        db.execute(statement)


def _2_correct(db: Database) -> None:
    for statement in (
        # What a request should have become. text and was are copies: the request itself may not be kept. was is null
        # for one that was added by hand; at is when it came into its state.
        """CREATE TABLE corrections (
            id INTEGER PRIMARY KEY AUTOINCREMENT, request_id TEXT REFERENCES requests (id) ON DELETE SET NULL,
            text TEXT NOT NULL, was TEXT, should TEXT NOT NULL,
            why TEXT NOT NULL CHECK (why IN ('meant', 'edit', 'reworded', 'confirmed', 'added')),
            state TEXT NOT NULL CHECK (state IN ('proposed', 'accepted', 'dropped')), at TEXT NOT NULL)""",
        "CREATE UNIQUE INDEX corrections_open ON corrections (request_id) WHERE state = 'proposed'",
        "CREATE INDEX corrections_request ON corrections (request_id) WHERE request_id IS NOT NULL",
        "CREATE INDEX corrections_text ON corrections (text)",
    ):
        db.execute(statement)


MIGRATIONS = [_1_remember, _2_correct]


def migrate(db: Database, path: Path, dry: bool = False) -> None:
    """Make the steps that are missing, inside the transaction of the caller; `dry`: only look.

    Raises `NewerDatabase` for a file that has made steps which this program does not know.
    """
    made = db.execute("PRAGMA user_version").fetchone()[0]
    if made > len(MIGRATIONS):
        raise NewerDatabase(path, made, len(MIGRATIONS))
    if not dry:
        for number, step in enumerate(MIGRATIONS[made:], made + 1):
            step(db)
            db.execute(f"PRAGMA user_version = {number}")
