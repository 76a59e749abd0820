"""Every preset, at small size, learns one recording by heart and then speaks it at its length."""

import pytest
import torch
from test_presets import MODELS, configure

from melle.audio import LogMel
from melle.checkpoint import LoadedModel, ModelDescription
from melle.configs.build import build
from melle.data.batch import Row, collate
from melle.losses import regression_loss
from melle.model import Melle
from melle.model.layout import lengths_to_mask
from melle.synthesis.synthesizer import Synthesizer
from melle.text.symbols import SymbolTokenizer

SIZES = {"width": 64, "heads": 4, "ff_width": 128, "prenet_hidden": 128, "latent_hidden": 64, "dropout": 0.0}


@pytest.mark.parametrize("preset", MODELS)
def test_preset_learns_a_recording_by_heart(preset, tone_manifests, real_speech):
    cfg = configure(tone_manifests, f"model={preset}")
    text, waveform = real_speech[0]
    tokenizer = SymbolTokenizer.fit([text], "characters")
    mel = LogMel()(waveform).clamp(min=-5)
    arguments = {name: value for name, value in cfg.model.items() if name != "normalise_mel"} | SIZES
    arguments |= {"vocab_size": tokenizer.vocab_size, "postnet_channels": 32, "guided_layers": []}
    if cfg.model.normalise_mel:
        arguments |= {"mel_mean": mel.mean().item(), "mel_std": mel.std().item()}
    r = cfg.model.reduction_factor
    arguments["pace"] = len(mel) / r / len(text)
    network = Melle(**arguments)
    loss = build(cfg.loss)
    batch = collate([Row([tokenizer.encode(text)], [mel], ["a"])], r)
    places = (batch.mel_lengths, batch.text_segments, batch.segment_steps, r)

    def regression() -> float:
        network.eval()
        with torch.no_grad():
            output = network(**batch.inputs())
        network.train()
        valid = lengths_to_mask(batch.mel_lengths, batch.mel.shape[1])
        return (regression_loss(output, valid) / valid.sum()).item()

    begin = regression()
    steps = 300
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, step / 20) * (1 - step / steps))
    for _ in range(steps):
        optimizer.zero_grad()
        terms = loss(network(**batch.inputs()), *places, 10**6)
        (terms.total / terms.frames).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 80.0)
        optimizer.step()
        schedule.step()
    end = regression()
    assert end < begin / 6

    description = ModelDescription(arguments, LogMel().spec, tokenizer, len(mel) / len(text))
    speech = Synthesizer(LoadedModel(network.eval(), description, steps))([text])[0]
    assert speech.finish_reason == "stop"
    assert len(speech.mel) == pytest.approx(len(mel), rel=0.1)
