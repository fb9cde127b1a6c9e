"""How often the semantic cache would be wrong: labelled pairs, our own generator, training and the tables."""
