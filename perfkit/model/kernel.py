"""Classes of GPU kernels, as readers meet them in reports."""

from enum import StrEnum


class KernelKind(StrEnum):
    """What a kernel computes, as far as its name tells."""

    GEMM = "gemm"
    ATTENTION = "attention"
    CONVOLUTION = "convolution"
    NORMALIZATION = "normalization"
    REDUCTION = "reduction"
    EMBEDDING = "embedding"
    OPTIMIZER = "optimizer"
    ELEMENTWISE = "elementwise"
    COPY = "copy"
    COMMUNICATION = "communication"
    OTHER = "other"
