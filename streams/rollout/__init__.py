"""Models change while events flow: one agent decides, every worker follows, one reference serves."""
