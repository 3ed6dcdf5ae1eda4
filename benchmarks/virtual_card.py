"""A sound card that is not there: a PulseAudio server of one's own, whose microphone hears what its speaker plays."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from speech.errors import SpeechError

RATE = 16000
SINK = f"rate={RATE} channels=1 format=s16le norewinds=1"  # with rewinds it renders up to two seconds ahead
SOFT = "60%"  # 13 dB down: echoes of echoes die away
TOOLS = ("pulseaudio", "pactl", "paplay", "parec")


@dataclass(frozen=True)
class Card:
    """A running server. The microphone hears its sink `loop`, and softly what programs started with `command` play."""

    folder: str

    def command(self, *words: str) -> Sequence[str]:
        """A command line that runs `words` beside the card."""
        server = f"unix:{self.folder}/native"
        return ["env", f"PULSE_SERVER={server}", f"XDG_RUNTIME_DIR={self.folder}", "PULSE_SINK=soft", *words]

    def ask(self, *words: str) -> str:
        """What `pactl` answers."""
        return subprocess.run(self.command("pactl", *words), capture_output=True, text=True, check=True).stdout


@contextmanager
def virtual_card() -> Iterator[Card]:
    """A card, for as long as the context lasts. Raises SpeechError where PulseAudio is missing or does not start."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise SpeechError(
            f"expected PulseAudio with its tools, but {', '.join(missing)} is missing: on Debian and Ubuntu "
            "apt-get install pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins"
        )
    with tempfile.TemporaryDirectory() as folder:
        card = Card(folder)
        modules = (
            f"module-native-protocol-unix socket={folder}/native auth-anonymous=1",
            f"module-null-sink sink_name=loop {SINK}",
            "module-remap-sink sink_name=soft master=loop",
            "module-remap-source source_name=mic master=loop.monitor",
        )
        options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--log-target=null"]
        words = [*options, *(word for module in modules for word in ("-L", module))]
        with subprocess.Popen(card.command("pulseaudio", *words), stderr=subprocess.DEVNULL) as server:
            try:
                _wait(card)
                card.ask("set-default-source", "mic")
                card.ask("set-sink-volume", "soft", SOFT)
                yield card
            finally:
                server.terminate()


def _wait(card: Card) -> None:
    for _ in range(100):
        try:
            card.ask("info")
        except subprocess.CalledProcessError:
            time.sleep(0.1)
        else:
            return
    raise SpeechError("expected PulseAudio to start within 10 seconds, but it does not: run `pulseaudio -n -vv`")
