"""May the answer of one question be given for another? Pure decisions; embedding and search are elsewhere."""
