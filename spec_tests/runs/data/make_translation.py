"""Makes `translation.json`, the tables that English to German pairs are made of; for maintainers, no run needs it.

    pip install Babel==2.18.0 num2words==0.5.14
    python make_translation.py

Names of months and days and the patterns of dates are the Unicode CLDR's as Babel gives them (Unicode License v3); the
number words are what num2words says.
"""

import datetime
import json
from pathlib import Path

from babel.dates import format_date, get_day_names, get_month_names
from num2words import num2words

LANGUAGES = ("en", "de")
PHRASES = [
    ("That is good.", "Das ist gut."), ("That is bad.", "Das ist schlecht."), ("This is good.", "Dies ist gut."),
    ("That is new.", "Das ist neu."), ("The book is good.", "Das Buch ist gut."), ("Good morning.", "Guten Morgen."),
    ("Thank you.", "Danke."), ("Good night.", "Gute Nacht."), ("Where is the station?", "Wo ist der Bahnhof?"),
    ("I am hungry.", "Ich habe Hunger."), ("The house is old.", "Das Haus ist alt."), ("See you tomorrow.", "Bis morgen."),
]  # fmt: skip


def main() -> None:
    """Make the tables and check that dates put together from them are what Babel gives."""
    months = {
        language: [get_month_names("wide", locale=language)[month] for month in range(1, 13)] for language in LANGUAGES
    }
    days = {language: [get_day_names("wide", locale=language)[day] for day in range(7)] for language in LANGUAGES}
    patterns = {"en": "{day}, {month} {number}, {year}", "de": "{day}, {number}. {month} {year}"}
    for ordinal in range(datetime.date(1900, 1, 1).toordinal(), datetime.date(2100, 1, 1).toordinal(), 3):
        date = datetime.date.fromordinal(ordinal)
        for language, pattern in patterns.items():
            day, month = days[language][date.weekday()], months[language][date.month - 1]
            made = pattern.format(day=day, month=month, number=date.day, year=date.year)
            if made != format_date(date, "full", locale=language):
                raise ValueError(f"{made} should be {format_date(date, 'full', locale=language)}")
    numbers = {language: [num2words(number, lang=language) for number in range(1000)] for language in LANGUAGES}
    tables = {"months": months, "days": days, "dates": patterns, "numbers": numbers, "phrases": PHRASES}
    text = json.dumps(tables, ensure_ascii=False, indent=0)
    (Path(__file__).parent / "translation.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
