"""Train a model: ``python train.py`` for the quickstart, ``python train.py model=melle data=jsonl …`` for your own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from melle.checkpoint import load_description
from melle.config import readable_arguments
from melle.console import set_up_console
from melle.data.manifest import read_manifest
from melle.errors import UserError
from melle.evaluation.checkpoints import exported_vocoder, read_checkpoints
from melle.evaluation.filters import filter_by_tokenizer, filter_cases
from melle.evaluation.protocols import CrossSentence
from melle.evaluation.run import Evaluation, score
from melle.evaluation.setup import build_judges
from melle.evaluation.tables import format_tables
from melle.training.run import train
from melle.training.signals import Stopped

LISTS = ("callbacks", "logger", "asr", "speaker")  # groups of which several options may be chosen
VOCODERS = {  # that learn the voices of a corpus
    "demo": "python train.py experiment=vocoder_quickstart",  # a quarter of an hour on two cores
    "synthetic_english": "python train.py experiment=vocoder_english",  # ten minutes of one GPU
}


MODELS = {  # of a corpus: run, something to say, and what evaluate.py is to be told
    "synthetic_english": ("synthetic_english", "The kettle has been boiling for an hour.", " data=synthetic_english"),
}
QUICKSTART = ("quickstart", "four two seven", "")


def report_vocoder(cfg: DictConfig) -> None:
    """Say how to hear a trained vocoder."""
    run, text, data = MODELS.get(HydraConfig.get().runtime.choices.data, QUICKSTART)
    model = f"runs/{run}/checkpoints/last.ckpt"
    checkpoint = Path(cfg.run_dir) / "checkpoints" / "last.ckpt"
    print(f"Sounds of it beside recordings: {Path(cfg.run_dir) / 'samples'}\nTo speak with it:")
    print(
        f'  python -m melle synthesize --checkpoint {model} --text "{text}" '
        f"--vocoder neural --vocoder-model {checkpoint} -o speech.wav"
    )
    print(
        f"To score models with it:\n  python evaluate.py checkpoint={model}{data} "
        f"vocoder=neural vocoder.neural.model={checkpoint}"
    )


def report(cfg: DictConfig) -> None:
    """Let the trained model speak held-out texts, score it, and say where the speech is and how to hear more."""
    run = Path(cfg.run_dir)
    checkpoint = run / "checkpoints" / "last.ckpt"
    if cfg.data.test is None or not checkpoint.is_file() or not cfg.report.utterances:
        return
    protocol = CrossSentence(prompts=cfg.data.test_prompts)
    cases = protocol.cases(read_manifest(cfg.data.test), tuple(cfg.data.test_seconds), cfg.report.utterances, seed=0)
    cases = filter_by_tokenizer(filter_cases(protocol.name, cases), load_description(checkpoint).tokenizer)
    utterances = [utterance for case in cases for utterance in (case.target, case.prompt)]
    checkpoints = read_checkpoints([checkpoint], utterances)
    own = exported_vocoder(cfg.init_from)  # of the model that was fine-tuned
    vocoder = {"vocoders": {"own": own}} if own else {}
    results = score(Evaluation(checkpoints, {protocol.name: cases}, run / "report", build_judges(cfg), **vocoder))
    prompt = cases[0].prompt
    print(f"\n{format_tables(results)}\n")
    what = "Held-out texts" if cfg.data.corpus is None else "Speech in voices never heard in training"
    print(f"{what}, to listen to: {run / 'report' / 'report.html'}")
    print("To hear more:")
    print(
        f'  python -m melle synthesize --checkpoint {checkpoint} --text "{cases[0].target.transcription}" '
        f'--prompt {prompt.audio_path} --prompt-text "{prompt.transcription}" -o speech.wav'
    )
    data = HydraConfig.get().runtime.choices.data
    if data in VOCODERS:
        print(f"For a cleaner sound, a vocoder of our own that learns these voices:\n  {VOCODERS[data]}")
    scored = f"data={data} data.test={cfg.data.test}"
    if data != "demo":  # which says it by itself
        scored += " 'data.test_seconds=[{:g},{:g}]'".format(*cfg.data.test_seconds)
    print(f"To score all of it:\n  python evaluate.py checkpoint={checkpoint} {scored}")
    print(f"To see the curves, and to hear how it learned:\n  tensorboard --logdir {run.parent}")


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
def main(cfg: DictConfig) -> float | None:
    begun = time.monotonic()
    set_up_console()
    try:
        metrics = train(cfg)
        if rank_zero_only.rank:
            return None  # one of several processes is enough to tell
        minutes = (time.monotonic() - begun) / 60
        print(f"\nTrained for {minutes:.1f} minutes: {cfg.run_dir}")
        (report if cfg.task == "speech" else report_vocoder)(cfg)
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # a row of the sweep's table; the other jobs go on
        if rank_zero_only.rank:
            time.sleep(5)  # a launcher that sees one process fail kills the others, even before they have told why
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stop:
        if rank_zero_only.rank:
            sys.exit(0)  # a launcher takes another status for a failure and kills the first process while it saves
        print(f"Stopped by {stop}, saved in {cfg.run_dir}. The same command goes on from there.", file=sys.stderr)
        sys.exit(128 + stop.number)
    except KeyboardInterrupt:
        print(f"\nStopped. The same command goes on from the last checkpoint in {cfg.run_dir}.", file=sys.stderr)
        sys.exit(130)
    return metrics.get("validation/regression")


if __name__ == "__main__":
    sys.argv[1:] = readable_arguments(sys.argv[1:], LISTS, default="experiment=quickstart")
    main()
