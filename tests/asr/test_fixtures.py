"""Golden numbers of three public checkpoint layouts, made by the original toolkit: features to greedy decoding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from speech.asr.encoder import Encoder
from speech.asr.greedy import CTCGreedy, Greedy, RNNTGreedy, Token
from speech.asr.model import FastConformer
from speech.asr.tokenizer import Tokenizer
from speech.hub.checkpoint import load_folder
from speech.hub.nemo.file import convert
from speech.streaming.driver import Driver
from speech.streaming.frames import OPEN, Frames, Place

AHEAD = {"nemo_hybrid": (13, 6, 1, 0), "nemo_ctc": (6,), "nemo_rnnt": (6, 1)}
CASES = [(name, ahead) for name, aheads in AHEAD.items() for ahead in aheads]
CTC_CASES = [case for case in CASES if case[0] != "nemo_rnnt"]
RNNT_CASES = [case for case in CASES if case[0] != "nemo_ctc"]

pytestmark = pytest.mark.filterwarnings("error")


@dataclass(frozen=True, eq=False)
class Golden:
    """An imported checkpoint and what the original made of it."""

    name: str
    model: FastConformer
    tokenizer: Tokenizer
    arrays: dict[str, np.ndarray]

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])

    def ids(self, key: str) -> list[int]:
        return self.arrays[key].tolist()

    def samples(self, key: str = "audio_int16") -> Tensor:
        """Samples in [-1, 1], [n]."""
        return self.tensor(key).float() / 32768

    def encoder(self, ahead: int) -> Encoder:
        return self.model.encoder.at((70, ahead))

    def ctc(self) -> CTCGreedy:
        assert self.model.ctc is not None
        return CTCGreedy(self.model.ctc)

    def rnnt(self) -> RNNTGreedy:
        assert self.model.prediction is not None
        assert self.model.joint is not None
        return RNNTGreedy(self.model.prediction, self.model.joint)


@pytest.fixture(scope="session")
def goldens(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Golden]:
    found = {}
    for name in AHEAD:
        source = shared / "fixtures" / name
        checkpoint = load_folder(convert(source / "model.nemo", tmp_path_factory.mktemp("golden") / name))
        assert isinstance(checkpoint.model, FastConformer)
        with np.load(source / "io.npz") as arrays:
            found[name] = Golden(name, checkpoint.model, Tokenizer.load(checkpoint.tokenizer), dict(arrays))
    return found


@pytest.fixture(scope="session", params=AHEAD)
def golden(request: pytest.FixtureRequest, goldens: dict[str, Golden]) -> Golden:
    return goldens[request.param]


@pytest.fixture(autouse=True)
def _inference() -> object:
    with torch.inference_mode():
        yield


def whole(data: Tensor, lengths: list[int] | None = None) -> Frames:
    return Frames.whole(data, None if lengths is None else torch.tensor(lengths))


@cache
def streamed(golden: Golden, ahead: int, pieces: int = 29) -> Tensor:
    """The encoder's output over chunks, for features that come in pieces of an awkward size. [t, d]."""
    encoder = golden.encoder(ahead)
    driver = Driver(encoder, 8 * (ahead + 1), shape=(80,))
    mel = golden.tensor("mel_padded").T
    return torch.cat([*(driver.push(part) for part in mel.split(pieces)), driver.flush()])


def chunkwise(decoder: Greedy, x: Tensor, count: int) -> list[Token]:
    """Greedy decoding of [t, d] with state carried over chunks of `count` frames."""
    state, slots, found = decoder.init_state(1), torch.tensor([0]), []
    for start in range(0, len(x), count):
        part = x[None, start : start + count]
        place = Place(torch.tensor([start]), torch.tensor([OPEN]), part.shape[1])
        found += decoder.step(Frames(part, place), state, slots)[0]
    return found


