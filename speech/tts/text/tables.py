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

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

MONTHS = ("January February March April May June July August September October November December").split()

TITLES: dict[str, str] = {
    "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Prof": "professor", "Rev": "reverend", "Hon": "honorable",
    "Capt": "captain", "Col": "colonel", "Gen": "general", "Lt": "lieutenant", "Sgt": "sergeant", "Gov": "governor",
    "Sen": "senator", "Rep": "representative", "Pres": "president", "Mt": "mount", "Ft": "fort",
}  # fmt: skip
"""Abbreviations that stand before a name, without their period."""

ABBREVIATIONS: dict[str, str] = {
    "Jr": "junior", "Sr": "senior", "Ave": "avenue", "Blvd": "boulevard", "Rd": "road", "Hwy": "highway",
    "Ln": "lane", "Pkwy": "parkway",
    "Inc": "incorporated", "Ltd": "limited", "Corp": "corporation", "Co": "company", "Bros": "brothers",
    "Dept": "department", "Univ": "university", "Assn": "association", "vs": "versus", "etc": "et cetera",
    "approx": "approximately", "Fig": "figure", "fig": "figure", "Figs": "figures", "figs": "figures", "Eq": "equation",
    "Vol": "volume", "vol": "volume", "dept": "department", "avg": "average", "min": "minimum", "max": "maximum",
    "eds": "editors", "cf": "compare", "tel": "telephone", "Tel": "telephone", "ext": "extension",
    "misc": "miscellaneous", "al": "al", "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday",
    "Thu": "Thursday", "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday",
    **{name[:3]: name for name in MONTHS if name not in {"March", "May"}}, "Sept": "September",
}  # fmt: skip
"""Abbreviations that may also end a sentence, without their period."""

DOTTED: dict[str, str] = {
    "e.g.": "for example", "i.e.": "that is", "a.m.": "A M", "p.m.": "P M", "A.M.": "A M", "P.M.": "P M",
    "Ph.D.": "P H D", "a.k.a.": "also known as", "w/o": "without", "w/": "with", "c/o": "care of",
    "b/c": "because", "R.S.V.P.": "R S V P",
}  # fmt: skip

COUNTED: dict[str, str] = {
    "No.": "number", "no.": "number", "Nº": "number", "nº": "number", "N°": "number", "n°": "number", "№": "number",
    "Nos.": "numbers", "#": "number", "p.": "page", "pp.": "pages",
    "§": "section", "ch.": "chapter", "Ch.": "chapter", "Sec.": "section", "sec.": "section",
    "ver.": "version", "Ver.": "version", "Rev.": "revision", "approx": "approximately", "Apt": "apartment",
    "Apt.": "apartment", "Ste": "suite", "Ste.": "suite",
}  # fmt: skip
"""Signs that mean this only before a number."""

