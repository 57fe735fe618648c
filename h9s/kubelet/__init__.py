"""The howbelet: one per machine; runs the pods that are bound to it and reports what really happens."""
