"""The model's computation: weights, kernels, and forward passes over tokens."""
