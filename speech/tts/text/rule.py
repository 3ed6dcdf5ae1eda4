"""What a rule of the normaliser is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A written form and its reading. say: the spoken words of a match, or None where this rule does not apply."""

    pattern: re.Pattern[str]
    say: Callable[[re.Match[str]], str | None]


def rule(pattern: str, say: Callable[[re.Match[str]], str | None]) -> Rule:
    """A rule from a regular expression that is matched where a token begins."""
    return Rule(re.compile(pattern), say)


def before(match: re.Match[str]) -> str:
    """The end of the text in front of a match."""
    return match.string[max(0, match.start() - 20) : match.start()]


def one_of(words: object) -> str:
    """A regular expression for any of the words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(map(str, words), key=len, reverse=True))  # type: ignore[call-overload]