UNITS: dict[str, tuple[str, str]] = {
    unit.replace("_", " "): (one, many or one + "s")
    for units, one, many in (
        ("km", "kilometer", ""), ("m", "meter", ""), ("cm", "centimeter", ""), ("mm", "millimeter", ""),
        ("μm um", "micrometer", ""), ("nm", "nanometer", ""), ("mi", "mile", ""), ("ft", "foot", "feet"),
        ("in", "inch", "inches"),
        ("yd yds", "yard", ""), ("kg", "kilogram", ""), ("g", "gram", ""), ("mg", "milligram", ""),
        ("μg mcg", "microgram", ""), ("lb lbs", "pound", ""), ("oz", "ounce", ""), ("fl_oz", "fluid ounce", ""),
        ("l L", "liter", ""),
        ("ml mL", "milliliter", ""), ("μl μL", "microliter", ""),
        ("dl dL", "deciliter", ""), ("cl cL", "centiliter", ""), ("tsp", "teaspoon", ""),
        ("tbsp Tbsp", "tablespoon", ""),
        ("qt qts", "quart", ""), ("gal", "gallon", ""), ("cc", "C C", "C C"), ("ha", "hectare", ""),
        ("mol", "mole", ""), ("mmol", "millimole", ""), ("μmol", "micromole", ""),
        ("h hr hrs", "hour", ""), ("min mins", "minute", ""), ("s sec secs", "second", ""),
        ("wk wks", "week", ""), ("mo mos", "month", ""), ("yr yrs", "year", ""),
        ("ms", "millisecond", ""), ("μs us", "microsecond", ""), ("ns", "nanosecond", ""),
        ("Hz", "hertz", "hertz"), ("kHz", "kilohertz", "kilohertz"), ("MHz", "megahertz", "megahertz"),
        ("GHz", "gigahertz", "gigahertz"), ("dB", "decibel", ""), ("V", "volt", ""), ("mV", "millivolt", ""),
        ("W", "watt", ""), ("kW", "kilowatt", ""), ("MW", "megawatt", ""), ("GW", "gigawatt", ""),
        ("Wh", "watt hour", ""), ("kWh", "kilowatt hour", ""), ("MWh", "megawatt hour", ""),
        ("GWh", "gigawatt hour", ""),
        ("mAh", "milliamp hour", ""), ("eV", "electron volt", ""), ("keV", "kilo electron volt", ""),
        ("MeV", "mega electron volt", ""), ("GeV", "giga electron volt", ""),
        ("A", "amp", ""), ("mA", "milliamp", ""), ("Ω", "ohm", ""), ("N", "newton", ""), ("J", "joule", ""),
        ("kJ", "kilojoule", ""), ("kcal", "kilocalorie", ""), ("cal", "calorie", ""), ("Pa", "pascal", ""),
        ("hPa", "hectopascal", ""),
        ("kPa", "kilopascal", ""), ("MPa", "megapascal", ""),
        ("mmHg", "millimeter of mercury", "millimeters of mercury"),
        ("psi", "pound per square inch", "pounds per square inch"), ("ppm", "part per million", "parts per million"),
        ("ppb", "part per billion", "parts per billion"), ("dpi", "dot per inch", "dots per inch"),
        ("px", "pixel", ""), ("MP", "megapixel", ""), ("pts", "point", ""), ("deg", "degree", ""),
        ("KiB", "kibibyte", ""), ("MiB", "mebibyte", ""), ("GiB", "gibibyte", ""), ("PB", "petabyte", ""),
        ("Mb", "megabit", ""), ("Gb", "gigabit", ""), ("bpm", "beat per minute", "beats per minute"),
        ("KB kB kb", "kilobyte", ""), ("MB mb", "megabyte", ""), ("GB gb", "gigabyte", ""),
        ("TB", "terabyte", ""), ("kbps", "kilobit per second", "kilobits per second"),
        ("Mbps", "megabit per second", "megabits per second"), ("Gbps", "gigabit per second", "gigabits per second"),
        ("mph", "mile per hour", "miles per hour"), ("mpg", "mile per gallon", "miles per gallon"),
        ("km/h kph kmh", "kilometer per hour", "kilometers per hour"),
        ("m/s", "meter per second", "meters per second"),
        ("m/s²", "meter per second squared", "meters per second squared"),
        ("rpm", "revolution per minute", "revolutions per minute"),
        ("fps", "frame per second", "frames per second"), ("sq_ft", "square foot", "square feet"),
        ("sq_m", "square meter", ""), ("sq_km", "square kilometer", ""), ("sq_mi", "square mile", ""),
        ("°C ºC", "degree Celsius", "degrees Celsius"), ("°F ºF", "degree Fahrenheit", "degrees Fahrenheit"),
        ("°", "degree", ""),
    )
    for unit in units.split()
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
    **{sign: (f"{land} dollar", f"{land} dollars", "cent", "cents") for land, signs in (
        ("Australian", "A$ AU$"), ("Canadian", "C$ CA$"), ("Hong Kong", "HK$"), ("New Zealand", "NZ$"),
        ("Singapore", "S$")) for sign in signs.split()},
    "CHF": ("Swiss franc", "Swiss francs", "centime", "centimes"),
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
    "mn": "million",
    "T": "trillion",
    "tn": "trillion",
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

CURRENCY_SIGN = "[" + "".join(sign for sign in CURRENCIES if len(sign) == 1) + "]"
"""A regular expression for the currencies of one character."""

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

PER = {
    **{unit: one for unit, (one, _) in UNITS.items() if unit not in set("AVWNJ")},
    **{
        one: one
        for one in "second minute hour day night week month quarter year person user head share item unit".split()
    },
}
"""What stands behind the slash of a rate: "$10/hr", "5/day"."""

STATES = {
    code: name.replace("_", " ")
    for code, name in zip(
        "AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV OH OK OR PA TN TX UT VT "
        "VA WA WI WY DC NH NJ NM NY NC ND RI SC SD WV".split(),
        "Alabama Alaska Arizona Arkansas California Colorado Connecticut Delaware Florida Georgia Hawaii Idaho "
        "Illinois Indiana Iowa Kansas Kentucky Louisiana Maine Maryland Massachusetts Michigan Minnesota Mississippi "
        "Missouri Montana Nebraska Nevada Ohio Oklahoma Oregon Pennsylvania Tennessee Texas Utah Vermont Virginia "
        "Washington Wisconsin Wyoming D_C New_Hampshire New_Jersey New_Mexico New_York North_Carolina North_Dakota "
        "Rhode_Island South_Carolina South_Dakota West_Virginia".split(),
        strict=True,
    )
}
"""States of the USA by their postal codes."""

SCRIPTURES = (
    "Genesis Exodus Leviticus Numbers Deuteronomy Joshua Judges Ruth Samuel Kings Chronicles Ezra Nehemiah Esther Job "
    "Psalm Psalms Ps Proverbs Ecclesiastes Isaiah Jeremiah Lamentations Ezekiel Daniel Hosea Joel Amos Obadiah Jonah "
    "Micah Nahum Habakkuk Zephaniah Haggai Zechariah Malachi Matthew Mark Luke John Acts Romans Corinthians Galatians "
    "Ephesians Philippians Colossians Thessalonians Timothy Titus Philemon Hebrews James Peter Jude Revelation Surah "
    "Quran Verse verse"
).split()
"""Books in which two numbers with a colon are chapter and verse."""
