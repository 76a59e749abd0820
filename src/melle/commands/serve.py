"""``python -m melle serve``: an HTTP API, OpenAI's where that has one, and a page to try it on."""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from melle.commands.synthesize import PRETRAINED
from melle.errors import UserError
from melle.options import option, options_of
from melle.serving.limits import Limits

TOKEN = "MELLE_TOKEN"


@dataclass
class Serve:
    model: str | None = option(None, f"a .ckpt file, a folder of export, or hf://USER/MODEL (default: {PRETRAINED})")
    name: str | None = option(None, "what clients call the model; default: its folder's name")
    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0: every one of this machine")
    port: int = option(8000, "port to listen on; 0 takes a free one, which is printed")
    public_host: str | None = option(None, "under which a web server in front of this one is reached", metavar="NAME")
    token: str | None = option(None, f"that every request must bear; default: the environment's {TOKEN}, else none")
    voices: Path | None = option(None, "folder of saved and uploaded voices; default: that of `melle voice`")
    device: str = option("auto", "cpu, cuda or cuda:1; default: a GPU where there is one")
    weights: str = option("float32", "float32, bfloat16, float16 or, on a CPU, int8")
    limits: Limits = options_of(Limits)

    def run(self) -> None:
        """Serve until Ctrl-C."""
        try:
            import uvicorn

            from melle.serving.app import create_app
            from melle.serving.memory import limit_arenas, limit_shapes
            from melle.serving.middleware import LOOPBACK
            from melle.serving.voices import Voices
        except ImportError as error:
            raise UserError(f'serve needs: python -m pip install -e ".[serve]" ({error})') from None
        import torch

        from melle.pretrained import fetched
        from melle.synthesis.synthesizer import Synthesizer

        token, limits = self.token or os.environ.get(TOKEN) or None, self.limits
        listener = listen(self.host, self.port)
        limit_arenas()
        limit_shapes()
        model = fetched(self.model or PRETRAINED)
        tts = Synthesizer.from_checkpoint(model, device=self.device, weights=self.weights)
        voices = Voices(tts, model, self.voices, limits.prompt_seconds, limits.voices)
        name = self.name or model.stem
        app = create_app(tts, voices, name, limits, token=token, host=self.host, public_host=self.public_host)
        if self.host not in LOOPBACK and token is None:
            logging.getLogger(__name__).warning("whoever reaches %s may use this server; give --token", self.host)
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))  # of each thread's; while one decodes, others vocode
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5)
        address = f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{listener.getsockname()[1]}/"
        print(
            f"{tts.vocoder.title}; {len(voices.list())} voices; listening, with a page to try it on, at {address}",
            flush=True,
        )
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    """A socket at this address, before anything else takes time. Raises UserError where it cannot be had."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"--host {host} --port {port}: {reason}; give another address or port") from None
