"""Write entities.json anew: names of countries, languages, currencies and scripts as CLDR has them, and who uses which.

Needs Babel 2.18 (BSD-3-Clause; `pip install babel`), which the runs themselves do not.
"""

import json
import re
from pathlib import Path

from babel import Locale, __version__
from babel.languages import get_official_languages
from babel.numbers import get_territory_currencies

NAMES_OF_A_KIND = 150
SOURCE = f"Unicode CLDR, by Babel {__version__}; Copyright 2004-2025 Unicode, Inc., Unicode License v3 (see entities.LICENSE)"


def usable(name: str, most_words: int) -> bool:
    """Whether a name is plain words, and not too many."""
    return bool(re.fullmatch(r"[A-Za-zÀ-ÿ'’ -]+", name)) and len(name.split()) <= most_words


def tables() -> dict[str, dict[str, list[str]]]:
    """Names by kind; beside each the names it is used with: a country's currencies and languages, a language's script."""
    english = Locale("en")
    countries: dict[str, list[str]] = {}
    currencies: dict[str, list[str]] = {}
    languages: dict[str, list[str]] = {}
    for code, name in sorted(english.territories.items()):
        paid_with = get_territory_currencies(code) if re.fullmatch("[A-Z]{2}", code) else []
        spoken = [english.languages.get(tag, "") for tag in get_official_languages(code, de_facto=True)]
        spoken = [language for language in spoken if usable(language, 2)]
        if not paid_with or not spoken or not usable(name, 2) or not usable(english.currencies[paid_with[0]], 3):
            continue
        currency = english.currencies[paid_with[0]]
        countries[name] = [currency, spoken[0]]
        currencies.setdefault(currency, []).append(name)
        for language in spoken:
            languages.setdefault(language, []).append(name)
    for code, name in sorted(english.languages.items()):  # those that are official nowhere
        if re.fullmatch("[a-z]{2,3}", code) and usable(name, 1):
            languages.setdefault(name, [])
    for _, name in sorted(english.currencies.items()):  # those that are paid with no longer
        if usable(name, 2):
            currencies.setdefault(name, [])
    scripts: dict[str, list[str]] = {name: [] for _, name in sorted(english.scripts.items()) if usable(name, 2)}
    kinds = {"country": countries, "language": languages, "currency": currencies, "script": scripts}
    return {kind: chosen(table) for kind, table in kinds.items()}


def chosen(table: dict[str, list[str]]) -> dict[str, list[str]]:
    """As many names as are kept of a kind, evenly from the alphabet: those that are used with others before the rest."""
    known = evenly([name for name, others in table.items() if others], NAMES_OF_A_KIND)
    rest = evenly([name for name, others in table.items() if not others], NAMES_OF_A_KIND - len(known))
    return {name: table[name] for name in sorted(known + rest)}


def evenly(names: list[str], count: int) -> list[str]:
    """`count` of the names, or all where there are fewer."""
    return names if len(names) <= count else [names[i * len(names) // count] for i in range(count)]


if __name__ == "__main__":
    text = json.dumps({"source": SOURCE, **tables()}, ensure_ascii=False, indent=1)
    Path(__file__).with_name("entities.json").write_text(text + "\n", encoding="utf-8")
