"""How well an engine hears: requests to be spoken, and the word error rate of what was heard.

The word error rate is the least number of words to put in, leave out and change that makes one text of the other, over
the number of words that were said (NIST's sclite).
"""

import re

REQUESTS = (
    "remind me to call mum tomorrow at five",
    "take the bins out every thursday at seven in the morning",
    "what are my reminders for tomorrow",
    "set an alarm for six thirty",
    "do not let me forget to buy stamps",
    "push my run back an hour",
    "snooze for ten minutes",
    "cancel my dentist appointment",
    "wake me up at half past six on friday",
    "remind me in half an hour to check on the chicken",
    "remind me on the first of every month to pay the rent",
    "i have to email the teacher about the report on friday at noon",
    "remind me every twenty minutes until six to drink some water",
    "put lunch with aunt mary in my calendar for the second of june at one",
    "remind me to water the plants every other day",
    "tell me to take my medicine at eight in the evening",
    "remind me to pick up the children from school at three",
    "i need to renew my passport next week",
    "remind me about the meeting with the bank on monday at ten",
    "set a timer for fifteen minutes",
    "remind me to feed the cat tonight",
    "delete the reminder about the car",
    "remind me to book a table for saturday evening",
    "what do i have to do on wednesday",
    "remind me to turn off the oven in ten minutes",
    "move my dinner with john to seven",
    "remind me to send the letter before noon",
    "can you wake me at a quarter to seven",
    "remind me to wish my brother a happy birthday on the third of may",
    "remind me to bring the umbrella tomorrow morning",
)
"""Thirty, in words, as an engine writes them that knows no digits."""


def words(text: str) -> list[str]:
    """In lower case, without punctuation."""
    return re.findall(r"[a-z0-9]+(?:'[a-z]+)*", text.lower())


def words_wrong(said: str, heard: str) -> tuple[int, int]:
    """How many words are wrong, and of how many."""
    there, here = words(said), words(heard)
    row = list(range(len(here) + 1))
    for n, word in enumerate(there, 1):
        corner, row[0] = row[0], n
        for m, other in enumerate(here, 1):
            corner, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, corner + (word != other))
    return row[-1], len(there)
