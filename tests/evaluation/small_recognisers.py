"""Tiny random recognisers of transformers, saved to folders as real ones are."""

import json

import tokenizers
import torch
import transformers

LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijkl"]
CONVOLUTIONS = {"conv_dim": (8, 8), "conv_kernel": (20, 16), "conv_stride": (10, 16), "num_feat_extract_layers": 2}
SIZE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
NAMES = ["endoftext", "startoftranscript", "de", "en", "transcribe", "translate", "notimestamps"]
SPECIAL = [f"<|{name}|>" for name in NAMES]  # the last: 22
WORDS = [*"abcdefghijklmnop", *SPECIAL]
DECODER_IDS = {"pad_token_id": 16, "bos_token_id": 16, "eos_token_id": 16, "decoder_start_token_id": 17}


def save_ctc(folder, kind, norm):
    """A CTC model with its processor; the positional convolution and the layers see the whole clip."""
    config = getattr(transformers, f"{kind}Config")(
        **SIZE,
        **CONVOLUTIONS,
        vocab_size=len(LETTERS),
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
        conv_bias=True,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        pad_token_id=0,
        initializer_range=0.5,
    )
    model = getattr(transformers, f"{kind}ForCTC")(config)
    torch.nn.init.normal_(model.lm_head.weight)
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(LETTERS)}))
    transformers.Wav2Vec2Processor(
        transformers.Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer"),
        transformers.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")),
    ).save_pretrained(folder)
    return folder


def save_whisper(folder, multilingual=True):
    """A Whisper with windows of two seconds, its tokenizer by itself: there is no processor."""
    config = transformers.WhisperConfig(
        vocab_size=len(WORDS),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_mel_bins=8,
        max_source_positions=100,
        max_target_positions=40,
        init_std=0.8,
        **DECODER_IDS,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    settings = {"no_timestamps_token_id": 22, "is_multilingual": multilingual, "max_length": 40}
    if multilingual:
        settings |= {"lang_to_id": {"<|de|>": 18, "<|en|>": 19}, "task_to_id": {"transcribe": 20, "translate": 21}}
    model.generation_config = transformers.GenerationConfig(**settings, **DECODER_IDS)
    model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=2).save_pretrained(folder)
    vocabulary = {word if word in SPECIAL else f"Ġ{word}": n for n, word in enumerate(WORDS)}
    tokenizer = transformers.WhisperTokenizer(vocab=vocabulary, merges=[], additional_special_tokens=SPECIAL[1:])
    tokenizer.save_pretrained(folder)
    return folder


def save_speech2text(folder):
    """Another decoder, with settings that ask for sampling."""
    config = transformers.Speech2TextConfig(
        vocab_size=len(WORDS),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        conv_channels=16,
        init_std=0.5,
        tie_word_embeddings=False,
        **DECODER_IDS,
    )
    model = transformers.Speech2TextForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(do_sample=True, **DECODER_IDS)
    model.save_pretrained(folder)
    transformers.Speech2TextFeatureExtractor().save_pretrained(folder)
    save_words(folder)
    return folder


def save_words(folder):
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: n for n, word in enumerate(WORDS)}))
    special = {"eos_token": SPECIAL[0], "additional_special_tokens": SPECIAL[1:]}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
