# ruff: noqa: RUF001
from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speech.tts.text.clean import clean
from speech.tts.text.normalise import normalise, read
from speech.tts.text.say_as import KINDS, say_as

SPOKEN = """
in 1984 | in nineteen eighty-four
1,984 people | one thousand nine hundred eighty-four people
1984 books | one thousand nine hundred eighty-four books
2000 people | two thousand people
in 2005 | in two thousand five
born in 1905 | born in nineteen oh-five
from 1990-1995 | from nineteen ninety to nineteen ninety-five
the 1990s | the nineteen nineties
'90s music | nineties music
the 1800s | the eighteen hundreds
mid-1990s | mid-nineteen nineties
$3.50 | three dollars and fifty cents
$1 | one dollar
$0.99 | ninety-nine cents
$5 million | five million dollars
€3.5bn | three point five billion euros
£1,234.56 | one thousand two hundred thirty-four pounds and fifty-six pence
$10-20 | ten to twenty dollars
5€ | five euros
20 USD | twenty dollars
50¢ | fifty cents
-$5 | minus five dollars
3.5% | three point five percent
10–20% | ten to twenty percent
10:30am | ten thirty A M
at 10:00 | at ten o'clock
14:05 | fourteen oh five
10:30:15 | ten thirty and fifteen seconds
9 p.m. we go | nine P M we go
9am–5pm | nine A M to five P M
St. John St. | saint John street.
Dr. King Dr. | doctor King drive.
123 Main St. is far | one hundred twenty-three Main street is far
Visit St. Louis | Visit saint Louis
Mr. and Mrs. Smith | mister and missus Smith
2nd | second
the 21st of May | the twenty-first of May
1/2 cup | one half cup
3/4 | three quarters
2 1/2 cups | two and a half cups
2½ cups | two and a half cups
3½ | three and a half
½ | one half
¾ cup | three quarters cup
2¼ | two and a quarter
⅞ | seven eighths
-3½ | minus three and a half
$3½ million | three and a half million dollars
1,000½ | one thousand and a half
½ km | one half kilometer
3½km | three and a half kilometers
2½–3½ miles | two and a half to three and a half miles
7½th | seven and a half th
x½ | x one half
1⁄2 cup | one half cup
6'10½" | six foot ten and a half
5 cm³ | five cubic centimeters
per m² | per square meter
in km² | in square kilometers
5㎡ | five square meters
20℃ | twenty degrees Celsius
3µg | three micrograms
10³ kg | ten cubed kilograms
5 × 10⁻³ m | five times ten to the power of minus three meters
x² + y² | X squared plus Y squared
E = mc² | E equals M C squared
2π² | two pi squared
(a)³ | a cubed
2ⁿ | two to the power of N
as shown² | as shown
H₂O | H two O
the 2ⁿᵈ | the second
№ 5 | number five
nº 5 | number five
Acme™ | Acme trademark
±5 | plus or minus five
≈5 | approximately five
<5 | less than five
3·4 | three times four
5‰ | five per thousand
€5 | five euros
¥ 500 | five hundred yen
₩500 | five hundred won
5 ₺ | five lira
10 000 | ten thousand
1 200 000 | one million two hundred thousand
soft­ly | softly
１２３ | one hundred twenty-three
①② | one two
note⑫ | note twelve
Ⅷ | eight
ⅯⅯⅩⅩⅥ | two thousand twenty-six
Chapter Ⅳ | Chapter four
Henry Ⅷ | Henry the eighth
Δx | delta x
oﬃce | office
你好。 | 你好。
24/7 | twenty-four seven
No. 5 | number five
No. I did not | No. I did not
#5 | number five
pp. 10–20 | pages ten to twenty
v2.0 | version two point zero
1.2.3 | one point two point three
AT&T | A T and T
the FBI and NASA | the F B I and NASA
two GPUs | two G P U's
the U.S. Army | the U S Army
10-20 | ten to twenty
10 - 5 | ten minus five
5 + 3 = 8 | five plus three equals eight
-5 °C | minus five degrees Celsius
60 mph | sixty miles per hour
1 km | one kilometer
10kg | ten kilograms
5 mg/ml | five milligrams per milliliter
100 m² | one hundred square meters
5'10" | five foot ten
CO2 | C O two
MP3 | M P three
COVID-19 | COVID nineteen
Chapter IV | Chapter four
World War II | World War two
Henry VIII | Henry the eighth
Louis XIV, king | Louis the fourteenth, king
2026-11-21 | November twenty-first, twenty twenty-six
21 November 2026 | November twenty-first, twenty twenty-six
November 21, 2026 | November twenty-first, twenty twenty-six
11/21/2026 | November twenty-first, twenty twenty-six
21/11/2026 | November twenty-first, twenty twenty-six
Sept. 5 | September fifth
May 5 | May fifth
I may 5 | I may five
1e6 | one times ten to the power of six
10^-6 | ten to the power of minus six
e.g. this | for example this
cats, dogs, etc. | cats, dogs, et cetera.
and/or | and or
(555) 123-4567 | five five five, one two three, four five six seven
+1 555 123 4567 | plus one, five five five, one two three, four five six seven
https://www.example.com/path | W W W dot example dot com slash path
john.doe@example.com | john dot doe at example dot com
main.py | main dot P Y
007 | zero zero seven
.5 | point five
3.14 | three point one four
1,234,567 | one million two hundred thirty-four thousand five hundred sixty-seven
1234567890123456 | one two three four five six seven eight nine zero one two three four five six
a 3-year-old | a three-year-old
~5 miles | about five miles
a < b | a less than b
vector<int> | vector int
*bold* `code` | bold code
STOP THAT NOW | STOP THAT NOW
It costs 5. OK? | It costs five. OK?
don't | don't
“quoted” | "quoted"
😀 hi 👍🏽 | hi
"""


