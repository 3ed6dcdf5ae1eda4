"""The recipe of the converter: its stages on a corpus made here, its data, its losses, and the delays it promises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lhotse", reason="the training extra is not installed")
pytest.importorskip("lightning", reason="the training extra is not installed")

import soundfile
import torch
from lhotse import MonoCut, Recording, SupervisionSegment

import speech
from recipes.common.cache import RATE, AudioCache
from recipes.common.prepare import cache
from recipes.common.weights import put
from recipes.tts_small.content_training import CLASS, CLASSES, ContentOptimConfig, ContentStretches, ContentTraining
from recipes.tts_small.listening import UNHEARD
from recipes.tts_small.parts import start_of
from recipes.tts_small.pools import Place, Pool, StretchConfig
from recipes.tts_small.tracks import PHONES, Phones, frame_count, save_phones
from recipes.vc_small.assemble import latency
from recipes.vc_small.convert_training import ConvertOptimConfig, ConvertTraining
from recipes.vc_small.discriminator import Discriminator, judge
from recipes.vc_small.listening import ListenConfig, converted
from recipes.vc_small.pairs import PairBatch, PairConfig, Pairs
from recipes.vc_small.part import Ears
from recipes.vc_small.perturb import PerturbConfig
from recipes.vc_small.post_training import PostOptimConfig, PostTraining, one_step
from recipes.vc_small.run import main
from recipes.vc_small.settings import compose_settings
from recipes.vc_small.trials import trials
from speech.audio.mel import LogMel, MelConfig
from speech.content.campplus import CAMPPlus, CAMPPlusConfig
from speech.content.encoder import ContentConfig, ContentEncoder
from speech.errors import SpeechError
from speech.flow.solver import Sampling
from speech.hub.find import locate
from speech.hub.schema import to_tree
from speech.streaming.frames import Frames
from speech.vc.converter import Converter
from speech.vc.model import ConverterModel
from speech.vc.network import ConverterConfig, ConverterNetwork
from speech.vc.timbre import PromptConfig
from speech.vocoder.hift import HiFT
from tests.sounds import said

FRAMES = 100
CONTENT = ContentConfig(
    MelConfig(features=16), dim=16, layers=1, heads=2, levels=(), left=4, vocabulary=len(CLASSES), tune=True
)
SPEAKER = CAMPPlusConfig(
    MelConfig(features=16), dim=8, front_channels=2, channels=8, growth=4, bottleneck=2, layers=(1, 1, 1)
)
MEL = MelConfig(features=16, window=400, lead=120, slope=0.25, offset=2.0)
NETWORK = ConverterConfig(
    16,
    8,
    16,
    timbre=PromptConfig(1, 2, 16),
    dim=16,
    layers=2,
    head_dim=8,
    time_scale=10.0,
    chunk=8,
    past=(2,),
    given=CONTENT.width("said"),
    advance=1,
)
CROPS = PairConfig(size=4, frames=32, margin=8, reference=48, least=40, gain_db=(0, 0))


@pytest.fixture
def pools(tmp_path: Path) -> list[Pool]:
    """Six utterances of a second: five of two speakers, one of a third. Sample i of utterance k is (i + 1000 k) / 32768
    until it wraps, so that samples tell where they come from."""
    audio, cuts, f0, phones = AudioCache(tmp_path, "pool"), [], {}, {}
    count = FRAMES * 160
    signals = [((np.arange(count) + 1000 * i) % 30000).astype(np.int16) for i in range(6)]
    np.concatenate(signals).tofile(audio.pcm)
    for i in range(6):
        name = f"u{i}"
        said = SupervisionSegment(name, name, 0.0, 1.0, speaker="once" if i == 5 else f"s{i % 2}")
        cut = MonoCut(name, 0.0, 1.0, 0, supervisions=[said], recording=Recording(name, [], RATE, count, 1.0))
        cut.custom = {"offset": i * count, "samples": count}
        cuts.append(cut)
        f0[name] = np.full(FRAMES, 100 + 20 * i, np.float16) * (1 + 0.1 * np.sin(np.arange(FRAMES)))
        phones[name] = Phones(np.array([0, 1, 2]), np.array([20, 30, 50]), np.array([-1, 0, 0]))
    return [Pool(audio, cuts, f0, 1.0, phones)]


def small_ears() -> Ears:
    torch.manual_seed(1)
    return Ears(ContentEncoder(CONTENT).eval(), CAMPPlus(SPEAKER).eval(), LogMel(MEL))


def sounds() -> PairBatch:
    """Noise of changing level, and references of unequal length."""
    torch.manual_seed(2)
    samples = 0.1 * torch.randn(4, CROPS.needed * 160) * (1 + torch.arange(CROPS.needed * 160) / 4000).sin()
    phones = torch.arange(4 * CROPS.needed).reshape(4, -1) // 8 % len(CLASSES)
    return PairBatch(samples, 0.1 * torch.randn(4, 48 * 160), torch.tensor([40, 48, 44, 41]), phones, 7)


def test_stretch_and_reference_are_played_at_one_pace(pools: list[Pool]) -> None:
    """The slope of a ramp is its pace, its height the place in the recording, whose phones go with it."""
    said, paces = np.repeat(CLASS[[0, 1, 2]], [20, 30, 50]), []
    data = Pairs(pools, replace(CROPS, pace=1.25), 1, augment=True)
    for number in range(5):
        batch = data[number]
        assert batch.samples.shape == (4, CROPS.needed * 160) and batch.reference.shape == (4, 48 * 160)
        for samples, reference, length, phones in zip(*batch[:4], strict=True):
            heights = 32768 * samples.numpy() * np.sign(float(samples.sum()))
            pace, other = (float(np.median(np.diff(x))) for x in (heights, 32768 * reference[: length * 160].numpy()))
            assert pace == pytest.approx(other, abs=0.02) and 0.79 < pace < 1.26
            frames = (heights[80::160] - 1000 * np.arange(6)[:, None]) / 160  # of each utterance that it may be from
            known = [(row >= 0).all() and (row < FRAMES).all() for row in frames]
            assert any((said[row.astype(int)] == phones.numpy()).mean() > 0.9 for row in frames[known])
            paces.append(pace)
    assert np.std(paces) > 0.05
    still = Pairs(pools, replace(CROPS, pace=1.25), 1, augment=False)[0]
    assert torch.equal(still.samples, Pairs(pools, CROPS, 1, augment=False)[0].samples)


def test_references_are_of_the_same_speaker_and_no_part_of_the_stretch(pools: list[Pool]) -> None:
    data = Pairs(pools, CROPS, 1, augment=False)
    batch = data[3]
    assert batch.samples.shape == (4, CROPS.needed * 160) and batch.reference.shape == (4, 48 * 160)
    assert (batch.lengths >= 40).all() and (batch.lengths <= 48).all()
    starts = [round(float(row[0]) * 32768) % 1000 // 160 for row in batch.samples]  # frames, of utterances of 100
    for row, begin in zip(batch.phones, starts, strict=True):
        said = np.repeat(CLASS[[0, 1, 2]], [20, 30, 50])
        assert any(row.tolist() == said[i : i + CROPS.needed].tolist() for i in range(begin, 100 - CROPS.needed + 1))
    assert (Pairs([pools[0]._replace(phones={})], CROPS, 1, augment=False)[3].phones == UNHEARD).all()
    for row, length in zip(batch.reference, batch.lengths, strict=True):
        assert not row[length * 160 :].any()
    rng, pool = np.random.default_rng(0), pools[0]
    for cut in pool.cuts:
        at = Place(pool, cut, 52, np.zeros(0, np.float32))
        for _ in range(6):
            heard = data._reference(at, rng)
            start = round(float(heard[0]) * 32768)
            owners = [i for i in range(6) if start >= 1000 * i and (start - 1000 * i) % 160 == 0]
            same = [i for i in range(6) if pool.cuts[i].supervisions[0].speaker == cut.supervisions[0].speaker]
            if cut.id == "u5":  # his only utterance: before frame 52, where the stretch begins
                assert start == 5000 + 160 * ((start - 5000) // 160) and start - 5000 + len(heard) <= 52 * 160
            else:
                assert set(owners) & set(same) - {int(cut.id[1:])}
    with pytest.raises(SpeechError, match=r"convert\.crops"):
        replace(CROPS, frames=30)


def test_the_tune_belongs_to_the_model_and_older_trainings_go_on(pools: list[Pool]) -> None:
    batch = ContentStretches(pools, StretchConfig(size=2, frames=60), 1, augment=True)[0]
    module = ContentTraining(ContentEncoder(CONTENT), ContentOptimConfig())
    losses = module.losses(batch)
    (losses["phones"] + losses["f0"] + losses["voicing"] + losses["level"]).backward()
    assert module.readout is None and module.model.tune is not None
    assert all(p.grad is not None for p in module.model.parameters())
    plain = replace(CONTENT, tune=False, levels=(5, 5))
    older = ContentTraining(ContentEncoder(plain), ContentOptimConfig())
    assert {n for n in older.state_dict() if n.startswith("readout.")} == {
        f"readout.{i}.{kind}" for i in (0, 2) for kind in ("weight", "bias")
    }
    tree = to_tree(plain)
    del tree["tune"]  # as it was before there was one
    older.on_load_checkpoint({"config": tree, "position": {"batches": 3, "audio_hours": 0.1}})
    assert older.batches == 3
    said = ContentEncoder(CONTENT).eval()(Frames.whole(batch.samples), "said").data
    assert said.shape[-1] == CONTENT.width("said") == len(CLASSES) + 3
    assert said[..., : len(CLASSES)].min() >= -7 and 0 <= said[..., -2].min() <= said[..., -2].max() <= 1


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_the_network_learns_and_the_encoders_do_not(guidance: float) -> None:
    torch.manual_seed(0)
    optim = ConvertOptimConfig(chunks=(8, 16), guidance=guidance)
    module = ConvertTraining(ConverterNetwork(NETWORK), small_ears(), optim, PerturbConfig(), CROPS.margin)
    assert not any("ears" in name or "speaker" in name for name, _ in module.named_parameters())
    optimizer, first, batch = torch.optim.Adam(module.parameters(), 1e-2), 0.0, sounds()
    for _ in range(12):
        generator = torch.Generator().manual_seed(3)
        network = module.view((16,), generator)
        given = module.given(batch, network, generator, most=0.2)
        loss = module.loss(given, network, generator, averaged=2)
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert given.mel.shape == given.clean.shape == (4, 32, 16) and given.conditions.shape == (4, 32, 24)
    assert loss.item() < 0.9 * first
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.model.parameters())
    with torch.autocast("cpu", torch.bfloat16):  # as trainings run
        assert module.distance(given, network, NETWORK.sampling).isfinite()
    other = sounds()._replace(reference=sounds().reference.flip(0))
    changed = module.given(other, network, torch.Generator().manual_seed(3), most=0.2)
    assert not torch.allclose(changed.conditions, given.conditions)


def lively(network: ConverterNetwork) -> ConverterNetwork:
    """With random weights everywhere: a fresh transformer gives zeros."""
    for parameter in network.dit.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def test_what_is_listened_to_is_what_a_stream_makes() -> None:
    torch.manual_seed(0)
    network = lively(ConverterNetwork(NETWORK)).at(CROPS.frames).eval()  # one chunk, which has no past
    module = ConvertTraining(network, small_ears(), ConvertOptimConfig(), PerturbConfig(), CROPS.margin).eval()
    for sampling in (Sampling(1, 0.0, True), Sampling(3, 0.0, True, temperature=0.5)):
        with torch.no_grad():
            given = module.given(sounds(), network, torch.Generator(), most=0.0)
            made = converted(network, given, sampling)
            for row in range(4):
                stream = network.solver(sampling, given.noise[row])(Frames.whole(given.conditions[row : row + 1])).data
                torch.testing.assert_close(made[row : row + 1], stream, atol=1e-5, rtol=1e-5)


def test_listening_makes_words_clearer() -> None:
    torch.manual_seed(0)
    optim = ConvertOptimConfig(listen=ListenConfig(share=0.5))
    module = ConvertTraining(lively(ConverterNetwork(NETWORK)), small_ears(), optim, PerturbConfig(), CROPS.margin)
    optimizer, batch, told = torch.optim.Adam(module.model.parameters(), 1e-2), sounds(), []
    for _ in range(20):
        heard = module.heard(batch, module.view((8,), torch.Generator()), torch.Generator().manual_seed(3))
        told.append(heard["phones"].item())
        optimizer.zero_grad()
        heard["phones"].backward()
        optimizer.step()
    assert told[-1] < 0.95 * told[0]
    unknown = batch._replace(phones=torch.full_like(batch.phones, UNHEARD))
    assert module.heard(unknown, module.view((8,), torch.Generator()), torch.Generator())["phones"] == 0
    silent = ConvertTraining(module.model, small_ears(), ConvertOptimConfig(), PerturbConfig(), CROPS.margin)
    assert silent.heard(batch, module.model, torch.Generator()) == {}


def test_the_discriminator_scores_rows_and_moves_what_is_made() -> None:
    torch.manual_seed(0)
    module = PostTraining(
        ConverterNetwork(NETWORK), small_ears(), PostOptimConfig(lr=1e-3), PerturbConfig(), CROPS.margin
    )
    for network in (module.model, module.discriminator.network):
        lively(network)
    generator = torch.Generator().manual_seed(3)
    given = module.given(sounds(), module.view((8,), generator), generator, most=0.1)
    velocity = one_step(module.model, given)
    fixed = given._replace(conditions=given.conditions.detach())
    judged = judge(module.discriminator, given.noise - velocity.detach(), fixed, generator, 0.01)
    (judged.scores + 100 * judged.penalty).backward()
    assert judged.scores.shape == () and judged.penalty > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.discriminator.trained())
    assert all(p.grad is None for p in module.model.parameters())
    parts = module.losses(given, velocity, velocity.detach() + 0.5, generator)
    assert parts["anchor"].item() == pytest.approx(0.25, rel=1e-4)
    parts["adversarial"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.model.parameters())
    assert module.model.dit.get_submodule("out").weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_a_discriminator_learns_to_tell() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(ConverterNetwork(NETWORK))
    module = PostTraining(ConverterNetwork(NETWORK), small_ears(), PostOptimConfig(), PerturbConfig(), CROPS.margin)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        given = module.given(sounds(), module.model, generator, most=0.0)
    optimizer, made = torch.optim.Adam(discriminator.trained(), 1e-2), torch.zeros_like(given.mel)
    for _ in range(30):
        judged = judge(discriminator, made, given, generator, 0.01)
        optimizer.zero_grad()
        judged.scores.backward()
        optimizer.step()
    assert judged.scores < 0.4  # 0.5 is what knowing nothing gives


@pytest.mark.parametrize(
    ("experiment", "total", "chunk"),
    [("vc_cpu", 168.0, 80), ("[vc_cpu,vc_low]", 88.0, 40), ("[vc_accelerator,vc_low]", 88.0, 40)],
)
def test_delays_and_sizes_are_those_that_are_promised(experiment: str, total: float, chunk: float) -> None:
    settings = compose_settings([f"experiment={experiment}"])
    found = latency(settings)
    assert 1e3 * found.total == pytest.approx(total) and 1e3 * found.total <= 200
    model = ConverterModel(settings.model)
    assert sum(p.numel() for p in model.parameters()) <= 20e6
    longer = Converter(model.eval(), chunk=160).latency
    assert longer.total - found.total == pytest.approx((160 - chunk) / 1e3)


def test_the_low_delay_begins_with_the_bundled_weights() -> None:
    settings, source = compose_settings(["experiment=vc_low"]), locate("vc")
    parts = {
        "content": ContentEncoder(settings.content),
        "speaker": CAMPPlus(settings.speaker),
        "convert": ConverterNetwork(settings.network),
        "vocoder": HiFT(settings.vocoder),
    }
    for name, part in parts.items():
        put(part, start_of(name, source), source, ("",))  # raises where anything is missing or left over


def test_settings_that_do_not_fit() -> None:
    for override, message in (
        ("content.model.tune=false", "tune"),
        ("convert.optim.chunks=[6]", "multiple of 4"),
        ("content.model.vocabulary=30", "40 phones"),
    ):
        with pytest.raises(SpeechError, match=message):
            compose_settings([override])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 utterances of one vowel-like tone each by two speakers, and four of two others for evaluation."""
    root, rng = tmp_path_factory.mktemp("corpus"), np.random.default_rng(0)
    for name, number, usual in (("train", 120, 0.56), ("eval", 4, 1.5)):
        (root / name).mkdir()
        rows = []
        for i in range(number):
            seconds = usual if i > 3 else 1.5  # references have a second at least
            t = np.arange(round(seconds * RATE)) / RATE
            pitch = (120 + 60 * (i % 2)) * (1 + 0.05 * np.sin(5 * t))
            phase = 2 * np.pi * np.cumsum(pitch) / RATE
            x = sum(np.sin(k * phase) / k for k in range(1, 15)) * 0.1 + 0.001 * rng.standard_normal(len(t))
            if i < 4:  # a reference, which has to be speech
                x = said(seconds, start=4.0 * i + 2)
            soundfile.write(root / name / f"{i}.wav", x, RATE)
            row = {"id": f"{name}{i}", "audio": f"{i}.wav", "text": "ah", "speaker": f"{name}{i % 2}"}
            rows.append({**row, "duration": seconds})
        (root / name / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


def test_all_stages_make_a_checkpoint_that_converts(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["data=tts_folder", f"data.root={corpus}", "data.train=[train]", "data.evaluation=[eval]"]
    arguments = ["experiment=vc_smoke", f"work={tmp_path}", *data, "trainer.precision=32"]
    main([*arguments, "stage=[prepare,f0]"])
    for stage, needed in (("content", "align"), ("convert", "content"), ("post", "convert"), ("export", "content")):
        with pytest.raises(SpeechError, match=f"stage={needed}"):
            main([*arguments, f"stage={stage}"])
    audio = cache(compose_settings(arguments), "train")
    vowel, words = np.array([0, PHONES.index("AA1"), 0]), np.array([-1, 0, -1])
    save_phones(audio, [Phones(vowel, np.array([5, frame_count(cut) - 10, 5]), words) for cut in audio.cuts()])
    main([*arguments, "stage=[vocoder,copy_synthesis,content,speaker]"])
    main([*arguments, "stage=convert", "trainer.minutes=0"])  # a sitting of one step
    main([*arguments, "stage=convert"])
    log = map(json.loads, (tmp_path / "convert" / "log.jsonl").read_text().splitlines())
    assert [row["step"] for row in log if "lr" in row] == [1, 2, 3, 4]
    main([*arguments, "stage=export"])
    two = speech.load(tmp_path / "export")
    assert isinstance(two, Converter) and two.model.config.network.sampling.steps == 2
    main([*arguments, "stage=post", "trainer.minutes=0"])
    main([*arguments, "stage=[post,evaluate,export]"])
    out = capsys.readouterr().out
    assert "real_time_factor_80_ms" in out and "f0_correlation" in out and "f0_off" in out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["converted"]["whole_less_chunks"] < 1e-4 and scores["converted"]["sentences"] == 2
    kept = json.loads((tmp_path / "scores_of_sources.json").read_text())
    assert kept["scores"] == scores["source"] and len(kept["of"]) == 4
    card = (tmp_path / "export" / "README.md").read_text()
    assert "| train |" in card and "| network |" in card and "168.0 ms" in card and "wer_pocketsphinx" in card
    converter = speech.load(tmp_path / "export")
    assert isinstance(converter, Converter) and converter.model.config.network.sampling.steps == 1
    assert converter.targets == ["train0", "train1"]
    made = converter.convert(corpus / "eval" / "0.wav", target="train1")
    assert len(made.samples) == round(1.5 * RATE) and np.isfinite(made.samples).all() and made.samples.any()
    one, two = (trials(compose_settings(arguments), 3, (1.0, 10.0), recordings) for recordings in (1, 2))
    for less, more in zip(one, two, strict=True):  # the same pairs
        assert np.array_equal(less.source, more.source) and less.target == more.target != less.speaker
        assert [len(row.references) for row in (less, more)] == [1, 2]
        assert np.array_equal(less.references[0], more.references[0])
