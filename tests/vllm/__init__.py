"""The vLLM plug-in against transformers, in an environment that has vLLM for CPUs."""
