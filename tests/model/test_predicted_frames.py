"""What a network predicts of true frames, against its training's forward pass."""

import pytest
import torch

from melle.data.batch import Row, collate
from melle.model.prompt_correction import predicted_frames
from melle.model.whole_rows import WholeRows
from tests.model.test_melle import VARIANTS, make


@pytest.mark.parametrize("variant", VARIANTS)
def test_frames_are_those_of_the_forward_pass(variant):
    row = Row([[3, 4, 5], [6, 7]], [torch.randn(8, 5), torch.randn(6, 5)], ["a", "b"])
    network, one = make(**VARIANTS[variant]), collate([row], 2)
    inputs = one.inputs()
    del inputs["mel_lengths"]
    with torch.no_grad():
        wanted = network.denormalise(network(**one.inputs(), temperature=0.0).refined)
    found = predicted_frames(network, WholeRows(**inputs))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(predicted_frames(network, WholeRows(**inputs, tempo=torch.ones(1))), wanted)
    faster = predicted_frames(network, WholeRows(**inputs, tempo=torch.full((1,), 1.5)))
    assert torch.allclose(faster, wanted) == (variant != "paced")
    keep = torch.zeros(1, found.shape[1] // network.reduction_factor - 1, network.prenet.units)
    assert network.prenet.units == 0 or not torch.allclose(
        predicted_frames(network, WholeRows(**inputs, keep=keep)), wanted
    )
