"""Functions of tensors that `keras.ops` does not have."""
