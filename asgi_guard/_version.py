"""The version: its only home, read by the build, the package, the CLI and the OpenAPI title."""

__version__ = "0.1.0"
