"""Days and times of day: from words to local wall time, from wall time to an instant.

*Wall time* is what a clock on the wall shows, a naive datetime; an *instant* is an aware one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from assistant.errors import BadWhen
from assistant.grammar import MONTHS, ORDINALS, WEEKDAYS
from assistant.syntax import Point

Grain = Literal["minute", "daypart", "day"]
"""What a person said: a clock time or a length of time, a part of the day, or no more than a day."""
DAY = timedelta(days=1)
LAST_YEAR = 8000
"""The longest length of time is 999 years, and the calendar ends with the year 9999."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What words about time mean to this person: the settings under [when]."""

    morning: time = time(9)
    noon: time = time(12)
    afternoon: time = time(15)
    evening: time = time(18)
    tonight: time = time(20)
    night: time = time(21)
    day: time = time(9)
    """For a date without a time."""
    waking_from: time = time(7)
    waking_until: time = time(22)
    """A time of day later than `waking_from`, and itself no longer awake."""
    next_weekday: Literal["next_week", "nearest"] = "next_week"
    """Whether "next friday" is the Friday of next week (weeks start on Monday), or simply the next one to come."""


def localise(wall: datetime, tz: ZoneInfo) -> datetime:
    """The instant at which clocks in `tz` show `wall`, as an aware datetime in `tz`.

    A wall time that a clock change leaves out is read with the offset before the change (RFC 5545), which moves it
    later by as much as the clock jumped. Of one that occurs twice it is the first, unless `wall.fold` asks for the
    second.
    """
    first, second = (wall.replace(tzinfo=tz, fold=fold) for fold in (0, 1))
    twice = first.utcoffset() > second.utcoffset()
    return (second if twice and wall.fold else first).astimezone(UTC).astimezone(tz)


@dataclass(frozen=True, slots=True)
class Here:
    """Where and when a sentence is said, and by whom."""

    now: datetime
    """Aware UTC."""
    tz: ZoneInfo
    policy: Policy

    @classmethod
    def at(cls, text: str, now: datetime, tz: ZoneInfo, policy: Policy) -> "Here":
        """For a sentence said at any aware instant. Raises `BadWhen` in a year from which it might lead out of time."""
        if now.tzinfo is None:
            raise ValueError("now must be aware")
        if not 1 < now.year <= LAST_YEAR:
            raise BadWhen(text)
        return cls(now.astimezone(UTC), tz, policy)

    @property
    def wall(self) -> datetime:
        """What the clock on the wall shows."""
        return self.now.astimezone(self.tz).replace(tzinfo=None)

    @property
    def today(self) -> date:
        return self.wall.date()

    def instant(self, wall: datetime) -> datetime:
        """As `localise`, but of a time that occurs twice the second where only that one is still to come."""
        first, second = (localise(wall.replace(fold=fold), self.tz) for fold in (0, 1))
        return second if first.astimezone(UTC) <= self.now < second.astimezone(UTC) else first

    def ahead(self, wall: datetime) -> bool:
        return self.instant(wall).astimezone(UTC) > self.now

    def resolve(self, point: Point) -> datetime:
        """The wall time that a point means: of those it may mean the first that lies ahead, else the last."""
        wall = None
        for wall in _walls(point, self):
            if self.ahead(wall):
                break
        return wall

    def first_day(self, words: tuple[str, ...]) -> date:
        """The day that a date means as a bound or to look something up: today counts, whatever the time of day."""
        day = None
        for day in days(words, self):
            if day >= self.today:
                break
        return day

    def awake(self, clock: time) -> bool:
        return self.policy.waking_from <= clock < self.policy.waking_until


def grain_of(word: str | None) -> Grain:
    """Noon and midnight are as exact as a clock time."""
    if word is None:
        return "day"
    return "minute" if word[0].isdigit() or word in ("noon", "midnight") else "daypart"


def halves(word: str) -> tuple[time, time]:
    """The two readings of an `H:MM?`, the one before noon first."""
    hour, minute = int(word[:-4]) % 12, int(word[-3:-1])
    return time(hour, minute), time(hour + 12, minute)


def clock(word: str | None, policy: Policy) -> time:
    """The time of day that a word means beside a date: of an `H:MM?` 7 to 11 in the morning, 12 to 6 after noon."""
    if word is None:
        return policy.day
    if word == "midnight":
        return time()
    if word.endswith("?"):
        before, after = halves(word)
        return before if before.hour >= 7 else after
    if word[0].isdigit():
        return time(int(word[:2]), int(word[3:]))
    return getattr(policy, word)


def at_clock(day: date, word: str | None, policy: Policy) -> datetime:
    """The wall time that a time of day means on a day; a midnight ends its day: it is 24:00."""
    return datetime.combine(day + DAY if word == "midnight" else day, clock(word, policy))


def _walls(point: Point, here: Here) -> Iterator[datetime]:
    """All wall times that a point may mean, the preferred one first."""
    word, today = point.time, here.today
    if point.date == ("tonight",):
        yield datetime.combine(today, here.policy.tonight)
        if here.wall.hour < 23:
            yield datetime.combine(today, time(here.wall.hour + 1))
    elif point.date == ("today",) and word is None:
        yield datetime.combine(today, here.policy.day)
        parts = ("noon", "afternoon", "evening", "tonight", "night")
        for wall in sorted(datetime.combine(today, getattr(here.policy, part)) for part in parts):
            if not here.ahead(wall) or here.instant(wall).astimezone(UTC) - here.now >= timedelta(minutes=15):
                yield wall
    elif not point.date:
        readings = [t for t in halves(word) if here.awake(t)] or halves(word) if word.endswith("?") else [None]
        for day in (today, today + DAY):
            for reading in readings:
                yield at_clock(day, word, here.policy) if reading is None else datetime.combine(day, reading)
    else:
        for day in days(point.date, here):
            if day == today and word and word.endswith("?"):
                for reading in sorted(halves(word), key=here.awake, reverse=True):
                    yield datetime.combine(day, reading)
            else:
                yield at_clock(day, word, here.policy)


