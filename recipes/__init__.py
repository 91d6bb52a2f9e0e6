"""One YAML file a model: how it is traced and pruned. `prune.recipe` reads them."""
