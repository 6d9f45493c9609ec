"""The tiny checkpoint's JSON files: config.json and the small ones beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mimo_gb10.rehearsal.checkpoint.shape import FP8_BLOCK, Shape
from mimo_gb10.rehearsal.checkpoint.tokenizer import EOS, PAD

VALUE_SCALE = 0.707
"""What SGLang multiplies values by before attention, `attention_value_scale`."""


def model_config(shape: Shape, tokens: Mapping[str, int]) -> dict[str, Any]:
    """config.json.

    Field names are those that SGLang reads; MiMo-V2.5's own file has not been opened.

    Args:
        shape: The dimensions.
        tokens: Token ids by token.
    """
    full, sliding = shape.full, shape.sliding
    assert sliding.window is not None
    ignored = [f"model.layers.{layer}.self_attn.o_proj" for layer in range(shape.layers)]
    return {
        "architectures": ["MiMoV2ForCausalLM"],
        "model_type": "mimo_v2",
        # transformers 5.6 knows no such model type, so the folder brings its own configuration class.
        "auto_map": {"AutoConfig": "configuration_mimo_tiny.MiMoTinyConfig"},
        "torch_dtype": "bfloat16",
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "moe_intermediate_size": shape.expert_intermediate_size,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": full.query_heads,
        "num_key_value_heads": full.kv_heads,
        "head_dim": full.head_dim,
        "v_head_dim": full.value_head_dim,
        "swa_num_attention_heads": sliding.query_heads,
        "swa_num_key_value_heads": sliding.kv_heads,
        "swa_head_dim": sliding.head_dim,
        "swa_v_head_dim": sliding.value_head_dim,
        "attention_projection_layout": "fused_qkv",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attention_value_scale": VALUE_SCALE,
        "add_full_attention_sink_bias": full.sinks,
        "add_swa_attention_sink_bias": sliding.sinks,
        "sliding_window": sliding.window,
        "sliding_window_size": sliding.window,
        "attention_chunk_size": sliding.window,
        "hybrid_layer_pattern": list(shape.pattern),
        "moe_layer_freq": list(shape.mixtures),
        "n_routed_experts": shape.experts,
        "n_shared_experts": None,
        "num_experts_per_tok": shape.experts_per_token,
        "n_group": 1,
        "topk_group": 1,
        "norm_topk_prob": True,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "routed_scaling_factor": None,
        "rope_theta": full.rope_theta,
        "swa_rope_theta": sliding.rope_theta,
        "partial_rotary_factor": shape.partial_rotary,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": full.rope_theta,
            "partial_rotary_factor": shape.partial_rotary,
        },
        "max_position_embeddings": shape.context_length,
        "hidden_act": "silu",
        "layernorm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "tie_word_embeddings": False,
        "use_cache": True,
        "num_nextn_predict_layers": shape.mtp_layers,
        "eos_token_id": tokens[EOS],
        "pad_token_id": tokens[PAD],
        "image_token_id": tokens["<|image_pad|>"],
        "video_token_id": tokens["<|video_pad|>"],
        "audio_token_id": tokens["<|audio_pad|>"],
        "vision_start_token_id": tokens["<|vision_start|>"],
        "vision_end_token_id": tokens["<|vision_end|>"],
        "quantization_config": {
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            "quant_method": "fp8",
            "weight_block_size": [FP8_BLOCK, FP8_BLOCK],
            # The last is what SGLang calls the attention output of each MTP layer.
            "ignored_layers": [*ignored, "model.decoder.self_attn.o_proj"],
        },
        "vision_config": _vision(shape),
        "audio_config": _audio(shape),
        "processor_config": _processor(tokens),
    }


def _vision(shape: Shape) -> dict[str, Any]:
    vision = shape.vision
    return {
        "model_type": "mimovl",
        "depth": vision.layers,
        "hidden_size": vision.hidden_size,
        "hidden_act": "silu",
        "intermediate_size": vision.intermediate_size,
        "num_heads": vision.query_heads,
        "num_key_value_heads": vision.kv_heads,
        "num_query_groups": vision.kv_heads,
        "qk_channels": vision.head_dim,
        "kv_channels": vision.head_dim,
        "in_chans": 3,
        "patch_size": vision.patch,
        "spatial_patch_size": vision.patch,
        "spatial_merge_size": vision.merge,
        "temporal_patch_size": vision.temporal_patch,
        "tokens_per_second": 2,
        "window_size": 128,
        "visual_token_window_size": vision.window,
        "out_hidden_size": shape.hidden_size,
        "fullatt_block_indexes": list(vision.full_layers),
        "vit_window_attn_types": list(vision.window_types),
        "use_sink": True,
    }


def _audio(shape: Shape) -> dict[str, Any]:
    audio = shape.audio
    return {
        "tokenizer_version": "v2",
        "speech_vocab_size": str(audio.speech_vocabulary),
        "speech_zeroemb_idx": str(audio.speech_vocabulary - 1),
        "group_size": audio.group,
        "audio_channels": audio.quantizers,
        "input_local_layers": audio.local_layers,
        "input_local_dim": audio.local_size,
        "input_full_attention": True,
        "input_local_attn_heads": audio.local_heads,
        "input_local_head_dim": audio.local_size // audio.local_heads,
        "input_local_intermediate_size": audio.local_intermediate_size,
        "input_local_hidden_dropout": 0.0,
        "out_hidden_size": shape.hidden_size,
        "rope_theta": 640000.0,
        "partial_rotary_factor": 1.0,
        "projection_layers": 2,
        "add_post_norm": True,
        "audio_segment_size": 6000,
    }


def _processor(tokens: Mapping[str, int]) -> dict[str, Any]:
    return {
        "audio_sampling_rate": 24000,
        "use_video_timestamps": True,
        "video_audio_interleave_length": -1,
        "fps": 2,
        "max_frames": 64,
        "min_frames": 4,
        "vision_start_token_id": tokens["<|vision_start|>"],
        "vision_end_token_id": tokens["<|vision_end|>"],
        "image_token_id": tokens["<|image_pad|>"],
        "video_token_id": tokens["<|video_pad|>"],
        "audio_token_id": tokens["<|audio_pad|>"],
        "audio_start_token_id": tokens["<|mimo_audio_start|>"],
        "audio_end_token_id": tokens["<|mimo_audio_end|>"],
        "video_start_token_id": tokens["<|mimo_video_start|>"],
        "video_end_token_id": tokens["<|mimo_video_end|>"],
    }


def audio_tokenizer_config(shape: Shape) -> dict[str, Any]:
    """config.json of the audio tokenizer's folder."""
    audio = shape.audio
    return {
        "model_type": "mimo_audio_tokenizer",
        "max_audio_seconds": 1800,
        "stride_size": 2,
        "avg_pooler": 2,
        "d_model": audio.tokenizer_size,
        "scale_embedding": False,
        "kernel_size": 3,
        "activation_function": "gelu",
        "encoder_layers": audio.tokenizer_layers,
        "encoder_skip_layer_id": 2,
        "encoder_attention_heads": audio.tokenizer_heads,
        "encoder_ffn_dim": audio.tokenizer_intermediate_size,
        "encoder_causal": True,
        "encoder_attn_window_size": list(audio.tokenizer_window),
        "hybrid_attention": True,
        "swa_per_block": 2,
        "nfft": 960,
        "n_mels": audio.mels,
        "sampling_rate": 24000,
        "hop_length": 240,
        "window_size": 960,
        "fmin": 0,
        "num_quantizers": audio.quantizers,
        "codebook_size": list(audio.codebooks),
        "rope_theta": 10000,
        "rope_type": "default",
        "ln_type": "LayerNorm",
    }


def generation_config(tokens: Mapping[str, int]) -> dict[str, Any]:
    """generation_config.json: greedy unless a request says otherwise."""
    return {"eos_token_id": [tokens[EOS], tokens[PAD]], "pad_token_id": tokens[PAD], "do_sample": False}


def preprocessor_config(shape: Shape) -> dict[str, Any]:
    """preprocessor_config.json, from which transformers makes the image processor."""
    return {
        "processor_class": "Qwen2_5_VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessor",
        "patch_size": shape.vision.patch,
        "temporal_patch_size": shape.vision.temporal_patch,
        "merge_size": shape.vision.merge,
        "min_pixels": 4096,
        "max_pixels": 1048576,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