def days(words: tuple[str, ...], here: Here) -> Iterator[date]:
    """The days that a date may mean, soonest first: one, or as many as are needed for one to lie ahead."""
    today = here.today
    monday = today - today.weekday() * DAY
    match words:
        case ("the", d):
            for month in range(4):  # of any four months in a row two have 31 days
                year, month = divmod(today.year * 12 + today.month - 1 + month, 12)
                if int(d) <= month_end(year, month + 1).day:
                    yield date(year, month + 1, int(d))
        case (d, month) if month in MONTHS:
            for year in range(today.year, today.year + 12):
                if (day := of_month(int(d), month, year)).day == int(d) or (d, month) != ("29", "february"):
                    yield day
        case (ordinal, weekday, "of", month):
            for year in (today.year, today.year + 1):
                yield nth_weekday(ordinal, weekday, month, year)
        case ("easter", *_) | ("good", "friday"):
            from dateutil.easter import easter

            shift = {"easter": 0, "friday": -2, "monday": 1}[words[-1]]
            for year in (today.year, today.year + 1):
                yield easter(year) + shift * DAY
        case ("this", "weekend"):
            yield from (monday + n * DAY for n in (5, 6) if n >= today.weekday())
        case ("next", "week"):
            yield monday + 7 * DAY
        case ("next", "month"):
            yield month_end(today.year, today.month) + DAY
        case ("end", "of", "week"):
            yield from (monday + 4 * DAY, monday + 11 * DAY)
        case ("end", "of", "month"):
            last = month_end(today.year, today.month)
            yield from (last, month_end(*_year_month(last + DAY)))
        case ("next", weekday) if here.policy.next_weekday == "next_week":
            yield monday + (7 + WEEKDAYS.index(weekday)) * DAY
        case ("next", weekday):
            yield named_day(weekday, today)
        case (weekday, "in", n, _):
            yield named_day(weekday, today) + 7 * int(n) * DAY
        case (d, month, year):
            yield _dated(of_month(int(d), month, int(year)), int(d), words, today)
        case (iso,) if iso[0].isdigit():
            year, month, d = map(int, iso.split("-"))
            yield _dated(of_month(d, MONTHS[month - 1], year), d, words, today)
        case (word,):
            yield named_day(word, today)


def _dated(day: date, said: int, words: tuple[str, ...], today: date) -> date:
    """`day`, which is the last of its month where the number said is too high for it (31 february)."""
    return named_day(" ".join(words), today) if day.day == said else day


def _year_month(day: date) -> tuple[int, int]:
    return day.year, day.month


def month_end(year: int, month: int) -> date:
    """The last day of a month."""
    return date(year + month // 12, month % 12 + 1, 1) - DAY


def of_month(d: int, month: str, year: int) -> date:
    """That day of a month, or its last day if it has fewer."""
    last = month_end(year, MONTHS.index(month) + 1)
    return last.replace(day=min(d, last.day))


def nth_weekday(ordinal: str, weekday: str, month: str, year: int) -> date:
    """The first to fourth, or the last such weekday of a month."""
    last = month_end(year, MONTHS.index(month) + 1)
    if ordinal == "last":
        return last - (last.weekday() - WEEKDAYS.index(weekday)) % 7 * DAY
    first = last.replace(day=1)
    return first + ((WEEKDAYS.index(weekday) - first.weekday()) % 7 + 7 * ORDINALS.index(ordinal)) * DAY


@lru_cache(maxsize=1024)
def named_day(phrase: str, today: date) -> date:
    """The day that dateparser reads in one of the phrases that it gets right, checked.

    They are `today`, `tomorrow`, WEEKDAY (never today), `in N days|weeks|months|years`, `D MONTH YYYY`, YYYY-MM-DD.
    The clock is left out of it: dateparser is asked for noon, where no rollover can reach it. Raises `BadWhen` rather
    than to return a day that is not the one named.
    """
    import dateparser  # late: it takes 0.15 s until it has read its first phrase

    settings = {"RELATIVE_BASE": datetime.combine(today, time(12)), "PREFER_DATES_FROM": "future"}
    got = dateparser.parse(f"{phrase} 12:00", languages=["en"], settings=settings)
    words = phrase.split()
    if got is None or got.tzinfo or got.time() != time(12):
        raise BadWhen(phrase)
    day = got.date()
    match words:
        case ["today"]:
            right = day == today
        case ["tomorrow"]:
            right = day == today + DAY
        case [weekday] if weekday in WEEKDAYS:
            right = day.weekday() == WEEKDAYS.index(weekday) and today < day <= today + 7 * DAY
        case ["in", *_]:
            right = day > today
        case [d, month, year]:
            right = (str(day.day), MONTHS[day.month - 1], str(day.year)) == (d, month, year)
        case _:
            right = day.isoformat() == phrase
    if not right:
        raise BadWhen(phrase)
    return day