@pytest.mark.parametrize(("written", "spoken"), [tuple(line.split(" | ")) for line in SPOKEN.strip().splitlines()])
def test_written_is_said(written: str, spoken: str) -> None:
    assert normalise(clean(written)) == spoken


def test_readings_together_are_the_text() -> None:
    text = clean("Dr. Smith paid $3.50 on 11/21/2026, at 10:30 a.m. (or so).")
    assert "".join(reading.written for reading in read(text)) == text


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("01259 ,.:/-'\"$€%°aAIVXKkms&#@<>½²⁻ⁿ①Ⅳπ+^~\n"), max_size=30) | st.text(max_size=20))
def test_any_text_is_read_and_no_digit_is_left(text: str) -> None:
    text = clean(text)
    assert "".join(reading.written for reading in read(text)) == text
    assert not any(c in "0123456789" for c in normalise(text))


def test_every_character_is_cleaned_once_and_read() -> None:
    for c in map(chr, [*range(0x3400), *range(0xFB00, 0x10000), *range(0x1D400, 0x1D800)]):
        text = clean(f"a{c} {c}5 5{c}")
        assert clean(text) == text, hex(ord(c))
        assert "".join(reading.written for reading in read(text)) == text, hex(ord(c))


@pytest.mark.parametrize(
    ("text", "kind", "form", "spoken"),
    [
        ("12345", "cardinal", "", "twelve thousand three hundred forty-five"),
        ("-5", "cardinal", "", "minus five"),
        ("3", "ordinal", "", "third"),
        ("12345", "digits", "", "one two three four five"),
        ("a1-b", "characters", "", "A one B"),
        ("5/6/2020", "date", "dmy", "June fifth, twenty twenty"),
        ("5/6/2020", "date", "mdy", "May sixth, twenty twenty"),
        ("2020-05", "date", "ym", "May, twenty twenty"),
        ("5/60/2020", "date", "dmy", "five slash sixty slash twenty twenty"),
        ("9:05pm", "time", "", "nine oh five P M"),
        ("+44 20 7946", "telephone", "", "plus four four, two zero, seven nine four six"),
        ("hello", "cardinal", "", "hello"),
        ("$5", "currency", "", "five dollars"),
    ],
)
def test_markup_chooses_the_reading(text: str, kind: str, form: str, spoken: str) -> None:
    assert say_as(text, kind, form) == spoken


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12), st.sampled_from(KINDS), st.sampled_from(["", "dmy", "ymd", "d", "mm"]))
def test_any_text_can_be_read_in_any_way(text: str, kind: str, form: str) -> None:
    assert isinstance(say_as(text, kind, form), str)
