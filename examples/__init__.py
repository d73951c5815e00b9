"""What users write: a model trained with scikit-learn, and the demo that puts it to work."""
