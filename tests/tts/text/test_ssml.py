# ruff: noqa: RUF001
from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from speech.tts.text.events import Event, Pause, Phonemes, SayAs, Substitute, Text
from speech.tts.text.ssml import Markup

PARTS = st.sampled_from(
    [
        "<speak>", "</speak>", "<p>", "</p>", "<s>", '<break time="500ms"/>', "<break", '<break time="5', "<break/>",
        '<prosody rate="80%">', "</prosody>", '<phoneme ph="təˈmeɪtoʊ">', "</phoneme>", "<say-as interpret-as='date'>",
        "</say-as>", '<sub alias="a>b">', "</sub>", "<int>", "a < b", "<!-- x<y -->", "<!--", "<?a<b?>", "<!DOCTYPE x>",
        "&amp;", "&#233;", "&nope;", "&", "hello ", "<", ">", '"', "<emphasis>", "<br/>", "/>", "</",
    ]
)  # fmt: skip


def merged(events: list[Event]) -> list[Event]:
    """Neighbouring text of one rate as one event."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, Text) and isinstance(last, Text) and last.rate == event.rate:
            result[-1] = Text(last.text + event.text, event.rate)
        else:
            result.append(event)
    return result


def parse(text: str) -> tuple[list[Event], list[str]]:
    """The events of a whole text, and the warnings."""
    markup = Markup()
    return markup.push(text) + markup.flush(), markup.warnings


def test_the_subset() -> None:
    events, warnings = parse(
        '<?xml version="1.0"?><speak>Hi <break time="500ms"/>a &amp; b<prosody rate="80%">slow<prosody rate="fast">er'
        '</prosody></prosody><phoneme alphabet="ipa" ph="kæt">cat</phoneme><say-as interpret-as="date" format="dmy">1/2'
        '</say-as><sub alias="World Wide Web">WWW</sub><s>x</s><break strength="none"/><!-- no --></speak>'
    )
    assert warnings == []
    assert events == [
        Text("Hi "), Pause(0.5), Text("a & b"), Text("slow", 0.8), Text("er", 1.25),
        Phonemes("cat", ("K", "AE0", "T")), SayAs("1/2", "date", "dmy"), Substitute("WWW", "World Wide Web"),
        Pause(0.0), Text("x"), Pause(0.0),
    ]  # fmt: skip


def test_signs_that_are_no_markup_are_text_without_warning() -> None:
    events, warnings = parse("a < b, I <3 you, 5>3, AT&T & &co;")
    assert merged(events) == [Text("a < b, I <3 you, 5>3, AT&T & &co;")] and warnings == []


def test_unknown_and_broken_markup_is_text_with_a_warning() -> None:
    for text, said, warned in [
        ("vector<int> x", "vector<int> x", "<int"),
        ('x <break time="5', 'x <break time="5', "<break is no whole tag"),
        ("x <break time=5/> y", "x <break time=5/> y", "values stand in quotes"),
        ("<emphasis>so</emphasis>", "so", "emphasis"),
        ("a</prosody>b", "ab", "closes nothing"),
        ('<prosody rate="x">a</prosody>', "a", 'got "x"'),
        ('<say-as interpret-as="zzz">5</say-as>', "5", "zzz"),
        ('<phoneme ph="♫">note</phoneme>', "note", "♫"),
        ('<phoneme alphabet="x-sampa" ph="Ry">rue</phoneme>', "rue", "'R'"),
        ('<phoneme alphabet="kirshenbaum" ph="a">b</phoneme>', "b", "kirshenbaum"),
        ("<sub alias='x'>never closed", "never closed", "never closed"),
        ('<prosody rate="99">a</prosody>', "a", "400%"),
        ('<prosody pitch="high">a</prosody>', "a", "pitch"),
    ]:
        events, warnings = parse(text)
        assert "".join(e.text for e in events if isinstance(e, Text)) == said, text
        assert len(warnings) == 1 and warned in warnings[0], warnings


def test_pauses_have_bounds_and_rates_nest() -> None:
    events, warnings = parse('<break time="999s"/><break time="x"/><break strength="weak"/>')
    assert events == [Pause(10.0), Pause(0.4), Pause(0.2)] and len(warnings) == 2
    events, _ = parse(
        '<prosody rate="50%">a<prosody rate="50%">b</prosody>c</prosody>d<prosody rate="+20%">e</prosody>'
    )
    assert [e.rate for e in events if isinstance(e, Text)] == [0.5, 0.25, 0.5, 1.0, 1.2]


def test_other_alphabets_and_nothing_outside_the_text_is_fetched() -> None:
    events, _ = parse('<phoneme alphabet="x-arpabet" ph="k ae1 t">cat</phoneme>')
    assert events == [Phonemes("cat", ("K", "AE1", "T"))]
    events, _ = parse("<phoneme alphabet='x-sampa' ph='t@\"meItoU'>tomato</phoneme>")
    assert events == [Phonemes("tomato", ("T", "AH0", "M", "EY1", "T", "OW0"))]
    events, _ = parse('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><speak>&x;</speak>')
    assert "&x;" in "".join(e.text for e in events if isinstance(e, Text))


def test_an_unclosed_tag_holds_a_stream_back_for_a_bounded_stretch() -> None:
    markup = Markup()
    said = [event for _ in range(60) for event in markup.push('<break time="' if not _ else "more words ")]
    assert said and markup.warnings


@settings(max_examples=200, deadline=None)
@given(st.lists(PARTS, max_size=10).map("".join), st.integers(1, 9))
def test_a_stream_gives_what_the_whole_text_gives(text: str, size: int) -> None:
    markup, events = Markup(), []
    for at in range(0, len(text), size):
        events += markup.push(text[at : at + size])
    events += markup.flush()
    whole, warnings = parse(text)
    assert merged(events) == merged(whole)
    assert markup.warnings == warnings
