"""Readers of bars files, one module for each format."""
