"""CSV: source -> dialect -> records -> cells -> [score] -> text, each block by one thread."""
