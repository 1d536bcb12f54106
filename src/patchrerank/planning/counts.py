"""Large numbers as people write them: 100M, 2.5k, 1_000_000."""

from __future__ import annotations

import re

from patchrerank.errors import SettingError

SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "g": 10**9}
LARGEST = 10**13
COUNT = re.compile(r"(\d[\d_,]*(?:\.\d+)?)\s*([kmbg]?)", flags=re.I)


def parse_count(text: str) -> int:
    """Return the number that ``text`` means; k is thousand, M million, B (or G) milliard.

    Raises:
        SettingError: it is no positive whole number below 10^13.
    """
    found = COUNT.fullmatch(text.strip())
    if found is None:
        raise SettingError(f"{text!r} is no number; write 100000000, 100_000_000, 2.5k or 100M")
    digits, suffix = found[1].replace("_", "").replace(",", ""), SUFFIXES[found[2].lower()]
    whole, _, fraction = digits.partition(".")
    scaled, rest = divmod(int(whole + fraction) * suffix, int("1" + "0" * len(fraction)))
    if rest or not 0 < scaled < LARGEST:
        raise SettingError(f"{text!r} is no whole number between 1 and 10^13")
    return scaled
