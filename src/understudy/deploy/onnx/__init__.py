"""ONNX: graphs of our own networks written node by node, encoders by torch's exporter, folders checked against PyTorch."""
