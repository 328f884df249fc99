"""Pixels and waveforms from descriptions: no Ray, no catalogs, no sibling package."""
