# ruff: noqa: RUF001
"""What written English abbreviates: titles, units, currencies, symbols, and words that look like initialisms."""

from __future__ import annotations

STARTERS = frozenset(
    "A After Also Although An And Are As At Because Before But By Can Could Did Do Does Even For From Go Had Has Have "
    "He Her Here His How However I I'd I'll I'm I've If In Is It It's Its Let Maybe My No Now On Once One Or Our "
    "Please She Should So Some Still That That's The Their Then There These They This Those Though To Was We Well Were "
    "What When Where Which While Who Why Will With Would Yes Yet You Your".split()
)
"""Capitalised words with which a new sentence is likely to begin, after an abbreviation that may end one."""

MONTHS = ("January February March April May June July August September October November December").split()

TITLES: dict[str, str] = {
    "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Prof": "professor", "Rev": "reverend", "Hon": "honorable",
    "Capt": "captain", "Col": "colonel", "Gen": "general", "Lt": "lieutenant", "Sgt": "sergeant", "Gov": "governor",
    "Sen": "senator", "Rep": "representative", "Pres": "president", "Mt": "mount", "Ft": "fort",
}  # fmt: skip
"""Abbreviations that stand before a name, without their period."""

ABBREVIATIONS: dict[str, str] = {
    "Jr": "junior", "Sr": "senior", "Ave": "avenue", "Blvd": "boulevard", "Rd": "road", "Hwy": "highway",
    "Inc": "incorporated", "Ltd": "limited", "Corp": "corporation", "Co": "company", "Bros": "brothers",
    "Dept": "department", "Univ": "university", "Assn": "association", "vs": "versus", "etc": "et cetera",
    "approx": "approximately", "Fig": "figure", "fig": "figure", "figs": "figures", "Eq": "equation", "Vol": "volume",
    "vol": "volume", "eds": "editors", "cf": "compare", "tel": "telephone", "Tel": "telephone", "ext": "extension",
    "misc": "miscellaneous", "al": "al", "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday",
    "Thu": "Thursday", "Thurs": "Thursday", "Fri": "Friday",
    **{name[:3]: name for name in MONTHS if name not in {"March", "May"}}, "Sept": "September",
}  # fmt: skip
"""Abbreviations that may also end a sentence, without their period."""

DOTTED: dict[str, str] = {
    "e.g.": "for example", "i.e.": "that is", "a.m.": "A M", "p.m.": "P M", "A.M.": "A M", "P.M.": "P M",
    "Ph.D.": "P H D", "a.k.a.": "also known as", "w/o": "without", "w/": "with", "c/o": "care of",
    "R.S.V.P.": "R S V P",
}  # fmt: skip

COUNTED: dict[str, str] = {
    "No.": "number", "no.": "number", "Nº": "number", "nº": "number", "N°": "number", "n°": "number", "№": "number",
    "Nos.": "numbers", "#": "number", "p.": "page", "pp.": "pages",
    "§": "section", "ch.": "chapter", "Ch.": "chapter", "Sec.": "section", "sec.": "section",
}  # fmt: skip
"""Signs that mean this only before a number."""

UNITS: dict[str, tuple[str, str]] = {
    unit: (one, many or one + "s")
    for units, one, many in (
        ("km", "kilometer", ""), ("m", "meter", ""), ("cm", "centimeter", ""), ("mm", "millimeter", ""),
        ("μm um", "micrometer", ""), ("nm", "nanometer", ""), ("mi", "mile", ""), ("ft", "foot", "feet"),
        ("yd yds", "yard", ""), ("kg", "kilogram", ""), ("g", "gram", ""), ("mg", "milligram", ""),
        ("μg mcg", "microgram", ""), ("lb lbs", "pound", ""), ("oz", "ounce", ""), ("l L", "liter", ""),
        ("ml mL", "milliliter", ""), ("μl μL", "microliter", ""),
        ("gal", "gallon", ""), ("h hr hrs", "hour", ""), ("min mins", "minute", ""), ("s sec secs", "second", ""),
        ("ms", "millisecond", ""), ("μs us", "microsecond", ""), ("ns", "nanosecond", ""),
        ("Hz", "hertz", "hertz"), ("kHz", "kilohertz", "kilohertz"), ("MHz", "megahertz", "megahertz"),
        ("GHz", "gigahertz", "gigahertz"), ("dB", "decibel", ""), ("V", "volt", ""), ("mV", "millivolt", ""),
        ("W", "watt", ""), ("kW", "kilowatt", ""), ("MW", "megawatt", ""), ("kWh", "kilowatt hour", ""),
        ("A", "amp", ""), ("mA", "milliamp", ""), ("Ω", "ohm", ""), ("N", "newton", ""), ("J", "joule", ""),
        ("kJ", "kilojoule", ""), ("kcal", "kilocalorie", ""), ("Pa", "pascal", ""), ("kPa", "kilopascal", ""),
        ("KB kB", "kilobyte", ""), ("MB", "megabyte", ""), ("GB", "gigabyte", ""),
        ("TB", "terabyte", ""), ("kbps", "kilobit per second", "kilobits per second"),
        ("Mbps", "megabit per second", "megabits per second"), ("Gbps", "gigabit per second", "gigabits per second"),
        ("mph", "mile per hour", "miles per hour"), ("km/h kph kmh", "kilometer per hour", "kilometers per hour"),
        ("m/s", "meter per second", "meters per second"), ("rpm", "revolution per minute", "revolutions per minute"),
        ("fps", "frame per second", "frames per second"), ("sq ft", "square foot", "square feet"),
        ("°C ºC", "degree Celsius", "degrees Celsius"), ("°F ºF", "degree Fahrenheit", "degrees Fahrenheit"),
        ("°", "degree", ""),
    )
    for unit in (units.split() if units != "sq ft" else [units])
}  # fmt: skip

