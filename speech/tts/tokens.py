"""Text to the ids of a byte-level BPE vocabulary (Sennrich et al. 2016), as CosyVoice 2 and 3 use Qwen2's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from speech.errors import SpeechError

WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""What Qwen2 takes for a word; no token reaches across two of them."""

BASE = "<|endoftext|> <|im_start|> <|im_end|>"
EVENTS = (
    "<|endofprompt|> [breath] <strong> </strong> [noise] [laughter] [cough] [clucking] [accent] [quick_breath] "
    "<laughter> </laughter> [hissing] [sigh] [vocalized-noise] [lipsmack] [mn]"
)
ARPABET = (
    "AA AA0 AA1 AA2 AE AE0 AE1 AE2 AH AH0 AH1 AH2 AO AO0 AO1 AO2 AW AW0 AW1 AW2 AY AY0 AY1 AY2 B CH D DH EH EH0 EH1 "
    "EH2 ER ER0 ER1 ER2 EY EY0 EY1 EY2 F G HH IH IH0 IH1 IH2 IY IY0 IY1 IY2 JH K L M N NG OW OW0 OW1 OW2 OY OY0 OY1 "
    "OY2 P R S SH T TH UH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
)
PINYIN = (
    "a ai an ang ao b c ch d e ei en eng f g h i ian in ing iu ià iàn iàng iào iá ián iáng iáo iè ié iòng ióng iù iú "
    "iā iān iāng iāo iē iě iōng iū iǎ iǎn iǎng iǎo iǒng iǔ j k l m n o ong ou p q r s sh t u uang ue un uo uà uài uàn "
    "uàng uá uái uán uáng uè ué uì uí uò uó uā uāi uān uāng uē uě uī uō uǎ uǎi uǎn uǎng uǐ uǒ vè w x y z zh à ài àn "
    "àng ào á ái án áng áo è èi èn èng èr é éi én éng ér ì ìn ìng í ín íng ò òng òu ó óng óu ù ùn ú ún ā āi ān āng āo "
    "ē ēi ēn ēng ě ěi ěn ěng ěr ī īn īng ō ōng ōu ū ūn ǎ ǎi ǎn ǎng ǎo ǐ ǐn ǐng ǒ ǒng ǒu ǔ ǔn ǘ ǚ ǜ"
)
SPECIAL: dict[int, list[str]] = {
    2: [*BASE.split(), *EVENTS.split()],
    3: [
        *BASE.split(),
        *EVENTS.split(),
        "<|endofsystem|>",
        *(f"[{sound}]" for sound in (ARPABET + " " + PINYIN).split()),
    ],
}
"""Special tokens by CosyVoice's version. Their ids follow the vocabulary's in this order."""


class TextTokenizer:
    """Text to ids. A piece of text must end where a word ends: words are never joined to the piece before them."""

    def __init__(self, model: Tokenizer) -> None:
        self._model = model

    @classmethod
    def load(cls, folder: str | Path, version: Literal[2, 3] = 2) -> TextTokenizer:
        """Read `tokenizer.json`, or else `vocab.json` and `merges.txt`, and add the special tokens of CosyVoice.

        Raises SpeechError when there is neither, or they cannot be read.
        """
        folder = Path(folder)
        whole, vocabulary, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
        if not whole.is_file() and not (vocabulary.is_file() and merges.is_file()):
            raise SpeechError(
                f"expected tokenizer.json, or vocab.json and merges.txt, in {folder}, found neither: take the whole "
                "folder of the model"
            )
        try:
            model = Tokenizer.from_file(str(whole)) if whole.is_file() else _qwen2(str(vocabulary), str(merges))
        except Exception as error:  # the library raises no narrower type
            raise SpeechError(f"expected a BPE vocabulary in {folder}, it cannot be read: fetch it again") from error
        model.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL[version]])
        return cls(model)

    def dumps(self) -> bytes:
        """All of it, special tokens included, as the content of a `tokenizer.json`."""
        return self._model.to_str().encode()

    def __len__(self) -> int:
        """Number of ids, special tokens among them."""
        return self._model.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Text to ids; a special token is known by its name in the text."""
        return self._model.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Ids to text, special tokens among it."""
        return self._model.decode(list(ids), skip_special_tokens=False)

    def id(self, token: str) -> int | None:
        """The id of a token, None if the vocabulary has not got it."""
        return self._model.token_to_id(token)


def _qwen2(vocabulary: str, merges: str) -> Tokenizer:
    """Qwen2's way from text to bytes to tokens, over these files."""
    model = Tokenizer(BPE.from_file(vocabulary, merges))
    model.normalizer = normalizers.NFC()
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    model.decoder = decoders.ByteLevel()
    return model
