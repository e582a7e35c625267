"""The atlas: a whole network to walk through."""
