"""Utterances that no model can speak: known before the work, or named."""

from dataclasses import replace

import pytest
import torch
from test_evaluate_command import DEAF, config

from melle.audio import load_audio, save_audio
from melle.data.manifest import read_manifest, write_manifest
from melle.errors import UserError
from melle.evaluation.protocols import Continuation, CrossSentence, Plain
from melle.evaluation.setup import evaluation_from, protocol_cases
from melle.evaluation.usable import usable_cases


@pytest.fixture
def cases(manifest):
    """By protocol; the first of the manifest has nothing to say, the last begins with silence and the one before is."""
    utterances = read_manifest(manifest)
    utterances[0] = replace(utterances[0], transcription="... - …")
    for number, silent in ((10, 99999), (11, 4000)):
        sound = load_audio(utterances[number].audio_path, 16000)
        sound[:silent] *= 0.002
        save_audio(utterances[number].audio_path, sound, 16000)
    write_manifest(manifest, utterances)
    protocols = (Plain(), Continuation(0.2), CrossSentence(0.1))
    return {one.name: one.cases(utterances, (0, 99), None, 0) for one in protocols}


def test_they_are_left_out_with_a_line_each(cases, capsys):
    left = {
        name: {c.target.id for c in some} - {c.target.id for c in usable_cases(name, some)}
        for name, some in cases.items()
    }
    assert left["plain"] == {"anna-0"} and left["continuation"] == {"cleo-10", "cleo-11"}
    of_no_use = {case.target.id for case in cases["cross_sentence"] if case.prompt.id in ("anna-0", "cleo-10")}
    assert of_no_use and left["cross_sentence"] == {"anna-0"} | of_no_use
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "anna-0 is left out of plain: the text '... - …' holds nothing to say"
    assert len(lines) == sum(map(len, left.values()))
    assert any("cleo-11.wav, its first 0.2 s: holds nothing but silence" in line for line in lines)
    assert any("cleo-10.wav: holds nothing but silence" in line for line in lines)


def test_prompts_of_a_length_that_no_model_takes_are_left_out(cases, capsys):
    first, *others = usable_cases("x", cases["cross_sentence"])
    save_audio(first.prompt.audio_path, torch.ones(16000 * 61) / 9, 16000)
    assert first not in usable_cases("x", [first, *others])
    assert "61 s are too long for a prompt" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"protocol=x: no utterance can be spoken .*too long"):
        usable_cases("x", [first])


def test_the_command_leaves_them_out(cases, manifest):
    cfg = config("checkpoint=null", f"data.test={manifest}", *DEAF, "protocol=[cross_sentence,plain]")
    assert "anna-0" not in {case.target.id for case in protocol_cases(cfg)["plain"]}


def test_what_only_one_model_cannot_speak_is_named(cases, checkpoint, manifest):
    cfg = config(f"checkpoint={checkpoint}", f"data.test={manifest}", *DEAF)
    model = evaluation_from(cfg).workshop()[1][-1].system
    unknown = replace(cases["plain"][3], target=replace(cases["plain"][3].target, transcription="nine"))
    with pytest.raises(UserError, match=f"tiny/last cannot speak {unknown.target.id}: .*nine"):
        model.say([cases["plain"][1], unknown], [0, 1])
