"""Owner references made true: what belongs to something that is gone goes too."""
