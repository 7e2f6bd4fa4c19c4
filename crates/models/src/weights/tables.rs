//! The names that published weights use.

use std::borrow::Cow;

use super::keys::Layout::{Linear, Pointwise, Same};
use super::{KeyMap, Layout, Packed, Rename};

/// DiT and SiT (facebookresearch/DiT, willisma/SiT: `DiT`, `SiT` in models.py) and those with routed tasks
/// (byeongjun-park/DTR) and experts (byeongjun-park/Switch-DiT), for [`Dit`](crate::Dit).
pub const DIT: KeyMap = KeyMap {
    layers: Cow::Borrowed(&[
        layer("x_embedder.proj", "patch_embedding", Same),
        layer("t_embedder.mlp.0", "conditioning.time.mlp.input", Linear),
        layer("t_embedder.mlp.2", "conditioning.time.mlp.output", Linear),
        layer("y_embedder.embedding_table", "conditioning.class", Same),
        layer("blocks.*.attn.qkv", "blocks.*.attention.qkv", Linear),
        layer("blocks.*.attn.proj", "blocks.*.attention.projection", Linear),
        layer("blocks.*.mlp.fc1", "blocks.*.mlp.input", Linear),
        layer("blocks.*.mlp.fc2", "blocks.*.mlp.output", Linear),
        layer("blocks.*.adaLN_modulation.1", "blocks.*.modulation", Linear),
        layer("final_layer.adaLN_modulation.1", "final_layer.modulation", Linear),
        layer("final_layer.linear", "final_layer.projection", Linear),
        layer("routers.*.f_gate.1", "routing.*.gate", Linear),
    ]),
    tensors: &[
        layer("routers.*.experts.w", "routing.*.weight", Same),
        layer("routers.*.experts.b", "routing.*.bias", Same),
    ],
    fixed: &["pos_embed", "blocks.*.routing._unit_mapping", "prior._unit_mapping", "full_time"],
    packed: &[],
    copied: &[],
};

/// DiT in diffusers (huggingface/diffusers: `DiTTransformer2DModel` in dit_transformer_2d.py), for [`Dit`](crate::Dit).
pub const DIFFUSERS_DIT: KeyMap = KeyMap {
    layers: Cow::Borrowed(&[
        layer("pos_embed.proj", "patch_embedding", Same),
        layer("transformer_blocks.0.norm1.emb.timestep_embedder.linear_1", "conditioning.time.mlp.input", Linear),
        layer("transformer_blocks.0.norm1.emb.timestep_embedder.linear_2", "conditioning.time.mlp.output", Linear),
        layer("transformer_blocks.0.norm1.emb.class_embedder.embedding_table", "conditioning.class", Same),
        layer("transformer_blocks.*.attn1.to_qkv", "blocks.*.attention.qkv", Linear),
        layer("transformer_blocks.*.attn1.to_out.0", "blocks.*.attention.projection", Linear),
        layer("transformer_blocks.*.ff.net.0.proj", "blocks.*.mlp.input", Linear),
        layer("transformer_blocks.*.ff.net.2", "blocks.*.mlp.output", Linear),
        layer("transformer_blocks.*.norm1.linear", "blocks.*.modulation", Linear),
        layer("proj_out_1", "final_layer.modulation", Linear),
        layer("proj_out_2", "final_layer.projection", Linear),
    ]),
    tensors: &[],
    fixed: &[],
    packed: &[Packed {
        parts: &[
            "transformer_blocks.*.attn1.to_q",
            "transformer_blocks.*.attn1.to_k",
            "transformer_blocks.*.attn1.to_v",
        ],
        whole: "transformer_blocks.*.attn1.to_qkv",
    }],
    copied: &[
        "transformer_blocks.*.norm1.emb.timestep_embedder.linear_1",
        "transformer_blocks.*.norm1.emb.timestep_embedder.linear_2",
        "transformer_blocks.*.norm1.emb.class_embedder.embedding_table",
    ],
};

/// ADM (openai/guided-diffusion: `UNetModel` in unet.py), for [`Unet`](crate::Unet).
pub const ADM_UNET: KeyMap = KeyMap {
    layers: Cow::Borrowed(&[
        layer("time_embed.0", "conditioning.time.mlp.input", Linear),
        layer("time_embed.2", "conditioning.time.mlp.output", Linear),
        layer("label_emb", "conditioning.class", Same),
        layer("input_blocks.0.0", "input_blocks.0.0", Same),
        layer("**.in_layers.0", "**.input_norm", Same),
        layer("**.in_layers.2", "**.input_convolution", Same),
        layer("**.emb_layers.1", "**.embedding", Linear),
        layer("**.out_layers.0", "**.output_norm", Same),
        layer("**.out_layers.3", "**.output_convolution", Same),
        layer("**.skip_connection", "**.skip", Same),
        layer("**.norm", "**.norm", Same),
        layer("**.qkv", "**.qkv", Pointwise),
        layer("**.proj_out", "**.projection", Pointwise),
        layer("**.op", "**.halving", Same),
        layer("**.conv", "**.convolution", Same),
        layer("out.0", "output_norm", Same),
        layer("out.2", "output_convolution", Same),
    ]),
    tensors: &[],
    fixed: &[],
    packed: &[],
    copied: &[],
};

const fn layer(theirs: &'static str, ours: &'static str, layout: Layout) -> Rename {
    Rename { theirs: Cow::Borrowed(theirs), ours: Cow::Borrowed(ours), layout }
}
