"""Whether a device multiplies in bf16, or only pretends to."""


def multiplies_bf16() -> bool:
    """Whether bf16 products are at least as fast as those in fp32 where models run here: the GPU, or else the CPU.

    A CPU without AVX-512 (or Arm's BF16) takes 50 times as long for them, one number at a time.
    """
    import torch

    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is not None and bool(supported())
