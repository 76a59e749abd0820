"""Attention's kernels: which are allowed on a GPU, and that nothing is changed for the rest of the program."""

import subprocess
import sys

import torch
import torch.nn.functional as F

from melle.model import attention
from tests.fake_gpu import GPU, fake_gpu


def test_importing_the_model_leaves_pytorchs_kernels_alone():
    code = "import torch; a = torch.backends.cuda.cudnn_sdp_enabled(); import melle.model; print(a, "
    code += "torch.backends.cuda.cudnn_sdp_enabled())"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "True"]


def test_on_a_gpu_our_own_call_leaves_cudnns_kernel_out(monkeypatch):
    seen = []
    compute = F.scaled_dot_product_attention

    def watched(*arguments, **options):
        seen.append(torch.backends.cuda.cudnn_sdp_enabled())
        return compute(*arguments, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", watched)
    with fake_gpu(monkeypatch):
        q, k, v = (torch.empty(1, 2, 5, 8, device=GPU) for _ in range(3))
        attention.attend(q, k, v, None, 0.0, causal=True)
        assert torch.backends.cuda.cudnn_sdp_enabled()
    assert seen == [False]
