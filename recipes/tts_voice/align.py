"""Stage `align`: as that of `tts_small`, and tells of every recording that could not be aligned."""

from __future__ import annotations

import logging

from recipes.common.prepare import cache
from recipes.tts_small.align import align as find_phones
from recipes.tts_small.tracks import load_phones
from recipes.tts_voice.prepare import enough
from recipes.tts_voice.settings import VoiceSettings

log = logging.getLogger(__name__)


def align(settings: VoiceSettings) -> None:
    """Write phones beside the decoded audio. Raises SpeechError where too little speech could be aligned."""
    find_phones(settings)
    seconds = 0.0
    for name in settings.raw.data.train:
        audio = cache(settings, name)
        known = load_phones(audio)
        for cut in audio.cuts():
            if cut.id in known:
                seconds += cut.duration
            else:
                text = cut.supervisions[0].text
                log.warning("left out %s: expected its text to be what is said, %r does not fit", cut.id, text)
    enough(seconds, settings, "after alignment")
