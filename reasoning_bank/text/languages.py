"""Which script a text is written in, and its language where the script or its smallest words tell. No model."""

import unicodedata
from collections import Counter
from dataclasses import dataclass

from reasoning_bank.text.analyser import STOP_WORDS

_READ = 400
# Unicode names begin with the script: "CYRILLIC SMALL LETTER A".
_SCRIPTS = {"CJK": "han", "HIRAGANA": "kana", "KATAKANA": "kana"}
_LANGUAGES = {
    "kana": "ja",
    "hangul": "ko",
    "han": "zh",
    "greek": "el",
    "hebrew": "he",
    "thai": "th",
    "armenian": "hy",
    "georgian": "ka",
}
_ENGLISH_SHARE = 0.15


@dataclass(frozen=True, slots=True)
class Writing:
    """How a text is written.

    Attributes:
        script: "latin", "cyrillic", "arabic", "han", "kana", "hangul" and so on; "" without letters.
        language: ISO 639-1 code where script or small words tell ("en", "ja", "zh" ...), else "".
    """

    script: str
    language: str


def writing(text: str) -> Writing:
    """The script most letters of a text's beginning belong to, and the language it gives away."""
    text = text[:_READ]
    letters = [letter for letter in text if letter.isalpha()]
    if not letters:
        return Writing("", "")
    if text.isascii():
        return Writing("latin", _latin_language(text))
    scripts = Counter(map(_script, letters))
    # Japanese mixes both, Chinese writes no kana.
    script = "kana" if scripts["kana"] * 5 > scripts["han"] > 0 else scripts.most_common(1)[0][0]
    return Writing(script, _latin_language(text) if script == "latin" else _LANGUAGES.get(script, ""))


def _script(letter: str) -> str:
    if letter.isascii():
        return "latin"
    name = unicodedata.name(letter, "").partition(" ")[0].partition("-")[0]
    return _SCRIPTS.get(name, name.lower())


def _latin_language(text: str) -> str:
    words = text.lower().split()
    return "en" if sum(word in STOP_WORDS for word in words) >= _ENGLISH_SHARE * len(words) > 0 else ""
