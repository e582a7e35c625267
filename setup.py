"""Kept as an entry point for old tooling; the metadata lives in pyproject.toml."""

from setuptools import setup

setup()
