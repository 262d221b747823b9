"""How weights start. Each takes numpy's generator, a shape and the fans, and gives an array of `dtype`."""


def he(rng, shape, fan_in, fan_out, dtype):
    """He et al. 2015: normal with variance 2 / fan_in."""
    return (rng.standard_normal(shape) * (2.0 / fan_in) ** 0.5).astype(dtype)


def xavier(rng, shape, fan_in, fan_out, dtype):
    """Glorot & Bengio 2010: uniform within sqrt(6 / (fan_in + fan_out))."""
    bound = (6.0 / (fan_in + fan_out)) ** 0.5
    return rng.uniform(-bound, bound, shape).astype(dtype)


def torch_uniform(rng, shape, fan_in, fan_out, dtype):
    """PyTorch's default for convolutions and linear layers, weights and biases: uniform within 1 / sqrt(fan_in)."""
    bound = fan_in**-0.5
    return rng.uniform(-bound, bound, shape).astype(dtype)


def normal(rng, shape, dtype):
    """Normal with standard deviation 0.02, for learned positions (Dosovitskiy et al. 2021)."""
    return (0.02 * rng.standard_normal(shape)).astype(dtype)
