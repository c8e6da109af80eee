"""Training. Nothing at run time imports this package."""
