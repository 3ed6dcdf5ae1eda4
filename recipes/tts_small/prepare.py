"""Stage `prepare`: every corpus decoded once; and its utterances with what later stages found out about them."""

from __future__ import annotations

import logging

from recipes.common.prepare import cache, configured, decode, hours
from recipes.tts_small.settings import Settings

log = logging.getLogger(__name__)


def prepare(settings: Settings) -> None:
    """Decode every corpus; what is there already is kept. Says how much each voice speaks."""
    decode(settings, configured(settings))
    for name in settings.raw.data.train:
        cuts = cache(settings, name).cuts()
        voices = {cut.supervisions[0].speaker for cut in cuts}
        kind = "reading voice" if name in settings.raw.data.reading else "many voices"
        log.info("%s: %d utterances, %.2f hours, %d speakers (%s)", name, len(cuts), hours(cuts), len(voices), kind)
