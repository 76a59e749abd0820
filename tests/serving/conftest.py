"""Servers in this process, on loopback, that speak with a tiny untrained model."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import uvicorn

from melle.audio import MelSpec, save_audio
from melle.checkpoint import LoadedModel, ModelDescription
from melle.model import Melle
from melle.serving.app import create_app
from melle.serving.limits import Limits
from melle.serving.voices import Voices
from melle.synthesis.synthesizer import Synthesizer
from melle.text.symbols import SymbolTokenizer
from melle.vocoders.griffin_lim import GriffinLim
from tests.conftest import DIGITS, TINY
from tests.synthesis.test_decoding import bias_stop


@contextmanager
def listening(app, **options) -> Iterator[str]:
    """Serve an application on a free port; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", **options))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def make_tts() -> Synthesizer:
    torch.manual_seed(0)
    tokenizer = SymbolTokenizer("words", DIGITS)
    arguments = {**TINY, "vocab_size": tokenizer.vocab_size, "position": "paced", "pace": 3.0, "guided_layers": [1]}
    speaks = {"temperature": 0.7, "attention_window": 2.0}  # as it was exported to
    description = ModelDescription(
        arguments, MelSpec(), tokenizer, frames_per_token=12.0, most_tokens=12, decoding=speaks
    )
    vocoder = GriffinLim(description.mel, iterations=2)  # what it sounds like does not matter
    tts = Synthesizer(LoadedModel(Melle(**arguments).eval(), description, 7, None), vocoder, device="cpu")
    bias_stop(tts, -50.0)  # it never ends by itself, so that lengths are known
    with torch.no_grad():  # within full scale
        tts.network.latent.project.bias[: tts.network.group] -= 3
    return tts


@pytest.fixture
def tts() -> Synthesizer:
    return make_tts()


@pytest.fixture
def model(tmp_path):
    """A model's folder, as far as its voices go: two, each a tone."""
    folder = tmp_path / "model" / "voices"
    folder.mkdir(parents=True)
    for name, hertz in (("anna", 220), ("bert", 110)):
        sound = 0.3 * torch.sin(2 * torch.pi * hertz * torch.arange(16000) / 16000)
        save_audio(folder / f"{name}.flac", sound, 16000)
    entries = {name: {"audio": f"{name}.flac", "text": "one two"} for name in ("anna", "bert")}
    (folder / "voices.json").write_text(json.dumps(entries))
    return folder.parent


@pytest.fixture
def serve(tts, model, tmp_path):
    """Starts servers: ``with serve(text=100) as address``, with other limits."""

    @contextmanager
    def start(token=None, public_host=None, **limits) -> Iterator[str]:
        limits = Limits(**limits)
        voices = Voices(tts, model, tmp_path / "uploaded", limits.prompt_seconds, limits.voices)
        with listening(create_app(tts, voices, "tiny", limits, token=token, public_host=public_host)) as address:
            yield address

    return start
