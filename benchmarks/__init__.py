"""What is claimed of speed and memory is measured here, side by side with what people use today."""
