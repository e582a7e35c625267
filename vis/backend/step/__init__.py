"""The compiled step, the loop over steps, and the question that is a step without a descent."""
