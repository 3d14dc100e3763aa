"""The patterns `date_spans` reads time references with: which words name a time, and what may stand before them."""

import re

from reasoning_bank.text.analyser import STOP_WORDS

UNITS = ("minute", "hour", "day", "weekend", "week", "month", "quarter", "year")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_PARTS = {
    "unit": "|".join(UNITS),
    "weekday": "|".join(WEEKDAYS),
    "month": "january|february|march|april|may|june|july|august|september|october|november|december"
    r"|(?:jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec)\b\.?",
    "year": r"(?:19|20)\d\d",
    "ordinal": "(?:st|nd|rd|th)?",
    "number": r"\d{1,9}|an?\ couple\ of|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve",
    "which": "last|past|previous|this|next|coming",
    "part": r"(?:the\s+)?(?:(?:early|late|mid|(?:beginning|start|middle|end|rest)\s+of)[\s-]+)?",
    "to": "and|to|until|till|through|[-–—]",
}


def _pattern(text: str) -> re.Pattern[str]:
    for name, part in _PARTS.items():
        text = text.replace(f"<{name.upper()}>", part)
    return re.compile(text, re.IGNORECASE)


# What may stand before a stretch.
LIMIT = _pattern(r"\b(?P<word>since|after|before|until|till|by)\s+<PART>$")
SHIFT = _pattern(r"\b(?:(?P<count><NUMBER>)\s+)?(?P<unit><UNIT>)s?\s+(?P<way>before|after)\s+$")
BETWEEN = _pattern(r"\b(?:between|from)\s+<PART>$")
AND = _pattern(r"\s*,?\s*(?:<TO>)\s*<PART>")
WITHIN = _pattern(r"\b(?:in|over|within|during|for)\s+the\s+$")
ON = _pattern(r"\b(?:on|since|before|after|until|till|by|between|from)\s+$")
SENTENCE_START = _pattern(r"(?:^|[.!?:\n])\s*$")
WHICH_BEFORE = _pattern(r"\b(?P<which>last|this|next)\s+$")
LOOSE_BEFORE = _pattern(r"(?:\b(?:between|from|and|to|through)\s+|[-–—]\s*)<PART>$")
MONTH_BEFORE = _pattern(
    r"\b(?:in|during|throughout|since|before|after|until|till)\s+<PART>$"
    r"|\b(?:beginning|start|middle|end|rest|month|half|part|weeks?|days?)\s+of\s+$"
    r"|\b(?:early|late|mid)[\s-]+$"
)
YEAR_BEFORE = _pattern(
    r"\b(?:in|during|throughout|since|before|after|until|till|year)\s+<PART>$"
    r"|\b(?:beginning|start|middle|end|rest|half|part|summer|winter|spring|autumn|fall)\s+of\s+$"
    r"|\b(?:early|late|mid)[\s-]+$"
)
# A year stands alone or before a word that cannot be counted: "in 2000 bytes" is none.
_NOT_COUNTING = rf"(?=\s*(?:$|[,.;:?!)\-–—]|(?:{'|'.join(sorted(STOP_WORDS))})\b))"

# What names a time.
NUMERIC = _pattern(
    r"(?<![\w./:-])(?:(?P<iso><YEAR>)(?P<dash>[-/])(?P<iso_month>\d\d?)(?:(?P=dash)(?P<iso_day>\d\d?))?"
    r"|(?P<first>\d\d?)(?P<joint>[./])(?P<second>\d\d?)(?P=joint)(?P<last><YEAR>))(?!(?!T\d\d:)[\w/-]|\.\w)"
)
MONTH = _pattern(
    r"(?<![\w.])(?:(?:(?P<day_from>\d\d?)<ORDINAL>\s*(?:<TO>)\s*)?(?P<day>\d\d?)<ORDINAL>\s+(?:of\s+)?)?"
    r"\b(?P<month><MONTH>)(?:\s+(?P<day_after>\d\d?)<ORDINAL>(?![\d:%]|\.\d))?"
    r"(?:,?\s*(?:of\s+)?(?P<year><YEAR>))?(?!\w)"
)
QUARTER = _pattern(r"\bq(?P<quarter>[1-4])(?:\s+of)?\s+(?P<year><YEAR>)\b")
YEAR = _pattern(rf"(?<![\w./:-])<YEAR>(?![\w/]){_NOT_COUNTING}")
NAMED = _pattern(r"\b(?:yesterday|last\s+night|today|tonight|tomorrow)\b")
AGO = _pattern(r"\b(?P<count><NUMBER>)\s+(?P<unit><UNIT>)s?\s+ago\b")
WHICH = _pattern(
    r"\b(?P<which><WHICH>)\s+(?:(?P<count>(?:<NUMBER>|few|several))\s+)?"
    r"(?P<name>(?:<UNIT>)(?=s?\b)|<WEEKDAY>)s?(?<!last minute)\b(?!\s+(?:of|before|after)\b)"
)
WEEKDAY = _pattern(r"(?<=\bon\s)(?P<name><WEEKDAY>)\b")
