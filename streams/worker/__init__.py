"""The composition root: settings in, a running worker out; its process, health and figures."""
