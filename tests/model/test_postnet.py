"""The post-net by a number of true frames that is known says what it says where it has to ask."""

import pytest
import torch

from melle.model.heads import PostNet


@pytest.mark.parametrize("lengths", [(9, 4, 6), (9, 9, 9)])
def test_a_known_count_changes_nothing(lengths):
    valid = torch.arange(9) < torch.tensor(lengths)[:, None]
    frames, results = torch.randn(3, 9, 5), []
    for count in (None, sum(lengths)):
        torch.manual_seed(0)
        postnet = PostNet(5, 8, 3, 3, "tanh", 0.0)
        x = frames.clone().requires_grad_()
        trained = postnet(x, valid, count)
        trained.square().sum().backward()
        out = postnet.eval()(frames, valid, count)
        results.append([trained, x.grad, out, *(p.grad for p in postnet.parameters()), *postnet.buffers()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * b.detach().abs().max().item())
