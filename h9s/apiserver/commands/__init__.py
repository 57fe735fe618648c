"""The commands of `howbe-apiserver` that examine and mend a replica's data while it does not run."""
