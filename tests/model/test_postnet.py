"""The post-net by a number of true frames that is known says what it says where it has to ask."""

import torch

from melle.model.heads import PostNet


def test_a_known_count_changes_nothing():
    valid = torch.arange(9) < torch.tensor([9, 4, 6])[:, None]
    frames, results = torch.randn(3, 9, 5), []
    for count in (None, 19):
        torch.manual_seed(0)
        postnet = PostNet(5, 8, 3, 3, "tanh", 0.0)
        x = frames.clone().requires_grad_()
        trained = postnet(x, valid, count)
        trained.square().sum().backward()
        heard = postnet.eval()(frames, valid, count)
        results.append([trained, x.grad, heard, *(p.grad for p in postnet.parameters()), *postnet.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
