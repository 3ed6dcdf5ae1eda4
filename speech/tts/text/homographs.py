"""Words with one spelling and two pronunciations, told apart by the word in front of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Homograph:
    """usual: the pronunciation unless the word before is one of `after`, which calls for `other`."""

    usual: tuple[str, ...]
    other: tuple[str, ...]
    after: frozenset[str]


_VERB = frozenset(
    "to will would can could shall should may might must not don't didn't doesn't won't can't couldn't wouldn't "
    "i you we they who please let's i'll you'll we'll they'll he'll she'll i'd we'd they'd".split()
)
_NOUN = frozenset("the a an of no any some its their our my your his her this that in".split())
_PERFECT = frozenset("have has had i've we've you've they've having was were been be being is are already".split())
_STATE = frozenset("very so too is are was were get gets got as quite how a".split())
_SHOWN = frozenset("a the is was are were go goes went going broadcast streamed".split())

HOMOGRAPHS: dict[str, Homograph] = {
    word: Homograph(tuple(usual.split()), tuple(other.split()), after)
    for word, usual, other, after in (
        ("close", "K L OW1 Z", "K L OW1 S", _STATE),
        ("conduct", "K AA1 N D AH0 K T", "K AH0 N D AH1 K T", _VERB),
        ("conflict", "K AA1 N F L IH0 K T", "K AH0 N F L IH1 K T", _VERB),
        ("content", "K AA1 N T EH0 N T", "K AH0 N T EH1 N T", _STATE - {"a"}),
        ("contract", "K AA1 N T R AE2 K T", "K AH0 N T R AE1 K T", _VERB),
        ("desert", "D EH1 Z ER0 T", "D IH0 Z ER1 T", _VERB),
        ("estimate", "EH1 S T AH0 M AH0 T", "EH1 S T AH0 M EY2 T", _VERB),
        ("excuse", "IH0 K S K Y UW1 Z", "IH0 K S K Y UW1 S", _NOUN),
        ("graduate", "G R AE1 JH AH0 W AH0 T", "G R AE1 JH AH0 W EY2 T", _VERB),
        ("house", "HH AW1 S", "HH AW1 Z", _VERB),
        ("lead", "L IY1 D", "L EH1 D", frozenset({"of"})),
        ("live", "L IH1 V", "L AY1 V", _SHOWN),
        ("minute", "M IH1 N AH0 T", "M AY0 N UW1 T", frozenset({"very", "most"})),
        ("object", "AA1 B JH EH0 K T", "AH0 B JH EH1 K T", _VERB),
        ("perfect", "P ER1 F IH2 K T", "P ER0 F EH1 K T", _VERB),
        ("permit", "P ER1 M IH2 T", "P ER0 M IH1 T", _VERB),
        ("present", "P R EH1 Z AH0 N T", "P R IY0 Z EH1 N T", _VERB),
        ("produce", "P R AH0 D UW1 S", "P R OW1 D UW0 S", _NOUN),
        ("progress", "P R AA1 G R EH2 S", "P R AH0 G R EH1 S", _VERB),
        ("project", "P R AA1 JH EH0 K T", "P R AH0 JH EH1 K T", _VERB),
        ("read", "R IY1 D", "R EH1 D", _PERFECT),
        ("record", "R EH1 K ER0 D", "R IH0 K AO1 R D", _VERB),
        ("refuse", "R AH0 F Y UW1 Z", "R EH1 F Y UW2 Z", _NOUN),
        ("separate", "S EH1 P ER0 IH0 T", "S EH1 P ER0 EY2 T", _VERB),
        ("subject", "S AH1 B JH IH0 K T", "S AH0 B JH EH1 K T", _VERB),
        ("suspect", "S AH0 S P EH1 K T", "S AH1 S P EH2 K T", _NOUN),
        ("tear", "T EH1 R", "T IH1 R", _NOUN),
        ("use", "Y UW1 Z", "Y UW1 S", _NOUN),
        ("wind", "W IH1 N D", "W AY1 N D", _VERB),
        ("wound", "W UW1 N D", "W AW1 N D", frozenset({"is", "was", "were", "be", "been", "tightly"})),
    )
}
