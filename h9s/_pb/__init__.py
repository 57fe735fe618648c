"""Generated from proto/ by scripts/proto. Never edited by hand."""
