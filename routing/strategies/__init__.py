"""Ways to order a model's targets. One file a strategy."""
