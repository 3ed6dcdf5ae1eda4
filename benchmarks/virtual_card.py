"""A sound card that is not there: a PulseAudio server of one's own, whose microphone hears what its speaker plays.

The microphone is the sink's own monitor. A null sink renders a block ahead of its clock, and only of a monitor that it
knows as one does PulseAudio take this off the delay: behind `module-remap-source` every time stamp is early by up to a
block, by how much depends on when it is asked, so that no program could keep a delay over such a card. No real one is
so: a microphone does not bring what it has not heard yet.
"""

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
    """A running server, its socket and folder. The microphone hears what is played into the sink `loop`.

    What programs started with `command` play is heard there too, but softly.
    """

    socket: str
    folder: str
    loop: str = "loop"

    def command(self, *words: str) -> Sequence[str]:
        """A command line that runs `words` beside the card."""
        return ["env", f"PULSE_SERVER=unix:{self.socket}", f"XDG_RUNTIME_DIR={self.folder}", "PULSE_SINK=soft", *words]

    def ask(self, *words: str) -> str:
        """What `pactl` answers."""
        return subprocess.run(self.command("pactl", *words), capture_output=True, text=True, check=True).stdout

    def plug(self) -> None:
        """Make the sink that is heard, its microphone the usual one, and `soft`."""
        self.ask("load-module", "module-null-sink", f"sink_name={self.loop}", *SINK.split())
        self.ask("set-default-source", f"{self.loop}.monitor")
        self.soften()

    def unplug(self) -> None:
        """Take away what `plug` made."""
        for kind in ("module-remap-sink", "module-null-sink"):
            self.ask("unload-module", kind)

    def soften(self) -> None:
        """Make the sink `soft`."""
        self.ask("load-module", "module-remap-sink", "sink_name=soft", f"master={self.loop}")
        self.ask("set-sink-volume", "soft", SOFT)


@contextmanager
def virtual_card() -> Iterator[Card]:
    """A card, for as long as the context lasts. Raises SpeechError where PulseAudio is missing or does not start."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise SpeechError(
            f"expected PulseAudio with its tools, but {', '.join(missing)} is missing: on Debian and Ubuntu "
            "apt-get install pulseaudio pulseaudio-utils libportaudio2 libasound2-plugins"
        )
    with tempfile.TemporaryDirectory() as folder:
        card = Card(f"{folder}/native", folder)
        options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--log-target=null"]
        options += ["-L", f"module-native-protocol-unix socket={card.socket} auth-anonymous=1"]
        with subprocess.Popen(card.command("pulseaudio", *options), stderr=subprocess.DEVNULL) as server:
            try:
                _wait(card)
                card.plug()
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
