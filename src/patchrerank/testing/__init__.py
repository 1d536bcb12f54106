"""What adapters must do, as tests that anybody can run on an adapter of their own."""
