"""Datasets: images and other examples from arrays, lists, folders, generators and datasets."""
