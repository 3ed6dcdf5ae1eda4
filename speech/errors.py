"""The one error that users see."""


class SpeechError(ValueError):
    """One sentence: what was expected, what came, what to do."""
