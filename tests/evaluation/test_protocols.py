from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melle.data.manifest import Utterance, read_manifest, write_manifest
from melle.errors import UserError
from melle.evaluation.protocols import Case, continuation, cross_sentence, plain, write_lists


def utterance(number: int, speaker: str | None, text: str, seconds: float) -> Utterance:
    return Utterance(text, Path(f"{number}.wav"), f"u{number}", speaker, None, seconds)


corpora = st.lists(
    st.tuples(st.sampled_from(["anna", "ben", None]), st.sampled_from("abcdef"), st.floats(0.5, 12)), max_size=40
).map(lambda items: [utterance(number, *item) for number, item in enumerate(items)])


@settings(deadline=None)
@given(corpora, st.one_of(st.none(), st.integers(1, 20)), st.integers(0, 3))
def test_lists_are_the_same_again_of_the_length_range_and_never_of_the_same_utterance(utterances, count, seed):
    for protocol in (cross_sentence, continuation, plain):
        try:
            cases = protocol(utterances, (4.0, 10.0), count, seed)
        except UserError:
            assert protocol is not plain or not any(4 <= u.duration <= 10 for u in utterances)
            continue
        assert cases == protocol(utterances[::-1], (4.0, 10.0), count, seed)
        assert 0 < len(cases) <= (count or 40) and len({case.target.id for case in cases}) == len(cases)
        for case in cases:
            assert 4 <= case.target.duration <= 10
            if protocol is cross_sentence:
                assert case.prompt.id != case.target.id and case.prompt.speaker == case.target.speaker is not None
                assert case.given is None
            else:
                assert case.prompt is None and case.given == (3.0 if protocol is continuation else None)


def test_all_protocols_speak_the_same_where_they_can():
    utterances = [utterance(n, f"s{n % 3}", f"text {n}", 3 + n % 9) for n in range(60)]
    chosen = [
        {case.target.id for case in protocol(utterances, (4.0, 10.0), 21, 0)}
        for protocol in (cross_sentence, continuation, plain)
    ]
    assert chosen[0] == chosen[1] == chosen[2] and len(chosen[0]) == 21


def test_a_continuation_has_something_left_to_say():
    utterances = [utterance(n, "anna", f"text {n}", 0.5 * n + 0.5) for n in range(12)]
    cases = continuation(utterances, (0.0, 99.0), None, 0)
    assert sorted(case.target.duration for case in cases) == [3.5, 4.0, 4.5, 5.0, 5.5, 6.0]
    with pytest.raises(UserError, match=r"no utterance of 8\.5 to 10 s"):
        continuation(utterances, (4.0, 10.0), None, 0, 8.0)
    for seconds in (0, float("nan")):
        with pytest.raises(UserError, match=f"prompt_seconds={seconds}"):
            continuation(utterances, (4.0, 10.0), None, 0, seconds)


def test_a_given_list_of_prompts_is_taken_line_by_line(tmp_path):
    targets = [utterance(n, f"s{n % 2}", f"text {n}", 1.0 + n) for n in range(6)]
    prompts = [utterance(10 + n, f"s{n % 2}", f"prompt {n}", 1.0) for n in range(6)]
    write_manifest(tmp_path / "prompts.jsonl", prompts)
    cases = cross_sentence(targets, (4.0, 10.0), None, 0, prompts=tmp_path / "prompts.jsonl")
    assert [(case.target.id, case.prompt.id) for case in cases] == [(f"u{n}", f"u{10 + n}") for n in range(6)]
    some = cross_sentence(targets, (4.0, 10.0), 2, 0, prompts=tmp_path / "prompts.jsonl")
    assert {case.target.speaker for case in some} == {"s0", "s1"} and all(case in cases for case in some)
    write_manifest(tmp_path / "short.jsonl", prompts[1:])
    write_manifest(tmp_path / "other.jsonl", prompts[1:] + prompts[:1])
    write_manifest(tmp_path / "same.jsonl", targets)
    for name, says in (("short", "5 prompts for 6"), ("other", "prompt 1 is of s1"), ("same", "is to be spoken")):
        path = tmp_path / f"{name}.jsonl"
        given = [Utterance(u.transcription, tmp_path / u.audio_path, u.id, u.speaker) for u in targets]
        with pytest.raises(UserError, match=says):
            spoken = targets if name != "same" else read_manifest(path) or given
            cross_sentence(spoken, (0, 9), 6, 0, prompts=path)


def test_lists_are_written_for_others(tmp_path):
    cases = [Case(utterance(n, "anna", f"t{n}", 1.0), utterance(9 - n, "anna", f"t{9 - n}", 1.0)) for n in range(3)]
    write_lists(tmp_path, "cross_sentence", cases)
    targets, prompts = (read_manifest(tmp_path / f"cross_sentence_{kind}.jsonl") for kind in ("targets", "prompts"))
    assert [u.id for u in targets] == ["u0", "u1", "u2"] and [u.id for u in prompts] == ["u9", "u8", "u7"]
    write_lists(tmp_path, "plain", [Case(cases[0].target)])
    assert not (tmp_path / "plain_prompts.jsonl").exists()


def test_without_speakers_other_protocols_are_named():
    with pytest.raises(UserError, match=r'names its "speaker".*protocol=plain,continuation'):
        cross_sentence([utterance(n, None, f"text {n}", 5.0) for n in range(3)], (4.0, 10.0), None, 0)
