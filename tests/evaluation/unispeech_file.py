"""What UniSpeech's fine-tuned checkpoint holds, tiny and at random."""

import torch

WIDTH, HEADS, LAYERS, CONVS, INNER = 16, 2, 3, 8, 24
CHANNELS, SCALE, BOTTLENECK, POOLED, ATTENTION, SIZE = 16, 4, 5, 20, 6, 7
KERNELS = (10, 3, 3, 3, 3, 2, 2)
WAVLM = "feature_extract.model."


def random_file():
    """The "model" of a file as UniSpeech writes it: the names are the original's, the sizes tiny."""
    weights = {}

    def add(name, *shape, bias=True):
        weights[f"{name}.weight"] = torch.randn(shape) / max(1, torch.Size(shape[1:]).numel()) ** 0.5
        if bias:
            weights[f"{name}.bias"] = 0.1 * torch.randn(shape[0])

    def add_norm(name, size, batch=False):
        weights[f"{name}.weight"], weights[f"{name}.bias"] = 1 + 0.2 * torch.randn(size), 0.2 * torch.randn(size)
        if batch:
            weights[f"{name}.running_mean"], weights[f"{name}.running_var"] = torch.randn(size), 0.5 + torch.rand(size)
            weights[f"{name}.num_batches_tracked"] = torch.tensor(9)

    def add_block(name, inputs, outputs, kernel):
        add(f"{name}.conv", outputs, inputs, kernel)
        add_norm(f"{name}.bn", outputs, batch=True)

    weights[f"{WAVLM}mask_emb"] = torch.randn(WIDTH)
    for layer, kernel in enumerate(KERNELS):
        name = f"{WAVLM}feature_extractor.conv_layers.{layer}"
        add(f"{name}.0", CONVS, CONVS if layer else 1, kernel, bias=False)
        add_norm(f"{name}.2.1", CONVS)
    add_norm(f"{WAVLM}layer_norm", CONVS)
    add(f"{WAVLM}post_extract_proj", WIDTH, CONVS)
    weights[f"{WAVLM}encoder.pos_conv.0.bias"] = torch.randn(WIDTH)
    weights[f"{WAVLM}encoder.pos_conv.0.weight_g"] = 0.5 + torch.rand(1, 1, 8)
    weights[f"{WAVLM}encoder.pos_conv.0.weight_v"] = torch.randn(WIDTH, WIDTH // 4, 8)
    for layer in range(LAYERS):
        name = f"{WAVLM}encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            add(f"{name}.self_attn.{part}", WIDTH, WIDTH)
        add(f"{name}.self_attn.grep_linear", 8, WIDTH // HEADS)
        weights[f"{name}.self_attn.grep_a"] = torch.randn(1, HEADS, 1, 1)
        add_norm(f"{name}.self_attn_layer_norm", WIDTH)
        add(f"{name}.fc1", INNER, WIDTH)
        add(f"{name}.fc2", WIDTH, INNER)
        add_norm(f"{name}.final_layer_norm", WIDTH)
    add(f"{WAVLM}encoder.layers.0.self_attn.relative_attention_bias", 32, HEADS, bias=False)
    add_norm(f"{WAVLM}encoder.layer_norm", WIDTH)

    weights["feature_weight"] = torch.randn(LAYERS + 1)
    add_block("layer1", WIDTH, CHANNELS, 5)
    for block in ("layer2", "layer3", "layer4"):
        add_block(f"{block}.Conv1dReluBn1", CHANNELS, CHANNELS, 1)
        for group in range(SCALE - 1):
            add(f"{block}.Res2Conv1dReluBn.convs.{group}", CHANNELS // SCALE, CHANNELS // SCALE, 3)
            add_norm(f"{block}.Res2Conv1dReluBn.bns.{group}", CHANNELS // SCALE, batch=True)
        add_block(f"{block}.Conv1dReluBn2", CHANNELS, CHANNELS, 1)
        add(f"{block}.SE_Connect.linear1", BOTTLENECK, CHANNELS)
        add(f"{block}.SE_Connect.linear2", CHANNELS, BOTTLENECK)
    add("conv", POOLED, 3 * CHANNELS, 1)
    add("pooling.linear1", ATTENTION, POOLED, 1)
    add("pooling.linear2", POOLED, ATTENTION, 1)
    add_norm("bn", 2 * POOLED, batch=True)
    add("linear", SIZE, 2 * POOLED)
    weights["loss_calculator.projection.weight"] = torch.randn(SIZE, 11)
    return weights
