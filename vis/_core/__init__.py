"""Internal modules that the visualizations share; nothing here is public."""
