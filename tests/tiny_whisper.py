"""Whisper models for tests, made on the spot: of random weights, or such that they say a given sentence.

    make(folder)                                # writes junk, as no sentence is likelier than another
    make(folder, "call mum at five")            # says that, whatever it hears
    make(folder, ..., width=512, layers=6, heads=8, vocabulary=51864)    # as big as base.en

They are written by transformers and converted by CTranslate2's converter, as a real one is. The tokenizer is a
byte-level BPE with Whisper's special tokens, whose words are those of the sentence.

A sentence is said like this: the decoder's layers add nothing, so that what it predicts at a place is the token whose
embedding lies in the embedding of that place. The tokens before a sentence, of a prompt for instance, move it on.
"""

from pathlib import Path

PROMPT = 2
"""Tokens before the first one that is said: that a transcript starts, and that it has no times."""
TAGS = ["startoftranscript", "en", "de", "translate", "transcribe", "startoflm", "startofprev", "nospeech"]
HEARD = {"chunk_length": 30, "feature_size": 80, "hop_length": 160, "n_fft": 400, "sampling_rate": 16_000}


def tokenizer(text: str, vocabulary: int = 0):
    """A `tokenizers.Tokenizer` with the words of `text`; at least `vocabulary` tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, min_frequency=1, vocab_size=5000, show_progress=False)
    # Whisper's decoding forbids the first token of these; it must not be the blank before each word.
    made.train_from_iterator([f" {text}", " -", " '", " ♩", " ♪", " ♫", " ♬", " ♭", " ♮", " ♯"], trainer)
    times = [f"<|{n * 0.02:.2f}|>" for n in range(1501)]
    fill = max(0, vocabulary - made.get_vocab_size() - len(times) - len(TAGS) - 2)
    made.add_tokens([f"<unused {n}>" for n in range(fill)])
    made.add_special_tokens(["<|endoftext|>", *(f"<|{tag}|>" for tag in TAGS), "<|notimestamps|>", *times])
    return made


def make(
    folder: Path, says: str = "", silent: bool = False, width: int = 64, layers: int = 1, heads: int = 2,
    vocabulary: int = 0,
) -> Path:  # fmt: skip
    """The folder of a converted model; one that is `silent` finds that nobody spoke, and says it all the same."""
    import torch
    from ctranslate2.converters import TransformersConverter
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    torch.manual_seed(1)
    tokens = tokenizer(says or "call mum", vocabulary)
    start, end = tokens.token_to_id("<|startoftranscript|>"), tokens.token_to_id("<|endoftext|>")
    config = WhisperConfig(
        vocab_size=tokens.get_vocab_size(), d_model=width,
        encoder_layers=layers, encoder_attention_heads=heads, encoder_ffn_dim=4 * width,
        decoder_layers=layers, decoder_attention_heads=heads, decoder_ffn_dim=4 * width,
        bos_token_id=end, eos_token_id=end, pad_token_id=end, decoder_start_token_id=start,
        suppress_tokens=[], begin_suppress_tokens=[],
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        bos_token_id=end, eos_token_id=end, pad_token_id=end, decoder_start_token_id=start,
        suppress_tokens=[], begin_suppress_tokens=[], alignment_heads=[[0, 0]],
        lang_to_id={f"<|{tag}|>": tokens.token_to_id(f"<|{tag}|>") for tag in ("en", "de")},
    )  # fmt: skip
    if says:
        _teach(model, [*tokens.encode(f" {says}").ids, end], tokens.token_to_id("<|nospeech|>") if silent else end)
    source = folder.with_name(f"{folder.name}-source")
    model.save_pretrained(source)
    WhisperFeatureExtractor().save_pretrained(source)
    PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<|endoftext|>").save_pretrained(source)
    files = ["tokenizer.json", "preprocessor_config.json"]
    TransformersConverter(str(source), copy_files=files).convert(str(folder), quantization="int8")
    return folder


def _teach(model, said: list[int], at_start: int) -> None:
    import torch

    decoder = model.model.decoder
    with torch.no_grad():
        decoder.embed_tokens.weight.normal_()
        for layer in decoder.layers:
            for part in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
                part.weight.zero_()
                part.bias.zero_()
        words = [at_start] * (PROMPT - 1) + said
        words += said[-1:] * (decoder.embed_positions.weight.shape[0] - len(words))
        decoder.embed_positions.weight.copy_(8 * decoder.embed_tokens.weight[words])
