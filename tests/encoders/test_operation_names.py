"""Names of operations, from what torch's schemas say of them."""

import pytest

from encoders.operation_names import Operand, base_name, is_value_free, operation_name

X = Operand((2, 8, 6, 4), computed=True)
TOKENS = Operand((2, 5, 8), computed=True)
CONSTANT = Operand((1, 8, 1, 1), computed=False)


def weight(*shape):
    return Operand(shape, computed=False)


@pytest.mark.parametrize(
    ("operator", "name"),
    [
        ("conv2d", "conv"),
        ("relu_", "relu"),
        ("_softmax", "softmax"),
        ("max_pool2d_with_indices", "max_pool"),
        ("_native_batch_norm_legit_functional", "batch_norm"),
        ("native_layer_norm", "layer_norm"),
        ("upsample_nearest2d", "upsample_nearest"),
        ("log1p", "log1p"),
    ],
)
def test_base_names(operator, name):
    assert base_name(operator) == name


@pytest.mark.parametrize(
    ("operator", "arguments", "expected"),
    [
        ("conv2d", {"weight": weight(16, 8, 3, 3)}, ("conv_3x3", 16)),
        ("conv1d", {"weight": weight(16, 8, 5), "stride": [2]}, ("conv_5_stride2", 16)),
        ("conv2d", {"weight": weight(8, 1, 5, 5), "groups": 8}, ("depthwise_conv_5x5", 8)),
        ("conv2d", {"weight": weight(16, 4, 1, 1), "groups": 2}, ("group_conv_1x1", 16)),
        (
            "conv2d",
            {"weight": weight(16, 8, 3, 1), "stride": [2, 1], "dilation": [2, 2]},
            ("conv_3x1_stride2x1_dilation2", 16),
        ),
        (
            "conv_transpose2d",
            {"weight": weight(8, 16, 2, 2), "stride": [2, 2]},
            ("transposed_conv_2x2_stride2", 16),
        ),
        (
            "max_pool2d",
            {"self": X, "kernel_size": [2, 2], "stride": []},
            ("max_pool_2x2_stride2", None),
        ),
        ("avg_pool2d", {"self": X, "kernel_size": [3], "stride": [1]}, ("avg_pool_3x3", None)),
        ("avg_pool2d", {"self": X, "kernel_size": [6, 4]}, ("global_avg_pool", None)),
        ("adaptive_avg_pool2d", {"self": X, "output_size": [1, 1]}, ("global_avg_pool", None)),
        (
            "adaptive_max_pool2d",
            {"self": X, "output_size": [3, 2]},
            ("adaptive_max_pool_3x2", None),
        ),
        ("adaptive_avg_pool2d", {"self": X, "output_size": [6, 4]}, ("skip_connect", None)),
        ("mean", {"self": X, "dim": [-1, 2]}, ("global_avg_pool", None)),
        ("amax", {"self": X, "dim": [2, 3]}, ("global_max_pool", None)),
        ("mean", {"self": X, "dim": [1]}, ("mean", None)),
        ("mean", {"self": TOKENS, "dim": [1]}, ("mean", None)),
        ("mean", {"self": X}, ("mean", None)),
        ("linear", {"input": X, "weight": weight(12, 4)}, ("linear", 7)),
        ("addmm", {"self": weight(7), "mat1": X, "mat2": weight(4, 7)}, ("linear", 7)),
        ("matmul", {"self": X, "other": X}, ("matmul", None)),
        ("einsum", {"equation": "ab,bc", "tensors": [X, X]}, ("matmul", None)),
        ("mul", {"self": X, "other": X}, ("mul", None)),
        ("mul", {"self": X, "other": CONSTANT}, ("skip_connect", None)),
        ("mul", {"self": X, "other": 0.5}, ("skip_connect", None)),
        ("mul", {"self": X, "other": 0.0}, ("none", None)),
        ("div", {"self": X, "other": 2.0}, ("skip_connect", None)),
        ("div", {"self": CONSTANT, "other": X}, ("reciprocal", None)),
        ("dropout", {"input": X, "p": 0.25, "train": True}, ("dropout_0.25", None)),
        ("dropout", {"input": X, "p": 0.25, "train": False}, ("skip_connect", None)),
        ("dropout", {"input": X, "p": 0.0, "train": True}, ("skip_connect", None)),
        ("hardtanh_", {"self": X, "min_val": 0.0, "max_val": 6.0}, ("relu6", None)),
        ("hardtanh", {"self": X, "min_val": -1, "max_val": 1}, ("hardtanh", None)),
        ("clamp", {"self": X, "min": 0, "max": None}, ("relu", None)),
        ("scaled_dot_product_attention", {"query": X, "key": X, "value": X}, ("attention", 8)),
        (
            "scaled_dot_product_attention",
            {"query": TOKENS, "key": TOKENS, "value": TOKENS, "dropout_p": 0.1},
            ("attention_dropout_0.1", 1),
        ),
        (
            "lstm",
            {
                "input": TOKENS,
                "params": [weight(64, 8), weight(64, 16)],
                "num_layers": 2,
                "bidirectional": True,
            },
            ("bidirectional_lstm_2_layers", 16),
        ),
        ("embedding", {"weight": weight(100, 32), "indices": X}, ("embedding", 32)),
        ("cat", {"tensors": [X, X]}, ("concat", None)),
        ("cat", {"tensors": [CONSTANT, X]}, ("skip_connect", None)),
        ("slice_scatter", {"self": X, "src": X}, ("concat", None)),
        ("index", {"self": X, "indices": [CONSTANT]}, ("skip_connect", None)),
        ("gather", {"self": X, "index": X}, ("gather", None)),
        ("transpose", {"self": X}, ("skip_connect", None)),
        ("constant_pad_nd", {"self": X}, ("skip_connect", None)),
        ("silu", {"self": X}, ("silu", None)),
    ],
)
def test_names(operator, arguments, expected):
    assert operation_name(operator, arguments, (2, 5, 7)) == expected


def test_what_looks_at_shapes_alone():
    assert all(
        is_value_free(name) for name in ("zeros_like", "new_empty", "sym_size", "randn_like")
    )
    assert not any(is_value_free(name) for name in ("relu", "zeros_likely", "renorm"))
