"""The graph of SynthSR, stated from its description in layers of Keras: an oracle, and what a benchmark times.

Imports nothing: the benchmark runs it where only TensorFlow is.
"""

from __future__ import annotations

from typing import Any


def synthsr_graph(keras: Any, inputs: int = 1, outputs: int = 1) -> tuple[Any, Any]:
    """What goes into the published network, and what its last convolution gives.

    Parameters
    ----------
    keras : the package ``keras`` or ``tf_keras``
    inputs, outputs : int
        Channels.
    """
    k = keras.layers
    x = given = k.Input((None, None, None, inputs), name="unet_input")
    skips = []
    for level in range(5):
        x = k.MaxPooling3D(2, padding="same", name=f"unet_maxpool_{level - 1}")(x) if level else x
        for n in range(2):
            name = f"unet_conv_downarm_{level}_{n}"
            x = k.Conv3D(24 * 2**level, 3, padding="same", activation="elu", name=name)(x)
        skips.append(x)
        x = k.BatchNormalization(name=f"unet_bn_down_{level}")(x)
    for level in range(4):
        x = k.UpSampling3D(2, name=f"unet_up_{5 + level}")(x)
        x = k.Concatenate(name=f"unet_merge_{5 + level}")([skips[3 - level], x])
        for n in range(2):
            name = f"unet_conv_uparm_{5 + level}_{n}"
            x = k.Conv3D(24 * 2 ** (3 - level), 3, padding="same", activation="elu", name=name)(x)
        x = k.BatchNormalization(name=f"unet_bn_up_{level}")(x)
    return given, k.Conv3D(outputs, 1, name="unet_likelihood")(x)
