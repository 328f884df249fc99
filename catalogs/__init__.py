"""Catalogs of samples: schema, store, IDs, queries and pictures. Imports no sibling package."""
