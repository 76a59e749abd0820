"""What ``python -m melle bench`` measures: claims of speed, side by side in one run."""
