"""The gRPC client library: Producer, Consumer, Admin."""
