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
a 128bit number | a one hundred twenty-eight bit number
250k users | two hundred fifty thousand users
3.5M downloads | three point five million downloads
3M says so | three M says so
a 7B model with 1.3B parameters | a seven B model with one point three billion parameters
5m people | five million people
1.5bn | one point five billion
10k steps a day, a 10K race | ten thousand steps a day, a ten K race
The ratio is 16:9. | The ratio is sixteen to nine.
scale 1:1000 | scale one to one thousand
Psalm 23:1 | Psalm twenty-three one
Genesis 1:1-5 | Genesis one one to five
a 45:30 run | a forty-five thirty run
3:45.67 | three forty-five point six seven
60:40 split | sixty to forty split
1-800-FLOWERS | one, eight hundred, FLOWERS
call 911 | call nine one one
020 7946 0958 | zero two zero, seven nine four six, zero nine five eight
978-3-16-148410-0 | nine seven eight, three, sixteen, one four eight four one zero, zero
a 2in pipe | a two inch pipe
5ft 8in | five feet eight inches
a 6" pipe, 3/4" | a six inch pipe, three quarters inch
He said "I am 6" and left | He said "I am six" and left
12" x 12" | twelve inches by twelve inches
3-in-1 | three-in-one
I have 5 in my bag | I have five in my bag
a 10-in. pan, 6 in. pipes | a ten inch pan, six inch pipes
6 ft. tall | six feet tall
6 lbs. of flour | six pounds of flour
2 tbsp. sugar | two tablespoons sugar
5.5%-6% | five point five percent to six percent
10% - 20% | ten percent to twenty percent
the 10th-12th | the tenth to twelfth
1990s-2000s | nineteen nineties to two thousands
20k-30k | twenty K to thirty K
$100K-$200K | one hundred thousand dollars to two hundred thousand dollars
10:00 - 11:30 | ten o'clock to eleven thirty
5 – 10 | five to ten
from 2019 - 2021 | from twenty nineteen to twenty twenty-one
7-4=3 | seven minus four equals three
2025b-1 | two thousand twenty-five B-one
Llama-3.1-8B | Llama-three point one eight B
Q1-Q3 | Q one to Q three
noon-1pm | noon to one P M
1000x faster, a 10x engineer | one thousand times faster, a ten X engineer
3x a day | three times a day
2x4 | two by four
two 2x4s | two two by fours
10 cm x 20 cm | ten centimeters by twenty centimeters
2 x 3 = 6 | two times three equals six
1920×1080 | one thousand nine hundred twenty by one thousand eighty
5 * 3 | five times three
2**10 | two to the power of ten
x^2 + 1 | X squared plus one
10 / 2 = 5 | ten divided by two equals five
5>3 | five greater than three
x <= 5 | x less than or equal to five
if x != 5 | if x does not equal five
120/80 | one hundred twenty over eighty
10/10 | ten out of ten
4/5 stars | four out of five stars
4.5/5 | four point five out of five
50/50 | fifty fifty
the 2023/24 season | the twenty twenty-three twenty-four season
401(k) | four oh one K
1080p | ten eighty P
GPT-4o and GPT-3.5 | G P T four O and G P T three point five
i7-8700K | I seven eight thousand seven hundred K
PM2.5 | P M two point five
F-16s and MP3s | F sixteens and M P threes
FY2024 | F Y twenty twenty-four
H.264 | H two hundred sixty-four
the 49ers | the forty-niners
M&Ms | M and M's
C# and C++17 | C sharp and C plus plus seventeen
ASP.NET and .NET | A S P dot net and dot net
a .txt file | a dot txt file
N/A, I/O and TCP/IP | N A, I O and T C P I P
he/she | he or she
b/c | because
cats vs dogs | cats versus dogs
Open Mon-Fri | Open Monday to Friday
Mon.-Fri. | Monday to Friday.
Mon, Wed & Fri | Monday, Wednesday and Friday
Sat 9am-noon | Saturday nine A M to noon
on Sat. | on Saturday.
Wed the bride; the Sun rises; he Sat down | Wed the bride; the Sun rises; he Sat down
Jan-Mar | January to March
in Nov | in November
Jan 3-5 | January third to fifth
January 3–5, 2024 | January third to fifth, twenty twenty-four
5-7 Nov 2024 | November fifth to seventh, twenty twenty-four
Dec 25 - Jan 1 | December twenty-fifth to January first
11/22/24 | November twenty-second, twenty twenty-four
on 4/7 | on April seventh
on 9/11 | on nine eleven
2024-11-22T10:00Z | November twenty-second, twenty twenty-four ten o'clock U T C
12.30pm | twelve thirty P M
10:00:00 | ten o'clock
in 1066 | in ten sixty-six
c. 1900 | circa nineteen hundred
for 30s, the 30s | for thirty seconds, the thirties
1h30m | one hour thirty minutes
1h 30m | one hour thirty minutes
1.234.567 | one million two hundred thirty-four thousand five hundred sixty-seven
1_000 | one thousand
+5% | plus five percent
GMT-5 | G M T minus five
10,50 € | ten euros and fifty cents
EUR 5 | five euros
A$5 | five Australian dollars
a $5 million fine | a five million dollar fine
a $3.50 fee | a three dollar and fifty cent fee
a 5 km run | a five kilometer run
the 100m dash | the one hundred meter dash
$10/hr | ten dollars per hour
$5/mo., 5/day. | five dollars per month, five per day.
5 days/week | five days per week
90 mg/dL | ninety milligrams per deciliter
5 mg/kg/day | five milligrams per kilogram per day
speed in km/h | speed in kilometers per hour
per kWh | per kilowatt hour
2000mAh | two thousand milliamp hours
64GiB | sixty-four gibibytes
5yo | five year old
San Jose, CA 95112 | San Jose, California nine five one one two
Washington, D.C. 20001 | Washington, D C two zero zero zero one
12 Main St, Springfield | twelve Main street, Springfield
in St Louis | in saint Louis
5th Ave, Apt. 4B | fifth avenue, apartment four B
100 N. Main St. | one hundred north Main street.
200 W 42nd St | two hundred west forty-second street
Ave Maria | Ave Maria
type II diabetes | type two diabetes
page iv | page four
Rocky III | Rocky three
an IV drip | an I V drip
#MeToo | hashtag Me Too
"""


@pytest.mark.parametrize(("written", "spoken"), [tuple(line.split(" | ")) for line in SPOKEN.strip().splitlines()])
def test_written_is_said(written: str, spoken: str) -> None:
    assert normalise(clean(written)) == spoken


def test_readings_together_are_the_text() -> None:
    text = clean("Dr. Smith paid $3.50 on 11/21/2026, at 10:30 a.m. (or so).")
    assert "".join(reading.written for reading in read(text)) == text


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.sampled_from("01259 ,.:/-'\"$€%°aAIVXKkmsx&#@<>=*_–½²⁻ⁿ①Ⅳπ+^~\n"), max_size=30) | st.text(max_size=20)
)
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
