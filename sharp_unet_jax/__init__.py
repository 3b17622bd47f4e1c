"""Sharp U-Net (Zunair & Ben Hamza 2021) and its baselines in JAX."""

__version__ = "0.1.0"
