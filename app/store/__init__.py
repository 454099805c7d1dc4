"""The one store: the only code that writes resources, and every way to read them."""
