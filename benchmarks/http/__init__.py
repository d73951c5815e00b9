"""One row by HTTP, side by side with what people serve models with today."""
