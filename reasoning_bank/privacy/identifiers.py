"""Is a number really a card, an account, a telephone number or a person's official number? By form and check digit.

What has no check digit and no strict form is not looked for: a bare number of nine digits may be anything.
"""

import re
from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Final

from reasoning_bank.privacy.candidates import Candidate

_SEPARATORS: Final = re.compile(r"[ ./()-]")


def email(candidate: Candidate) -> bool:
    """True for a person's address: neither `git@host` nor a file name such as `icon@2x.png`."""
    user, _, host = candidate.value.partition("@")
    return user.lower() not in _PROGRAMS and not _FILE_ENDINGS.fullmatch(host.rpartition(".")[2].lower())


def phone(candidate: Candidate) -> bool:
    """True for 7 to 15 digits (E.164) that begin, after a plus sign, with a country's code."""
    value, digits = candidate.value, _bare(candidate.value).lstrip("+")
    if not 7 <= len(digits) <= 15 or len(set(digits)) <= 2:
        return False
    if not value.startswith("+"):
        return candidate.style != "shape" or candidate.preceding not in _JOINTS
    # A line added by a patch, or a sum, is no call abroad; nor is a date.
    is_called = not (candidate.preceding.isalnum() or candidate.preceding == ")") and not _DATE.match(value)
    return is_called and len(digits) >= 9 and bool(_COUNTRY_CODE.match(digits))


def iban(candidate: Candidate) -> bool:
    """True where the remainder of ISO 13616 is 1; the pattern has the length of each country."""
    value = _bare(candidate.value)
    return int("".join(str(int(character, 36)) for character in value[4:] + value[:4])) % 97 == 1


def card(candidate: Candidate) -> bool:
    """True for the prefixes and lengths of issuers (ISO/IEC 7812) with Luhn's check digit, no decimals."""
    value = _bare(candidate.value)
    return (
        candidate.preceding not in _JOINTS - {"-", "/"}
        and bool(_ISSUER.fullmatch(value))
        and len(set(value)) > 1
        and _luhn(value)
    )


def us_ssn(candidate: Candidate) -> bool:
    """True for a number that was or may be given out (no 000, 666 or 9xx area, no 00 group, no 0000 serial)."""
    area, group, serial = candidate.value.split("-")
    given_out = area not in {"000", "666"} and area < "900" and group != "00" and serial != "0000"
    return given_out and not _within_number(candidate)


def es_dni(candidate: Candidate) -> bool:
    """True where the letter is that of the remainder by 23 (DNI and NIE)."""
    value = candidate.value.replace("-", "")
    number = str("XYZ".find(value[0])) + value[1:-1] if value[0] in "XYZ" else value[:-1]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == value[-1]


def it_codice_fiscale(candidate: Candidate) -> bool:
    """True where the last letter is the sum by the table of odd and even places (decree of 23 December 1976)."""
    value = candidate.value
    even = (int(c) if c.isdigit() else ord(c) - ord("A") for c in value[1:15:2])
    odd = (_ODD[int(c) if c.isdigit() else ord(c) - ord("A")] for c in value[0:15:2])
    return chr(ord("A") + (sum(even) + sum(odd)) % 26) == value[15]


def fr_nir(candidate: Candidate) -> bool:
    """True where the key is 97 minus the remainder by 97; Corsican departments count as 19 and 18."""
    value = _bare(candidate.value)
    body = value[:-2].replace("2A", "19", 1).replace("2B", "18", 1)
    return body.isdigit() and 97 - int(body) % 97 == int(value[-2:])


def pl_pesel(candidate: Candidate) -> bool:
    """True for a day that exists and the check digit by the weights 1, 3, 7, 9."""
    value = candidate.value
    month, day = int(value[2:4]) % 20, int(value[4:6])
    weighted = sum(int(digit) * weight for digit, weight in zip(value[:10], cycle((1, 3, 7, 9)), strict=False))
    exists = 1 <= month <= 12 and 1 <= day <= 31
    return exists and not _within_number(candidate) and (10 - weighted % 10) % 10 == int(value[10])


def de_tax_id(candidate: Candidate) -> bool:
    """True where one digit of the first ten comes two or three times and the last is the check digit of ISO 7064."""
    value = _bare(candidate.value)
    most = max(value[:10].count(digit) for digit in value[:10])
    product = 10
    for digit in value[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return value[0] != "0" and most in {2, 3} and (11 - product) % 10 == int(value[10])


def nl_bsn(candidate: Candidate) -> bool:
    """True where the sum with the weights 9 to 2 and -1 is a multiple of 11."""
    value = _bare(candidate.value)
    weighted = sum(int(digit) * weight for digit, weight in zip(value, (9, 8, 7, 6, 5, 4, 3, 2, -1), strict=True))
    return len(set(value)) > 1 and weighted % 11 == 0


def br_cpf(candidate: Candidate) -> bool:
    """True where both check digits are right and not all digits are the same."""
    value = _bare(candidate.value)
    return len(set(value)) > 1 and all(_cpf_digit(value[:length]) == int(value[length]) for length in (9, 10))


GATES: Final[Mapping[str, Callable[[Candidate], bool]]] = {
    "email": email,
    "phone": phone,
    "iban": iban,
    "card": card,
    "us-ssn": us_ssn,
    "es-dni": es_dni,
    "it-codice-fiscale": it_codice_fiscale,
    "fr-nir": fr_nir,
    "pl-pesel": pl_pesel,
    "de-tax-id": de_tax_id,
    "nl-bsn": nl_bsn,
    "br-cpf": br_cpf,
}
"""The gates by the names that rules use."""


_PROGRAMS: Final = frozenset({"git", "hg", "svn", "root", "ssh", "npm"})
_FILE_ENDINGS: Final = re.compile(
    "png|jpe?g|gif|webp|svg|ico|[cm]?[jt]sx?|s?css|py|rb|rs|go|java|json|md|html|txt|ya?ml|toml|lock|whl|zip|t?gz|jar"
    "|local|localhost|internal|invalid"
)
_JOINTS: Final = frozenset("-./_+")
_DATE: Final = re.compile(r"\+(?:19|20)\d\d[-./]\d\d[-./]\d\d")
# Every code of ITU-T E.164.
_COUNTRY_CODE: Final = re.compile(
    r"1|7|20|21[12368]|22\d|23\d|24\d|25[0-8]|26\d|27|29[01789]|3[0-469]|35\d|37[0-8]|38[0-35-79]|4[013-9]|42[013]|50\d"
    r"|5[1-8]|59\d|6[0-6]|67[02-9]|68[0-35-9]|69[0-2]|8[12346]|80[08]|85[02356]|88[0126]|9[0-58]|96[0-8]|97[0-79]|99[2-68]"
)
_ISSUER: Final = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)
_ODD: Final = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _bare(value: str) -> str:
    return _SEPARATORS.sub("", value)


def _within_number(candidate: Candidate) -> bool:
    return candidate.preceding in _JOINTS or candidate.following in _JOINTS - {"."}


def _luhn(digits: str) -> bool:
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _cpf_digit(digits: str) -> int:
    weighted = sum(int(digit) * weight for digit, weight in zip(digits, range(len(digits) + 1, 1, -1), strict=True))
    return weighted * 10 % 11 % 10
