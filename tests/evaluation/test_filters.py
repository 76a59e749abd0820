"""Utterances that no model can speak: known before the work, or named."""

from dataclasses import replace

import pytest
import torch
from test_evaluate_command import UNJUDGED, config

from melle.audio import load_audio, save_audio
from melle.checkpoint import load_description
from melle.data.manifest import read_manifest, write_manifest
from melle.errors import UserError
from melle.evaluation.filters import filter_by_tokenizer, filter_cases
from melle.evaluation.protocols import Case, continuation, cross_sentence, plain
from melle.evaluation.setup import evaluation_from, protocol_cases
from melle.text.symbols import SymbolTokenizer


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
    given = utterances, (0, 99), None, 0
    return {
        "plain": plain(*given),
        "continuation": continuation(*given, 0.2),
        "cross_sentence": cross_sentence(*given, 0.1),
    }


def test_they_are_left_out_with_a_line_each(cases, caplog):
    left = {
        name: {c.target.id for c in some} - {c.target.id for c in filter_cases(name, some)}
        for name, some in cases.items()
    }
    assert left["plain"] == {"anna-0"} and left["continuation"] == {"cleo-10", "cleo-11"}
    of_no_use = {case.target.id for case in cases["cross_sentence"] if case.prompt.id in ("anna-0", "cleo-10")}
    assert of_no_use and left["cross_sentence"] == {"anna-0"} | of_no_use
    lines = caplog.messages
    assert lines[0] == "anna-0 is left out of plain: the text '... - …' holds nothing to say"
    assert len(lines) == sum(map(len, left.values()))
    assert any("cleo-11.wav, its first 0.2 s: holds nothing but silence" in line for line in lines)
    assert any("cleo-10.wav: holds nothing but silence" in line for line in lines)


def test_prompts_of_a_length_that_no_model_takes_are_left_out(cases, caplog):
    first, *others = filter_cases("x", cases["cross_sentence"])
    save_audio(first.prompt.audio_path, torch.ones(16000 * 61) / 9, 16000)
    assert first not in filter_cases("x", [first, *others])
    assert "61 s are too long for a prompt" in caplog.text
    with pytest.raises(UserError, match=r"protocol=x: no utterance can be spoken .*too long"):
        filter_cases("x", [first])


def test_the_command_leaves_them_out(cases, manifest):
    cfg = config("checkpoint=null", f"data.test={manifest}", *UNJUDGED, "protocol=[cross_sentence,plain]")
    assert "anna-0" not in {case.target.id for case in protocol_cases(cfg)["plain"]}


def test_what_only_one_model_cannot_speak_is_named(cases, checkpoint, manifest):
    cfg = config(f"checkpoint={checkpoint}", f"data.test={manifest}", *UNJUDGED)
    model = evaluation_from(cfg).queue().trials[-1].system
    unknown = replace(cases["plain"][3], target=replace(cases["plain"][3].target, transcription="nine"))
    with pytest.raises(UserError, match=f"tiny/last cannot speak {unknown.target.id}: .*nine"):
        model.speak([cases["plain"][1], unknown], [0, 1])


def test_what_a_tokenizer_cannot_express_is_left_out(checkpoint, manifest, caplog):
    tokenizer = load_description(checkpoint).tokenizer
    known, other, *_ = read_manifest(manifest)
    strange = replace(known, id="strange", transcription="hello")
    cases = [Case(known, other), Case(known, strange), Case(strange), Case(other)]
    assert filter_by_tokenizer(cases, tokenizer) == [cases[0], cases[3]]
    assert "2 of 4 utterances are not spoken; utterance strange: " in caplog.text
    with pytest.raises(UserError, match="can speak none of 1 utterances; utterance strange"):
        filter_by_tokenizer(cases[2:3], tokenizer)


def test_what_a_tokenizer_reads_wrongly_is_left_out(checkpoint, manifest, caplog, monkeypatch):
    monkeypatch.setattr(SymbolTokenizer, "speaks", lambda self, language: language in (None, "en"))
    known, other, *_ = read_manifest(manifest)
    french = replace(known, id="french", language="fr")
    cases = [Case(known, other), Case(french), Case(known, french)]  # a prompt's text is read, too
    assert filter_by_tokenizer(cases, load_description(checkpoint).tokenizer) == cases[:1]
    assert "2 of 3 utterances are not spoken; utterance french: its language is fr, and " in caplog.text
