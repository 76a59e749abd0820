"""Voices against the prompts of all, as one would do it by hand."""

import random
import statistics
from pathlib import Path

import torch

from melle.data.manifest import Utterance
from melle.evaluation.aggregate import compare_voices, distinct_voices
from melle.evaluation.protocols import Case


def by_hand(case, voice, prompts, recorded, vocoded):
    def like(other):
        return float(torch.cosine_similarity(voice, other, dim=0))

    ids = [prompt.target.id for prompt in prompts]
    own, speaker = ids.index(case.prompt.id), case.target.speaker
    found = {"sim_o": like(recorded[own]), "sim_r": like(vocoded[own])}
    others = [
        like(other)
        for other, prompt in zip(recorded, prompts)
        if speaker is not None and prompt.target.speaker not in (None, speaker)
    ]
    if others:
        fair = [number for number in range(len(ids)) if ids[number] != case.target.id]
        nearest = prompts[max(fair, key=lambda number: like(recorded[number]))]
        found |= {"sim_others": statistics.fmean(others), "nearest": nearest.target.speaker or ""}
    return found


def test_voices_are_compared_as_by_hand_however_their_paths_are_spelled(tmp_path):
    generator, chance = torch.Generator().manual_seed(0), random.Random(0)
    (tmp_path / "lists").mkdir()
    utterances = [
        Utterance("a", tmp_path / f"{n}.wav", str(n), chance.choice(["anna", "ben", "cleo", None])) for n in range(30)
    ]
    elsewhere = [
        Utterance("a", tmp_path / "lists" / ".." / f"{n}.wav", str(n), utterances[n].speaker) for n in range(30)
    ]
    cases = [Case(target, chance.choice(chance.choice([utterances, elsewhere])[:12])) for target in utterances]
    prompts = distinct_voices(cases)
    assert len({prompt.target.id for prompt in prompts}) == len(prompts) <= 12
    spoken, recorded, vocoded = (
        torch.randn(count, 4, generator=generator, dtype=torch.float64) for count in (30, len(prompts), len(prompts))
    )
    found = compare_voices(cases, prompts, spoken.tolist(), recorded.tolist(), vocoded.tolist())
    expected = [by_hand(case, voice, prompts, recorded, vocoded) for case, voice in zip(cases, spoken)]
    assert [one.keys() for one in found] == [one.keys() for one in expected]
    for one, other in zip(found, expected):
        assert one.get("nearest") == other.pop("nearest", None)
        for name, value in other.items():
            assert abs(one[name] - value) < 1e-6
    assert sum("nearest" in one for one in found) > 10


def test_a_relative_path_is_the_same_voice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prompts = [Utterance("a", path, "p", "anna") for path in (tmp_path / "a.wav", Path("a.wav"))]
    cases = [Case(Utterance("b", tmp_path / f"{n}.wav", str(n), "anna"), prompt) for n, prompt in enumerate(prompts)]
    assert len(distinct_voices(cases)) == 1