def close(got: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    assert got.shape == wanted.shape
    torch.testing.assert_close(got, wanted, atol=tolerance, rtol=0)


def test_features(golden: Golden) -> None:
    samples = golden.samples()
    got = golden.model.mel(whole(samples[None])).data[0]
    assert len(got) == golden.ids("mel_len")[0]
    close(got, golden.tensor("mel").T[: len(got)])
    padded = torch.nn.functional.pad(samples, (0, int(golden.arrays["n_padded"]) - len(samples)))
    close(golden.model.mel(whole(padded[None])).data[0], golden.tensor("mel_padded").T)


def test_features_in_a_stream(golden: Golden) -> None:
    driver = Driver(golden.model.mel, 1600)
    got = torch.cat([*(driver.push(part) for part in golden.samples().split(3001)), driver.flush()])
    close(got, golden.tensor("mel").T[: len(got)])


def test_subsampling(golden: Golden) -> None:
    subsampling = golden.model.encoder.get_submodule("subsampling")
    close(subsampling(whole(golden.tensor("mel_padded").T[None])).data[0], golden.tensor("subsampling"))
    raw = subsampling(whole(golden.tensor("mel").T[None], golden.ids("mel_len")))
    assert raw.lengths.tolist() == golden.ids("subsampling_raw_len")
    close(raw.data[0, : raw.lengths[0]], golden.tensor("subsampling_raw"))


def test_first_layer(golden: Golden) -> None:
    for ahead in AHEAD[golden.name]:
        if f"layer0_out_R{ahead}" in golden.arrays:
            encoder = golden.encoder(ahead)
            x = whole(golden.tensor("mel_padded").T[None])
            for name in ("subsampling", "scale", "layers.0"):
                x = encoder.get_submodule(name)(x)
            close(x.data[0], golden.tensor(f"layer0_out_R{ahead}"))


@pytest.mark.parametrize(("name", "ahead"), CASES)
def test_encoder_whole(goldens: dict[str, Golden], name: str, ahead: int) -> None:
    golden = goldens[name]
    encoder = golden.encoder(ahead)
    close(encoder(whole(golden.tensor("mel_padded").T[None])).data[0], golden.tensor(f"enc_offline_R{ahead}").T)
    raw = encoder(whole(golden.tensor("mel").T[None], golden.ids("mel_len")))
    assert raw.lengths.tolist() == golden.ids(f"enc_offline_raw_len_R{ahead}")
    close(raw.data[0, : raw.lengths[0]], golden.tensor(f"enc_offline_raw_R{ahead}").T)


@pytest.mark.parametrize(("name", "ahead"), CASES)
def test_encoder_chunked(goldens: dict[str, Golden], name: str, ahead: int) -> None:
    """Look-ahead 0 is held to the one-call result: the original's own stream departs from it at frame 1."""
    golden = goldens[name]
    got = streamed(golden, ahead)
    close(got, golden.tensor(f"enc_offline_R{ahead}").T)
    if ahead:
        close(got, golden.tensor(f"enc_stream_R{ahead}").T)


def test_batch_of_two(goldens: dict[str, Golden]) -> None:
    golden = goldens["nemo_hybrid"]
    clips = [golden.samples(), golden.samples("audio2_int16")]
    samples = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    mel = golden.model.mel(whole(samples, [len(clip) for clip in clips]))
    assert mel.lengths.tolist() == golden.ids("batch_mel_len")
    close(mel.data[1, : mel.lengths[1]], golden.tensor("single2_mel").T[: mel.lengths[1]])
    out = golden.encoder(6)(mel)
    assert out.lengths.tolist() == golden.ids("batch_enc_len")
    for row, count in enumerate(out.lengths.tolist()):
        close(out.data[row, :count], golden.tensor("batch_enc_R6")[row, :, :count].T)
    close(out.data[1, : out.lengths[1]], golden.tensor("single2_enc_R6").T)


@pytest.mark.parametrize(("name", "ahead"), CTC_CASES)
def test_ctc(goldens: dict[str, Golden], name: str, ahead: int) -> None:
    golden = goldens[name]
    assert golden.model.ctc is not None
    encoded = golden.tensor(f"enc_offline_R{ahead}").T.contiguous()
    close(golden.model.ctc(encoded), golden.tensor(f"ctc_logprobs_offline_R{ahead}"))
    wanted = golden.ids(f"ctc_ids_offline_R{ahead}")
    text = str(golden.arrays[f"ctc_text_offline_R{ahead}"])
    for tokens in (
        golden.ctc().decode(whole(encoded[None]))[0],
        chunkwise(golden.ctc(), streamed(golden, ahead), ahead + 1),
    ):
        assert [token.id for token in tokens] == wanted
        assert golden.tokenizer.decode(wanted) == text


@pytest.mark.parametrize(("name", "ahead"), RNNT_CASES)
def test_rnnt(goldens: dict[str, Golden], name: str, ahead: int) -> None:
    golden = goldens[name]
    wanted = golden.ids(f"rnnt_ids_offline_R{ahead}")
    at = golden.ids(f"rnnt_frames_offline_R{ahead}")
    encoded = golden.tensor(f"enc_offline_R{ahead}").T
    for tokens in (
        golden.rnnt().decode(whole(encoded[None]))[0],
        chunkwise(golden.rnnt(), streamed(golden, ahead), ahead + 1),
    ):
        assert [token.id for token in tokens] == wanted
        assert [token.frame for token in tokens] == at
    assert golden.tokenizer.decode(wanted) == str(golden.arrays[f"rnnt_text_offline_R{ahead}"])
    if ahead:
        ends = (torch.tensor(at)[:, None] < torch.arange(1, 98 // (ahead + 1) + 1) * (ahead + 1)).sum(0)
        assert ends.tolist() == golden.ids(f"rnnt_tokens_after_step_R{ahead}")


@pytest.mark.parametrize("name", ["nemo_hybrid", "nemo_rnnt"])
def test_prediction_and_joint(goldens: dict[str, Golden], name: str) -> None:
    golden = goldens[name]
    prediction, joint = golden.model.prediction, golden.model.joint
    assert prediction is not None
    assert joint is not None
    tokens = golden.tensor("tf_tokens")
    predicted = prediction(tokens[None])
    close(predicted[0], golden.tensor("tf_pred_out"), 1e-5)
    h = c = torch.zeros(1, prediction.layers, prediction.dim)
    stepped = []
    for token in [prediction.vocabulary, *tokens.tolist()]:
        y, h, c = prediction.step(torch.tensor([token]), h, c)
        stepped.append(y)
    close(torch.cat(stepped), golden.tensor("tf_pred_out"), 1e-5)
    acoustic = golden.tensor(f"enc_offline_R{AHEAD[name][0]}").T[None, :12]
    close(joint(acoustic, predicted).log_softmax(-1)[0], golden.tensor("tf_joint_logprobs"))


@pytest.mark.parametrize(("name", "ahead"), CASES)
def test_samples_to_frames(goldens: dict[str, Golden], name: str, ahead: int) -> None:
    """The whole pipeline in one call equals the original's raw run; features differ by rounding only."""
    golden = goldens[name]
    samples = golden.samples()[None]
    out, lengths = golden.model(samples, torch.tensor([samples.shape[1]]), (70, ahead))
    close(out[0, : lengths[0]], golden.tensor(f"enc_offline_raw_R{ahead}").T)
