"""The model's computation: weights, kernels, and passes over tokens."""
