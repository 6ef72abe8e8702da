"""The operations that `import podium` offers as functions and that the command line calls."""
