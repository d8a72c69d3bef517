"""Who may connect: TLS and mutual TLS."""
