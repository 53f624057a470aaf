"""One module a command. Each imports torch, Faust and the like only when it runs."""
