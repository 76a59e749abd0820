"""The model as ONNX graphs, to decode where there is no PyTorch."""
