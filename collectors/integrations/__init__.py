"""perfkit inside other people's training loops: a module per framework, imported with it."""
