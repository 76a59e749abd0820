"""Hydra's side: overrides, objects from configurations, what is wrong with either, sweeps. Registers the resolvers."""

import melle.configs.resolvers  # noqa: F401
