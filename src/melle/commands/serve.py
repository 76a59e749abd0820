"""``python -m melle serve``: an HTTP API, OpenAI's where that has one, and a page to try it on."""

from __future__ import annotations

import argparse
import logging
import os
import socket
from pathlib import Path

from melle.commands.synthesize import PRETRAINED
from melle.errors import UserError

TOKEN = "MELLE_TOKEN"


def add(commands: argparse._SubParsersAction) -> None:
    serve = commands.add_parser("serve", help="serve speech over HTTP, as OpenAI's API has it, with a web page")
    serve.add_argument("--model", help=f"a .ckpt file, a folder of export, or hf://USER/MODEL (default: {PRETRAINED})")
    serve.add_argument("--name", help="what clients call the model; default: its folder's name")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: every one of this machine")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on; 0 takes a free one, which is printed")
    serve.add_argument("--public-host", metavar="NAME", help="under which a web server in front of this one is reached")
    serve.add_argument("--token", help=f"that every request must bear; default: the environment's {TOKEN}, else none")
    serve.add_argument(
        "--voices", type=Path, help="folder of saved and uploaded voices; default: that of `melle voice`"
    )
    serve.add_argument("--device", default="auto", help="cpu, cuda or cuda:1; default: a GPU where there is one")
    serve.add_argument("--weights", default="float32", help="float32, bfloat16, float16 or, on a CPU, int8")
    serve.add_argument("--rows", type=int, default=16, help="sentences that are decoded at a time")
    serve.add_argument("--max-waiting", type=int, default=64, help="requests that wait; more are refused")
    serve.add_argument("--max-text", type=int, default=4096, help="characters of a text")
    serve.add_argument("--max-prompt-seconds", type=float, default=30.0, help="of an uploaded recording")
    serve.add_argument("--timeout", type=float, default=120.0, help="seconds in which a request must be answered")
    serve.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    try:
        import uvicorn

        from melle.serving.app import create_app
        from melle.serving.guard import LOOPBACK, Limits
        from melle.serving.voices import Voices
    except ImportError as error:
        raise UserError(f'serve needs: python -m pip install -e ".[serve]" ({error})') from None
    import torch

    from melle.pretrained import fetched
    from melle.synthesis.synthesizer import Synthesizer

    token = options.token or os.environ.get(TOKEN) or None
    if min(options.rows, options.max_text, options.timeout, options.max_prompt_seconds) <= 0 or options.max_waiting < 0:
        raise UserError(
            "--rows, --max-text, --max-prompt-seconds and --timeout must be above 0, --max-waiting 0 or more"
        )
    listener = listen(options.host, options.port)
    model = fetched(options.model or PRETRAINED)
    tts = Synthesizer.from_checkpoint(model, device=options.device, weights=options.weights)
    limits = Limits(
        text=options.max_text,
        prompt_seconds=options.max_prompt_seconds,
        rows=options.rows,
        waiting=options.max_waiting,
        seconds=options.timeout,
    )
    voices = Voices(tts, model, options.voices, limits.prompt_seconds, limits.voices)
    app = create_app(
        tts, voices, options.name or model.stem, limits, token=token, host=options.host, public_host=options.public_host
    )
    if options.host not in LOOPBACK and token is None:
        logging.getLogger(__name__).warning("whoever reaches %s may use this server; give --token", options.host)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))  # of each thread's; while one decodes, others vocode
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5)
    address = f"http://{f'[{options.host}]' if ':' in options.host else options.host}:{listener.getsockname()[1]}/"
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
