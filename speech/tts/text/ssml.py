"""A subset of the Speech Synthesis Markup Language (W3C, SSML 1.1), read while it arrives.

    <speak>, <p>, <s>               structure: a sentence ends at <p> and <s>
    <break time="500ms"/>           silence; or strength="none|x-weak|weak|medium|strong|x-strong"
    <prosody rate="80%">            speed: per cent or a factor, or x-slow, slow, medium, fast, x-fast, default
    <phoneme alphabet="ipa" ph="">  pronunciation of the text inside; alphabet ipa, x-sampa or x-arpabet
    <say-as interpret-as="date">    how to read the text inside: see `say_as.KINDS`
    <sub alias="">                  what to say instead of the text inside

Other elements of SSML are passed over and their text is read. Anything else that looks like markup is text. Each such
case is told in `warnings`. This is a scanner, not an XML parser: broken markup survives, and there are no document
types and no entities but characters ("&amp;", "&#233;"), so nothing outside the text is ever fetched.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.entities import html5

from speech.errors import SpeechError
from speech.tts.text.events import Event, Pause, Phonemes, SayAs, Substitute, Text
from speech.tts.text.inventory import from_arpabet, from_ipa
from speech.tts.text.say_as import KINDS
from speech.tts.text.xsampa import from_xsampa

_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.8, "x-strong": 1.2}
_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.6}
_ALPHABETS = {"ipa": from_ipa, "x-sampa": from_xsampa, "x-arpabet": from_arpabet}
_LONGEST_PAUSE, _SLOWEST, _FASTEST = 10.0, 0.25, 4.0
_LONGEST_TAG = 500
"""Characters; what is not closed by then is no tag. Bounds how long an unclosed one holds back a stream."""

_INLINE = frozenset({"phoneme", "say-as", "sub"})
_KNOWN = _INLINE | {"speak", "p", "s", "break", "prosody"}
_PASSED_OVER = frozenset("audio desc emphasis lang lexicon lookup mark meta metadata token voice w".split())

_TAG = re.compile(
    r"<(?P<end>/?)(?P<name>[A-Za-z][\w:.-]*)"
    r"(?P<attributes>(?:\s+[\w:.-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'))*)\s*(?P<empty>/?)>"
)
_ATTRIBUTE = re.compile(r"([\w:.-]+)\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')")
_OPENING = re.compile(r"</?(?P<name>[A-Za-z][\w:.-]*)")
_PROLOGUE = re.compile(r"<!--.*?-->|<\?.*?\?>|<!DOCTYPE[^>\[]*>", re.DOTALL)
_ENTITY = re.compile(r"&(?:#(?P<decimal>\d{1,7})|#[xX](?P<hex>[0-9a-fA-F]{1,6})|(?P<name>[A-Za-z]\w{1,31}));")
_PART_OF_ENTITY = re.compile(r"&(?:#?\w{0,32})\Z")


@dataclass(frozen=True)
class _Element:
    """An open element: its name and attributes, and the rate outside it."""

    name: str
    attributes: dict[str, str]
    rate: float


class Markup:
    """Events of one stream of marked-up text: `push` pieces of it, then `flush`. `warnings` collects what was odd."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._reset()

    def _reset(self) -> None:
        self._rest = ""
        self._rate = 1.0
        self._open: list[_Element] = []
        self._inline: _Element | None = None
        self._inside = ""

    def push(self, text: str) -> list[Event]:
        """Take in the next characters; the events that are complete."""
        return self._scan(self._rest + text, final=False)

    def flush(self) -> list[Event]:
        """The stream has ended: what is left; elements that are still open are closed. The scanner is then as new."""
        events = self._scan(self._rest, final=True)
        if self._inline:
            self._warn(f"<{self._inline.name}> is never closed: its text is read as it stands")
            events += self._text_event(self._inside)
        for element in self._open:
            if element.name != "speak":
                self._warn(f"<{element.name}> is never closed: it ends with the text")
        self._reset()
        return events

    def _warn(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def _scan(self, text: str, final: bool) -> list[Event]:
        """Read `text` as far as it is certain; the rest waits."""
        events: list[Event] = []
        at = 0
        while at < len(text):
            mark = text.find("<", at)
            upto = len(text) if mark < 0 else mark
            if mark < 0 and not final and (part := _PART_OF_ENTITY.search(text, max(at, upto - 40))):
                upto = part.start()
            events += self._read(text[at:upto])
            at = upto
            if mark < 0:
                break
            length = self._markup(text[mark : mark + _LONGEST_TAG], final, events)
            if not length:
                break
            at += length
        self._rest = text[at:]
        return events

    def _markup(self, text: str, final: bool, events: list[Event]) -> int:
        """Read what a "<" begins; the number of characters that are done, 0 while more is needed."""
        prologue, tag = _PROLOGUE.match(text), _TAG.match(text)
        if prologue:
            return prologue.end()
        if tag and tag["name"] in _KNOWN | _PASSED_OVER:
            events += self._element(tag)
            return tag.end()
        if not final and not tag and _may_become_tag(text):
            return 0
        opening = _OPENING.match(text)
        if opening and opening["name"] in _KNOWN | _PASSED_OVER:
            self._warn(f'{opening[0]} is no whole tag (it ends with ">", values stand in quotes): it is read as text')
        elif opening:
            self._warn(f"{opening[0]}> is not markup that is known here: it is read as text")
        length = opening.end() if opening else 1
        events += self._read(text[:length])
        return length

    def _read(self, text: str) -> list[Event]:
        """Characters outside tags."""
        decoded = _ENTITY.sub(_character, text)
        if self._inline:
            self._inside += decoded
            return []
        return self._text_event(decoded)

    def _text_event(self, text: str) -> list[Event]:
        return [Text(text, self._rate)] if text else []

    def _element(self, tag: re.Match[str]) -> list[Event]:
        name, ends = tag["name"], bool(tag["end"])
        if name in _PASSED_OVER:
            if not ends:
                self._warn(f"<{name}> is not supported: the text inside is read as it stands")
            return []
        attributes = {
            key.split(":")[-1]: _ENTITY.sub(_character, double or single)
            for key, double, single in _ATTRIBUTE.findall(tag["attributes"])
        }
        if self._inline:
            return self._close_inline(name, ends, tag)
        if name == "break":
            return [] if ends else self._break(attributes)
        if name in _INLINE:
            return self._open_inline(_Element(name, attributes, self._rate), ends, bool(tag["empty"]))
        return self._structure(name, attributes, ends, bool(tag["empty"]))

    def _structure(self, name: str, attributes: dict[str, str], ends: bool, empty: bool) -> list[Event]:
        """speak, p, s and prosody: open or close; a sentence ends at either side of p and s."""
        border: list[Event] = [Pause(0.0)] if name in {"p", "s"} else []
        if ends:
            if name not in {element.name for element in self._open}:
                self._warn(f"</{name}> closes nothing: it is passed over")
                return border
            while (element := self._open.pop()).name != name:
                self._warn(f"<{element.name}> is not closed before </{name}>: it ends there")
                self._rate = element.rate
            self._rate = element.rate
        elif not empty:
            self._open.append(_Element(name, attributes, self._rate))
            if name == "prosody":
                self._rate = self._prosody(attributes)
        return border

    def _prosody(self, attributes: dict[str, str]) -> float:
        for other in sorted(attributes.keys() - {"rate"}):
            self._warn(f"<prosody {other}> is not supported: it is passed over")
        text = attributes.get("rate", "100%").strip()
        number = re.fullmatch(r"(?P<sign>[+-]?)(?P<value>\d+(?:\.\d+)?)(?P<unit>%?)", text)
        if text in _RATES:
            return _RATES[text]
        if not number or (number["sign"] and not number["unit"]):
            self._warn(f'expected <prosody rate="80%"> or a name such as slow, got "{text}": it is passed over')
            return self._rate
        value = float(number["value"]) / (100 if number["unit"] else 1)
        factor = 1 + value if number["sign"] == "+" else 1 - value if number["sign"] else value
        rate = min(max(self._rate * factor, _SLOWEST), _FASTEST)
        if rate != self._rate * factor:
            self._warn(f'expected a rate from {_SLOWEST:.0%} to {_FASTEST:.0%}, got "{text}": {rate:.0%} is used')
        return rate

    def _break(self, attributes: dict[str, str]) -> list[Event]:
        strength, length = attributes.get("strength", "medium"), attributes.get("time", "").strip()
        seconds = _STRENGTHS.get(strength, _STRENGTHS["medium"])
        if strength not in _STRENGTHS:
            self._warn(f'expected a strength among {", ".join(_STRENGTHS)}, got "{strength}": medium is used')
        if length:
            number = re.fullmatch(r"\+?(\d+(?:\.\d+)?|\.\d+)(ms|s)", length)
            if number:
                seconds = float(number[1]) / (1000 if number[2] == "ms" else 1)
            else:
                self._warn(f'expected <break time="500ms"/> or "0.5s", got "{length}": {seconds} s is used')
        if seconds > _LONGEST_PAUSE:
            self._warn(f'expected a break of at most {_LONGEST_PAUSE:.0f} s, got "{length}": that much is used')
        return [Pause(min(seconds, _LONGEST_PAUSE))] if seconds else []

    def _open_inline(self, element: _Element, ends: bool, empty: bool) -> list[Event]:
        if ends:
            self._warn(f"</{element.name}> closes nothing: it is passed over")
            return []
        self._inline, self._inside = element, ""
        return self._close_inline(element.name, True, None) if empty else []

    def _close_inline(self, name: str, ends: bool, tag: re.Match[str] | None) -> list[Event]:
        """The end of phoneme, say-as or sub; any other tag inside breaks it off."""
        element, inside = self._inline, self._inside
        assert element
        self._inline, self._inside = None, ""
        if ends and name == element.name:
            return self._inline_event(element, inside)
        self._warn(f"<{element.name}> is not closed before another tag: its text is read as it stands")
        return self._text_event(inside) + (self._element(tag) if tag else [])

    def _inline_event(self, element: _Element, inside: str) -> list[Event]:
        attributes, rate = element.attributes, self._rate
        if element.name == "sub":
            return [Substitute(inside, attributes.get("alias", inside), rate)]
        if element.name == "say-as":
            kind = attributes.get("interpret-as", "")
            if kind in KINDS:
                return [SayAs(inside, kind, attributes.get("format", ""), rate)]
            self._warn(f'expected interpret-as among {", ".join(KINDS)}, got "{kind}": the text is read as it stands')
            return self._text_event(inside)
        alphabet, spelled = attributes.get("alphabet", "ipa"), attributes.get("ph", "")
        try:
            if alphabet not in _ALPHABETS or not (phonemes := _ALPHABETS[alphabet](spelled)):
                raise SpeechError(
                    f'expected <phoneme alphabet="ipa" ph="...">, x-sampa or x-arpabet, got {alphabet} "{spelled}"'
                )
        except SpeechError as error:
            self._warn(f"{error}; the text is read as it stands")
            return self._text_event(inside)
        return [Phonemes(inside, phonemes, rate)]


def _may_become_tag(text: str) -> bool:
    """Whether more characters could make a tag, a comment or a declaration of what begins with "<"."""
    if len(text) >= _LONGEST_TAG:
        return False
    if text[1:2] in {"!", "?"}:
        return any(start.startswith(text[: len(start)]) for start in ("<!--", "<!DOCTYPE", "<?"))
    if re.fullmatch(r"</?(?:[A-Za-z][\w:.-]*)?", text):
        return True
    opening = _OPENING.match(text)
    if not opening or opening["name"] not in _KNOWN | _PASSED_OVER or "<" in text[1:]:
        return False
    return ">" not in re.sub(r"\"[^\"]*(?:\"|\Z)|'[^']*(?:'|\Z)", "", text)


def _character(match: re.Match[str]) -> str:
    """The character that an entity stands for; what stands for none is left as it is."""
    if match["name"]:
        return html5.get(f"{match['name']};", match[0])
    code = int(match["decimal"]) if match["decimal"] else int(match["hex"], 16)
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else match[0]