AREAS: dict[str, tuple[str, str]] = {
    unit + mark: (f"{kind} {one}", f"{kind} {many}")
    for unit, (one, many) in {unit: UNITS[unit] for unit in ("km", "m", "cm", "mm", "mi", "yd", "ft")}.items()
    for mark, kind in (("²", "square"), ("2", "square"), ("³", "cubic"), ("3", "cubic"))
}
"""Units of areas and volumes."""

UNITS |= AREAS

CURRENCIES: dict[str, tuple[str, str, str, str]] = {
    "$": ("dollar", "dollars", "cent", "cents"), "US$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"), "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"), "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "jeon", "jeon"), "₽": ("ruble", "rubles", "kopeck", "kopecks"),
    "₺": ("lira", "lira", "kurush", "kurush"), "₱": ("peso", "pesos", "centavo", "centavos"),
    "₪": ("shekel", "shekels", "agora", "agorot"), "₦": ("naira", "naira", "kobo", "kobo"),
    "฿": ("baht", "baht", "satang", "satang"),
}  # fmt: skip

SIZES = {
    "K": "thousand",
    "k": "thousand",
    "M": "million",
    "m": "million",
    "B": "billion",
    "bn": "billion",
    "T": "trillion",
}

SYMBOLS: dict[str, str] = {
    "&": "and", "@": "at", "%": "percent", "+": "plus", "=": "equals", "<": "less than", ">": "greater than",
    "≤": "less than or equal to", "≥": "greater than or equal to", "≈": "approximately", "≠": "does not equal",
    "±": "plus or minus", "×": "times", "÷": "divided by", "√": "square root of", "∛": "cube root of",
    "∞": "infinity", "°": "degrees", "‰": "per thousand", "‱": "per ten thousand", "∆": "delta", "∑": "sum of",
    "∫": "integral of", "∈": "in", "≡": "is identical to", "∝": "is proportional to", "→": "to", "⇒": "implies",
    "©": "copyright", "®": "registered", "™": "trademark", "¢": "cent", "₿": "bitcoin", "№": "number",
    **{sign: one for sign, (one, *_) in CURRENCIES.items() if len(sign) == 1},
}  # fmt: skip

GREEK_LETTER = "(?<![\u0370-\u03ff])[Α-Ωα-ω](?![\u0370-\u03ff])"
"""A regular expression for a Greek letter that stands by itself: a symbol, as in "π" and "Δx"."""

LETTERS_AND_WORDS = (
    "COVID FIFA NASA NATO NAFTA UNESCO UNICEF OPEC AIDS LASER RADAR RAM ROM PIN SIM GIF JPEG NASDAQ".split()
)
"""Initialisms that are said as words."""

SHORT_WORDS = frozenset(
    "A AN AND ARE AS AT BE BUT BY CAN DID DO FOR GET GO GOD HAD HAS HE HER HIM HIS HOW I IF IN IS IT ITS LET "
    "MAY ME MR MY NEW NO NOR NOT NOW OF OFF OH OK OLD ON ONE OR OUR OUT OWN PUT SAY SEE SHE SO THE TO TOO TWO UP "
    "USE WAS WAY WE WHO WHY YES YET YOU ALL ANY ASK BAD BIG BOX BUY CAR CUT DAY END FAR FEW FUN HOT JOB LOT LOW "
    "MAN MEN MOM DAD OUR RED RUN SET SIT SKY STOP SUN TEN TOP TRY WAR WIN WON".split()
)
"""Short words that are sometimes written in capitals for emphasis."""

REGNAL = (
    "Charles Edward Elizabeth Frederick Francis George Henry James John Louis Napoleon Nicholas Paul Philip Pius "
    "Pope Richard William Gregory Benedict Catherine Ramses"
).split()
"""Names after which a Roman numeral is a rank: "Henry VIII"."""

NUMBERED = (
    "Act Appendix Article Book Chapter Figure Grade Level Lesson Part Phase Psalm Scene Section Stage Step Super "
    "Bowl Table Title Type Unit Version Volume War Episode Season Mark Class"
).split()
"""Nouns after which a Roman numeral is a number: "Chapter IV"."""
