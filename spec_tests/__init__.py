"""The requirements: each test states one sentence of the specification and holds an implementation to it."""
