"""The gRPC door: servicers that translate, and nothing more."""
