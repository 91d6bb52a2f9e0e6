"""One YAML file a model: how it is traced and pruned. `prune.workflows.recipe` reads them."""
