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


def _3_calendar(db: Database) -> None:
    for statement in (
        # The calendar side of each reminder. dirty: it has changed since `calendar_entries.py` last looked; until then
        # there is no uid. sequence, changed_at and content are of its last change that a calendar would see; pushed is
        # the sequence that the owner's calendar has. hidden: it is nobody's object, as a snoozed occurrence.
        # A snooze is no change to a calendar: snoozed marks that one is under way in this transaction, kept_* is the
        # time that the calendar goes on showing.
        """CREATE TABLE calendar_entries (
            reminder_id INTEGER PRIMARY KEY NOT NULL REFERENCES reminders (id) ON DELETE CASCADE,
            uid TEXT UNIQUE,
            kind TEXT CHECK (kind IN ('event', 'todo')), sequence INTEGER NOT NULL DEFAULT 0, changed_at TEXT,
            content TEXT, pushed INTEGER, dirty INTEGER NOT NULL DEFAULT 1, hidden INTEGER NOT NULL DEFAULT 0,
            snoozed INTEGER NOT NULL DEFAULT 0, kept_wall TEXT, kept_fold INTEGER, kept_zone TEXT)""",
        "CREATE INDEX calendar_entries_dirty ON calendar_entries (reminder_id) WHERE dirty",
        "CREATE INDEX calendar_entries_events ON calendar_entries (reminder_id) WHERE kind = 'event'",
        "CREATE INDEX calendar_entries_to_push ON calendar_entries (reminder_id) WHERE pushed IS NOT sequence",
        # Objects of the owner's calendar as they were last seen there; uid is null for one that is none of ours.
        """CREATE TABLE calendar_objects (
            href TEXT PRIMARY KEY NOT NULL, etag TEXT, uid TEXT, ics TEXT)""",
        "CREATE INDEX calendar_objects_uid ON calendar_objects (uid) WHERE uid IS NOT NULL",
        # One row: whose installation this is, and how far it has read which calendar. own: this program made it.
        """CREATE TABLE calendar_state (
            id INTEGER PRIMARY KEY CHECK (id = 1), installation TEXT NOT NULL, collection TEXT, own INTEGER,
            token TEXT)""",
        "INSERT INTO calendar_state (id, installation) VALUES (1, lower(hex(randomblob(8))))",
        "INSERT INTO calendar_entries (reminder_id) SELECT id FROM reminders WHERE state IN ('pending', 'fired')",
        """CREATE TRIGGER calendar_made AFTER INSERT ON reminders BEGIN
            INSERT INTO calendar_entries (reminder_id, hidden) VALUES (NEW.id, coalesce(
                (SELECT snoozed FROM calendar_entries WHERE reminder_id = NEW.parent_id), 0));
            UPDATE calendar_entries SET snoozed = 0 WHERE reminder_id = NEW.parent_id;
        END""",
        """CREATE TRIGGER calendar_snoozed AFTER UPDATE OF state ON deliveries
            WHEN NEW.state = 'snoozed' AND OLD.state <> 'snoozed' BEGIN
            UPDATE calendar_entries SET snoozed = 1 WHERE reminder_id = NEW.reminder_id;
        END""",
        """CREATE TRIGGER calendar_changed AFTER UPDATE OF task, wall, fold, zone, rrule, due, state ON reminders BEGIN
            INSERT OR IGNORE INTO calendar_entries (reminder_id) VALUES (NEW.id);
            UPDATE calendar_entries SET dirty = 1,
                kept_wall = CASE WHEN snoozed THEN coalesce(kept_wall, OLD.wall) END,
                kept_fold = CASE WHEN snoozed THEN coalesce(kept_fold, OLD.fold) END,
                kept_zone = CASE WHEN snoozed THEN coalesce(kept_zone, OLD.zone) END
            WHERE reminder_id = NEW.id AND NEW.rrule IS NULL
                AND (NEW.wall <> OLD.wall OR NEW.fold <> OLD.fold OR NEW.zone <> OLD.zone);
            UPDATE calendar_entries SET dirty = 1, snoozed = CASE WHEN NEW.rrule IS NULL THEN 0 ELSE snoozed END
            WHERE reminder_id = NEW.id;
        END""",
        """CREATE TRIGGER calendar_parted AFTER UPDATE OF parent_id ON reminders WHEN NEW.parent_id IS NULL BEGIN
            UPDATE calendar_entries SET hidden = 0, dirty = 1 WHERE reminder_id = NEW.id;
        END""",
    ):
        db.execute(statement)


def _4_insist(db: Database) -> None:
    for statement in (
        # even_at_night: it makes a sound in quiet hours as well. told: of what was missed, that the person was told.
        "ALTER TABLE reminders ADD COLUMN even_at_night INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE deliveries ADD COLUMN told INTEGER NOT NULL DEFAULT 0",
        "UPDATE deliveries SET told = 1 WHERE state = 'missed'",
        "CREATE INDEX deliveries_untold ON deliveries (id) WHERE state = 'missed' AND told = 0",
    ):
        db.execute(statement)


def _5_phone(db: Database) -> None:
    for statement in (
        # What a service rings in this machine's place, should it sleep: `copies.py`. `sending`: it may be there or not.
        """CREATE TABLE copies (
            reminder_id INTEGER NOT NULL, due_utc TEXT NOT NULL, sequence TEXT NOT NULL, rings_at TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('sending', 'handed', 'withdrawing', 'rang')),
            PRIMARY KEY (reminder_id, due_utc))""",
        # One whose words have changed, in a calendar, is sent again in its place.
        """CREATE TRIGGER copies_renamed AFTER UPDATE OF task ON reminders WHEN NEW.task <> OLD.task BEGIN
            UPDATE copies SET state = 'sending' WHERE reminder_id = NEW.id AND state = 'handed';
        END""",
        # What the buttons of a notification may do, once each: `callbacks.py`.
        """CREATE TABLE callbacks (
            sha256 TEXT PRIMARY KEY NOT NULL, reminder_id INTEGER NOT NULL, due_utc TEXT NOT NULL,
            action TEXT NOT NULL, expires_at TEXT NOT NULL)""",
    ):
        db.execute(statement)


MIGRATIONS = [_1_remember, _2_correct, _3_calendar, _4_insist, _5_phone]


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
